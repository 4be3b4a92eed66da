// Scheme `smooth`: every kernel against exact arithmetic, on guard pages, over awkward shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "core/error.h"
#include "schemes/smooth/kernels.h"
#include "tests/group_problem.h"
#include "tests/isa_test.h"
#include "tests/scheme_checks.h"

namespace ortq::testing {
namespace {

using smooth::RuntimeSmoothMatMul;
using smooth::SmoothFormat;
using smooth::SmoothScope;

constexpr SmoothScope kScopes[] = {SmoothScope::kCall, SmoothScope::kToken, SmoothScope::kNone};

struct Spec : ProblemSpec {
  int64_t smooth_size = 128;
  int activation_bits = 4;
  SmoothScope scope = SmoothScope::kToken;
  bool ordered = false;  ///< channels stand in another order

  Spec() { format = {.bits = 4, .N = 16, .K = 64, .block = 32}; }

  std::string Describe() const {
    std::ostringstream text;
    text << ProblemSpec::Describe() << ", smooth size " << smooth_size << ", " << activation_bits
         << " bits of activations, scope " << static_cast<int>(scope) << ", ordered " << ordered;
    return text.str();
  }

  SmoothFormat Format() const {
    SmoothFormat smooth;
    smooth.weights = format;
    smooth.smooth_size = smooth_size;
    smooth.activation_bits = activation_bits;
    smooth.scope = scope;
    return smooth;
  }
};

/// A weight of scheme group, whose K stands in a random order of channels where the spec says so.
class SmoothProblem {
 public:
  explicit SmoothProblem(const Spec& spec)
      : spec_(spec), problem_(spec), channel_(static_cast<size_t>(spec.format.K)), position_(channel_.size()) {
    std::iota(channel_.begin(), channel_.end(), 0);
    std::mt19937 random(spec.seed + 77);
    if (spec.ordered) std::shuffle(channel_.begin(), channel_.end(), random);
    for (size_t p = 0; p < channel_.size(); ++p) position_[static_cast<size_t>(channel_[p])] = static_cast<int64_t>(p);
  }

  const Spec& spec() const { return spec_; }
  Problem& weights() { return problem_; }
  MatMulInputs& inputs() { return problem_.inputs(); }

  std::vector<float> Run(Isa isa, AccuracyLevel level, const ParallelFor& parallel = {}) {
    inputs().SpoilY();
    RuntimeSmoothMatMul::Create(spec_.Format(), level, isa)
        .Run({problem_.Weights(), spec_.ordered ? channel_.data() : nullptr}, inputs().epilogue(), inputs().x(),
             inputs().y(), spec_.type, spec_.M, parallel, {});
    return inputs().Y();
  }

  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) {
    const bool quantized = level == AccuracyLevel::kInt8 && spec_.activations != ActivationKind::kExactInt8;
    const std::vector<double> steps = quantized ? Steps() : std::vector<double>();
    const auto K = static_cast<size_t>(spec_.format.K);
    return inputs().CountErrors(
        y,
        [&](int64_t n, int64_t k) -> WeightTerm {
          const double weight = problem_.Weight(n, position_[static_cast<size_t>(k)]);
          return {weight, std::fabs(weight)};
        },
        [&](int64_t m, int64_t k) {
          return quantized ? steps[static_cast<size_t>(m) * K + static_cast<size_t>(k)] : 0;
        },
        3 * kStepSlack);  // three products and two quotients before an activation is rounded
  }

 private:
  double X(int64_t m, int64_t p) const { return problem_.inputs().X(m, channel_[static_cast<size_t>(p)]); }

  /// The largest magnitude of row m in the smoothing group of position p.
  double Largest(int64_t m, int64_t p) const {
    const int64_t begin = p / spec_.smooth_size * spec_.smooth_size;
    double largest = 0;
    for (int64_t i = begin; i < std::min(spec_.format.K, begin + spec_.smooth_size); ++i) {
      largest = std::max(largest, std::fabs(X(m, i)));
    }
    return largest;
  }

  double Smooth(int64_t m, int64_t p) const {
    if (spec_.scope == SmoothScope::kNone) return 1;
    if (spec_.scope == SmoothScope::kToken) return Largest(m, p);
    double largest = 0;
    for (int64_t i = 0; i < spec_.M; ++i) largest = std::max(largest, Largest(i, p));
    return largest;
  }

  /// Quantization step of every activation of X, [M, K], by the words of SPEC.md.
  std::vector<double> Steps() const {
    const int64_t K = spec_.format.K;
    std::vector<double> steps(static_cast<size_t>(spec_.M * K));
    for (int64_t m = 0; m < spec_.M; ++m) {
      double top = 0;
      for (int64_t p = 0; p < K; p += spec_.smooth_size) top = std::max(top, Largest(m, p) / Smooth(m, p));
      for (int64_t p = 0; p < K; p += spec_.smooth_size) {
        const double step = Smooth(m, p) * top / spec_.Format().ActivationLimit();
        for (int64_t i = p; i < std::min(K, p + spec_.smooth_size); ++i) {
          steps[static_cast<size_t>(m * K + channel_[static_cast<size_t>(i)])] = step;
        }
      }
    }
    return steps;
  }

  Spec spec_;
  Problem problem_;
  std::vector<int32_t> channel_;
  std::vector<int64_t> position_;
};

class SmoothTest : public IsaTest {};
ORTQ_FOR_EACH_ISA(SmoothTest);

template <typename Test>
void ForEachSpec(const Test& test) {
  for (size_t i = 0; i < 165; ++i) {
    Spec spec;
    const int64_t K = DrawK(i);
    spec.format.N = DrawN(i);
    spec.format.K = K;
    spec.format.block = i % 6 == 5 ? K : int64_t{16} << i % 6;
    spec.format.scale_type = i % 5 == 1 ? ScalarType::kFloat32 : ScalarType::kFloat16;
    spec.smooth_size = int64_t{16} << i * 5 % 7 % 6;
    spec.activation_bits = i % 3 == 2 ? 8 : 4;
    spec.scope = kScopes[i % 2 == 0 ? i / 2 % 3 : (i + 1) % 3];
    spec.ordered = i % 4 == 1;
    DrawInputs(i, spec);
    SCOPED_TRACE(spec.Describe());
    test(spec);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(SmoothTest, MeetsTheBound) {
  ForEachSpec([](const Spec& spec) {
    SmoothProblem problem(spec);
    for (const AccuracyLevel level : kLevels) EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
  });
}

TEST_P(SmoothTest, ExactActivationsMeetTheFloatBoundAtTheInt8Level) {
  ForEachSpec([](Spec spec) {
    // Every run of 16 channels has both ends, so that all groups have the same maximum in every row.
    spec.activations = ActivationKind::kExactInt8;
    spec.activation_bits = 8;
    spec.ordered = false;
    SmoothProblem problem(spec);
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
  });
}

TEST_P(SmoothTest, Int8LevelGivesTheReferenceBits) {
  ForEachSpec([](const Spec& spec) {
    SmoothProblem problem(spec);
    EXPECT_EQ(problem.Run(GetParam(), AccuracyLevel::kInt8), problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  });
}

TEST_P(SmoothTest, OneWrongBitIsNoticed) {
  for (const AccuracyLevel level : kLevels) {
    for (const bool ordered : {false, true}) {
      Spec spec;
      spec.format = {.bits = 4, .N = 33, .K = 172, .block = 32};
      spec.M = 3;
      spec.activations = ActivationKind::kExactInt8;
      spec.activation_bits = 8;
      spec.scope = SmoothScope::kNone;
      spec.ordered = ordered;
      SmoothProblem problem(spec);
      for (int64_t m = 0; ordered && m < spec.M; ++m) {
        for (int64_t k = 0; k < spec.format.K; ++k) problem.inputs().SetX(m, k, -127.0f);
      }
      ASSERT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
      problem.weights().FlipTopBit(32, 167);  // 167 % 16 = 7: every row has -127 there
      EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), spec.M);
    }
  }
}

// Negative control of the order: the same weights read in that of X give another product.
TEST_P(SmoothTest, TheOrderOfChannelsMatters) {
  Spec spec;
  spec.format = {.bits = 4, .N = 16, .K = 172, .block = 32};
  spec.ordered = true;
  SmoothProblem ordered(spec);
  spec.ordered = false;
  SmoothProblem plain(spec);
  for (const AccuracyLevel level : kLevels) {
    EXPECT_GT(ordered.CountErrors(plain.Run(GetParam(), level), level), 0);
  }
}

TEST_P(SmoothTest, SameBitsForAnyNumberOfThreads) {
  for (const int64_t M : {1, 7, 40}) {
    if (GetParam() == Isa::kReference && M > 7) continue;  // the same driver, and slow
    Spec spec;
    spec.format = {.bits = 4, .N = 1000, .K = 300, .block = 64};
    spec.M = M;
    spec.ordered = true;
    spec.scope = SmoothScope::kCall;
    for (const AccuracyLevel level : kLevels) {
      ExpectSameBitsForAnyNumberOfThreads<SmoothProblem>(spec, GetParam(), level);
    }
  }
}

// Scope decides whether a row depends on the others: token and none do not, call does where another row is larger.
TEST_P(SmoothTest, ScopeDecidesWhatARowDependsOn) {
  for (const SmoothScope scope : kScopes) {
    Spec spec;
    spec.format = {.bits = 4, .N = 40, .K = 300, .block = 128};
    spec.smooth_size = 64;
    spec.M = 29;
    spec.scope = scope;
    SmoothProblem many(spec);
    for (int64_t k = 70; k < 80; ++k) many.inputs().SetX(28, k, 1000.0f);
    const std::vector<float> all = many.Run(GetParam(), AccuracyLevel::kInt8);
    spec.M = 1;
    SmoothProblem one(spec);  // the same seed: its row is the first of `many`
    const std::vector<float> alone = one.Run(GetParam(), AccuracyLevel::kInt8);
    EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + 40) == alone, scope != SmoothScope::kCall);
  }
}

// With one row the maxima of the call are those of the row.
TEST_P(SmoothTest, OneRowIsSmoothedAlikeInBothScopes) {
  Spec spec;
  spec.format = {.bits = 4, .N = 40, .K = 300, .block = 128};
  spec.smooth_size = 32;
  spec.scope = SmoothScope::kToken;
  const std::vector<float> token = SmoothProblem(spec).Run(GetParam(), AccuracyLevel::kInt8);
  spec.scope = SmoothScope::kCall;
  EXPECT_EQ(SmoothProblem(spec).Run(GetParam(), AccuracyLevel::kInt8), token);
}

TEST_P(SmoothTest, NonFiniteActivationsStayInTheirRow) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t M : {1, 3, 30}) {
      for (const SmoothScope scope : kScopes) {
        Spec spec;
        spec.format = {.bits = 4, .N = 33, .K = 172, .block = 32};
        spec.M = M;
        spec.scope = scope;
        SmoothProblem problem(spec);
        // The row holds no maximum of the call, so that the others are smoothed alike with and without it.
        for (int64_t k = 0; k < 172; ++k) problem.inputs().SetX(M / 2, k, 1e-6f);
        const std::vector<float> clean = problem.Run(GetParam(), AccuracyLevel::kInt8);
        problem.inputs().SetX(M / 2, 170, value);
        const std::vector<float> y = problem.Run(GetParam(), AccuracyLevel::kInt8);
        for (size_t i = 0; i < y.size(); ++i) {
          if (static_cast<int64_t>(i) / 33 == M / 2) {
            EXPECT_TRUE(std::isnan(y[i])) << value << ", M " << M;
          } else {
            EXPECT_EQ(y[i], clean[i]);
          }
        }
      }
    }
  }
}

TEST_P(SmoothTest, ZeroTinyAndHugeActivations) {
  for (const float value : {0.0f, 1e-41f, 1e-30f, 3e38f}) {
    for (const SmoothScope scope : kScopes) {
      for (const int bits : {4, 8}) {
        Spec spec;
        spec.format = {.bits = 4, .N = 16, .K = 64, .block = 32};
        spec.smooth_size = 16;
        spec.M = 2;
        spec.scope = scope;
        spec.activation_bits = bits;
        SmoothProblem problem(spec);
        // The other row has a huge value where this one has none, and none where this one has its value.
        for (int64_t k = 0; k < 64; ++k) {
          problem.inputs().SetX(0, k, k == 5 ? value : 0.0f);
          problem.inputs().SetX(1, k, k == 40 ? 1e30f : 0.0f);
        }
        for (const float y : problem.Run(GetParam(), AccuracyLevel::kInt8)) EXPECT_TRUE(std::isfinite(y));
      }
    }
  }
}

TEST_P(SmoothTest, NoRowsTouchNothing) {
  const Spec spec;
  for (const AccuracyLevel level : kLevels) {
    for (const SmoothScope scope : kScopes) {
      SmoothFormat format = spec.Format();
      format.scope = scope;
      RuntimeSmoothMatMul::Create(format, level, GetParam())
          .Run({}, {}, nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
    }
  }
}

TEST(SmoothFormatTest, BadFormatsAreNamed) {
  const auto message = [](int64_t smooth_size, int activation_bits) -> std::string {
    SmoothFormat format = Spec().Format();
    format.smooth_size = smooth_size;
    format.activation_bits = activation_bits;
    try {
      format.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(16, 4), "");
  EXPECT_EQ(message(8, 4), "smooth_size is 8; permitted: powers of two from 16 to 1048576");
  EXPECT_EQ(message(48, 4), "smooth_size is 48; permitted: powers of two from 16 to 1048576");
  EXPECT_EQ(message(64, 5), "activation_bits is 5; permitted: 4, 8");
}

TEST(SmoothFormatTest, BadOrdersAreNamed) {
  const auto message = [](const std::vector<int32_t>& order) -> std::string {
    try {
      smooth::CheckChannelOrder(order.data(), static_cast<int64_t>(order.size()));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({2, 0, 1}), "");
  EXPECT_EQ(message({2, 0, 3}), "channel_order[2] is 3; permitted: 0 to K - 1 = 2");
  EXPECT_EQ(message({2, -1, 1}), "channel_order[1] is -1; permitted: 0 to K - 1 = 2");
  EXPECT_EQ(message({2, 0, 2}), "channel_order[2] is 2 as an entry before it; each channel must stand there once");
}

}  // namespace
}  // namespace ortq::testing

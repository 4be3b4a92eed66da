// Scheme `lut`: every kernel against exact arithmetic, on guard pages, over awkward shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include "core/error.h"
#include "schemes/lut/kernels.h"
#include "tests/isa_test.h"
#include "tests/matmul_inputs.h"
#include "tests/scalars.h"
#include "tests/scheme_checks.h"

namespace ortq::testing {
namespace {

using lut::LutFormat;
using lut::LutGemm;
using lut::LutWeights;

struct Spec : InputsSpec {
  LutFormat format;
  bool exact = false;  ///< activations are integers that the int8 level takes as they are

  std::string Describe() const {
    std::ostringstream text;
    text << (format.free_levels ? "free " : "uniform ") << format.bits << " bits, block " << format.block << ", scales "
         << static_cast<int>(format.scale_type) << ", zero points " << static_cast<int>(format.offset_type) << ", N "
         << format.N << ", K " << format.K << ", " << InputsSpec::Describe();
    return text.str();
  }
};

/// A random weight, packed here by the definition of the layout, with its inputs.
class Problem {
 public:
  explicit Problem(const Spec& spec)
      : spec_(spec),
        random_(spec.seed),
        code_values_(static_cast<size_t>(spec.format.N * spec.format.K)),
        codes_(spec.Buffer(spec.format.Tiles() * spec.format.Chunks() * 64 * spec.format.bits)),
        scales_(spec.Buffer(spec.format.Tiles() * spec.format.Groups() * spec.format.Coefficients() * 16 *
                            ScalarBytes(spec.format.scale_type))),
        zero_points_(
            spec.Buffer(spec.format.Tiles() * spec.format.Groups() * 16 * ScalarBytes(spec.format.offset_type))),
        inputs_(spec, spec.format.N, spec.format.K) {
    Pack();
    std::mt19937 integers(spec.seed + 1);
    for (int64_t m = 0; spec.exact && m < spec.M; ++m) {
      for (int64_t k = 0; k < spec.format.K; ++k) {
        // One of 127 in each block, alone in its quad, and small ones: step 1, and quads of at most 4 * 63.
        const int64_t place = k % Block();
        const int small = static_cast<int>(integers() % 127) - 63;
        SetActivation(m, k,
                      static_cast<float>(place == 0  ? (k / Block() % 2 == 0 ? 127 : -127)
                                         : place < 4 ? 0
                                                     : small));
      }
    }
  }

  const Spec& spec() const { return spec_; }

  LutWeights Weights() const { return {spec_.format, codes_.data(), scales_.data(), zero_points_.data()}; }

  std::vector<float> Run(Isa isa, AccuracyLevel level, const ParallelFor& parallel = {}) {
    inputs_.SpoilY();
    LutGemm::Create(spec_.format, level, isa)
        .Run(Weights(), inputs_.epilogue(), inputs_.x(), inputs_.y(), spec_.type, spec_.M, parallel, {});
    return inputs_.Y();
  }

  /// Flips a bit of a stored code.
  void FlipBit(int64_t n, int64_t k, int plane) { *PlaneByte(n, k, plane) ^= static_cast<uint8_t>(1 << k % 8); }
  void SetActivation(int64_t m, int64_t k, float value) { inputs_.SetX(m, k, value); }

  WeightTerm Weight(int64_t n, int64_t k) const {
    const LutFormat& f = spec_.format;
    const int code = code_values_[static_cast<size_t>(n * f.K + k)];
    const int64_t group = n / 16 * f.Groups() + k / f.block;
    const double offset = Element(zero_points_, group * 16 + n % 16, f.offset_type);
    const auto coefficient = [&](int64_t i) {
      return Element(scales_, (group * f.Coefficients() + i) * 16 + n % 16, f.scale_type);
    };
    if (!f.free_levels) {
      // Codes, their zero point and, at the float level, the middle of the codes are summed apart.
      const int most = (1 << f.bits) - 1;
      return {coefficient(0) * (code - offset), std::fabs(coefficient(0)) * (1.5 * most + 2 * std::fabs(offset))};
    }
    WeightTerm term{offset, std::fabs(offset)};
    for (int i = 0; i < f.bits; ++i) {
      term.weight += (code >> i & 1) != 0 ? coefficient(i) : -coefficient(i);
      term.magnitude += std::fabs(coefficient(i));
    }
    return term;
  }

  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) const {
    const bool quantized = level == AccuracyLevel::kInt8 && !spec_.exact;
    std::vector<std::vector<double>> steps;
    for (int64_t m = 0; quantized && m < spec_.M; ++m) steps.push_back(Steps(m));
    return inputs_.CountErrors(
        y, [&](int64_t n, int64_t k) { return Weight(n, k); },
        [&](int64_t m, int64_t k) {
          return quantized ? steps[static_cast<size_t>(m)][static_cast<size_t>(k / Block())] : 0.0;
        });
  }

 private:
  /// Inputs that share a step.
  int64_t Block() const {
    return spec_.format.block == spec_.format.K ? 128 : std::min<int64_t>(128, spec_.format.block);
  }

  /// The step of each block of a row, by SPEC.md.
  std::vector<double> Steps(int64_t m) const {
    std::vector<double> steps;
    for (int64_t begin = 0; begin < spec_.format.K; begin += Block()) {
      const int64_t end = std::min(spec_.format.K, begin + Block());
      double largest = 0, largest_quad = 0;
      for (int64_t k = begin; k < end; k += 4) {
        double quad = 0;
        for (int64_t j = k; j < std::min(end, k + 4); ++j) {
          largest = std::max(largest, std::fabs(inputs_.X(m, j)));
          quad += std::fabs(inputs_.X(m, j));
        }
        largest_quad = std::max(largest_quad, quad);
      }
      steps.push_back(std::max(largest / 127, largest_quad / 253));
    }
    return steps;
  }

  static double Element(const GuardedBuffer& buffer, int64_t i, ScalarType type) {
    return static_cast<double>(type == ScalarType::kUint8 ? buffer.data()[i] : LoadScalar(buffer.data(), i, type));
  }

  static void SetElement(const GuardedBuffer& buffer, int64_t i, float value, ScalarType type) {
    if (type == ScalarType::kUint8) {
      buffer.data()[i] = static_cast<uint8_t>(std::nearbyint(value));
    } else {
      StoreScalar(buffer.data(), i, value, type);
    }
  }

  /// Tile n / 16, octet k / 8 of 16 bytes a plane; planes in pairs, byte by byte, an odd last one alone.
  uint8_t* PlaneByte(int64_t n, int64_t k, int plane) const {
    const int bits = spec_.format.bits;
    uint8_t* octet = codes_.data() + (n / 16 * spec_.format.Chunks() * 4 + k / 8) * 16 * bits;
    const bool alone = plane % 2 == 0 && plane == bits - 1;
    return octet + plane / 2 * 32 + (alone ? n % 16 : n % 16 * 2 + plane % 2);
  }

  void Pack() {
    const LutFormat& f = spec_.format;
    for (const GuardedBuffer* buffer : {&codes_, &scales_, &zero_points_}) {
      std::memset(buffer->data(), 0, buffer->size());
    }
    std::uniform_real_distribution<float> magnitude(0.0005f, 0.002f);
    std::uniform_real_distribution<float> middle(0.0f, static_cast<float>((1 << f.bits) - 1));
    for (int64_t n = 0; n < f.N; ++n) {
      for (int64_t g = 0; g < f.Groups(); ++g) {
        const int64_t group = n / 16 * f.Groups() + g;
        for (int64_t i = 0; i < f.Coefficients(); ++i) {
          const float sign = random_() % 8 == 0 ? -1.0f : 1.0f;
          SetElement(scales_, (group * f.Coefficients() + i) * 16 + n % 16, sign * magnitude(random_), f.scale_type);
        }
        const float offset = f.free_levels ? magnitude(random_) - 0.001f : middle(random_);
        SetElement(zero_points_, group * 16 + n % 16, offset, f.offset_type);
        for (int64_t k = g * f.block; k < std::min(f.K, (g + 1) * f.block); ++k) {
          const auto code = static_cast<int>(random_() % (1u << f.bits));
          code_values_[static_cast<size_t>(n * f.K + k)] = code;
          for (int i = 0; i < f.bits; ++i) {
            *PlaneByte(n, k, i) |= static_cast<uint8_t>((code >> i & 1) << k % 8);
          }
        }
      }
    }
  }

  Spec spec_;
  std::mt19937 random_;
  std::vector<int> code_values_;  // [N, K]
  GuardedBuffer codes_, scales_, zero_points_;
  MatMulInputs inputs_;
};

class LutTest : public IsaTest {};
ORTQ_FOR_EACH_ISA(LutTest);

/// Every number of bits with both kinds of levels: free 1 to 4, uniform 2 to 4 with either kind of zero point.
LutFormat FormatOf(size_t i, int64_t N, int64_t K) {
  constexpr int64_t kBlocks[] = {16, 32, 64, 128, 256, -1};
  LutFormat format{.N = N, .K = K, .block = kBlocks[i / 3 % 6]};
  if (format.block == -1) format.block = K;
  const size_t form = i % 10;
  format.free_levels = form < 4;
  format.bits = static_cast<int>(form < 4 ? form + 1 : (form - 4) % 3 + 2);
  format.scale_type = i % 4 == 1 ? ScalarType::kFloat32 : ScalarType::kFloat16;
  format.offset_type = form >= 7 ? ScalarType::kUint8 : i % 7 == 2 ? ScalarType::kFloat32 : format.scale_type;
  return format;
}

template <typename Test>
void ForEachSpec(const Test& test) {
  for (size_t i = 0; i < 220; ++i) {
    Spec spec;
    DrawInputs(i, spec);
    spec.format = FormatOf(i, DrawN(i), DrawK(i));
    SCOPED_TRACE(spec.Describe());
    test(spec);
    if (::testing::Test::HasFailure()) return;
  }
}

/// Formats of all forms, for tests of one thing over all of them.
template <typename Test>
void ForEachForm(int64_t N, int64_t K, const Test& test) {
  for (size_t i = 0; i < 10; ++i) {
    Spec spec;
    spec.format = FormatOf(i + 10, N, K);
    SCOPED_TRACE(spec.Describe());
    test(spec);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(LutTest, MeetsTheBound) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    for (const AccuracyLevel level : kLevels) EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
  });
}

TEST_P(LutTest, ExactActivationsMeetTheFloatBoundAtTheInt8Level) {
  ForEachSpec([](Spec spec) {
    spec.exact = true;
    Problem problem(spec);
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
  });
}

TEST_P(LutTest, Int8LevelGivesTheReferenceBits) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    EXPECT_EQ(problem.Run(GetParam(), AccuracyLevel::kInt8), problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  });
}

// Quads at the very end of what a table holds: four equal magnitudes with all signs, and one that stands out.
TEST_P(LutTest, LargestTablesFit) {
  ForEachForm(17, 512, [](Spec spec) {
    spec.M = 5;
    Problem problem(spec);
    for (int64_t k = 0; k < spec.format.K; ++k) {
      problem.SetActivation(0, k, 1.0f);
      problem.SetActivation(1, k, -1.0f);
      problem.SetActivation(2, k, k % 2 == 0 ? 0.7f : -0.7f);
      problem.SetActivation(3, k, k % 4 == 3 ? 127.0f : 42.5f);
      problem.SetActivation(4, k, k % 4 == 0 ? -1e30f : 1e22f);
    }
    const auto y = problem.Run(GetParam(), AccuracyLevel::kInt8);
    EXPECT_EQ(problem.CountErrors(y, AccuracyLevel::kInt8), 0);
    EXPECT_EQ(y, problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  });
}

TEST_P(LutTest, OneWrongBitIsNoticed) {
  for (const AccuracyLevel level : kLevels) {
    ForEachForm(33, 172, [level](Spec spec) {
      spec.M = 3;
      spec.exact = true;
      for (int plane = 0; plane < spec.format.bits; ++plane) {
        Problem problem(spec);
        for (int64_t m = 0; m < spec.M; ++m) problem.SetActivation(m, 167, -63.0f);
        ASSERT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
        problem.FlipBit(32, 167, plane);
        EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), spec.M) << "plane " << plane;
      }
    });
  }
}

TEST_P(LutTest, SameBitsForAnyNumberOfThreads) {
  for (const int64_t M : {1, 7, 40}) {
    if (GetParam() == Isa::kReference && M > 1) continue;  // the same driver, and slow
    ForEachForm(600, 300, [M](Spec spec) {
      spec.M = M;
      for (const AccuracyLevel level : kLevels) {
        ExpectSameBitsForAnyNumberOfThreads<Problem>(spec, GetParam(), level);
      }
    });
  }
}

TEST_P(LutTest, RowsDoNotDependOnTheirNeighboursAtTheInt8Level) {
  for (const int64_t M : {2, 3, 29, 70}) {
    ForEachForm(40, 300, [M](Spec spec) {
      spec.M = M;
      ExpectRowsToStandAlone<Problem>(spec, GetParam());
    });
  }
}

TEST_P(LutTest, NonFiniteActivationsStayInTheirRow) {
  for (const int64_t M : {1, 3, 30}) {
    ForEachForm(33, 172, [M](Spec spec) {
      spec.M = M;
      for (const AccuracyLevel level : kLevels) {
        ExpectNonFiniteActivationsToStayInTheirRow<Problem>(
            spec, 170, GetParam(), level,
            [](const Problem& problem, int64_t n) { return problem.Weight(n, 170).weight == 0; });
      }
    });
  }
}

TEST_P(LutTest, ZeroAndTinyActivations) {
  for (const float value : {0.0f, 1e-41f, 1e-30f, 3e38f}) {
    Spec spec;
    spec.format = {.bits = 2, .N = 16, .K = 64, .block = 32};
    Problem problem(spec);
    for (int64_t k = 0; k < 64; ++k) problem.SetActivation(0, k, k == 5 ? value : 0.0f);
    for (const float y : problem.Run(GetParam(), AccuracyLevel::kInt8)) EXPECT_TRUE(std::isfinite(y));
  }
}

TEST_P(LutTest, NoRowsTouchNothing) {
  const LutFormat format{.bits = 3, .N = 16, .K = 32, .block = 32};
  for (const AccuracyLevel level : kLevels) {
    LutGemm::Create(format, level, GetParam())
        .Run({.format = format}, {}, nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
  }
}

TEST(LutRows, UnpackGivesTheWeights) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    std::vector<float> w(static_cast<size_t>(spec.format.N * spec.format.K));
    Unpack(problem.Weights(), w.data());
    for (int64_t n = 0; n < spec.format.N; ++n) {
      for (int64_t k = 0; k < spec.format.K; ++k) {
        const auto [exact, magnitude] = problem.Weight(n, k);
        EXPECT_NEAR(static_cast<double>(w[static_cast<size_t>(n * spec.format.K + k)]), exact, magnitude * 0x1p-22);
      }
    }
  });
}

TEST(LutFormatTest, BadFormatsAreNamed) {
  const auto message = [](LutFormat format) -> std::string {
    try {
      format.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.bits = 1, .N = 16, .K = 64, .block = 16}), "");
  EXPECT_EQ(message({.bits = 5, .N = 16, .K = 64, .block = 32}), "bits is 5; permitted: 1, 2, 3, 4");
  EXPECT_EQ(message({.bits = 1, .N = 16, .K = 64, .block = 32, .free_levels = false}),
            "bits is 1; permitted with levels 'uniform': 2, 3, 4");
  EXPECT_EQ(message({.N = 0, .K = 64, .block = 32}), "N is 0; permitted: 1 to 268435456");
  EXPECT_EQ(message({.N = 16, .K = 64, .block = 24}),
            "block_size is 24; permitted: a power of two >= 16, or -1 for the whole row");
  EXPECT_EQ(message({.N = 16, .K = 64, .block = 32, .offset_type = ScalarType::kUint8}),
            "zero_points have ONNX type 2 (uint8); permitted with levels 'free': 1 (float), 10 (float16)");
}

}  // namespace
}  // namespace ortq::testing

// Scheme `dual`: every kernel against exact arithmetic, on guard pages, over awkward shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include "core/error.h"
#include "schemes/dual/kernels.h"
#include "tests/isa_test.h"
#include "tests/matmul_inputs.h"
#include "tests/scalars.h"
#include "tests/scheme_checks.h"

namespace ortq::testing {
namespace {

using dual::DualFormat;
using dual::DualGrainedMatMul;
using dual::DualWeights;

struct Spec : InputsSpec {
  DualFormat format;
  bool extreme = false;  ///< codes, scales and zero points that make the largest sums

  std::string Describe() const {
    std::ostringstream text;
    text << "block " << format.block << ", N " << format.N << ", K " << format.K << ", " << InputsSpec::Describe();
    return text.str();
  }
};

/// A random weight, packed here by the definition of the layout, with its inputs.
class Problem {
 public:
  explicit Problem(const Spec& spec)
      : spec_(spec),
        random_(spec.seed),
        w8_(static_cast<size_t>(spec.format.N * spec.format.K)),
        centred_(w8_.size()),
        codes_(spec.Buffer(spec.format.Tiles() * spec.format.Chunks() * 256)),
        scales_(spec.Buffer(spec.format.Tiles() * 64)),
        zero_points_(spec.Buffer(spec.format.Tiles() * spec.format.Groups() * 16)),
        group_scales_(spec.Buffer(spec.format.Tiles() * spec.format.Groups() * 16)),
        row_sums_(spec.Buffer(spec.format.Tiles() * 64)),
        inputs_(spec, spec.format.N, spec.format.K) {
    Pack();
  }

  const Spec& spec() const { return spec_; }

  DualWeights Weights() const {
    return {spec_.format,         codes_.data(),   scales_.data(), reinterpret_cast<const int8_t*>(zero_points_.data()),
            group_scales_.data(), row_sums_.data()};
  }

  std::vector<float> Run(Isa isa, AccuracyLevel level, const ParallelFor& parallel = {}) {
    inputs_.SpoilY();
    DualGrainedMatMul::Create(spec_.format, level, isa)
        .Run(Weights(), inputs_.epilogue(), inputs_.x(), inputs_.y(), spec_.type, spec_.M, parallel, {});
    return inputs_.Y();
  }

  /// Flips the top bit of a stored code.
  void FlipTopBit(int64_t n, int64_t k) { *CodeByte(n, k) ^= static_cast<uint8_t>(k % 2 == 0 ? 0x08 : 0x80); }
  void SetActivation(int64_t m, int64_t k, float value) { inputs_.SetX(m, k, value); }

  double Weight(int64_t n, int64_t k) const { return Scale(n) * w8_[static_cast<size_t>(n * spec_.format.K + k)]; }

  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) const {
    const bool quantized = level == AccuracyLevel::kInt8 && spec_.activations != ActivationKind::kExactInt8;
    std::vector<double> steps;
    for (int64_t m = 0; m < spec_.M; ++m) steps.push_back(quantized ? Step(m) : 0);
    return inputs_.CountErrors(
        y,
        [&](int64_t n, int64_t k) -> WeightTerm {
          const auto i = static_cast<size_t>(n * spec_.format.K + k);
          // The float kernels sum codes centred on 8 and the rest of the offset apart; integer sums are exact.
          return {Weight(n, k), Scale(n) * (level == AccuracyLevel::kFloat ? centred_[i] : std::abs(w8_[i]))};
        },
        [&](int64_t m, int64_t) { return steps[static_cast<size_t>(m)]; },
        2 * kStepSlack);  // a row has 254 steps, not 127
  }

 private:
  /// The range of a row, 0 included, in 254 steps.
  double Step(int64_t m) const {
    double least = 0, most = 0;
    for (int64_t k = 0; k < spec_.format.K; ++k) {
      least = std::min(least, inputs_.X(m, k));
      most = std::max(most, inputs_.X(m, k));
    }
    return (most - least) / 254;
  }

  double Scale(int64_t n) const { return static_cast<double>(LoadScalar(scales_.data(), n, ScalarType::kFloat32)); }

  /// Tile n / 16, chunk k / 32; a lane's 16 bytes of a chunk are four words 64 bytes apart, two codes a byte.
  uint8_t* CodeByte(int64_t n, int64_t k) const {
    uint8_t* chunk = codes_.data() + (n / 16 * spec_.format.Chunks() + k / 32) * 256;
    return chunk + k % 32 / 8 * 64 + n % 16 * 4 + k % 8 / 2;
  }

  void Pack() {
    const DualFormat& f = spec_.format;
    for (const GuardedBuffer* buffer : {&codes_, &scales_, &zero_points_, &group_scales_, &row_sums_}) {
      std::memset(buffer->data(), 0, buffer->size());
    }
    std::uniform_real_distribution<float> magnitude(0.0005f, 0.002f);
    for (int64_t n = 0; n < f.N; ++n) {
      const float scale = magnitude(random_);
      std::memcpy(scales_.data() + 4 * n, &scale, 4);
      int32_t row_sum = 0;
      for (int64_t g = 0; g < f.Groups(); ++g) {
        // Every code of a group stands for an int8: -z >= -127 and 15 s - z <= 127.
        const int s = spec_.extreme ? 16 : 1 + static_cast<int>(random_() % 16);
        const int least = 15 * s - 127;
        const int z = spec_.extreme ? 113 : least + static_cast<int>(random_() % static_cast<unsigned>(128 - least));
        const int64_t index = (n / 16 * f.Groups() + g) * 16 + n % 16;
        group_scales_.data()[index] = static_cast<uint8_t>(s);
        zero_points_.data()[index] = static_cast<uint8_t>(z);
        for (int64_t k = g * f.block; k < std::min(f.K, (g + 1) * f.block); ++k) {
          const int q = spec_.extreme ? 15 : static_cast<int>(random_() % 16);
          *CodeByte(n, k) |= static_cast<uint8_t>(q << (k % 2 * 4));
          w8_[static_cast<size_t>(n * f.K + k)] = s * q - z;
          row_sum += s * q - z;
          centred_[static_cast<size_t>(n * f.K + k)] = s * std::abs(q - 8) + std::abs(8 * s - z);
        }
      }
      std::memcpy(row_sums_.data() + 4 * n, &row_sum, 4);
    }
  }

  Spec spec_;
  std::mt19937 random_;
  std::vector<int> w8_;       // [N, K]
  std::vector<int> centred_;  // [N, K]: the two parts that a float kernel sums, by magnitude
  GuardedBuffer codes_, scales_, zero_points_, group_scales_, row_sums_;
  MatMulInputs inputs_;
};

class DualTest : public IsaTest {};
ORTQ_FOR_EACH_ISA(DualTest);

template <typename Test>
void ForEachSpec(const Test& test) {
  for (size_t i = 0; i < 165; ++i) {
    Spec spec;
    spec.format = {.N = DrawN(i), .K = DrawK(i), .block = int64_t{32} << i % 4};
    DrawInputs(i, spec);
    SCOPED_TRACE(spec.Describe());
    test(spec);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(DualTest, MeetsTheBound) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    for (const AccuracyLevel level : kLevels) EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
  });
}

TEST_P(DualTest, ExactActivationsMeetTheFloatBoundAtTheInt8Level) {
  ForEachSpec([](Spec spec) {
    spec.activations = ActivationKind::kExactInt8;
    Problem problem(spec);
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
  });
}

TEST_P(DualTest, Int8LevelGivesTheReferenceBits) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    EXPECT_EQ(problem.Run(GetParam(), AccuracyLevel::kInt8), problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  });
}

// Sums near the ends of 32 bits, at the largest K that the format permits: activations that are all alike become 254
// steps, and 127 * 254 * 65536 = 2114060288.
TEST_P(DualTest, LargestSumsFit) {
  for (const int64_t M : {1, 2, 3, 4, 12}) {
    Spec spec;
    spec.format = {.N = 1, .K = M == 1 ? dual::kMaxK : 512, .block = 256};
    spec.M = M;
    spec.extreme = true;
    spec.activations = ActivationKind::kExactInt8;
    SCOPED_TRACE(spec.Describe());
    Problem problem(spec);
    for (int64_t m = 0; m < M; ++m) {
      for (int64_t k = 0; k < spec.format.K; ++k) problem.SetActivation(m, k, m % 2 == 0 ? 127.0f : -127.0f);
    }
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
  }
}

TEST_P(DualTest, OneWrongBitIsNoticed) {
  for (const AccuracyLevel level : kLevels) {
    Spec spec;
    spec.format = {.N = 33, .K = 172, .block = 32};
    spec.M = 3;
    spec.activations = ActivationKind::kExactInt8;
    Problem problem(spec);
    ASSERT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
    problem.FlipTopBit(32, 167);  // 167 % 16 = 7: every row has -127 there
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), spec.M);
  }
}

TEST_P(DualTest, SameBitsForAnyNumberOfThreads) {
  for (const int64_t M : {1, 7, 40}) {
    if (GetParam() == Isa::kReference && M > 7) continue;  // the same driver, and slow
    Spec spec;
    spec.format = {.N = 1000, .K = 300, .block = 64};
    spec.M = M;
    for (const AccuracyLevel level : kLevels) {
      ExpectSameBitsForAnyNumberOfThreads<Problem>(spec, GetParam(), level);
    }
  }
}

TEST_P(DualTest, RowsDoNotDependOnTheirNeighboursAtTheInt8Level) {
  Spec spec;
  spec.format = {.N = 40, .K = 300, .block = 128};
  spec.M = 29;
  ExpectRowsToStandAlone<Problem>(spec, GetParam());
}

TEST_P(DualTest, NonFiniteActivationsStayInTheirRow) {
  for (const int64_t M : {1, 3, 30}) {
    Spec spec;
    spec.format = {.N = 33, .K = 172, .block = 32};
    spec.M = M;
    for (const AccuracyLevel level : kLevels) {
      ExpectNonFiniteActivationsToStayInTheirRow<Problem>(
          spec, 170, GetParam(), level, [](const Problem& problem, int64_t n) { return problem.Weight(n, 170) == 0; });
    }
  }
}

TEST_P(DualTest, ZeroAndTinyActivations) {
  for (const float value : {0.0f, 1e-41f, 1e-30f, 3e38f}) {
    Spec spec;
    spec.format = {.N = 16, .K = 64, .block = 32};
    Problem problem(spec);
    for (int64_t k = 0; k < 64; ++k) problem.SetActivation(0, k, k == 5 ? value : 0.0f);
    for (const float y : problem.Run(GetParam(), AccuracyLevel::kInt8)) EXPECT_TRUE(std::isfinite(y));
  }
}

TEST_P(DualTest, NoRowsTouchNothing) {
  const DualFormat format{.N = 16, .K = 32, .block = 32};
  for (const AccuracyLevel level : kLevels) {
    DualGrainedMatMul::Create(format, level, GetParam())
        .Run({.format = format}, {}, nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
  }
}

TEST(DualRows, UnpackGivesTheWeights) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    std::vector<float> w(static_cast<size_t>(spec.format.N * spec.format.K));
    Unpack(problem.Weights(), w.data());
    for (int64_t n = 0; n < spec.format.N; ++n) {
      for (int64_t k = 0; k < spec.format.K; ++k) {
        EXPECT_EQ(w[static_cast<size_t>(n * spec.format.K + k)], static_cast<float>(problem.Weight(n, k)));
      }
    }
  });
}

TEST(DualFormatTest, BadFormatsAreNamed) {
  const auto message = [](DualFormat format) -> std::string {
    try {
      format.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.N = 16, .K = 64, .block = 32}), "");
  EXPECT_EQ(message({.N = 16, .K = 64, .block = 16}), "block_size is 16; permitted: 32, 64, 128, 256");
  EXPECT_EQ(message({.N = 0, .K = 64, .block = 32}), "N is 0; permitted: 1 to 268435456");
  EXPECT_EQ(message({.N = 1, .K = 65537, .block = 32}), "K is 65537; permitted: 1 to 65536");
}

}  // namespace
}  // namespace ortq::testing

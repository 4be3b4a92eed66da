// Scheme `mixed`: every kernel against exact arithmetic, on guard pages, over awkward shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include "core/error.h"
#include "schemes/mixed/kernels.h"
#include "tests/isa_test.h"
#include "tests/matmul_inputs.h"
#include "tests/scalars.h"
#include "tests/scheme_checks.h"

namespace ortq::testing {
namespace {

using mixed::MixedBitMatMul;
using mixed::MixedFormat;
using mixed::MixedWeights;

struct Spec : InputsSpec {
  MixedFormat format;
  bool extreme = false;  ///< codes, scales, zero points and outliers that make the largest sums

  std::string Describe() const {
    std::ostringstream text;
    text << "group " << format.group << ", refined " << format.refined << ", outliers " << format.outliers << ", N "
         << format.N << ", K " << format.K << ", " << InputsSpec::Describe();
    return text.str();
  }
};

/// A random weight, packed here by the definition of the layout, with its inputs. Maps have bits too many and some
/// outliers lie beyond their block: neither may have an effect.
class Problem {
 public:
  explicit Problem(const Spec& spec)
      : spec_(spec),
        random_(spec.seed),
        integers_(static_cast<size_t>(spec.format.N * spec.format.K)),
        parts_(integers_.size()),
        codes_(spec.Buffer(spec.format.Tiles() * spec.format.TileVectors() * 64)),
        scales_(spec.Buffer(spec.format.Tiles() * spec.format.Blocks() * 32)),
        groups_(spec.Buffer(spec.format.Tiles() * spec.format.Groups() * 16)),
        map_(spec.Buffer(spec.format.refined > 0 ? spec.format.Tiles() * spec.format.MapBytes() : 0)),
        positions_(spec.Buffer(Slots(spec.format))),
        values_(spec.Buffer(2 * Slots(spec.format))),
        inputs_(spec, spec.format.N, spec.format.K) {
    Pack();
  }

  MixedWeights Weights() const {
    return {spec_.format, codes_.data(),     scales_.data(), groups_.data(),
            map_.data(),  positions_.data(), values_.data()};
  }

  std::vector<float> Run(Isa isa, AccuracyLevel level, const ParallelFor& parallel = {}) {
    inputs_.SpoilY();
    MixedBitMatMul::Create(spec_.format, level, isa)
        .Run(Weights(), inputs_.epilogue(), inputs_.x(), inputs_.y(), spec_.type, spec_.M, parallel, {});
    return inputs_.Y();
  }

  /// Flips the upper bit of a stored code.
  void FlipTopBit(int64_t n, int64_t k) {
    codes_.data()[Byte(n / 16, k / 16, n % 16, k)] ^= static_cast<uint8_t>(2 << (k % 4 * 2));
  }
  void FlipOutlier(int64_t n) {
    values_.data()[2 * (n / 16 * Slots(spec_.format) / spec_.format.Tiles() + n % 16) + 1] ^= 0x40;
  }
  void SetActivation(int64_t m, int64_t k, float value) { inputs_.SetX(m, k, value); }

  double Weight(int64_t n, int64_t k) const {
    return Scale(n, k / BlockDepth()) * integers_[static_cast<size_t>(n * spec_.format.K + k)];
  }

  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) const {
    const bool quantized = level == AccuracyLevel::kInt8 && spec_.activations != ActivationKind::kExactInt8;
    return inputs_.CountErrors(
        y,
        [&](int64_t n, int64_t k) -> WeightTerm {
          const auto i = static_cast<size_t>(n * spec_.format.K + k);
          // The float kernels sum both pairs of bits, each less 2, and the rest of the offset apart.
          const double parts = level == AccuracyLevel::kFloat ? parts_[i] : std::abs(integers_[i]);
          return {Weight(n, k), Scale(n, k / BlockDepth()) * parts};
        },
        [&](int64_t m, int64_t k) { return quantized ? Step(m, k) : 0; });
  }

 private:
  static int64_t Slots(const MixedFormat& f) { return f.Tiles() * f.Blocks() * f.outliers * 16; }
  int64_t BlockDepth() const { return spec_.format.GroupsPerBlock() * spec_.format.group; }

  double Step(int64_t m, int64_t k) const {
    const int64_t begin = k / BlockDepth() * BlockDepth();
    double largest = 0;
    for (int64_t i = begin; i < std::min(spec_.format.K, begin + BlockDepth()); ++i) {
      largest = std::max(largest, std::fabs(inputs_.X(m, i)));
    }
    return largest / 127;
  }

  double Scale(int64_t n, int64_t c) const {
    const int64_t index = (n / 16 * spec_.format.Blocks() + c) * 16 + n % 16;
    return static_cast<double>(LoadScalar(scales_.data(), index, ScalarType::kFloat16));
  }

  int64_t Byte(int64_t tile, int64_t vector, int64_t lane, int64_t k) const {
    return (tile * spec_.format.TileVectors() + vector) * 64 + lane * 4 + k % 16 / 4;
  }

  int Draw(int least, int most) {
    return least + static_cast<int>(random_() % static_cast<unsigned>(most - least + 1));
  }

  void Pack() {
    const MixedFormat& f = spec_.format;
    for (const GuardedBuffer* buffer : {&codes_, &scales_, &groups_, &map_, &positions_, &values_}) {
      std::memset(buffer->data(), 0, buffer->size());
    }
    for (int64_t t = 0; t < f.Tiles(); ++t) PackTile(t);
  }

  void PackTile(int64_t t) {
    const MixedFormat& f = spec_.format;
    std::vector<int64_t> order(static_cast<size_t>(f.Groups()));
    for (size_t g = 0; g < order.size(); ++g) order[g] = static_cast<int64_t>(g);
    std::shuffle(order.begin(), order.end(), random_);
    std::sort(order.begin(), order.begin() + f.refined);
    std::vector<int64_t> rank(order.size(), -1);
    for (int64_t r = 0; r < f.refined; ++r) rank[static_cast<size_t>(order[static_cast<size_t>(r)])] = r;
    const int64_t last = f.refined > 0 ? order[static_cast<size_t>(f.refined - 1)] : 0;
    for (int64_t g = 0; f.refined > 0 && g < f.Groups(); ++g) {
      const bool surplus = g > last && random_() % 2 == 0;
      if (rank[static_cast<size_t>(g)] >= 0 || surplus) {
        map_.data()[t * f.MapBytes() + g / 8] |= static_cast<uint8_t>(1 << g % 8);
      }
    }
    std::uniform_real_distribution<float> magnitude(0.0005f, 0.002f);
    for (int64_t n = 16 * t; n < std::min(f.N, 16 * t + 16); ++n) {
      for (int64_t c = 0; c < f.Blocks(); ++c) {
        StoreScalar(scales_.data(), (t * f.Blocks() + c) * 16 + n % 16, magnitude(random_), ScalarType::kFloat16);
      }
      for (int64_t g = 0; g < f.Groups(); ++g) PackGroup(n, g, rank[static_cast<size_t>(g)]);
      for (int64_t slot = 0; slot < f.Blocks() * f.outliers; ++slot) PackOutlier(n, slot);
    }
  }

  void PackGroup(int64_t n, int64_t g, int64_t rank) {
    const MixedFormat& f = spec_.format;
    const int64_t t = n / 16;
    const int s = spec_.extreme ? 15 : Draw(0, 15);
    const int z = spec_.extreme ? 0 : Draw(0, 15);
    groups_.data()[(t * f.Groups() + g) * 16 + n % 16] = static_cast<uint8_t>(s | z << 4);
    for (int64_t k = g * f.group; k < std::min(f.K, (g + 1) * f.group); ++k) {
      const int upper = spec_.extreme ? 3 : Draw(0, 3);
      const int lower = rank < 0 ? 0 : spec_.extreme ? 3 : Draw(0, 3);
      codes_.data()[Byte(t, k / 16, n % 16, k)] |= static_cast<uint8_t>(upper << (k % 4 * 2));
      if (rank >= 0) {
        const int64_t vector = f.Vectors() + rank * (f.group / 16) + k % f.group / 16;
        codes_.data()[Byte(t, vector, n % 16, k)] |= static_cast<uint8_t>(lower << (k % 4 * 2));
      }
      const auto i = static_cast<size_t>(n * f.K + k);
      integers_[i] = s * (4 * upper + lower - z);
      parts_[i] = s * (4 * std::abs(upper - 2) + std::abs(8 - z) + (rank < 0 ? 0 : std::abs(lower - 2) + 2));
    }
  }

  void PackOutlier(int64_t n, int64_t slot) {
    const MixedFormat& f = spec_.format;
    const int64_t begin = slot / f.outliers * BlockDepth();
    const int64_t depth = std::min(BlockDepth(), f.K - begin);
    const bool beyond = depth < 256 && !spec_.extreme && random_() % 5 == 0;
    const auto position = beyond ? Draw(static_cast<int>(depth), 255) : Draw(0, static_cast<int>(depth) - 1);
    const auto value = static_cast<int16_t>(spec_.extreme ? 32767 : Draw(-3000, 3000));
    const int64_t index = (n / 16 * f.Blocks() * f.outliers + slot) * 16 + n % 16;
    positions_.data()[index] = static_cast<uint8_t>(position);
    std::memcpy(values_.data() + 2 * index, &value, 2);
    if (beyond) return;
    integers_[static_cast<size_t>(n * f.K + begin + position)] += value;
    parts_[static_cast<size_t>(n * f.K + begin + position)] += std::abs(value);
  }

  Spec spec_;
  std::mt19937 random_;
  std::vector<int> integers_;  // [N, K]
  std::vector<int> parts_;     // [N, K]: the parts that a float kernel sums, by magnitude
  GuardedBuffer codes_, scales_, groups_, map_, positions_, values_;
  MatMulInputs inputs_;
};

class MixedTest : public IsaTest {};
ORTQ_FOR_EACH_ISA(MixedTest);

MixedFormat Format(int64_t N, int64_t K, int64_t group, int64_t share, int64_t outliers) {
  MixedFormat format{.N = N, .K = K, .group = group, .outliers = outliers};
  format.refined = (format.Groups() * share + 2) / 4;
  return format;
}

template <typename Test>
void ForEachSpec(const Test& test) {
  for (size_t i = 0; i < 165; ++i) {
    Spec spec;
    const auto index = static_cast<int64_t>(i);
    spec.format = Format(DrawN(i), DrawK(i), int64_t{16} << i % 3, index % 5, index / 3 % 5);
    DrawInputs(i, spec);
    SCOPED_TRACE(spec.Describe());
    test(spec);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST_P(MixedTest, MeetsTheBound) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    for (const AccuracyLevel level : kLevels) EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
  });
}

TEST_P(MixedTest, ExactActivationsMeetTheFloatBoundAtTheInt8Level) {
  ForEachSpec([](Spec spec) {
    spec.activations = ActivationKind::kExactInt8;
    Problem problem(spec);
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
  });
}

TEST_P(MixedTest, Int8LevelGivesTheReferenceBits) {
  ForEachSpec([](const Spec& spec) {
    Problem problem(spec);
    EXPECT_EQ(problem.Run(GetParam(), AccuracyLevel::kInt8), problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  });
}

// 16-bit sums of a group of 64, and 32-bit ones of a block with its outliers.
TEST_P(MixedTest, LargestSumsFit) {
  for (const int64_t M : {1, 2, 3, 4, 12}) {
    Spec spec;
    spec.format = Format(17, 512, 64, 4, 4);
    spec.M = M;
    spec.extreme = true;
    spec.activations = ActivationKind::kExactInt8;
    SCOPED_TRACE(spec.Describe());
    Problem problem(spec);
    for (int64_t m = 0; m < M; ++m) {
      for (int64_t k = 0; k < spec.format.K; ++k) problem.SetActivation(m, k, m % 2 == 0 ? 127.0f : -127.0f);
    }
    EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), AccuracyLevel::kInt8), AccuracyLevel::kInt8), 0);
    EXPECT_EQ(problem.Run(GetParam(), AccuracyLevel::kInt8), problem.Run(Isa::kReference, AccuracyLevel::kInt8));
  }
}

TEST_P(MixedTest, OneWrongBitIsNoticed) {
  for (const AccuracyLevel level : kLevels) {
    Spec spec;
    spec.format = Format(33, 172, 32, 1, 1);
    spec.M = 3;
    spec.activations = ActivationKind::kExactInt8;
    for (uint32_t seed = 1; seed < 4; ++seed) {
      spec.seed = seed;
      Problem problem(spec);
      ASSERT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
      if (problem.Weight(32, 167) == 0) continue;
      for (int64_t m = 0; m < spec.M; ++m) problem.SetActivation(m, 167, 127.0f);
      problem.FlipTopBit(32, 167);
      EXPECT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), spec.M);
      problem.FlipTopBit(32, 167);
      ASSERT_EQ(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
      problem.FlipOutlier(0);
      EXPECT_GT(problem.CountErrors(problem.Run(GetParam(), level), level), 0);
    }
  }
}

TEST_P(MixedTest, SameBitsForAnyNumberOfThreads) {
  for (const int64_t M : {1, 7, 40}) {
    if (GetParam() == Isa::kReference && M > 7) continue;  // the same driver, and slow
    Spec spec;
    spec.format = Format(1000, 300, 32, 1, 1);
    spec.M = M;
    for (const AccuracyLevel level : kLevels) {
      ExpectSameBitsForAnyNumberOfThreads<Problem>(spec, GetParam(), level);
    }
  }
}

TEST_P(MixedTest, RowsDoNotDependOnTheirNeighboursAtTheInt8Level) {
  Spec spec;
  spec.format = Format(40, 300, 16, 2, 2);
  spec.M = 29;
  ExpectRowsToStandAlone<Problem>(spec, GetParam());
}

TEST_P(MixedTest, NonFiniteActivationsStayInTheirRow) {
  for (const int64_t M : {1, 3, 30}) {
    Spec spec;
    spec.format = Format(33, 172, 32, 1, 1);
    spec.M = M;
    for (const AccuracyLevel level : kLevels) {
      ExpectNonFiniteActivationsToStayInTheirRow<Problem>(
          spec, 170, GetParam(), level, [](const Problem& problem, int64_t n) { return problem.Weight(n, 170) == 0; });
    }
  }
}

TEST_P(MixedTest, ZeroAndTinyActivations) {
  for (const float value : {0.0f, 1e-41f, 1e-30f}) {
    Spec spec;
    spec.format = Format(16, 64, 32, 1, 1);
    Problem problem(spec);
    for (int64_t k = 0; k < 64; ++k) problem.SetActivation(0, k, k == 5 ? value : 0.0f);
    for (const float y : problem.Run(GetParam(), AccuracyLevel::kInt8)) EXPECT_TRUE(std::isfinite(y));
  }
}

TEST_P(MixedTest, NoRowsTouchNothing) {
  const MixedFormat format = Format(16, 32, 32, 4, 1);
  for (const AccuracyLevel level : kLevels) {
    MixedBitMatMul::Create(format, level, GetParam())
        .Run({.format = format}, {}, nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
  }
}

TEST(MixedRows, UnpackGivesTheWeights) {
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

TEST(MixedFormatTest, BadFormatsAreNamed) {
  const auto message = [](MixedFormat format) -> std::string {
    try {
      format.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.N = 16, .K = 64, .group = 32, .refined = 2, .outliers = 4}), "");
  EXPECT_EQ(message({.N = 16, .K = 64, .group = 128}), "block_size is 128; permitted: 16, 32, 64");
  EXPECT_EQ(message({.N = 16, .K = 64, .group = 32, .refined = 3}),
            "refined_groups is 3; permitted: 0 to 2, the groups of a row");
  EXPECT_EQ(message({.N = 16, .K = 64, .group = 32, .outliers = 5}), "outliers is 5; permitted: 0 to 4");
  EXPECT_EQ(message({.N = 0, .K = 64, .group = 32}), "N is 0; permitted: 1 to 268435456");
  EXPECT_EQ(message({.N = 1, .K = 1048577, .group = 32}), "K is 1048577; permitted: 1 to 1048576");
}

}  // namespace
}  // namespace ortq::testing

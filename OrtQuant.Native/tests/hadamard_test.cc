// The Hadamard transform: its matrices, and every kernel against their definition in double precision.
#include "schemes/smooth/hadamard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "core/error.h"
#include "tests/guarded_buffer.h"
#include "tests/isa_test.h"
#include "tests/scalars.h"
#include "tests/thread_pool.h"
#include "tests/tolerance.h"

namespace ortq::testing {
namespace {

using smooth::HadamardMatrix;
using smooth::HadamardOrder;
using smooth::HadamardOrderOf;
using smooth::HadamardTransform;

constexpr int64_t kFactors[] = {12, 20, 28, 36, 44, 60, 68, 76, 108, 140, 148, 172};

/// Element (i, j) of H of order n, from the Kronecker product.
int Element(const HadamardOrder& order, const std::vector<int8_t>& matrix, int64_t i, int64_t j) {
  const int sign = matrix[static_cast<size_t>(i / order.power * order.factor + j / order.power)];
  const auto common = static_cast<uint64_t>(i % order.power) & static_cast<uint64_t>(j % order.power);
  return std::popcount(common) % 2 == 0 ? sign : -sign;
}

TEST(Hadamard, EveryFactorIsOrthogonal) {
  for (const int64_t m : kFactors) {
    const std::vector<int8_t> h = HadamardMatrix(m);
    ASSERT_EQ(h.size(), static_cast<size_t>(m * m));
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < m; ++j) {
        EXPECT_EQ(std::abs(h[static_cast<size_t>(i * m + j)]), 1);
        int dot = 0;
        for (int64_t k = 0; k < m; ++k) dot += h[static_cast<size_t>(i * m + k)] * h[static_cast<size_t>(j * m + k)];
        EXPECT_EQ(dot, i == j ? m : 0) << "order " << m << ", rows " << i << " and " << j;
      }
    }
  }
}

TEST(Hadamard, OrdersOfRealModelsHaveAFactor) {
  for (const int64_t n : {64, 172, 576, 1536, 2048, 2816, 4096, 8960, 11008, 13824, 14336, 17408, 18944}) {
    const HadamardOrder order = HadamardOrderOf(n);
    EXPECT_EQ(order.factor * order.power, n);
  }
  EXPECT_EQ(HadamardOrderOf(11008).factor, 172);
  EXPECT_EQ(HadamardOrderOf(576).factor, 36);
  EXPECT_EQ(HadamardOrderOf(1).power, 1);
}

TEST(Hadamard, OtherOrdersAreNamed) {
  for (const int64_t n : {int64_t{0}, int64_t{-4}, int64_t{3}, int64_t{24 + 1}, int64_t{92}, int64_t{1} << 30}) {
    try {
      HadamardOrderOf(n);
      ADD_FAILURE() << n;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("K is " + std::to_string(n) + "; permitted: powers of two"),
                std::string::npos);
    }
  }
}

struct Spec {
  int64_t n;
  int64_t M = 1;
  ScalarType type = ScalarType::kFloat32;
  size_t offset = 0;
};

class Rows {
 public:
  explicit Rows(const Spec& spec)
      : spec_(spec),
        x_(static_cast<size_t>(spec.M * spec.n * ScalarBytes(spec.type)), Placement(), spec.offset),
        y_(x_.size(), Placement(), spec.offset) {
    std::mt19937 random(static_cast<uint32_t>(spec.n));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < spec.M * spec.n; ++i) StoreScalar(x_.data(), i, normal(random), spec.type);
  }

  float X(int64_t i) const { return LoadScalar(x_.data(), i, spec_.type); }
  void SetX(int64_t i, float value) { StoreScalar(x_.data(), i, value, spec_.type); }

  std::vector<float> Run(Isa isa, const ParallelFor& parallel = {}) {
    std::memset(y_.data(), 0xFF, y_.size());
    HadamardTransform(spec_.n, isa).Run(x_.data(), y_.data(), spec_.type, spec_.M, parallel, {});
    std::vector<float> y(static_cast<size_t>(spec_.M * spec_.n));
    for (size_t i = 0; i < y.size(); ++i) y[i] = LoadScalar(y_.data(), static_cast<int64_t>(i), spec_.type);
    return y;
  }

  /// Outputs further from the definition than a float32 sum of n terms in any order may be.
  int64_t CountErrors(const std::vector<float>& y) const {
    const int64_t n = spec_.n;
    const HadamardOrder order = HadamardOrderOf(n);
    const std::vector<int8_t> matrix = HadamardMatrix(order.factor);
    const double scale = 1 / std::sqrt(static_cast<double>(n));
    int64_t errors = 0;
    for (int64_t m = 0; m < spec_.M; ++m) {
      double absolute = 0;
      for (int64_t j = 0; j < n; ++j) absolute += std::fabs(static_cast<double>(X(m * n + j))) * scale;
      double bound = FloatBound(n, absolute);
      for (int64_t i = 0; i < n; ++i) {
        double exact = 0;
        for (int64_t j = 0; j < n; ++j) exact += static_cast<double>(X(m * n + j)) * Element(order, matrix, i, j);
        exact *= scale;
        const double limit = spec_.type == ScalarType::kFloat16 ? bound + HalfBound(std::fabs(exact) + bound) : bound;
        errors += !(std::fabs(static_cast<double>(y[static_cast<size_t>(m * n + i)]) - exact) <= limit);
      }
    }
    return errors;
  }

 private:
  GuardedBuffer::Placement Placement() const {
    return spec_.offset == 0 ? GuardedBuffer::Placement::kEnd : GuardedBuffer::Placement::kBegin;
  }

  Spec spec_;
  GuardedBuffer x_, y_;
};

class HadamardTest : public IsaTest {};
ORTQ_FOR_EACH_ISA(HadamardTest);

TEST_P(HadamardTest, MeetsTheBound) {
  size_t i = 0;
  for (const int64_t n :
       {1, 2, 4, 8, 16, 32, 64, 512, 12, 24, 40, 112, 288, 352, 480, 544, 608, 108, 1120, 296, 688, 1376}) {
    const Spec spec{.n = n,
                    .M = static_cast<int64_t>(1 + i % 3),
                    .type = i % 4 == 3 ? ScalarType::kFloat16 : ScalarType::kFloat32,
                    .offset = i % 2 == 0 ? 0 : i * 7 % 64};
    ++i;
    Rows rows(spec);
    EXPECT_EQ(rows.CountErrors(rows.Run(GetParam())), 0) << "n " << n;
  }
}

TEST_P(HadamardTest, GivesTheReferenceBits) {
  for (const int64_t n : {64, 1024, 288, 576, 2816, 11008}) {
    Rows rows({.n = n, .M = 2});
    EXPECT_EQ(rows.Run(GetParam()), rows.Run(Isa::kReference)) << "n " << n;
  }
}

// Negative control: a change of one value is seen in every output of its row.
TEST_P(HadamardTest, OneChangedValueIsNoticed) {
  Rows rows({.n = 192, .M = 2});
  const std::vector<float> y = rows.Run(GetParam());
  rows.SetX(192 + 17, rows.X(192 + 17) + 1);
  EXPECT_EQ(rows.CountErrors(y), 192);
}

TEST_P(HadamardTest, SameBitsForAnyNumberOfThreads) {
  Rows rows({.n = 1536, .M = 37});
  const std::vector<float> serial = rows.Run(GetParam());
  for (const int hint : {0, 2, 8}) {
    ThreadPool pool(3, hint);
    EXPECT_EQ(rows.Run(GetParam(), pool.parallel()), serial);
    EXPECT_GT(pool.largest_count(), 1u) << "the work was not cut";
  }
}

TEST_P(HadamardTest, NonFiniteValuesStayInTheirRow) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Rows rows({.n = 288, .M = 3});
    const std::vector<float> clean = rows.Run(GetParam());
    rows.SetX(288 + 100, value);
    const std::vector<float> y = rows.Run(GetParam());
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / 288 == 1) {
        EXPECT_FALSE(std::isfinite(y[i]));
      } else {
        EXPECT_EQ(y[i], clean[i]);
      }
    }
  }
}

TEST_P(HadamardTest, NoRowsTouchNothing) {
  HadamardTransform(64, GetParam()).Run(nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
}

}  // namespace
}  // namespace ortq::testing

// Scheme `group`: every kernel against double precision, on guard pages, over awkward shapes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/half.h"
#include "tests/group_problem.h"
#include "tests/isa_test.h"
#include "tests/thread_pool.h"

namespace ortq::testing {
namespace {

constexpr int64_t kWholeRow = -1;

class GroupTest : public IsaTest {
 protected:
  static MatMulNBits Create(const Problem& problem, AccuracyLevel level) {
    return MatMulNBits::Create(problem.spec().format, level, GetParam());
  }
};
ORTQ_FOR_EACH_ISA(GroupTest);

GroupFormat Format(int bits, int64_t N, int64_t K, int64_t block, ZeroPointKind zp, ScalarType scales) {
  return {.bits = bits,
          .N = N,
          .K = K,
          .block = block == kWholeRow ? K : block,
          .zp = zp,
          .scale_type = scales,
          .zp_type = zp == ZeroPointKind::kFloat ? scales : ScalarType::kUint8};
}

/// Calls test(spec) for every width, block size, zero-point kind and scale type, with shapes and inputs drawn.
template <typename Test>
void ForEachSpec(const Test& test) {
  size_t i = 0;
  for (const int bits : {2, 3, 4, 8}) {
    for (const int64_t block : {int64_t{16}, int64_t{32}, int64_t{64}, int64_t{128}, int64_t{256}, kWholeRow}) {
      for (const ZeroPointKind zp : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
        for (const ScalarType scales : {ScalarType::kFloat16, ScalarType::kFloat32}) {
          for (int repeat = 0; repeat < 3; ++repeat, ++i) {
            ProblemSpec spec;
            spec.format = Format(bits, DrawN(i), DrawK(i), block, zp, scales);
            DrawInputs(i, spec);
            SCOPED_TRACE(spec.Describe());
            test(spec);
            if (::testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(GroupTest, MeetsTheBound) {
  ForEachSpec([](const ProblemSpec& spec) {
    Problem problem(spec);
    for (const AccuracyLevel level : kLevels) {
      const MatMulNBits matmul = Create(problem, level);
      EXPECT_EQ(problem.CountErrors(problem.Run(matmul), level), 0) << matmul.kernel_name();
    }
  });
}

TEST_P(GroupTest, ExactActivationsMeetTheFloatBoundAtTheInt8Level) {
  ForEachSpec([](ProblemSpec spec) {
    spec.activations = ActivationKind::kExactInt8;
    spec.format.K = std::max<int64_t>(spec.format.K, 16);
    if (spec.format.block < 16) spec.format.block = spec.format.K;
    Problem problem(spec);
    EXPECT_EQ(problem.CountErrors(problem.Run(Create(problem, AccuracyLevel::kInt8)), AccuracyLevel::kInt8), 0);
  });
}

TEST_P(GroupTest, LargestCodesAndActivationsDoNotSaturate) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const int64_t block : {int64_t{16}, int64_t{32}, int64_t{128}, int64_t{256}, kWholeRow}) {
      for (const int64_t M : {1, 2, 3, 4, 12}) {
        ProblemSpec spec;
        spec.format = Format(bits, 32, 512, block, ZeroPointKind::kInteger, ScalarType::kFloat32);
        spec.M = M;
        spec.extreme_codes = true;
        spec.activations = ActivationKind::kExactInt8;
        SCOPED_TRACE(spec.Describe());
        Problem problem(spec);
        for (int64_t m = 0; m < M; ++m) {
          for (int64_t k = 0; k < spec.format.K; ++k) problem.SetActivation(m, k, m % 2 == 0 ? 127.0f : -127.0f);
        }
        for (const AccuracyLevel level : kLevels) {
          EXPECT_EQ(problem.CountErrors(problem.Run(Create(problem, level)), level), 0);
        }
      }
    }
  }
}

TEST_P(GroupTest, Int8LevelGivesTheReferenceBits) {
  ForEachSpec([](const ProblemSpec& spec) {
    Problem problem(spec);
    const auto reference = MatMulNBits::Create(spec.format, AccuracyLevel::kInt8, Isa::kReference);
    EXPECT_EQ(problem.Run(Create(problem, AccuracyLevel::kInt8)), problem.Run(reference));
  });
}

// Long rows take other paths: tiles side by side, several stretches of K in the float GEMM.
TEST_P(GroupTest, LongRows) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const ZeroPointKind zp : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
      for (const int64_t M : {1, 2, 26}) {
        if (GetParam() == Isa::kReference && M > 2) continue;  // the same code, and slow
        ProblemSpec spec;
        spec.format = Format(bits, 117, 32 * 1024 * 8 / (16 * bits) + 48, 64, zp, ScalarType::kFloat16);
        spec.M = M;
        SCOPED_TRACE(spec.Describe());
        Problem problem(spec);
        for (const AccuracyLevel level : kLevels) {
          EXPECT_EQ(problem.CountErrors(problem.Run(Create(problem, level)), level), 0);
        }
        if (M > 2) continue;
        const auto reference = MatMulNBits::Create(spec.format, AccuracyLevel::kInt8, Isa::kReference);
        EXPECT_EQ(problem.Run(Create(problem, AccuracyLevel::kInt8)), problem.Run(reference));
      }
    }
  }
}

TEST_P(GroupTest, OneWrongBitIsNoticed) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const AccuracyLevel level : kLevels) {
      ProblemSpec spec;
      spec.format = Format(bits, 33, 172, 32, ZeroPointKind::kInteger, ScalarType::kFloat16);
      spec.M = 3;
      spec.activations = ActivationKind::kExactInt8;
      SCOPED_TRACE(spec.Describe());
      Problem problem(spec);
      const MatMulNBits matmul = Create(problem, level);
      ASSERT_EQ(problem.CountErrors(problem.Run(matmul), level), 0);
      problem.FlipTopBit(32, 167);  // 167 % 16 = 7: every row has -127 there
      EXPECT_EQ(problem.CountErrors(problem.Run(matmul), level), spec.M);
    }
  }
}

TEST_P(GroupTest, SameBitsForAnyNumberOfThreads) {
  for (const int bits : {3, 4, 8}) {
    for (const int64_t M : {1, 7, 40, 200}) {
      for (const AccuracyLevel level : kLevels) {
        if (GetParam() == Isa::kReference && M > 7) continue;  // the same driver, and slow
        ProblemSpec spec;
        spec.format = Format(bits, 1000, 300, 32, ZeroPointKind::kInteger, ScalarType::kFloat16);
        spec.M = M;
        spec.bias = true;
        spec.rank = 2;
        Problem problem(spec);
        const MatMulNBits matmul = Create(problem, level);
        const std::vector<float> serial = problem.Run(matmul);
        for (const int hint : {0, 1, 2, 3, 8}) {
          ThreadPool pool(3, hint);
          EXPECT_EQ(problem.Run(matmul, pool.parallel()), serial) << spec.Describe() << ", hint " << hint;
          if (hint != 1 && M > 1) {
            EXPECT_GT(pool.largest_count(), 1u) << "the work was not cut";
          }
        }
      }
    }
  }
}

TEST_P(GroupTest, RowsDoNotDependOnTheirNeighboursAtTheInt8Level) {
  ProblemSpec spec;
  spec.format = Format(4, 40, 300, 64, ZeroPointKind::kNone, ScalarType::kFloat16);
  spec.M = 29;
  Problem many(spec);
  const std::vector<float> all = many.Run(Create(many, AccuracyLevel::kInt8));
  spec.M = 1;
  Problem one(spec);  // the same seed: its row is the first of `many`
  const std::vector<float> first = one.Run(Create(one, AccuracyLevel::kInt8));
  EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + 40), first);
}

TEST_P(GroupTest, NonFiniteActivationsStayInTheirRow) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    for (const int64_t M : {1, 3, 30}) {
      for (const AccuracyLevel level : kLevels) {
        ProblemSpec spec;
        spec.format = Format(4, 33, 172, 32, ZeroPointKind::kInteger, ScalarType::kFloat16);
        spec.M = M;
        Problem problem(spec);
        const MatMulNBits matmul = Create(problem, level);
        const std::vector<float> clean = problem.Run(matmul);
        problem.SetActivation(M / 2, 170, value);
        const std::vector<float> y = problem.Run(matmul);
        for (int64_t m = 0; m < M; ++m) {
          for (int64_t n = 0; n < 33; ++n) {
            const auto i = static_cast<size_t>(m * 33 + n);
            if (m == M / 2) {
              EXPECT_FALSE(std::isfinite(y[i])) << value << ", M " << M << ", n " << n;
            } else {
              EXPECT_EQ(y[i], clean[i]);
            }
          }
        }
      }
    }
  }
}

TEST_P(GroupTest, ZeroAndTinyActivations) {
  for (const float value : {0.0f, 1e-41f, 1e-30f, 3e38f}) {
    ProblemSpec spec;
    spec.format = Format(4, 16, 64, 32, ZeroPointKind::kNone, ScalarType::kFloat32);
    Problem problem(spec);
    for (int64_t k = 0; k < 64; ++k) problem.SetActivation(0, k, k == 5 ? value : 0.0f);
    for (const float y : problem.Run(Create(problem, AccuracyLevel::kInt8))) EXPECT_TRUE(std::isfinite(y));
  }
}

TEST_P(GroupTest, NoRowsTouchNothing) {
  const GroupFormat format = Format(4, 16, 32, 32, ZeroPointKind::kNone, ScalarType::kFloat16);
  for (const AccuracyLevel level : kLevels) {
    MatMulNBits::Create(format, level, GetParam())
        .Run({.format = format}, {}, nullptr, nullptr, ScalarType::kFloat32, 0, {}, {});
  }
}

TEST(GroupRows, GatherAndUnpackGiveTheWeights) {
  ForEachSpec([](const ProblemSpec& spec) {
    Problem problem(spec);
    const GroupFormat& f = spec.format;
    std::vector<float> w(static_cast<size_t>(f.N * f.K));
    Unpack(problem.Weights(), w.data());
    for (int64_t n = 0; n < f.N; ++n) {
      for (int64_t k = 0; k < f.K; ++k) {
        const double exact = problem.Weight(n, k);
        EXPECT_NEAR(static_cast<double>(w[static_cast<size_t>(n * f.K + k)]), exact, std::fabs(exact) * 0x1p-22 + 1e-9);
      }
    }
    const std::vector<int64_t> rows{f.N - 1, 0, f.N / 2, 0};
    ThreadPool pool(2, 2);
    std::vector<float> gathered(rows.size() * static_cast<size_t>(f.K));
    std::vector<uint16_t> halves(gathered.size());
    GatherRows(problem.Weights(), rows.data(), rows.size(), gathered.data(), ScalarType::kFloat32, pool.parallel());
    GatherRows(problem.Weights(), rows.data(), rows.size(), halves.data(), ScalarType::kFloat16, {});
    for (size_t i = 0; i < gathered.size(); ++i) {
      const size_t k = i % static_cast<size_t>(f.K);
      const auto n = static_cast<size_t>(rows[i / static_cast<size_t>(f.K)]);
      EXPECT_EQ(gathered[i], w[n * static_cast<size_t>(f.K) + k]);
      EXPECT_EQ(halves[i], FloatToHalf(gathered[i]));
    }
  });
}

TEST(GroupFormatTest, BadFormatsAreNamed) {
  const GroupFormat good = Format(4, 16, 64, 32, ZeroPointKind::kNone, ScalarType::kFloat16);
  const auto message = [](GroupFormat format) -> std::string {
    try {
      format.Validate();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(good), "");
  GroupFormat bad = good;
  bad.bits = 5;
  EXPECT_EQ(message(bad), "bits is 5; permitted: 2, 3, 4, 8");
  bad = good;
  bad.block = 48;
  EXPECT_EQ(message(bad), "block_size is 48; permitted: a power of two >= 16, or -1 for the whole row");
  bad = good;
  bad.K = 0;
  EXPECT_EQ(message(bad), "K is 0; permitted: 1 to 268435456");
  bad = good;
  bad.scale_type = ScalarType::kUint8;
  EXPECT_EQ(message(bad), "scales have ONNX type 2; permitted: 1 (float), 10 (float16)");
}

}  // namespace
}  // namespace ortq::testing

// What the tests of several schemes ask alike. A Problem is made from its Spec (an InputsSpec with a format) and has
// Run(Isa, AccuracyLevel, const ParallelFor&) and SetActivation(m, k, value).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/isa.h"
#include "tests/matmul_inputs.h"
#include "tests/thread_pool.h"

namespace ortq::testing {

/// A problem that is large enough to be cut gives the same bits on any number of threads.
template <typename Problem, typename Spec>
void ExpectSameBitsForAnyNumberOfThreads(Spec spec, Isa isa, AccuracyLevel level) {
  spec.bias = true;
  spec.rank = 2;
  Problem problem(spec);
  const std::vector<float> serial = problem.Run(isa, level);
  for (const int hint : {0, 2, 8}) {
    ThreadPool pool(3, hint);
    EXPECT_EQ(problem.Run(isa, level, pool.parallel()), serial) << spec.Describe() << ", hint " << hint;
    if (spec.M > 1) {
      EXPECT_GT(pool.largest_count(), 1u) << "the work was not cut";
    }
  }
}

/// At the int8 level the first row of many is what it is alone.
template <typename Problem, typename Spec>
void ExpectRowsToStandAlone(Spec spec, Isa isa) {
  const std::vector<float> all = Problem(spec).Run(isa, AccuracyLevel::kInt8);
  spec.M = 1;  // the same seed: its row is the first of many
  const std::vector<float> alone = Problem(spec).Run(isa, AccuracyLevel::kInt8);
  EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + spec.format.N), alone);
}

/// A NaN or an infinity at (M / 2, k) makes that row of Y non-finite and leaves the other rows alone. At the float
/// level an output whose weight is 0 there, as `is_zero(problem, n)` says, may have any value.
template <typename Problem, typename Spec, typename IsZero>
void ExpectNonFiniteActivationsToStayInTheirRow(const Spec& spec, int64_t k, Isa isa, AccuracyLevel level,
                                                const IsZero& is_zero) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Problem problem(spec);
    const std::vector<float> clean = problem.Run(isa, level);
    problem.SetActivation(spec.M / 2, k, value);
    const std::vector<float> y = problem.Run(isa, level);
    for (size_t i = 0; i < y.size(); ++i) {
      const auto n = static_cast<int64_t>(i) % spec.format.N;
      if (static_cast<int64_t>(i) / spec.format.N != spec.M / 2) {
        EXPECT_EQ(y[i], clean[i]);
      } else if (level == AccuracyLevel::kInt8 || !is_zero(problem, n)) {
        EXPECT_FALSE(std::isfinite(y[i])) << value << ", M " << spec.M;
      }
    }
  }
}

}  // namespace ortq::testing

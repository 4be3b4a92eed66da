// How far a kernel may be from the exact result, derived and never tuned.
//
// Unit roundoff u = 2^-24 (float32, round to nearest). A sum of n products evaluated in float32 in any order, with or
// without fused multiply-add, differs from the exact one by at most gamma(n) * S, S = sum of the absolute products,
// gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
//
// Float level. The kernels evaluate s * (sum (q - mid) x + (mid - zp) sum x), or dequantize first; every product passes
// at most K + kExtraRoundings roundings: the sum over k, its scale, the conversion of zero points and sums, the sum
// over groups. The absolute products are those of the two parts, |x| |s| (|q - mid| + |mid - zp|).
//
// Int8 level. On top of that an activation is off by at most half a step of its block plus the rounding of x / step
// (|x / step| <= 127, so 127 * 4 u of a step): (0.5 + kStepSlack) * step, step = absmax / 127, each times |w|.
//
// Float16 results add one rounding: 2^-11 |y|, or 2^-25 among the subnormals.
#pragma once

#include <cmath>
#include <cstdint>

namespace ortq::testing {

inline constexpr double kUnitRoundoff = 0x1p-24;
inline constexpr int64_t kExtraRoundings = 16;
inline constexpr double kStepSlack = 127 * 4 * kUnitRoundoff;

inline double Gamma(int64_t n) {
  const double nu = static_cast<double>(n) * kUnitRoundoff;
  return nu / (1 - nu);
}

/// absolute_products: sum over k of |x| |s| (|q - mid| + |mid - zp|), the epilogue's products included.
inline double FloatBound(int64_t terms, double absolute_products) {
  return Gamma(terms + kExtraRoundings) * absolute_products + 1e-37;
}

/// stepped_weights: sum over k of step(k) |w(k)|.
inline double ActivationBound(double stepped_weights) {
  return (0.5 + kStepSlack) * stepped_weights;
}

inline double HalfBound(double y) {
  return std::fabs(y) * 0x1p-11 + 0x1p-25;
}

}  // namespace ortq::testing

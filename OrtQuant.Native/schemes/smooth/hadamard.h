// Y = X . H^T / sqrt(n) along the last dimension, H a Hadamard matrix of order n = m * 2^k (SPEC.md,
// "HadamardTransform"):
//
//   H = H_m (x) S_2 (x) ... (x) S_2,  S_2 = [1 1; 1 -1]
//
// H is orthogonal up to sqrt(n), so a weight whose inputs are transformed likewise gives the same product.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa.h"
#include "core/types.h"

namespace ortq::smooth {

/// n = factor * power, power a power of two, factor 1 or an order that is built here.
struct HadamardOrder {
  int64_t n = 0;
  int64_t factor = 1;
  int64_t power = 1;
};

/// Throws Error when there is no such factor.
HadamardOrder HadamardOrderOf(int64_t n);

/// H_m, [m, m] of 1 and -1. Throws Error when m is not an order of a factor.
std::vector<int8_t> HadamardMatrix(int64_t m);

/// One row, in place: `row` and `room` hold n floats and are aligned to 64 bytes, `matrix` is [factor, factor]. Every
/// instruction set adds in the same order and gives the same bits.
using HadamardRow = void (*)(const HadamardOrder& order, const float* matrix, float scale, float* row, float* room);

void HadamardRowReference(const HadamardOrder& order, const float* matrix, float scale, float* row, float* room);
#if defined(ORTQUANT_X86_KERNELS)
void HadamardRowAvx2(const HadamardOrder& order, const float* matrix, float scale, float* row, float* room);
#endif

/// The transform of one order. Immutable and safe to run from several threads at once; results do not depend on the
/// number of threads.
class HadamardTransform {
 public:
  /// Throws Error when n is no order, or the instruction set is not available here.
  HadamardTransform(int64_t n, Isa isa);

  /// X and Y are [M, n] of type float32 or float16, of any alignment; M = 0 does nothing.
  void Run(const void* x, void* y, ScalarType type, int64_t M, const ParallelFor& parallel,
           const Scratch& scratch) const;

  Isa isa() const { return isa_; }

 private:
  Isa isa_;
  HadamardOrder order_;
  std::vector<float> matrix_;
  float scale_;
};

}  // namespace ortq::smooth

// Scheme `smooth` on the driver of core/matmul.cc: products are those of scheme `group` with 4 bits, bit for bit; rows
// are quantized in another way. At the int8 level, every operation in float32, rounded once, round to integers with
// ties to even, L = 7 (4 bits) or 127 (8 bits):
//
//   s[g]  = largest |x[k]| of the group g of channels: of this row, or of all finite rows of the call; 1 without
//           smoothing
//   r[g]  = 1 / s[g]                                       (0 where s[g] < 2^-100)
//   top   = largest |x[k] * r[g(k)]| of the row            = largest of (largest |x| of the group) * r[g]
//   a[k]  = round(x[k] * r[g(k)] * (L / top))              (0 where top < 2^-100)
//   scale = (s[g] * top) * fl(1 / L)
//
// and then per activation block, as in scheme `group`: y = fma(float(sum of q a), weight scale * scale, y).
#pragma once

#include <utility>

#include "core/matmul.h"
#include "core/tile_kernels.h"
#include "schemes/smooth/format.h"

namespace ortq::smooth {

/// Maxima and largest quotients below this count as zero: 127 / 2^-100 is far from the ends of float32.
inline constexpr float kLeastMagnitude = 0x1p-100f;

/// How rows are quantized, by instruction set.
const RowSmoother& ReferenceSmoother(SmoothScope scope);
#if defined(ORTQUANT_X86_KERNELS)
const RowSmoother& Avx2Smoother(SmoothScope scope);
#endif

/// The kernels of an instruction set that this machine supports; throws Error otherwise.
const KernelSet& KernelsFor(Isa isa, SmoothScope scope);

Layout MakeLayout(const SmoothFormat& format);

/// One matmul with a fixed weight geometry. Immutable and safe to run from several threads at once. Results depend
/// neither on the number of threads nor on how the work is cut, and at the int8 level not on the instruction set.
class RuntimeSmoothMatMul {
 public:
  /// Throws Error when the format is invalid or the instruction set is not available here.
  static RuntimeSmoothMatMul Create(const SmoothFormat& format, AccuracyLevel level, Isa isa);

  /// As TiledMatMul::Run. With SmoothScope::kCall a row of Y depends on the other rows of X.
  void Run(const SmoothWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const;

  const char* kernel_name() const { return matmul_.kernel_name(); }

 private:
  explicit RuntimeSmoothMatMul(TiledMatMul matmul) : matmul_(std::move(matmul)) {}
  TiledMatMul matmul_;
};

}  // namespace ortq::smooth

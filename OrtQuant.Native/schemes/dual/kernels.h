// Scheme `dual` on the driver of core/matmul.cc: which kernels an instruction set has, and the strides of a weight.
//
// The int8 level, for one row of X and one output, all integer until the last line:
//
//   a = clamp(round-half-even(x / step) - p, -127, 127)     the range of the row, 0 included, in 254 steps around p *
//   step t = sum over groups of  s * sum(q a) - z * sum(a)       = sum over k of w8 a, exact, in int32 from end to end
//   y = float(t + p * row sum) * (scale * step)
//
// Where s is multiplied in is an instruction set's own choice; integers come out the same. To the driver p is the
// offset of one more block of activations, the last.
#pragma once

#include "core/matmul.h"
#include "core/tile_kernels.h"
#include "schemes/dual/format.h"

namespace ortq::dual {

/// The kernels of an instruction set that this machine supports; throws Error otherwise.
const KernelSet& KernelsFor(Isa isa);

const KernelSet& ReferenceKernels();
#if defined(ORTQUANT_X86_KERNELS)
const KernelSet& Avx2Kernels();
const KernelSet& Avx512Kernels();
#endif

Layout MakeLayout(const DualFormat& format);

/// Tile 0 of a weight.
TileWeights FirstTile(const DualWeights& weights);

/// One matmul with a fixed weight geometry. Immutable and safe to run from several threads at once. Results depend
/// neither on the number of threads nor on how the work is cut, and at the int8 level not on the instruction set.
class DualGrainedMatMul {
 public:
  /// Throws Error when the format is invalid or the instruction set is not available here.
  static DualGrainedMatMul Create(const DualFormat& format, AccuracyLevel level, Isa isa);

  /// As TiledMatMul::Run.
  void Run(const DualWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const {
    matmul_.Run(FirstTile(weights), epilogue, x, y, type, M, parallel, scratch);
  }

  const char* kernel_name() const { return matmul_.kernel_name(); }

 private:
  explicit DualGrainedMatMul(TiledMatMul matmul) : matmul_(std::move(matmul)) {}
  TiledMatMul matmul_;
};

}  // namespace ortq::dual

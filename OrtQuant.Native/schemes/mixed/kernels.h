// Scheme `mixed` on the driver of core/matmul.cc: which kernels an instruction set has, and the strides of a weight.
//
// To the driver a group of the format is a block of activations (with a sum of its own) and a block of the format is a
// group: it has the scale. The int8 level, for one row of X, one output and one block, all integer until the last line:
//
//   a = round-half-even(x * 127 / absmax), |x| over the inputs of the block
//   t = sum over groups of s * (4 * sum(q / 4 * a) + sum(q % 4 * a) - z * sum(a)), plus sum over outliers of o * a
//   y = fma(float(t), scale * step, y),  step = absmax / 127
#pragma once

#include <string>
#include <utility>

#include "core/matmul.h"
#include "core/tile_kernels.h"
#include "schemes/mixed/format.h"

namespace ortq::mixed {

/// The kernels for an instruction set that this machine supports; throws Error otherwise. AVX-512 has those of AVX2.
const KernelSet& KernelsFor(Isa isa);

const KernelSet& ReferenceKernels();
#if defined(ORTQUANT_X86_KERNELS)
const KernelSet& Avx2Kernels();
#endif

Layout MakeLayout(const MixedFormat& format);

/// Tile 0 of a weight.
TileWeights FirstTile(const MixedWeights& weights);

/// One matmul with a fixed weight geometry. Immutable and safe to run from several threads at once. Results depend
/// neither on the number of threads nor on how the work is cut, and at the int8 level not on the instruction set.
class MixedBitMatMul {
 public:
  /// Throws Error when the format is invalid or the instruction set is not available here.
  static MixedBitMatMul Create(const MixedFormat& format, AccuracyLevel level, Isa isa);

  /// As TiledMatMul::Run.
  void Run(const MixedWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const {
    matmul_.Run(FirstTile(weights), epilogue, x, y, type, M, parallel, scratch);
  }

  const char* kernel_name() const { return matmul_.kernel_name(); }

 private:
  explicit MixedBitMatMul(TiledMatMul matmul) : matmul_(std::move(matmul)) {}
  TiledMatMul matmul_;
};

}  // namespace ortq::mixed

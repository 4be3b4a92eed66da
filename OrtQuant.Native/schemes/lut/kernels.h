// Scheme `lut` on the driver of core/matmul.cc.
//
// The int8 level, for one row of X, one output and one block of at most 128 k, all integer up to the last line:
//
//   step, a: SPEC.md, "Level 4": |a| <= 127, and the magnitudes of a quad of a add up to at most 255
//   A = sum a,  B = sum of the magnitudes of negative a,  P_i = sum over k with c_i = 1 of a
//   uniform: t = sum_i 2^i P_i - zp A        y += t * (scale * step)
//   free:    S_i = 2 P_i - A                 y += (sum_i alpha_i S_i + z A) * step
//
// Table kernels read P_i + B: a table holds the 16 sums of subsets of a quad, each less the least of them, which is
// minus the sum of the magnitudes of the quad's negative numbers, so entries are 0 .. 255. Reference kernels multiply.
// Either way the integers are the same, and the last line is rounded in one order everywhere.
//
// To the driver B is the sum of more blocks, behind those of A: offset b is -A of block b, offset blocks / 2 + b is -B.
#pragma once

#include "core/matmul.h"
#include "core/tile_kernels.h"
#include "schemes/lut/format.h"

namespace ortq::lut {

/// The kernels of an instruction set that this machine supports; throws Error otherwise.
const KernelSet& KernelsFor(Isa isa, bool free_levels);

const KernelSet& ReferenceKernels(bool free_levels);
#if defined(ORTQUANT_X86_KERNELS)
const KernelSet& Avx2Kernels(bool free_levels);
#endif

Layout MakeLayout(const LutFormat& format);

/// Activation blocks of a row; the layout counts them twice.
inline int64_t BlocksOf(const Layout& layout) {
  return layout.blocks / 2;
}

/// One matmul with a fixed weight geometry. Immutable and safe to run from several threads at once. Results depend
/// neither on the number of threads nor on how the work is cut; at the int8 level not on the number of rows either.
class LutGemm {
 public:
  /// Throws Error when the format is invalid or the instruction set is not available here.
  static LutGemm Create(const LutFormat& format, AccuracyLevel level, Isa isa);

  /// As TiledMatMul::Run.
  void Run(const LutWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const {
    matmul_.Run({weights.codes, weights.scales, weights.zero_points}, epilogue, x, y, type, M, parallel, scratch);
  }

  const char* kernel_name() const { return matmul_.kernel_name(); }

 private:
  explicit LutGemm(TiledMatMul matmul) : matmul_(std::move(matmul)) {}
  TiledMatMul matmul_;
};

}  // namespace ortq::lut

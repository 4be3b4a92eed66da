// Y = X . dequant(W)^T + bias + (X . A) . B for weights of scheme `group`.
#pragma once

#include <utility>

#include "core/matmul.h"
#include "schemes/group/format.h"

namespace ortq {

/// The matmul of scheme `group`. Immutable and safe to run from several threads at once.
///
/// AccuracyLevel::kFloat: products and sums in float32, one rounding per group and one scale multiplication per group.
/// AccuracyLevel::kInt8: each row of X is quantized once per call in blocks of min(block, 128) inputs (whole row: 128)
/// to round-half-even(x * 127 / absmax) in [-127, 127]; products accumulate exactly in int32 over an activation block
/// and are then scaled in float32.
///
/// Results depend neither on the number of threads nor on how the work is cut. A NaN or infinity in a row of X makes
/// that row of Y non-finite where its weight takes part, and leaves the other rows alone.
class MatMulNBits {
 public:
  /// Throws Error when the format is invalid or the instruction set is not available here.
  static MatMulNBits Create(const GroupFormat& format, AccuracyLevel level, Isa isa);

  /// X is [M, K], Y is [M, N], both of type float32 or float16; M = 0 does nothing. weights.format must equal the
  /// format given to Create. Buffers may have any alignment; nothing outside them is read.
  void Run(const GroupWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const;

  /// For example "avx512 int8 4-bit".
  const char* kernel_name() const { return matmul_.kernel_name(); }
  Isa isa() const { return matmul_.isa(); }

 private:
  explicit MatMulNBits(TiledMatMul matmul) : matmul_(std::move(matmul)) {}
  TiledMatMul matmul_;
};

}  // namespace ortq

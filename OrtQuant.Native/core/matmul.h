// Y = X . dequant(W)^T + bias + (X . A) . B.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/isa.h"
#include "core/types.h"
#include "schemes/group/format.h"

namespace ortq {

namespace group {
struct KernelSet;
struct Layout;
struct TileWeights;
}  // namespace group

/// One matmul over weights in tiles of 16 outputs, whatever scheme they are of: the scheme gives the kernels and the
/// strides. Immutable and safe to run from several threads at once.
///
/// Results depend neither on the number of threads nor on how the work is cut.
class TiledMatMul {
 public:
  /// `kernels` must outlive this; `name` says which they are.
  TiledMatMul(const group::KernelSet& kernels, const group::Layout& layout, int64_t N, AccuracyLevel level,
              std::string name);
  TiledMatMul(TiledMatMul&&) noexcept;
  TiledMatMul& operator=(TiledMatMul&&) noexcept;
  ~TiledMatMul();

  /// X is [M, K], Y is [M, N], both of type float32 or float16; M = 0 does nothing. `first` is tile 0 of the weights.
  /// Buffers may have any alignment; nothing outside them is read.
  void Run(const group::TileWeights& first, const Epilogue& epilogue, const void* x, void* y, ScalarType type,
           int64_t M, const ParallelFor& parallel, const Scratch& scratch) const;

  const char* kernel_name() const;
  Isa isa() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

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

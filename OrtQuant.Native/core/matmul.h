// Y = X . dequant(W)^T + bias + (X . A) . B.
#pragma once

#include <memory>
#include <string>

#include "core/isa.h"
#include "core/tile_kernels.h"
#include "core/types.h"

namespace ortq {

/// One matmul over weights in tiles of 16 outputs, whatever scheme they are of: the scheme gives the kernels and the
/// strides. Immutable and safe to run from several threads at once.
///
/// Results depend neither on the number of threads nor on how the work is cut.
class TiledMatMul {
 public:
  /// `kernels` must outlive this; `name` says which they are.
  TiledMatMul(const KernelSet& kernels, const Layout& layout, int64_t N, AccuracyLevel level, std::string name);
  TiledMatMul(TiledMatMul&&) noexcept;
  TiledMatMul& operator=(TiledMatMul&&) noexcept;
  ~TiledMatMul();

  /// X is [M, K], Y is [M, N], both of type float32 or float16; M = 0 does nothing. `first` is tile 0 of the weights.
  /// Buffers may have any alignment; nothing outside them is read.
  void Run(const TileWeights& first, const Epilogue& epilogue, const void* x, void* y, ScalarType type, int64_t M,
           const ParallelFor& parallel, const Scratch& scratch) const;

  const char* kernel_name() const;
  Isa isa() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ortq

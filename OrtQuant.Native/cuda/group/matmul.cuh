// Launches of one bit width and type of X; a source that CMake writes instantiates them.
#pragma once

#include "cuda/group/gemm.cuh"
#include "cuda/group/gemv.cuh"
#include "cuda/ortquant_cuda.h"

namespace ortq::cuda {

template <int BITS, typename T>
cudaError_t LaunchGemv(const GroupArgs& args, int threads, cudaStream_t stream) {
  const dim3 grid((args.tiles + 1) / 2, args.splits);
  // Groups that fill whole units are scaled after the sum of their integers.
  const bool whole_units = args.group_shift == 63 || 1 << args.group_shift >= Layout<BITS>::kUnitDepth;
  if (whole_units && args.zero_point_kind != ZeroPoints::kFloat) {
    Launch(GroupGemv<BITS, T, true>, grid, threads, 0, stream, args);
  } else {
    Launch(GroupGemv<BITS, T, false>, grid, threads, 0, stream, args);
  }
  return cudaGetLastError();
}

/// Calls use(Config<WARPS, COLUMNS, STAGES>) with the shape of a regime.
template <int WARPS, int COLUMNS, int STAGES>
struct Config {
  static constexpr int kWarps = WARPS, kColumns = COLUMNS, kStages = STAGES;
};

template <typename Use>
auto WithConfig(int regime, const Use& use) {
  switch (regime) {
    case ORTQ_CUDA_REGIME_SKINNY16:
      return use(Config<4, 2, 4>{});
    case ORTQ_CUDA_REGIME_SKINNY64:
      return use(Config<4, 8, 3>{});
    default:
      return use(Config<8, 16, 2>{});
  }
}

template <int BITS, typename T>
GemmShape ShapeOf(int regime) {
  return WithConfig(regime, [](auto config) {
    using C = decltype(config);
    using G = Gemm<BITS, T, C::kWarps, C::kColumns, C::kStages>;
    return GemmShape{G::kRows, G::kOutputs, G::kSharedBytes};
  });
}

template <int BITS, typename T>
cudaError_t LaunchGemm(const GroupArgs& args, int regime, cudaStream_t stream) {
  return WithConfig(regime, [&](auto config) {
    using C = decltype(config);
    using G = Gemm<BITS, T, C::kWarps, C::kColumns, C::kStages>;
    auto* kernel = GroupGemm<BITS, T, C::kWarps, C::kColumns, C::kStages>;
    // Neither a stream operation nor an allocation, so allowed while a graph is captured; for the current device.
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::kSharedBytes);
    if (error != cudaSuccess) return error;
    const dim3 grid(static_cast<unsigned>((args.N + G::kOutputs - 1) / G::kOutputs),
                    static_cast<unsigned>((args.M + G::kRows - 1) / G::kRows), args.splits);
    Launch(kernel, grid, G::kThreads, G::kSharedBytes, stream, args);
    return cudaGetLastError();
  });
}

#define ORTQ_INSTANTIATE_GROUP(BITS, T)                                                              \
  template cudaError_t LaunchGemv<BITS, T>(const GroupArgs& args, int threads, cudaStream_t stream); \
  template cudaError_t LaunchGemm<BITS, T>(const GroupArgs& args, int regime, cudaStream_t stream);  \
  template GemmShape ShapeOf<BITS, T>(int regime);

}  // namespace ortq::cuda

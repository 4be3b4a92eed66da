// What a kernel of scheme `group` is given. Plain data, passed by value.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace ortq::cuda {

enum class Type : int { kFloat = 1, kHalf = 10, kBfloat = 16 };

enum class ZeroPoints : int { kNone = 0, kInteger = 1, kFloat = 2 };

struct GroupArgs {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* zero_points;
  const void* x;
  void* y;
  const void* bias;
  const void* low_rank_b;
  const float* low_rank;  ///< X . A, [M, rank]
  float* partial;         ///< [splits, M, N] where splits > 1
  int64_t N;
  int64_t K;
  int64_t M;
  int64_t tile_bytes;
  int64_t groups;
  int64_t zero_point_rows;  ///< rows of 16 zero points a tile has
  int tiles;
  int group_shift;  ///< log2 of the group size; 63: a whole row
  int rank;
  int splits;
  ZeroPoints zero_point_kind;
  int half_scales;       ///< float16 scales; else float
  int half_zero_points;  ///< float16 zero points where they are floats
  int vector_x;          ///< rows of X can be read 16 bytes at a time
};

/// Blocks of a tensor-core regime: outputs and rows that one computes, and its dynamic shared memory.
struct GemmShape {
  int rows;
  int outputs;
  int shared_bytes;
};

/// Launches of one bit width and type of X (__half, __nv_bfloat16), each instantiated in a source of its own, which
/// CMake writes: compiling them takes a minute apiece. `threads`: 256 or 512; regime: SKINNY16, SKINNY64 or LARGE.
template <int BITS, typename T>
cudaError_t LaunchGemv(const GroupArgs& args, int threads, cudaStream_t stream);
template <int BITS, typename T>
cudaError_t LaunchGemm(const GroupArgs& args, int regime, cudaStream_t stream);
template <int BITS, typename T>
GemmShape ShapeOf(int regime);

cudaError_t LaunchSimple(const GroupArgs& args, int bits, Type type, cudaStream_t stream);
/// y = the parts of all splits, added in order, and the epilogue.
cudaError_t LaunchReduce(const GroupArgs& args, Type type, cudaStream_t stream);
/// out [M, rank] = X . A.
cudaError_t LaunchLowRank(const GroupArgs& args, Type type, const void* a, float* out, cudaStream_t stream);
cudaError_t LaunchGather(const GroupArgs& args, int bits, Type type, const void* indices, bool wide, int64_t count,
                         cudaStream_t stream);

}  // namespace ortq::cuda

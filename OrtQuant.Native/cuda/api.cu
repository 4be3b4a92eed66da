// The C ABI: checks arguments, chooses how to compute, launches. Host code only.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "cuda/device.cuh"
#include "cuda/group/args.h"
#include "cuda/group/layout.h"
#include "cuda/ortquant_cuda.h"

namespace ortq::cuda {
namespace {

thread_local std::string last_error;

int32_t Fail(int32_t code, const std::string& message) {
  last_error = message;
  return code;
}

int32_t Invalid(const std::string& message) {
  return Fail(ORTQ_CUDA_INVALID_ARGUMENT, message);
}

/// Turns an error of CUDA into ours.
int32_t Result(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return ORTQ_CUDA_OK;
  cudaGetLastError();  // a launch error is no concern of the next call
  return Fail(ORTQ_CUDA_FAILED, std::string(what) + ": " + cudaGetErrorString(error));
}

struct DeviceLimits {
  int multiprocessors = 0;
  int shared_bytes = 0;  ///< a block's, when it asks
};

cudaError_t Limits(DeviceLimits* limits) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&limits->multiprocessors, cudaDevAttrMultiProcessorCount, device);
      error != cudaSuccess) {
    return error;
  }
  return cudaDeviceGetAttribute(&limits->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

bool IsFloatType(int32_t type) {
  return type == 1 || type == 10;
}

bool Aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

int32_t CheckWeights(const ortq_cuda_group_weights& w) {
  if (w.bits != 2 && w.bits != 3 && w.bits != 4 && w.bits != 8) {
    return Invalid("bits is " + std::to_string(w.bits) + "; permitted: 2, 3, 4, 8");
  }
  constexpr int64_t kMaxExtent = int64_t{1} << 28;
  if (w.N < 1 || w.N > kMaxExtent || w.K < 1 || w.K > kMaxExtent) {
    return Invalid("N is " + std::to_string(w.N) + ", K is " + std::to_string(w.K) + "; permitted: 1 to 2^28");
  }
  if (w.block != w.K && (w.block < 16 || (w.block & (w.block - 1)) != 0)) {
    return Invalid("block is " + std::to_string(w.block) + "; permitted: a power of two >= 16, or K");
  }
  if (!IsFloatType(w.scale_type)) {
    return Invalid("scale_type is " + std::to_string(w.scale_type) + "; permitted: 1 (float), 10 (float16)");
  }
  if (w.zero_point_kind < 0 || w.zero_point_kind > 2) {
    return Invalid("zero_point_kind is " + std::to_string(w.zero_point_kind) + "; permitted: 0, 1, 2");
  }
  if (w.zero_point_kind == 2 && !IsFloatType(w.zero_point_type)) {
    return Invalid("zero_point_type is " + std::to_string(w.zero_point_type) +
                   "; permitted for float zero points: 1 (float), 10 (float16)");
  }
  return ORTQ_CUDA_OK;
}

int32_t CheckTensors(const ortq_cuda_group_weights& w) {
  if (w.codes == nullptr || w.scales == nullptr || (w.zero_point_kind != 0) != (w.zero_points != nullptr)) {
    return Invalid("a tensor of the weight is missing, or zero points are given where zero_point_kind is 0");
  }
  if (!Aligned(w.codes) || !Aligned(w.scales) || !Aligned(w.zero_points)) {
    return Invalid("a tensor of the weight is not aligned; required: 16 bytes");
  }
  return ORTQ_CUDA_OK;
}

int32_t CheckType(int32_t type) {
  if (type == 1 || type == 10 || type == 16) return ORTQ_CUDA_OK;
  return Invalid("type is " + std::to_string(type) + "; permitted: 1 (float), 10 (float16), 16 (bfloat16)");
}

int64_t Tiles(const ortq_cuda_group_weights& w) {
  return (w.N + kTile - 1) / kTile;
}

GroupArgs ArgsOf(const ortq_cuda_group_weights& w) {
  GroupArgs a{};
  a.codes = static_cast<const uint8_t*>(w.codes);
  a.scales = static_cast<const uint8_t*>(w.scales);
  a.zero_points = static_cast<const uint8_t*>(w.zero_points);
  a.N = w.N;
  a.K = w.K;
  a.tile_bytes = (w.K + 31) / 32 * kVectorBytes * w.bits;
  a.groups = (w.K + w.block - 1) / w.block;
  a.tiles = static_cast<int>(Tiles(w));
  a.group_shift = 63;
  if (w.block != w.K) {
    for (a.group_shift = 0; int64_t{1} << a.group_shift < w.block;) ++a.group_shift;
  }
  a.zero_point_kind = static_cast<ZeroPoints>(w.zero_point_kind);
  a.zero_point_rows = w.zero_point_kind == 1 ? (a.groups * ZeroPointBits(w.bits) + 7) / 8 : a.groups;
  a.half_scales = w.scale_type == 10;
  a.half_zero_points = w.zero_point_type == 10;
  a.splits = 1;
  return a;
}

GemmShape Shape(int bits, int regime) {
  return bits == 2   ? ShapeOf<2, __half>(regime)
         : bits == 3 ? ShapeOf<3, __half>(regime)
         : bits == 4 ? ShapeOf<4, __half>(regime)
                     : ShapeOf<8, __half>(regime);
}

int64_t BlocksOf(const ortq_cuda_group_weights& w, int64_t M, int regime) {
  if (regime == ORTQ_CUDA_REGIME_GEMV) return (Tiles(w) + 1) / 2;
  const GemmShape shape = Shape(w.bits, regime);
  return (w.N + shape.outputs - 1) / shape.outputs * ((M + shape.rows - 1) / shape.rows);
}

/// Blocks that share a sum, so that about `wanted` run at once and none has less than `least` k.
int SplitsFor(int64_t blocks, int64_t wanted, int64_t K, int64_t least) {
  const int64_t fill = std::max<int64_t>(1, (wanted + blocks / 2) / blocks);
  return static_cast<int>(std::clamp<int64_t>(std::min(fill, K / least), 1, 64));
}

/// A first choice by arithmetic, not by measurement: no kernel has run yet (docs/kernels-cuda.md).
void Choose(const ortq_cuda_group_weights& w, int32_t type, int64_t M, const DeviceLimits& limits,
            ortq_cuda_plan* plan) {
  plan->splits = 1;
  if (type == 1) {
    plan->regime = ORTQ_CUDA_REGIME_SIMPLE;
    return;
  }
  const int64_t processors = limits.multiprocessors;
  if (M <= 8) {
    plan->regime = ORTQ_CUDA_REGIME_GEMV;
    // 16 warps a multiprocessor have enough bytes in flight; a block has 8 or 16.
    const int64_t blocks = BlocksOf(w, M, plan->regime);
    if (2 * blocks <= processors) plan->splits = SplitsFor(blocks, processors, w.K, 1024);
    return;
  }
  const GemmShape large = Shape(w.bits, ORTQ_CUDA_REGIME_LARGE);
  plan->regime = M <= 16 ? ORTQ_CUDA_REGIME_SKINNY16 : ORTQ_CUDA_REGIME_SKINNY64;
  // Large blocks reuse weights more, and need enough of them to occupy the device.
  if (M > 64 && large.shared_bytes <= limits.shared_bytes &&
      4 * BlocksOf(w, M, ORTQ_CUDA_REGIME_LARGE) >= 3 * processors) {
    plan->regime = ORTQ_CUDA_REGIME_LARGE;
    return;
  }
  const int64_t resident = std::max(1, limits.shared_bytes / Shape(w.bits, plan->regime).shared_bytes);
  plan->splits = SplitsFor(BlocksOf(w, M, plan->regime), processors * std::min<int64_t>(resident, 3), w.K, 256);
}

int64_t LowRankBytes(int64_t M, int64_t rank) {
  return (M * rank * 4 + 255) / 256 * 256;
}

template <int BITS, typename T>
cudaError_t LaunchAs(const GroupArgs& args, int regime, int multiprocessors, cudaStream_t stream) {
  if (regime != ORTQ_CUDA_REGIME_GEMV) return LaunchGemm<BITS, T>(args, regime, stream);
  const int64_t blocks = static_cast<int64_t>((args.tiles + 1) / 2) * args.splits;
  return LaunchGemv<BITS, T>(args, blocks < 2 * multiprocessors ? 512 : 256, stream);
}

template <int BITS>
cudaError_t LaunchBits(const GroupArgs& args, Type type, int regime, int multiprocessors, cudaStream_t stream) {
  return type == Type::kHalf ? LaunchAs<BITS, __half>(args, regime, multiprocessors, stream)
                             : LaunchAs<BITS, __nv_bfloat16>(args, regime, multiprocessors, stream);
}

cudaError_t Launch(const GroupArgs& args, int bits, Type type, int regime, int multiprocessors, cudaStream_t stream) {
  if (regime == ORTQ_CUDA_REGIME_SIMPLE) return LaunchSimple(args, bits, type, stream);
  switch (bits) {
    case 2:
      return LaunchBits<2>(args, type, regime, multiprocessors, stream);
    case 3:
      return LaunchBits<3>(args, type, regime, multiprocessors, stream);
    case 4:
      return LaunchBits<4>(args, type, regime, multiprocessors, stream);
    default:
      return LaunchBits<8>(args, type, regime, multiprocessors, stream);
  }
}

int32_t CheckPlan(const ortq_cuda_plan& plan, int32_t type, int64_t M) {
  if (plan.regime < ORTQ_CUDA_REGIME_SIMPLE || plan.regime > ORTQ_CUDA_REGIME_LARGE) {
    return Invalid("regime is " + std::to_string(plan.regime) + "; permitted: 0 to 4");
  }
  if (type == 1 && plan.regime != ORTQ_CUDA_REGIME_SIMPLE) {
    return Invalid("regime is " + std::to_string(plan.regime) + "; permitted for float activations: 0");
  }
  if (plan.regime == ORTQ_CUDA_REGIME_GEMV && M > 8) {
    return Invalid("M is " + std::to_string(M) + "; permitted in regime 1: at most 8");
  }
  const int most = plan.regime == ORTQ_CUDA_REGIME_SIMPLE ? 1 : 64;
  if (plan.splits < 1 || plan.splits > most) {
    return Invalid("splits is " + std::to_string(plan.splits) + "; permitted: 1 to " + std::to_string(most));
  }
  return ORTQ_CUDA_OK;
}

}  // namespace
}  // namespace ortq::cuda

using namespace ortq::cuda;

extern "C" {

ORTQ_CUDA_EXPORT int32_t ortq_cuda_abi_version(void) {
  return ORTQ_CUDA_ABI_VERSION;
}

ORTQ_CUDA_EXPORT const char* ortq_cuda_last_error(void) {
  return last_error.c_str();
}

ORTQ_CUDA_EXPORT int32_t ortq_cuda_check_device(void) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return Fail(ORTQ_CUDA_NO_DEVICE, std::string("no CUDA device: ") +
                                         (error != cudaSuccess ? cudaGetErrorString(error) : "the driver lists none"));
  }
  int device = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (error != cudaSuccess) return Result(error, "cudaDeviceGetAttribute");
  if (major < 8) {
    return Fail(ORTQ_CUDA_NO_DEVICE, "the CUDA device has compute capability " + std::to_string(major) + "." +
                                         std::to_string(minor) + "; required: 8.0 or newer");
  }
  return ORTQ_CUDA_OK;
}

ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_workspace(const ortq_cuda_group_weights* weights, int64_t M, int64_t rank,
                                                   ortq_cuda_plan* plan) {
  plan->workspace_bytes =
      LowRankBytes(M, rank) + (plan->splits > 1 ? static_cast<int64_t>(plan->splits) * M * weights->N * 4 : 0);
  return ORTQ_CUDA_OK;
}

ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_plan(const ortq_cuda_group_weights* weights, int32_t type, int64_t M,
                                              int64_t rank, ortq_cuda_plan* plan) {
  if (const int32_t code = CheckWeights(*weights); code != ORTQ_CUDA_OK) return code;
  if (const int32_t code = CheckType(type); code != ORTQ_CUDA_OK) return code;
  DeviceLimits limits;
  if (const cudaError_t error = Limits(&limits); error != cudaSuccess) return Result(error, "asking for the device");
  Choose(*weights, type, M, limits, plan);
  return ortq_cuda_group_workspace(weights, M, rank, plan);
}

ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_matmul(const ortq_cuda_group_weights* weights,
                                                const ortq_cuda_epilogue* epilogue, const ortq_cuda_plan* plan,
                                                int32_t type, int64_t M, const void* x, void* y, void* workspace,
                                                void* stream) {
  for (const int32_t code : {CheckWeights(*weights), CheckTensors(*weights), CheckType(type)}) {
    if (code != ORTQ_CUDA_OK) return code;
  }
  if (const int32_t code = CheckPlan(*plan, type, M); code != ORTQ_CUDA_OK) return code;
  if (M == 0) return ORTQ_CUDA_OK;
  GroupArgs args = ArgsOf(*weights);
  args.x = x;
  args.y = y;
  args.M = M;
  args.splits = plan->splits;
  args.vector_x = Aligned(x) && weights->K % 8 == 0;
  auto* room = static_cast<uint8_t*>(workspace);
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (epilogue != nullptr) {
    args.bias = epilogue->bias;
    if (epilogue->rank > 0 && epilogue->low_rank_a != nullptr) {
      args.low_rank_b = epilogue->low_rank_b;
      args.low_rank = reinterpret_cast<float*>(room);
      args.rank = static_cast<int>(epilogue->rank);
      const cudaError_t error = LaunchLowRank(args, static_cast<Type>(type), epilogue->low_rank_a,
                                              reinterpret_cast<float*>(room), cuda_stream);
      if (error != cudaSuccess) return Result(error, "launching the low-rank product");
      room += LowRankBytes(M, epilogue->rank);
    }
  }
  args.partial = reinterpret_cast<float*>(room);
  DeviceLimits limits;
  if (const cudaError_t error = Limits(&limits); error != cudaSuccess) return Result(error, "asking for the device");
  cudaError_t error =
      Launch(args, weights->bits, static_cast<Type>(type), plan->regime, limits.multiprocessors, cuda_stream);
  if (error == cudaSuccess && args.splits > 1) error = LaunchReduce(args, static_cast<Type>(type), cuda_stream);
  return Result(error, "launching the product");
}

ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_gather(const ortq_cuda_group_weights* weights, int32_t type,
                                                const void* indices, int32_t index_type, int64_t count, void* y,
                                                void* stream) {
  for (const int32_t code : {CheckWeights(*weights), CheckTensors(*weights), CheckType(type)}) {
    if (code != ORTQ_CUDA_OK) return code;
  }
  if (index_type != 6 && index_type != 7) {
    return Invalid("index_type is " + std::to_string(index_type) + "; permitted: 6 (int32), 7 (int64)");
  }
  if (count == 0) return ORTQ_CUDA_OK;
  GroupArgs args = ArgsOf(*weights);
  args.y = y;
  return Result(LaunchGather(args, weights->bits, static_cast<Type>(type), indices, index_type == 7, count,
                             static_cast<cudaStream_t>(stream)),
                "launching the gather");
}

}  // extern "C"

// Everything around the tensor-core kernels, and a plain kernel in float for float activations. None of these is fast
// and none has to be: sums over splits and low-rank factors are small, rows of an embedding are few.
#include "cuda/group/decode.cuh"
#include "cuda/group/epilogue.cuh"

namespace ortq::cuda {
namespace {

/// Scale and zero point of one output, as the specification reads them.
struct Parameters {
  float scale;
  float zero_point;
};

__device__ float Scalar(const uint8_t* p, int64_t index, bool half) {
  return half ? __half2float(reinterpret_cast<const __half*>(p)[index]) : reinterpret_cast<const float*>(p)[index];
}

template <int BITS>
__device__ Parameters ParametersOf(const GroupArgs& a, int64_t tile, int lane, int64_t group) {
  const int64_t index = (tile * a.groups + group) * kTile + lane;
  Parameters p{Scalar(a.scales, index, a.half_scales), static_cast<float>(1 << (BITS - 1))};
  if (a.zero_point_kind == ZeroPoints::kFloat) p.zero_point = Scalar(a.zero_points, index, a.half_zero_points);
  if (a.zero_point_kind == ZeroPoints::kInteger) {
    constexpr int kBits = ZeroPointBits(BITS);
    const int64_t row = group * kBits / 8;
    const int stored = a.zero_points[(tile * a.zero_point_rows + row) * kTile + lane];
    p.zero_point = static_cast<float>((stored >> (group * kBits & 7)) & ((1 << kBits) - 1));
  }
  return p;
}

/// Calls use(k, w) for the kWordDepth weights of one word.
template <int BITS, typename Use>
__device__ void EachWeight(const GroupArgs& a, int64_t tile, int lane, int64_t vector, const Use& use) {
  using L = Layout<BITS>;
  const uint8_t* codes = a.codes + tile * a.tile_bytes + 4 * lane;
  const uint32_t low = Load<uint32_t>(codes + L::VectorOffset(vector));
  uint32_t high = 0;
  if (BITS == 3) high = Load<uint32_t>(codes + L::HighOffset(vector)) >> L::HighShift(vector);
  const int64_t first = vector * L::kWordDepth;  // groups hold whole words
  if (first >= a.K) return;
  const Parameters p = ParametersOf<BITS>(a, tile, lane, GroupOf(first, a.group_shift));
#pragma unroll
  for (int i = 0; i < L::kWordDepth; ++i) {
    uint32_t code = (low >> (i * L::kWidth)) & ((1u << L::kWidth) - 1u);
    if (BITS == 3) code |= ((high >> (i / 4 * 8 + i % 4)) & 1u) << 2;
    if (first + i < a.K) use(first + i, __fmul_rn(p.scale, __fsub_rn(static_cast<float>(code), p.zero_point)));
  }
}

constexpr int kSimpleRows = 4;
constexpr int kSimpleSlices = 16;

/// One tile, four rows: 16 lanes x 16 slices of K, added in order.
template <int BITS, typename T>
__global__ void __launch_bounds__(kTile* kSimpleSlices) GroupSimple(const __grid_constant__ GroupArgs a) {
  const int lane = threadIdx.x % kTile, slice = threadIdx.x / kTile;
  const int64_t tile = blockIdx.x % a.tiles;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x / a.tiles) * kSimpleRows;
  float sums[kSimpleRows] = {};
  const T* x = static_cast<const T*>(a.x);
  for (int64_t vector = slice; vector < Layout<BITS>::Vectors(a.K); vector += kSimpleSlices) {
    EachWeight<BITS>(a, tile, lane, vector, [&](int64_t k, float w) {
#pragma unroll
      for (int r = 0; r < kSimpleRows; ++r) {
        if (first_row + r < a.M) sums[r] = fmaf(w, ToFloat(x[(first_row + r) * a.K + k]), sums[r]);
      }
    });
  }
  __shared__ float parts[kSimpleSlices][kSimpleRows][kTile];
#pragma unroll
  for (int r = 0; r < kSimpleRows; ++r) parts[slice][r][lane] = sums[r];
  __syncthreads();
  if (slice >= kSimpleRows) return;
  float sum = 0;
  for (int i = 0; i < kSimpleSlices; ++i) sum += parts[i][slice][lane];
  Store<T>(a, sum, first_row + slice, tile * kTile + lane, 0);
}

template <typename T>
__global__ void Reduce(const __grid_constant__ GroupArgs a) {
  const int64_t count = a.M * a.N;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    float sum = 0;
    for (int split = 0; split < a.splits; ++split) sum += a.partial[split * count + i];
    static_cast<T*>(a.y)[i] = FromFloat<T>(sum);
  }
}

constexpr int kRankLanes = 32;
constexpr int kRankSlices = 8;

/// out[m, r] = sum over k of x[m, k] a[k, r]: a row of X a block, 8 slices of K added in order.
template <typename T>
__global__ void __launch_bounds__(kRankLanes* kRankSlices)
    LowRank(const __grid_constant__ GroupArgs args, const T* a, float* out) {
  const int r = static_cast<int>(blockIdx.y) * kRankLanes + threadIdx.x % kRankLanes;
  const int slice = threadIdx.x / kRankLanes;
  const int64_t m = blockIdx.x;
  float sum = 0;
  if (r < args.rank) {
    for (int64_t k = slice; k < args.K; k += kRankSlices) {
      sum = fmaf(ToFloat(static_cast<const T*>(args.x)[m * args.K + k]), ToFloat(a[k * args.rank + r]), sum);
    }
  }
  __shared__ float parts[kRankSlices][kRankLanes];
  parts[slice][threadIdx.x % kRankLanes] = sum;
  __syncthreads();
  if (slice != 0 || r >= args.rank) return;
  float total = 0;
  for (int i = 0; i < kRankSlices; ++i) total += parts[i][threadIdx.x];
  out[m * args.rank + r] = total;
}

template <int BITS, typename T>
__global__ void Gather(const __grid_constant__ GroupArgs a, const void* indices, bool wide) {
  const int64_t i = blockIdx.x;
  int64_t row = wide ? static_cast<const int64_t*>(indices)[i] : static_cast<const int32_t*>(indices)[i];
  if (row < 0) row += a.N;
  T* y = static_cast<T*>(a.y) + i * a.K;
  if (row < 0 || row >= a.N) {
    for (int64_t k = threadIdx.x; k < a.K; k += blockDim.x) y[k] = FromFloat<T>(__uint_as_float(0x7FC00000u));
    return;
  }
  const int lane = static_cast<int>(row % kTile);
  for (int64_t vector = threadIdx.x; vector < Layout<BITS>::Vectors(a.K); vector += blockDim.x) {
    EachWeight<BITS>(a, row / kTile, lane, vector, [&](int64_t k, float w) { y[k] = FromFloat<T>(w); });
  }
}

/// Calls launch(T{}) with the element type.
template <typename Launch>
cudaError_t WithType(Type type, const Launch& launch) {
  switch (type) {
    case Type::kFloat:
      launch(float{});
      break;
    case Type::kHalf:
      launch(__half{});
      break;
    case Type::kBfloat:
      launch(__nv_bfloat16{});
      break;
  }
  return cudaGetLastError();
}

template <int BITS>
struct Bits {
  static constexpr int kValue = BITS;
};

template <typename Launch>
void WithBits(int bits, const Launch& launch) {
  switch (bits) {
    case 2:
      return launch(Bits<2>{});
    case 3:
      return launch(Bits<3>{});
    case 4:
      return launch(Bits<4>{});
    default:
      return launch(Bits<8>{});
  }
}

}  // namespace

cudaError_t LaunchSimple(const GroupArgs& args, int bits, Type type, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(args.tiles * ((args.M + kSimpleRows - 1) / kSimpleRows));
  return WithType(type, [&](auto t) {
    WithBits(bits, [&](auto b) {
      Launch(GroupSimple<decltype(b)::kValue, decltype(t)>, grid, kTile * kSimpleSlices, 0, stream, args);
    });
  });
}

cudaError_t LaunchReduce(const GroupArgs& args, Type type, cudaStream_t stream) {
  const int64_t blocks = (args.M * args.N + 255) / 256;
  return WithType(type, [&](auto t) {
    Launch(Reduce<decltype(t)>, static_cast<unsigned>(blocks < 65536 ? blocks : 65536), 256, 0, stream, args);
  });
}

cudaError_t LaunchLowRank(const GroupArgs& args, Type type, const void* a, float* out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.M), (args.rank + kRankLanes - 1) / kRankLanes);
  return WithType(type, [&](auto t) {
    Launch(LowRank<decltype(t)>, grid, kRankLanes * kRankSlices, 0, stream, args, static_cast<const decltype(t)*>(a),
           out);
  });
}

cudaError_t LaunchGather(const GroupArgs& args, int bits, Type type, const void* indices, bool wide, int64_t count,
                         cudaStream_t stream) {
  return WithType(type, [&](auto t) {
    WithBits(bits, [&](auto b) {
      Launch(Gather<decltype(b)::kValue, decltype(t)>, static_cast<unsigned>(count), 128, 0, stream, args, indices,
             wide);
    });
  });
}

}  // namespace ortq::cuda

// What follows the sum over K.
#pragma once

#include "cuda/device.cuh"
#include "cuda/group/args.h"

namespace ortq::cuda {

/// bias + the low-rank term of output (m, n).
template <typename T>
__device__ __forceinline__ float Added(const GroupArgs& a, int64_t m, int64_t n) {
  float sum = a.bias != nullptr ? ToFloat(static_cast<const T*>(a.bias)[n]) : 0.0f;
#pragma unroll 1
  for (int r = 0; r < a.rank; ++r) {
    sum = fmaf(a.low_rank[m * a.rank + r], ToFloat(static_cast<const T*>(a.low_rank_b)[r * a.N + n]), sum);
  }
  return sum;
}

/// Stores a sum, or the part of split `split`; what is added belongs to split 0.
template <typename T>
__device__ __forceinline__ void Store(const GroupArgs& a, float sum, int64_t m, int64_t n, int split) {
  if (m >= a.M || n >= a.N) return;
  if (split == 0) sum += Added<T>(a, m, n);
  if (a.splits > 1) {
    a.partial[(split * a.M + m) * a.N + n] = sum;
  } else {
    static_cast<T*>(a.y)[m * a.N + n] = FromFloat<T>(sum);
  }
}

/// Four neighbouring outputs to which everything has been added, n a multiple of 4; at once where the row's start
/// permits it.
template <typename T>
__device__ __forceinline__ void StoreFour(const GroupArgs& a, const float (&sums)[4], int64_t m, int64_t n, int split) {
  if (m >= a.M || n >= a.N) return;
  const bool whole = a.N % 4 == 0;
  if (a.splits > 1) {
    float* part = a.partial + (split * a.M + m) * a.N + n;
    if (whole) {
      *reinterpret_cast<float4*>(part) = make_float4(sums[0], sums[1], sums[2], sums[3]);
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (n + i < a.N) part[i] = sums[i];
    }
    return;
  }
  T* y = static_cast<T*>(a.y) + m * a.N + n;
  if (whole) {
    *reinterpret_cast<uint2*>(y) = make_uint2(Pair16<T>::Pack(sums[0], sums[1]), Pair16<T>::Pack(sums[2], sums[3]));
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (n + i < a.N) y[i] = FromFloat<T>(sums[i]);
  }
}

}  // namespace ortq::cuda

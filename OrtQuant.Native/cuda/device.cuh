// One-instruction wrappers, and the few conversions that kernels of every scheme need.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace ortq::cuda {

/// 16-bit floats in pairs, as uint32_t outside of arithmetic.
template <typename T>
struct Pair16;

template <>
struct Pair16<__half> {
  static constexpr bool kBfloat = false;
  using Vector = __half2;
  static __device__ __forceinline__ uint32_t Bits(Vector v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return bits;
  }
  static __device__ __forceinline__ Vector Of(uint32_t bits) {
    Vector v;
    memcpy(&v, &bits, 4);
    return v;
  }
  static __device__ __forceinline__ Vector Both(float v) { return __float2half2_rn(v); }
  static __device__ __forceinline__ uint32_t Pack(float low, float high) { return Bits(__floats2half2_rn(low, high)); }
  static __device__ __forceinline__ float ToFloat(__half v) { return __half2float(v); }
  static __device__ __forceinline__ __half FromFloat(float v) { return __float2half_rn(v); }
};

template <>
struct Pair16<__nv_bfloat16> {
  static constexpr bool kBfloat = true;
  using Vector = __nv_bfloat162;
  static __device__ __forceinline__ uint32_t Bits(Vector v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return bits;
  }
  static __device__ __forceinline__ Vector Of(uint32_t bits) {
    Vector v;
    memcpy(&v, &bits, 4);
    return v;
  }
  static __device__ __forceinline__ Vector Both(float v) { return __float2bfloat162_rn(v); }
  static __device__ __forceinline__ uint32_t Pack(float low, float high) {
    return Bits(__floats2bfloat162_rn(low, high));
  }
  static __device__ __forceinline__ float ToFloat(__nv_bfloat16 v) { return __bfloat162float(v); }
  static __device__ __forceinline__ __nv_bfloat16 FromFloat(float v) { return __float2bfloat16_rn(v); }
};

__device__ __forceinline__ float ToFloat(float v) {
  return v;
}
__device__ __forceinline__ float ToFloat(__half v) {
  return __half2float(v);
}
__device__ __forceinline__ float ToFloat(__nv_bfloat16 v) {
  return __bfloat162float(v);
}
template <typename T>
__device__ __forceinline__ T FromFloat(float v) {
  if constexpr (sizeof(T) == 4) {
    return v;
  } else {
    return Pair16<T>::FromFloat(v);
  }
}

}  // namespace ortq::cuda

#if defined(ORTQ_CUDA_EMULATED)
#include "cuda/emulation/instructions.h"
#else
#include "cuda/instructions.cuh"
#endif

// CUDA on the host, as far as the kernels of this folder and their tests use it: the sources compile as C++ and run,
// block by block, every thread a fiber of its own that is switched at barriers and in tensor-core instructions. Slow,
// and no word on speed or on races within a warp; but indices, fragments, pipelines of asynchronous copies and barriers
// are those of the real kernels, so that a build without a GPU tests them (tests/cuda_test.cc). Device memory ends at a
// page that cannot be touched, and copies are made as late as the kernel's waits permit.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__   static
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

/// Of the fiber that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads();

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xFF) << (8 * i);
  return result;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
using cudaStream_t = void*;

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemset(void* memory, int value, size_t bytes);
cudaError_t cudaDeviceSynchronize();

namespace ortq::cuda::emulation {

/// Runs `body` as every thread of every block.
void Launch(const std::function<void()>& body, dim3 grid, unsigned threads, size_t shared_bytes);
uint8_t* DynamicShared();
/// Makes a copy of the running thread wait in its current group.
void CopyLater(void* to, const void* from, int bytes);
void CommitCopies();
/// Makes the copies of all groups but the latest `pending`.
void WaitCopies(int pending);
/// The tensor cores: gathers the fragments of the warp's 32 threads; element(i, bits) widens half i of a register.
void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], float (*element)(uint32_t bits));

}  // namespace ortq::cuda::emulation

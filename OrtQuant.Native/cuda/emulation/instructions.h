// instructions.cuh on the host.
#pragma once

#include "cuda/device.cuh"

namespace ortq::cuda {

template <typename... Parameters, typename... Arguments>
void Launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared_bytes, cudaStream_t,
            const Arguments&... arguments) {
  emulation::Launch([&] { kernel(arguments...); }, grid, threads, shared_bytes);
}

inline uint8_t* DynamicShared() {
  return emulation::DynamicShared();
}

/// A load that is not aligned to its size faults on a device.
template <typename V>
V Load(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(V) != 0) __builtin_trap();
  V value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline uint4 LoadStream(const void* p) {
  return Load<uint4>(p);
}

inline void CopyAsync(void* shared, const void* global, int bytes) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || reinterpret_cast<uintptr_t>(global) % 16 != 0) __builtin_trap();
  emulation::CopyLater(shared, global, bytes);
}
inline void CommitCopies() {
  emulation::CommitCopies();
}
template <int PENDING>
void WaitCopies() {
  emulation::WaitCopies(PENDING);
}

template <typename T>
void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::Mma(d, a, b, [](uint32_t bits) { return ToFloat(T{static_cast<uint16_t>(bits)}); });
}

}  // namespace ortq::cuda

// Cache-line-aligned memory for the length of one call.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "core/types.h"

namespace ortq {

/// Hands out aligned blocks from the caller's scratch allocator, or its own when there is none.
class CallBuffers {
 public:
  explicit CallBuffers(const Scratch& scratch) : scratch_(scratch) {}
  CallBuffers(const CallBuffers&) = delete;
  CallBuffers& operator=(const CallBuffers&) = delete;
  ~CallBuffers() {
    for (void* block : owned_) std::free(block);
  }

  template <typename T>
  T* Allocate(int64_t count) {
    constexpr size_t kAlignment = 64;
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
    void* block = scratch_.allocate != nullptr ? scratch_.allocate(scratch_.context, bytes) : std::malloc(bytes);
    if (block == nullptr) throw std::bad_alloc();
    if (scratch_.allocate == nullptr) owned_.push_back(block);
    const uintptr_t address = (reinterpret_cast<uintptr_t>(block) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(address);
  }

 private:
  Scratch scratch_;
  std::vector<void*> owned_;
};

}  // namespace ortq

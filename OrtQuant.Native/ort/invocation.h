// One Compute call of ONNX Runtime, as a kernel sees it. Nothing here allocates on the heap, whatever the number of
// nodes.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

/// Input `index` of a Compute call; data is null when it is absent.
TensorView ReadInput(const OrtApi& api, OrtKernelContext* context, size_t index);
/// Allocates the output of a Compute call and returns its memory.
void* AllocateOutput(const OrtApi& api, OrtKernelContext* context, std::span<const int64_t> shape, size_t index = 0);

class OrtInvocation final : public Invocation {
 public:
  OrtInvocation(const OrtApi& api, OrtKernelContext* context, OrtAllocator* allocator, int threads)
      : api_(api), context_(context), allocator_(allocator), threads_(threads) {}
  OrtInvocation(const OrtInvocation&) = delete;
  OrtInvocation& operator=(const OrtInvocation&) = delete;
  ~OrtInvocation() {
    for (void* block : blocks_) allocator_->Free(allocator_, block);
  }

  TensorView Input(size_t index) override { return ReadInput(api_, context_, index); }
  void* Output(std::span<const int64_t> shape) override { return AllocateOutput(api_, context_, shape); }
  void* State(size_t index, std::span<const int64_t> shape) override {
    return AllocateOutput(api_, context_, shape, index + 1);
  }
  ParallelFor Parallel() override { return {this, &OrtInvocation::Run, threads_}; }
  Scratch ScratchMemory() override { return {this, &OrtInvocation::Allocate}; }

 private:
  static void Run(void* self, size_t count, void (*body)(void* arg, size_t i), void* arg);
  static void* Allocate(void* self, size_t bytes);

  const OrtApi& api_;
  OrtKernelContext* context_;
  OrtAllocator* allocator_;
  int threads_;
  std::vector<void*> blocks_;  ///< of the session's allocator
  size_t inline_used_ = 0;
  /// Scratch of small calls, which one token through a small model is made of: an allocation of the session costs 0.1
  /// us, and a call makes several. Left uninitialized on purpose.
  alignas(64) std::array<std::byte, 32 * 1024> inline_;
};

}  // namespace ortq::ort

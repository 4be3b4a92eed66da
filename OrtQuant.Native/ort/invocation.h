// One Compute call of ONNX Runtime, as a kernel sees it. Nothing here allocates on the heap, whatever the number of
// nodes.
#pragma once

#include <array>
#include <vector>

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

class OrtInvocation final : public Invocation {
 public:
  OrtInvocation(const OrtApi& api, OrtKernelContext* context, OrtAllocator* allocator, int threads)
      : api_(api), context_(context), allocator_(allocator), threads_(threads) {}
  OrtInvocation(const OrtInvocation&) = delete;
  OrtInvocation& operator=(const OrtInvocation&) = delete;
  ~OrtInvocation() {
    for (size_t i = 0; i < count_; ++i) allocator_->Free(allocator_, blocks_[i]);
    for (void* block : more_blocks_) allocator_->Free(allocator_, block);
  }

  TensorView Input(size_t index) override;
  void* Output(std::span<const int64_t> shape) override;
  ParallelFor Parallel() override { return {this, &OrtInvocation::Run, threads_}; }
  Scratch ScratchMemory() override { return {this, &OrtInvocation::Allocate}; }

 private:
  static void Run(void* self, size_t count, void (*body)(void* arg, size_t i), void* arg);
  static void* Allocate(void* self, size_t bytes);

  const OrtApi& api_;
  OrtKernelContext* context_;
  OrtAllocator* allocator_;
  int threads_;
  std::array<void*, 8> blocks_;
  size_t count_ = 0;
  std::vector<void*> more_blocks_;
};

}  // namespace ortq::ort

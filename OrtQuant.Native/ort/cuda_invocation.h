// One Compute call on ONNX Runtime's CUDA provider: tensors are in device memory, work goes to the provider's stream.
#pragma once

#include <vector>

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

class OrtCudaInvocation final : public Invocation {
 public:
  OrtCudaInvocation(const OrtApi& api, OrtKernelContext* context, OrtAllocator* allocator)
      : api_(api), context_(context), allocator_(allocator) {}
  OrtCudaInvocation(const OrtCudaInvocation&) = delete;
  OrtCudaInvocation& operator=(const OrtCudaInvocation&) = delete;
  /// The memory goes back to the arena while the device may still use it: the arena gives it to work on the same stream
  /// only, which comes later.
  ~OrtCudaInvocation() {
    for (void* block : blocks_) allocator_->Free(allocator_, block);
  }

  TensorView Input(size_t index) override;
  void* Output(std::span<const int64_t> shape) override;
  ParallelFor Parallel() override { return {}; }
  Scratch ScratchMemory() override { return {this, &OrtCudaInvocation::Allocate}; }
  void* Stream() override;

 private:
  static void* Allocate(void* self, size_t bytes);

  const OrtApi& api_;
  OrtKernelContext* context_;
  OrtAllocator* allocator_;
  std::vector<void*> blocks_;
};

}  // namespace ortq::ort

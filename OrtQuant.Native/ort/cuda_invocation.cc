#include "ort/cuda_invocation.h"

#include "ort/invocation.h"

namespace ortq::ort {

TensorView OrtCudaInvocation::Input(size_t index) {
  return ReadInput(api_, context_, index);
}

void* OrtCudaInvocation::Output(std::span<const int64_t> shape) {
  return AllocateOutput(api_, context_, shape);
}

void* OrtCudaInvocation::Stream() {
  void* stream = nullptr;
  Check(api_, api_.KernelContext_GetGPUComputeStream(context_, &stream));
  return stream;
}

void* OrtCudaInvocation::Allocate(void* self, size_t bytes) {
  auto& call = *static_cast<OrtCudaInvocation*>(self);
  call.blocks_.reserve(call.blocks_.size() + 1);  // a block that was allocated is never lost
  const OrtMemoryInfo* memory = nullptr;
  Check(call.api_, call.api_.AllocatorGetInfo(call.allocator_, &memory));
  void* block = nullptr;  // marked with the call's stream, unlike one of the allocator itself
  Check(call.api_, call.api_.KernelContext_GetScratchBuffer(call.context_, memory, bytes, &block));
  if (block == nullptr) {
    throw Error(ErrorCode::kInternal, "no device memory for " + std::to_string(bytes) + " bytes of scratch");
  }
  call.blocks_.push_back(block);
  return block;
}

}  // namespace ortq::ort

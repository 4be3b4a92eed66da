#include "ort/invocation.h"

namespace ortq::ort {

TensorView ReadInput(const OrtApi& api, OrtKernelContext* context, size_t index) {
  const OrtValue* value = nullptr;
  Check(api, api.KernelContext_GetInput(context, index, &value));
  if (value == nullptr) return {};
  ONNXTensorElementDataType type{};
  const int64_t* shape = nullptr;
  size_t rank = 0;
  Check(api, api.GetTensorElementTypeAndShapeDataReference(value, &type, &shape, &rank));
  const void* data = nullptr;
  Check(api, api.GetTensorData(value, &data));
  return {type, {shape, rank}, data};
}

void* AllocateOutput(const OrtApi& api, OrtKernelContext* context, std::span<const int64_t> shape, size_t index) {
  OrtValue* value = nullptr;
  Check(api, api.KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value));
  void* data = nullptr;
  Check(api, api.GetTensorMutableData(value, &data));
  return data;
}

void OrtInvocation::Run(void* self, size_t count, void (*body)(void* arg, size_t i), void* arg) {
  const auto& call = *static_cast<OrtInvocation*>(self);
  // 0 batches: every index is scheduled on its own, so uneven tasks level out.
  Check(call.api_, call.api_.KernelContext_ParallelFor(call.context_, body, count, 0, arg));
}

void* OrtInvocation::Allocate(void* self, size_t bytes) {
  auto& call = *static_cast<OrtInvocation*>(self);
  if (bytes <= call.inline_.size() - call.inline_used_) {
    void* block = call.inline_.data() + call.inline_used_;
    call.inline_used_ += (bytes + 63) / 64 * 64;
    return block;
  }
  call.blocks_.reserve(call.blocks_.size() + 1);  // a block that was allocated is never lost
  void* block = call.allocator_->Alloc(call.allocator_, bytes);
  if (block == nullptr) {
    throw Error(ErrorCode::kInternal, "no memory for " + std::to_string(bytes) + " bytes of scratch");
  }
  call.blocks_.push_back(block);
  return block;
}

}  // namespace ortq::ort

// An op spec as ONNX Runtime's OrtCustomOp.
#pragma once

#include <vector>

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

/// One overload of an op: fixed types of input 0 and of the output; all other inputs take any type here and are checked
/// when the kernel is created, where the message can name what is permitted. For the same reason there are overloads
/// for types of input 0 that the op does not permit.
class CustomOp final : public OrtCustomOp {
 public:
  /// input_type: ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED stands for any type. cuda: of the CUDA provider, not the
  /// CPU's. state_type: of the outputs besides the first.
  CustomOp(const OrtApi& api, const OpSpec& spec, ElementType input_type, ElementType output_type, bool cuda,
           ElementType state_type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED);

  const OrtApi& api() const { return api_; }
  const OpSpec& spec() const { return spec_; }
  ElementType input_type() const { return input_type_; }
  ElementType output_type(size_t index) const { return index == 0 ? output_type_ : state_type_; }
  bool cuda() const { return cuda_; }

 private:
  const OrtApi& api_;
  const OpSpec& spec_;
  ElementType input_type_;
  ElementType output_type_;
  bool cuda_;
  ElementType state_type_;
};

/// All overloads of an op, permitted types first.
std::vector<CustomOp> Overloads(const OrtApi& api, const OpSpec& spec);

/// The overloads of an op on the CUDA provider: permitted types only, since those that are not belong to the CPU's.
std::vector<CustomOp> CudaOverloads(const OrtApi& api, const OpSpec& spec);

}  // namespace ortq::ort

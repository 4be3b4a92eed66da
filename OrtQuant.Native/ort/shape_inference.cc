#include "ort/shape_inference.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ortq::ort {
namespace {

std::optional<int64_t> IntAttribute(const OrtApi& api, const OrtShapeInferContext* context, const char* name) {
  const OrtOpAttr* attribute = nullptr;
  int64_t value = 0;
  size_t size = 0;
  if (!Succeeded(api, api.ShapeInferContext_GetAttribute(context, name, &attribute))) return std::nullopt;
  if (!Succeeded(api, api.ReadOpAttr(attribute, ORT_OP_ATTR_INT, &value, sizeof value, &size))) return std::nullopt;
  return value;
}

/// Dimensions with their names; a number has the name "".
struct Dimensions {
  std::vector<int64_t> sizes;
  std::vector<std::string> names;
};

/// A name for a dimension that has neither value nor name. ONNX Runtime would take "unknown" for the number -1, and it
/// has to differ from every other dimension's, which it is not known to equal.
std::string InventName() {
  static std::atomic<uint64_t> next = 0;
  return "ortquant_dimension_" + std::to_string(next++);
}

Dimensions DimensionsOf(const OrtApi& api, const OrtTensorTypeAndShapeInfo* info) {
  size_t rank = 0;
  Check(api, api.GetDimensionsCount(info, &rank));
  Dimensions dimensions{std::vector<int64_t>(rank), std::vector<std::string>(rank)};
  std::vector<const char*> names(rank);
  Check(api, api.GetDimensions(info, dimensions.sizes.data(), rank));
  Check(api, api.GetSymbolicDimensions(info, names.data(), rank));
  for (size_t i = 0; i < rank; ++i) {
    if (dimensions.sizes[i] < 0) dimensions.names[i] = *names[i] == '\0' ? InventName() : names[i];
  }
  return dimensions;
}

/// Sets type and shape of an output.
void Set(const OrtApi& api, OrtShapeInferContext* context, size_t index, ElementType type,
         const Dimensions& dimensions) {
  std::vector<const char*> names;
  for (const std::string& name : dimensions.names) names.push_back(name.c_str());
  OrtTensorTypeAndShapeInfo* created = nullptr;
  Check(api, api.CreateTensorTypeAndShapeInfo(&created));
  const auto release = [&api](OrtTensorTypeAndShapeInfo* info) { api.ReleaseTensorTypeAndShapeInfo(info); };
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(release)> output(created, release);
  Check(api, api.SetTensorElementType(output.get(), static_cast<ONNXTensorElementDataType>(type)));
  Check(api, api.SetDimensions(output.get(), dimensions.sizes.data(), dimensions.sizes.size()));
  Check(api, api.SetSymbolicDimensions(output.get(), names.data(), names.size()));
  Check(api, api.ShapeInferContext_SetOutputTypeShape(context, index, output.get()));
}

/// The outputs besides the first.
void InferStates(const OrtApi& api, const OpSpec& spec, OrtShapeInferContext* context) {
  for (size_t i = 0; i < spec.states.size(); ++i) {
    const StateSpec& state = spec.states[i];
    OrtTensorTypeAndShapeInfo* input = nullptr;  // owned by the context
    if (!Succeeded(api, api.ShapeInferContext_GetInputTypeShape(context, state.input, &input))) continue;
    ONNXTensorElementDataType type{};
    Check(api, api.GetTensorElementType(input, &type));
    Dimensions dimensions = DimensionsOf(api, input);
    if (state.growing_dimension >= dimensions.sizes.size()) continue;
    dimensions.sizes[state.growing_dimension] = -1;
    dimensions.names[state.growing_dimension] = InventName();
    Set(api, context, i + 1, type, dimensions);
  }
}

}  // namespace

ElementType OutputTypeFor(const OpSpec& spec, ElementType input_type) {
  const auto permitted = spec.inputs[0].types;
  const bool floating = std::ranges::find(permitted, input_type) != permitted.end() ||
                        input_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE ||
                        input_type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
  return floating ? input_type : spec.output.types[0];
}

void InferOutput(const OrtApi& api, const OpSpec& spec, OrtShapeInferContext* context) {
  InferStates(api, spec, context);
  const OutputRule& rule = spec.rule;
  const bool kept = rule.last == OutputRule::LastDimension::kKept;
  const std::optional<int64_t> size = kept ? 0 : IntAttribute(api, context, rule.size_attribute);
  OrtTensorTypeAndShapeInfo* input = nullptr;  // owned by the context
  if (!size || !Succeeded(api, api.ShapeInferContext_GetInputTypeShape(context, 0, &input))) return;

  ONNXTensorElementDataType input_type{};
  Check(api, api.GetTensorElementType(input, &input_type));
  ElementType type = OutputTypeFor(spec, input_type);
  if (rule.type_attribute != nullptr) {
    type = static_cast<ElementType>(IntAttribute(api, context, rule.type_attribute).value_or(0));
    if (std::ranges::find(spec.output.types, type) == spec.output.types.end()) return;
  }
  Dimensions dimensions = DimensionsOf(api, input);
  // Rank 0 stands for a scalar and for an unknown rank alike; then only a type that differs from the first overload's
  // is worth setting, which cannot be done without a shape.
  if (dimensions.sizes.empty() && (rule.type_attribute == nullptr || type == spec.output.types[0])) return;
  if (rule.last == OutputRule::LastDimension::kReplaced) {
    dimensions.sizes.pop_back();
    dimensions.names.pop_back();
  }
  if (!kept) {
    dimensions.sizes.push_back(*size);
    dimensions.names.emplace_back();
  }
  Set(api, context, 0, type, dimensions);
}

}  // namespace ortq::ort

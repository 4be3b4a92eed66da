#include "ort/shape_inference.h"

#include <memory>
#include <optional>
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

/// Dimensions with their symbolic names; a dimension with neither value nor name is -1 and "".
struct Dimensions {
  std::vector<int64_t> sizes;
  std::vector<const char*> names;
};

Dimensions DimensionsOf(const OrtApi& api, const OrtTensorTypeAndShapeInfo* info) {
  size_t rank = 0;
  Check(api, api.GetDimensionsCount(info, &rank));
  Dimensions dimensions{std::vector<int64_t>(rank), std::vector<const char*>(rank, "")};
  Check(api, api.GetDimensions(info, dimensions.sizes.data(), rank));
  Check(api, api.GetSymbolicDimensions(info, dimensions.names.data(), rank));
  return dimensions;
}

}  // namespace

void InferOutput(const OrtApi& api, const OpSpec& spec, OrtShapeInferContext* context) {
  const OutputRule& rule = spec.rule;
  const std::optional<int64_t> size = IntAttribute(api, context, rule.size_attribute);
  OrtTensorTypeAndShapeInfo* input = nullptr;  // owned by the context
  if (!size || !Succeeded(api, api.ShapeInferContext_GetInputTypeShape(context, 0, &input))) return;

  ONNXTensorElementDataType type{};
  Check(api, api.GetTensorElementType(input, &type));
  if (rule.type_attribute != nullptr) {
    const std::optional<int64_t> chosen = IntAttribute(api, context, rule.type_attribute);
    if (!chosen) return;
    type = static_cast<ONNXTensorElementDataType>(*chosen);
  }
  Dimensions dimensions = DimensionsOf(api, input);
  // Rank 0 stands for a scalar and for an unknown rank alike; then only a type that differs from the first overload's
  // is worth setting, which cannot be done without a shape.
  if (dimensions.sizes.empty() && (rule.type_attribute == nullptr || type == spec.output.types[0])) return;
  if (rule.last == OutputRule::LastDimension::kReplaced) {
    dimensions.sizes.pop_back();
    dimensions.names.pop_back();
  }
  dimensions.sizes.push_back(*size);
  dimensions.names.push_back("");

  OrtTensorTypeAndShapeInfo* created = nullptr;
  Check(api, api.CreateTensorTypeAndShapeInfo(&created));
  const auto release = [&api](OrtTensorTypeAndShapeInfo* info) { api.ReleaseTensorTypeAndShapeInfo(info); };
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(release)> output(created, release);
  Check(api, api.SetTensorElementType(output.get(), type));
  Check(api, api.SetDimensions(output.get(), dimensions.sizes.data(), dimensions.sizes.size()));
  Check(api, api.SetSymbolicDimensions(output.get(), dimensions.names.data(), dimensions.names.size()));
  Check(api, api.ShapeInferContext_SetOutputTypeShape(context, 0, output.get()));
}

}  // namespace ortq::ort

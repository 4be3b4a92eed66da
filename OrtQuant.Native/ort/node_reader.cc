#include "ort/node_reader.h"

namespace ortq::ort {
namespace {

/// Type and shape of an input or output; not present where the node leaves it out (it has no type then).
InputInfo Describe(const OrtApi& api, OrtTypeInfo* type_info) {
  InputInfo info;
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  Check(api, api.CastTypeInfoToTensorInfo(type_info, &tensor));
  info.present = true;
  if (tensor == nullptr) return info;  // a sequence or map: type 0, which no op permits
  ONNXTensorElementDataType type{};
  Check(api, api.GetTensorElementType(tensor, &type));
  info.type = type;
  info.shape_known = api.TensorTypeAndShape_HasShape(tensor);
  size_t rank = 0;
  Check(api, api.GetDimensionsCount(tensor, &rank));
  info.shape.resize(rank);
  Check(api, api.GetDimensions(tensor, info.shape.data(), rank));
  return info;
}

}  // namespace

OrtNodeReader::OrtNodeReader(const OrtApi& api, const OrtKernelInfo* info, bool constants)
    : api_(api), info_(info), constants_(constants) {
  Check(api_, api_.KernelInfo_GetInputCount(info_, &input_count_));
  Check(api_, api_.KernelInfo_GetConfigEntries(info_, &config_));
}

OrtNodeReader::~OrtNodeReader() {
  api_.ReleaseKeyValuePairs(config_);
}

std::string OrtNodeReader::Name() const {
  size_t size = 0;
  Check(api_, api_.KernelInfo_GetNodeName(info_, nullptr, &size));
  std::string name(size, '\0');
  Check(api_, api_.KernelInfo_GetNodeName(info_, name.data(), &size));
  name.resize(size - 1);  // without the terminator
  return name;
}

InputInfo OrtNodeReader::Input(size_t index) const {
  if (index >= input_count_) return {};
  OrtTypeInfo* type_info = nullptr;
  if (!Succeeded(api_, api_.KernelInfo_GetInputTypeInfo(info_, index, &type_info))) return {};
  InputInfo info;
  OrtStatus* status = Guarded(api_, [&] { info = Describe(api_, type_info); });
  api_.ReleaseTypeInfo(type_info);
  Check(api_, status);

  int constant = 0;
  const OrtValue* value = nullptr;
  Check(api_, api_.KernelInfoGetConstantInput_tensor(info_, index, &constant, &value));
  if (constant != 0 && value != nullptr) {
    ONNXTensorElementDataType type{};
    const int64_t* shape = nullptr;
    size_t rank = 0;
    Check(api_, api_.GetTensorElementTypeAndShapeDataReference(value, &type, &shape, &rank));
    info.shape.assign(shape, shape + rank);
    info.shape_known = true;
    if (constants_) Check(api_, api_.GetTensorData(value, &info.data));
  }
  return info;
}

ElementType OrtNodeReader::OutputType() const {
  OrtTypeInfo* type_info = nullptr;
  Check(api_, api_.KernelInfo_GetOutputTypeInfo(info_, 0, &type_info));
  InputInfo info;
  OrtStatus* status = Guarded(api_, [&] { info = Describe(api_, type_info); });
  api_.ReleaseTypeInfo(type_info);
  Check(api_, status);
  return info.type;
}

std::optional<int64_t> OrtNodeReader::Int(const char* attribute) const {
  int64_t value = 0;
  if (!Succeeded(api_, api_.KernelInfoGetAttribute_int64(info_, attribute, &value))) return std::nullopt;
  return value;
}

std::optional<std::string> OrtNodeReader::Text(const char* attribute) const {
  size_t size = 0;
  if (!Succeeded(api_, api_.KernelInfoGetAttribute_string(info_, attribute, nullptr, &size))) return std::nullopt;
  std::string text(size, '\0');
  Check(api_, api_.KernelInfoGetAttribute_string(info_, attribute, text.data(), &size));
  text.resize(size - 1);  // without the terminator
  return text;
}

std::optional<float> OrtNodeReader::Float(const char* attribute) const {
  float value = 0;
  if (!Succeeded(api_, api_.KernelInfoGetAttribute_float(info_, attribute, &value))) return std::nullopt;
  return value;
}

std::optional<AttributeKind> OrtNodeReader::Kind(const char* attribute) const {
  if (Int(attribute)) return AttributeKind::kInt;
  if (Text(attribute)) return AttributeKind::kString;
  if (Float(attribute)) return AttributeKind::kFloat;
  size_t size = 0;
  if (Succeeded(api_, api_.KernelInfoGetAttributeArray_int64(info_, attribute, nullptr, &size)))
    return AttributeKind::kInts;
  return std::nullopt;
}

std::string OrtNodeReader::Config(const char* key) const {
  const char* value = api_.GetKeyValue(config_, key);
  return value == nullptr ? "" : value;
}

}  // namespace ortq::ort

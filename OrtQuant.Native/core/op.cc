#include "core/op.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <iterator>

namespace ortq {
namespace {

constexpr const char* kTypeNames[] = {
    "undefined", "float32",    "uint8",      "int8",         "uint16",         "int16",      "int32",
    "int64",     "string",     "bool",       "float16",      "float64",        "uint32",     "uint64",
    "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};

template <typename Items, typename ToText>
std::string List(const Items& items, const ToText& text) {
  std::string list;
  for (const auto& item : items) list += (list.empty() ? "" : ", ") + text(item);
  return list;
}

const char* KindName(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kFloat:
      return "a float";
    case AttributeKind::kInt:
      return "an int";
    case AttributeKind::kString:
      return "a string";
    case AttributeKind::kInts:
      return "a list of ints";
  }
  return "of an unknown kind";
}

void CheckValue(const AttributeSpec& attribute, int64_t value) {
  if (attribute.values.empty() || std::ranges::find(attribute.values, value) != attribute.values.end()) return;
  const std::string permitted = List(attribute.values, [](int64_t v) { return std::to_string(v); });
  if (std::strcmp(attribute.name, kFormatVersion) == 0 && value > *std::ranges::max_element(attribute.values)) {
    throw Error(ErrorCode::kNotSupported, "attribute 'format_version' is " + std::to_string(value) +
                                              ": the model is newer than this library, which reads version " +
                                              permitted + "; update OrtQuant");
  }
  ThrowInvalid("attribute '", attribute.name, "' is ", value, "; permitted: ", permitted);
}

void CheckText(const AttributeSpec& attribute, const std::string& text) {
  if (attribute.texts.empty() || std::ranges::find(attribute.texts, text) != attribute.texts.end()) return;
  ThrowInvalid("attribute '", attribute.name, "' is '", text,
               "'; permitted: ", List(attribute.texts, [](const char* t) { return "'" + std::string(t) + "'"; }));
}

}  // namespace

std::string TypeName(ElementType type) {
  if (type < 0 || type >= static_cast<ElementType>(std::size(kTypeNames))) return "type " + std::to_string(type);
  return kTypeNames[type];
}

std::string ShapeText(std::span<const int64_t> shape) {
  return "[" + List(shape, [](int64_t size) { return size < 0 ? std::string("?") : std::to_string(size); }) + "]";
}

ElementType RequiredOutputType(const OpSpec& spec, const NodeReader& reader) {
  if (spec.rule.type_attribute == nullptr) return reader.Input(0).type;
  return static_cast<ElementType>(reader.Int(spec.rule.type_attribute).value_or(0));
}

NodeView::NodeView(const OpSpec& spec, const NodeReader& reader) : spec_(spec), reader_(reader) {
  for (const AttributeSpec& attribute : spec.attributes) CheckAttribute(attribute);
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    inputs_.push_back(reader.Input(i));
    CheckInput(i);
  }
  const ElementType required = RequiredOutputType(spec, reader);
  if (output_type() != required) {
    ThrowInvalid("output '", spec.output.name, "' has type ", TypeName(output_type()),
                 "; required: ", TypeName(required));
  }
}

void NodeView::CheckAttribute(const AttributeSpec& attribute) const {
  const std::optional<AttributeKind> kind = reader_.Kind(attribute.name);
  if (!kind) {
    if (attribute.required)
      ThrowInvalid("attribute '", attribute.name, "' is missing; required: ", KindName(attribute.kind));
    return;
  }
  if (*kind != attribute.kind) {
    ThrowInvalid("attribute '", attribute.name, "' is ", KindName(*kind), "; required: ", KindName(attribute.kind));
  }
  if (attribute.kind == AttributeKind::kInt) CheckValue(attribute, reader_.Int(attribute.name).value());
  if (attribute.kind == AttributeKind::kString) CheckText(attribute, reader_.Text(attribute.name).value());
}

void NodeView::CheckInput(size_t index) const {
  const InputSpec& input = spec_.inputs[index];
  const InputInfo& info = inputs_[index];
  if (!info.present) {
    if (!input.optional) ThrowInvalid("input ", index, " '", input.name, "' is missing");
    return;
  }
  if (std::ranges::find(input.types, info.type) != input.types.end()) return;
  ThrowInvalid("input ", index, " '", input.name, "' has type ", TypeName(info.type),
               "; permitted: ", List(input.types, TypeName));
}

int64_t NodeView::Int(const char* attribute) const {
  return reader_.Int(attribute).value();
}

int64_t NodeView::Int(const char* attribute, int64_t absent) const {
  return reader_.Int(attribute).value_or(absent);
}

std::string NodeView::Text(const char* attribute) const {
  return reader_.Text(attribute).value();
}

void NodeView::CheckShape(size_t index, std::span<const int64_t> shape) const {
  const InputInfo& info = inputs_[index];
  if (!info.present || !info.shape_known) return;
  const auto fits = [](int64_t actual, int64_t required) { return actual < 0 || required < 0 || actual == required; };
  if (std::ranges::equal(info.shape, shape, fits)) return;
  ThrowInvalid("input ", index, " '", spec_.inputs[index].name, "' has shape ", ShapeText(info.shape),
               "; required: ", ShapeText(shape), ", from ", spec_.inputs[index].shape);
}

void NodeView::CheckSameType(size_t index) const {
  const InputInfo& info = inputs_[index];
  if (!info.present || info.type == inputs_[0].type) return;
  ThrowInvalid("input ", index, " '", spec_.inputs[index].name, "' has type ", TypeName(info.type),
               "; required: ", TypeName(inputs_[0].type), ", the type of '", spec_.inputs[0].name, "'");
}

std::unique_ptr<Kernel> CreateKernel(const OpSpec& spec, const NodeReader& reader) {
  const auto where = [&] { return std::string(spec.name) + " node '" + reader.Name() + "': "; };
  try {
    return spec.create(NodeView(spec, reader));
  } catch (const Error& error) {
    throw Error(error.code(), where() + error.what());
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, where() + error.what());
  }
}

ShapeBuffer::ShapeBuffer(std::span<const int64_t> leading) : rank_(leading.size()) {
  if (rank_ > kMaxRank) ThrowInvalid("an input has rank ", rank_, "; permitted: at most ", kMaxRank);
  std::ranges::copy(leading, sizes_.begin());
}

}  // namespace ortq

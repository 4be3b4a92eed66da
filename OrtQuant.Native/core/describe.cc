#include "core/describe.h"

#include <algorithm>

#include "core/isa.h"
#include "include/ortquant.h"
#include "schemes/schemes.h"

namespace ortq {
namespace {

std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + '"';
}

template <typename Items, typename ToJson>
std::string Array(const Items& items, const ToJson& json) {
  std::string array;
  for (const auto& item : items) array += (array.empty() ? "" : ", ") + json(item);
  return "[" + array + "]";
}

const char* RoleName(TensorRole role) {
  switch (role) {
    case TensorRole::kActivation:
      return "Activation";
    case TensorRole::kIndices:
      return "Indices";
    case TensorRole::kPackedWeight:
      return "PackedWeight";
    case TensorRole::kScale:
      return "Scale";
    case TensorRole::kZeroPoint:
      return "ZeroPoint";
    case TensorRole::kRowSum:
      return "RowSum";
    case TensorRole::kChannelOrder:
      return "ChannelOrder";
    case TensorRole::kSparse:
      return "Sparse";
    case TensorRole::kBias:
      return "Bias";
    case TensorRole::kLowRankA:
      return "LowRankA";
    case TensorRole::kLowRankB:
      return "LowRankB";
    case TensorRole::kCache:
      return "Cache";
    case TensorRole::kMask:
      return "Mask";
    case TensorRole::kLength:
      return "Length";
  }
  return "";
}

const char* KindName(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kFloat:
      return "Float";
    case AttributeKind::kInt:
      return "Int";
    case AttributeKind::kString:
      return "String";
    case AttributeKind::kInts:
      return "Ints";
  }
  return "";
}

const char* Bool(bool value) {
  return value ? "true" : "false";
}

std::string Types(std::span<const ElementType> types) {
  return Array(types, [](ElementType type) { return Quote(TypeName(type)); });
}

std::string Input(const InputSpec& input) {
  return "{\"name\": " + Quote(input.name) + ", \"role\": " + Quote(RoleName(input.role)) +
         ", \"types\": " + Types(input.types) + ", \"shape\": " + Quote(input.shape) +
         ", \"optional\": " + Bool(input.optional) + "}";
}

std::string Output(const OutputSpec& output) {
  return "{\"name\": " + Quote(output.name) + ", \"types\": " + Types(output.types) +
         ", \"shape\": " + Quote(output.shape) + "}";
}

std::string Attribute(const AttributeSpec& attribute) {
  std::string json = "{\"name\": " + Quote(attribute.name) + ", \"kind\": " + Quote(KindName(attribute.kind)) +
                     ", \"required\": " + Bool(attribute.required);
  if (!attribute.values.empty()) {
    json += ", \"permitted\": " + Array(attribute.values, [](int64_t value) { return std::to_string(value); });
  } else if (!attribute.texts.empty()) {
    json += ", \"permitted\": " + Array(attribute.texts, [](const char* text) { return Quote(text); });
  }
  return json + "}";
}

std::string State(const StateSpec& state) {
  return ", " + Output(state.output);
}

std::string Op(const OpSpec* op) {
  std::string states;
  for (const StateSpec& state : op->states) states += State(state);
  return "{\"name\": " + Quote(op->name) + ", \"since_version\": " + std::to_string(op->since_version) +
         ", \"inputs\": " + Array(op->inputs, Input) + ", \"outputs\": [" + Output(op->output) + states +
         "], \"attributes\": " + Array(op->attributes, Attribute) + "}";
}

std::string SchemeJson(const Scheme* scheme) {
  return "{\"name\": " + Quote(scheme->name) + ", \"ops\": " + Array(scheme->ops, Op) + "}";
}

std::string IsaJson(Isa isa) {
  const bool available = std::ranges::find(SupportedIsas(), isa) != SupportedIsas().end();
  return "{\"name\": " + Quote(IsaName(isa)) + ", \"available\": " + Bool(available) + "}";
}

std::string ActiveIsaJson() {
  try {
    return "\"active_isa\": " + Quote(IsaName(ActiveIsa()));
  } catch (const Error& error) {
    return "\"active_isa\": null, \"error\": " + Quote(error.what());
  }
}

}  // namespace

std::string Describe() {
  constexpr Isa kIsas[] = {Isa::kAvx512, Isa::kAvx2, Isa::kReference};
  return "{\"version\": " + Quote(ortq_version()) + ", \"abi_version\": " + std::to_string(ortq_abi_version()) +
         ", \"domain\": \"ortquant\", \"isas\": " + Array(kIsas, IsaJson) + ", " + ActiveIsaJson() +
         ", \"schemes\": " + Array(Schemes(), SchemeJson) + ", \"ops\": " + Array(OtherOps(), Op) + "}";
}

}  // namespace ortq

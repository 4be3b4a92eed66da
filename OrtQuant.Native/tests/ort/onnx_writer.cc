#include "tests/ort/onnx_writer.h"

namespace ortq::test {
namespace {

constexpr int kVarint = 0, kLengthDelimited = 2, kFixed32 = 5;

Message ShapeOf(const Value& value) {
  Message shape;
  for (const Dimension& dimension : value.shape) {
    Message dim;
    if (const auto* number = std::get_if<int64_t>(&dimension)) {
      dim.Int(1, *number);
    } else {
      dim.Text(2, std::get<std::string>(dimension));
    }
    shape.Nested(1, dim);
  }
  return shape;
}

Message Proto(const Value& value) {
  Message tensor;
  tensor.Int(1, value.type);
  if (value.has_shape) tensor.Nested(2, ShapeOf(value));
  return Message().Text(1, value.name).Nested(2, Message().Nested(1, tensor));
}

Message Proto(const Initializer& initializer) {
  Message tensor;
  for (const int64_t dim : initializer.dims) tensor.Int(1, dim);
  tensor.Int(2, initializer.type).Text(8, initializer.name);
  const External& external = initializer.external;
  if (external.file.empty()) return tensor.Text(9, initializer.raw);
  for (const auto& [key, text] :
       std::vector<std::pair<std::string, std::string>>{{"location", external.file},
                                                        {"offset", std::to_string(external.offset)},
                                                        {"length", std::to_string(external.length)}}) {
    tensor.Nested(13, Message().Text(1, key).Text(2, text));
  }
  return tensor.Int(14, 1);
}

Message Proto(const Attribute& attribute) {
  Message proto;
  proto.Text(1, attribute.name);
  if (const auto* integer = std::get_if<int64_t>(&attribute.value)) return proto.Int(3, *integer).Int(20, 2);
  if (const auto* number = std::get_if<float>(&attribute.value)) return proto.Float(2, *number).Int(20, 1);
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return proto.Text(4, *text).Int(20, 3);
  for (const int64_t item : std::get<std::vector<int64_t>>(attribute.value)) proto.Int(8, item);
  return proto.Int(20, 7);
}

Message Proto(const Node& node) {
  Message proto;
  for (const std::string& input : node.inputs) proto.Text(1, input);
  for (const std::string& output : node.outputs) proto.Text(2, output);
  proto.Text(3, node.name).Text(4, node.op_type);
  for (const Attribute& attribute : node.attributes) proto.Nested(5, Proto(attribute));
  return proto.Text(7, node.domain);
}

}  // namespace

void Message::Varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
  bytes_.push_back(static_cast<char>(value));
}

Message& Message::Int(int field, int64_t value) {
  Varint(static_cast<uint64_t>(field) << 3 | kVarint);
  Varint(static_cast<uint64_t>(value));
  return *this;
}

Message& Message::Float(int field, float value) {
  Varint(static_cast<uint64_t>(field) << 3 | kFixed32);
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  bytes_.append(raw, sizeof value);
  return *this;
}

Message& Message::Text(int field, std::string_view value) {
  Varint(static_cast<uint64_t>(field) << 3 | kLengthDelimited);
  Varint(value.size());
  bytes_.append(value);
  return *this;
}

std::string Model::Serialize() const {
  Message graph;
  for (const Node& node : nodes) graph.Nested(1, Proto(node));
  graph.Text(2, "test");
  for (const Initializer& initializer : initializers) graph.Nested(5, Proto(initializer));
  for (const Value& input : inputs) graph.Nested(11, Proto(input));
  for (const Value& output : outputs) graph.Nested(12, Proto(output));
  Message model;
  model.Int(1, ir_version).Nested(7, graph);
  for (const auto& [domain, version] : opsets) model.Nested(8, Message().Text(1, domain).Int(2, version));
  return model.bytes();
}

}  // namespace ortq::test

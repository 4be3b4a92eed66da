// Writes small ONNX models for the tests, straight in protobuf's wire format: a test can then say things that a
// well-behaved exporter would not (a wrong shape, an absent attribute, an unknown type).
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ortq::test {

/// A message under construction. Field numbers are those of onnx.proto.
class Message {
 public:
  Message& Int(int field, int64_t value);
  Message& Float(int field, float value);
  Message& Text(int field, std::string_view value);
  Message& Nested(int field, const Message& value) { return Text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void Varint(uint64_t value);
  std::string bytes_;
};

/// A dimension: a number, or a name.
using Dimension = std::variant<int64_t, std::string>;

/// A graph input or output. Without a shape its rank is unknown.
struct Value {
  std::string name;
  int type = 1;
  std::vector<Dimension> shape;
  bool has_shape = true;
};

/// Where a tensor's bytes stand in another file.
struct External {
  std::string file;
  int64_t offset = 0;
  int64_t length = 0;
};

struct Initializer {
  std::string name;
  int type = 1;
  std::vector<int64_t> dims;
  std::string raw;
  External external;  ///< used when external.file is not empty
};

struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

struct Node {
  std::string domain;
  std::string op_type;
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<Attribute> attributes;
};

struct Model {
  std::vector<Node> nodes;
  std::vector<Value> inputs;
  std::vector<Value> outputs;
  std::vector<Initializer> initializers;
  std::vector<std::pair<std::string, int64_t>> opsets = {{"", 18}, {"ortquant", 1}, {"com.microsoft", 1}};
  int64_t ir_version = 8;

  /// The serialized ModelProto.
  std::string Serialize() const;
};

/// The bytes of a vector, for Initializer::raw.
template <typename T>
std::string Raw(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace ortq::test

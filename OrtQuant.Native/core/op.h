// The contract of an op, as data, and what a kernel of it may ask and do. Front ends (ONNX Runtime in ort/, the C ABI
// in core/ortquant.cc) are built on this alone; schemes implement it alone; neither knows the other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/types.h"

namespace ortq {

/// An ONNX element type (TensorProto.DataType); models may hold any of them, so this is a number and not an
/// enumeration.
using ElementType = int32_t;
inline constexpr ElementType kFloat32 = 1, kUint8 = 2, kInt8 = 3, kInt16 = 5, kInt32 = 6, kInt64 = 7, kBool = 9,
                             kFloat16 = 10, kBfloat16 = 16;

/// "float32", "uint8", ...; "type 99" for a number that ONNX does not know.
std::string TypeName(ElementType type);

/// "[2, 3]"; a dimension of -1 is printed as "?".
std::string ShapeText(std::span<const int64_t> shape);

/// What an input is for. The names are part of ortq_describe.
enum class TensorRole {
  kActivation,
  kIndices,
  kPackedWeight,
  kScale,
  kZeroPoint,
  kRowSum,
  kChannelOrder,
  kSparse,
  kBias,
  kLowRankA,
  kLowRankB,
  kCache,
  kMask,
  kLength
};

struct InputSpec {
  const char* name;
  TensorRole role;
  std::span<const ElementType> types;  ///< permitted
  const char* shape;                   ///< in words of the contract
  bool optional = false;
};

struct OutputSpec {
  const char* name;
  std::span<const ElementType> types;  ///< permitted
  const char* shape;
};

enum class AttributeKind { kFloat = 1, kInt = 2, kString = 3, kInts = 7 };  // ONNX numbers

struct AttributeSpec {
  const char* name;
  AttributeKind kind;
  bool required = true;
  std::span<const int64_t> values = {};     ///< permitted integers; empty: the kernel checks
  std::span<const char* const> texts = {};  ///< permitted strings; empty: the kernel checks
};

/// The attribute by which a model says which version of the op's stored format it holds.
inline constexpr const char* kFormatVersion = "format_version";

/// How the output's shape and type follow from input 0 and the attributes.
struct OutputRule {
  enum class LastDimension {
    kReplaced,  ///< [..., K] -> [..., N]
    kAppended,  ///< [...] -> [..., K]
    kKept,      ///< [...] -> [...]
  };
  LastDimension last;
  const char* size_attribute;  ///< the integer attribute that holds the new last dimension; null where it is kept
  const char* type_attribute;  ///< the integer attribute that holds the output's type; null: the type of input 0
};

/// An output besides the first: what an input has become. It has that input's type, and its shape but for one
/// dimension.
struct StateSpec {
  OutputSpec output;
  size_t input;
  size_t growing_dimension;
};

/// An input as it is known when the kernel is created.
struct InputInfo {
  bool present = false;
  ElementType type = 0;
  bool shape_known = false;
  std::vector<int64_t> shape;  ///< -1: known at run time only
  const void* data = nullptr;  ///< of a constant; it stays valid and unchanged as long as the kernel
};

/// What a front end knows of the node a kernel is created for.
class NodeReader {
 public:
  virtual ~NodeReader() = default;
  virtual std::string Name() const = 0;
  virtual InputInfo Input(size_t index) const = 0;
  /// The type that the output will have.
  virtual ElementType OutputType() const = 0;
  /// nullopt: there is no attribute of that name and kind.
  virtual std::optional<int64_t> Int(const char* attribute) const = 0;
  virtual std::optional<std::string> Text(const char* attribute) const = 0;
  virtual std::optional<float> Float(const char*) const { return std::nullopt; }
  /// Kind of an attribute; nullopt: there is none of that name, or its kind is none of AttributeKind.
  virtual std::optional<AttributeKind> Kind(const char* attribute) const = 0;
  /// A session configuration entry; empty when it is not set.
  virtual std::string Config(const char* key) const = 0;
};

struct OpSpec;

/// The type that an op's output must have, by its OutputRule; 0 where the node does not say.
ElementType RequiredOutputType(const OpSpec& spec, const NodeReader& reader);

/// A node whose attributes and input types keep its spec; what a kernel is created from.
class NodeView {
 public:
  /// Throws Error naming what is wrong with the node.
  NodeView(const OpSpec& spec, const NodeReader& reader);

  const InputInfo& input(size_t index) const { return inputs_[index]; }
  ElementType output_type() const { return reader_.OutputType(); }
  int64_t Int(const char* attribute) const;
  int64_t Int(const char* attribute, int64_t absent) const;
  std::string Text(const char* attribute) const;
  float Float(const char* attribute, float absent) const { return reader_.Float(attribute).value_or(absent); }
  std::string Config(const char* key) const { return reader_.Config(key); }

  /// Throws Error unless input `index` can have `shape`; -1 in either means any. Inputs of unknown shape pass.
  void CheckShape(size_t index, std::span<const int64_t> shape) const;
  /// Throws Error unless the type of input `index` equals that of input 0.
  void CheckSameType(size_t index) const;

 private:
  void CheckAttribute(const AttributeSpec& attribute) const;
  void CheckInput(size_t index) const;

  const OpSpec& spec_;
  const NodeReader& reader_;
  std::vector<InputInfo> inputs_;
};

/// A tensor at run time; data is null when the input is absent.
struct TensorView {
  ElementType type = 0;
  std::span<const int64_t> shape;
  const void* data = nullptr;
};

/// One call of a kernel.
class Invocation {
 public:
  virtual TensorView Input(size_t index) = 0;
  /// Allocates the output and returns its memory.
  virtual void* Output(std::span<const int64_t> shape) = 0;
  /// The same for an output besides the first, by its place in OpSpec::states. Front ends that have one output only
  /// throw.
  virtual void* State(size_t, std::span<const int64_t>) {
    throw Error(ErrorCode::kNotSupported, "this op has several outputs; it runs in ONNX Runtime only");
  }
  virtual ParallelFor Parallel() = 0;
  /// Memory that is freed after the call; a device's, on a device.
  virtual Scratch ScratchMemory() = 0;
  /// The stream that a device's work goes to: a cudaStream_t. Null on the CPU.
  virtual void* Stream() { return nullptr; }

 protected:
  ~Invocation() = default;
};

/// Immutable after creation: Compute runs on several threads at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void Compute(Invocation& call) const = 0;
  /// Which implementation runs, for example "avx512 int8 4-bit".
  virtual const char* Name() const = 0;
};

struct OpSpec {
  const char* name;
  int since_version;
  std::span<const InputSpec> inputs;
  OutputSpec output;
  std::span<const AttributeSpec> attributes;
  OutputRule rule;
  std::unique_ptr<Kernel> (*create)(const NodeView& node);
  /// Writes the dequantized weights, row-major; the inputs that hold them are constants. Null: the op has no weights.
  void (*unpack)(const NodeView& node, std::span<float> weights) = nullptr;
  std::span<const StateSpec> states = {};  ///< the outputs besides the first
};

/// Creates a kernel. An error's message begins with the op and the name of the node.
std::unique_ptr<Kernel> CreateKernel(const OpSpec& spec, const NodeReader& reader);

/// Rank limit of activations and indices.
inline constexpr size_t kMaxRank = 32;

/// A shape on the stack, for kernels that compute their output's shape in each call.
class ShapeBuffer {
 public:
  /// Throws Error above kMaxRank.
  explicit ShapeBuffer(std::span<const int64_t> leading);
  void Append(int64_t size) { sizes_[rank_++] = size; }
  std::span<const int64_t> dims() const { return {sizes_.data(), rank_}; }

 private:
  std::array<int64_t, kMaxRank + 1> sizes_;
  size_t rank_ = 0;
};

}  // namespace ortq

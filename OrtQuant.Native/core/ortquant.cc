// The C ABI (include/ortquant.h) over the ops.
#include "include/ortquant.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/describe.h"
#include "core/isa.h"
#include "core/op.h"
#include "core/roofline.h"
#include "core/threads.h"
#include "schemes/schemes.h"

namespace ortq {
namespace {

// NativeMethods.cs mirrors these.
static_assert(sizeof(ortq_attribute) == 32 && offsetof(ortq_attribute, i) == 16 && offsetof(ortq_attribute, s) == 24);
static_assert(sizeof(ortq_tensor) == 24 && offsetof(ortq_tensor, shape) == 8 && offsetof(ortq_tensor, data) == 16);

thread_local std::string last_error;

/// Runs `body`; an exception becomes a code and the text of ortq_last_error, since none may cross the ABI.
template <typename Body>
int32_t Guarded(const Body& body) noexcept {
  const auto fail = [](ErrorCode code, const char* message) {
    last_error = message;
    return static_cast<int32_t>(code);
  };
  try {
    body();
    return ORTQ_OK;
  } catch (const Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::exception& error) {
    return fail(ErrorCode::kInternal, error.what());
  } catch (...) {
    return fail(ErrorCode::kInternal, "unknown error");
  }
}

size_t ElementCount(std::span<const int64_t> shape) {
  size_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) ThrowInvalid("a tensor has shape ", ShapeText(shape), "; required: sizes of at least 0");
    if (__builtin_mul_overflow(count, static_cast<size_t>(size), &count))
      ThrowInvalid("shape ", ShapeText(shape), " is too large");
  }
  return count;
}

TensorView View(const ortq_tensor& tensor) {
  if (tensor.type == 0) return {};
  if (tensor.rank < 0 || (tensor.rank > 0 && tensor.shape == nullptr)) {
    ThrowInvalid("a tensor has rank ", tensor.rank, tensor.shape == nullptr ? " and no shape" : "",
                 "; required: at least 0, with a shape");
  }
  const std::span<const int64_t> shape(tensor.shape, static_cast<size_t>(tensor.rank));
  if (ElementCount(shape) > 0 && tensor.data == nullptr)
    ThrowInvalid("a tensor of shape ", ShapeText(shape), " has no data");
  return {tensor.type, shape, tensor.data};
}

/// A node that the caller spells out.
class PlainNode final : public NodeReader {
 public:
  PlainNode(std::span<const ortq_attribute> attributes, std::span<const ortq_tensor> inputs) : attributes_(attributes) {
    for (const ortq_tensor& input : inputs) inputs_.push_back(View(input));
  }

  void set_output_type(ElementType type) { output_type_ = type; }

  std::string Name() const override { return ""; }
  InputInfo Input(size_t index) const override {
    const TensorView tensor = view(index);
    return {tensor.type != 0, tensor.type, true, {tensor.shape.begin(), tensor.shape.end()}, tensor.data};
  }
  ElementType OutputType() const override { return output_type_; }
  std::optional<int64_t> Int(const char* attribute) const override {
    const ortq_attribute* found = Find(attribute);
    if (found == nullptr || Kind(attribute) != AttributeKind::kInt) return std::nullopt;
    return found->i;
  }
  std::optional<std::string> Text(const char* attribute) const override {
    const ortq_attribute* found = Find(attribute);
    if (found == nullptr || Kind(attribute) != AttributeKind::kString || found->s == nullptr) return std::nullopt;
    return found->s;
  }
  std::optional<AttributeKind> Kind(const char* attribute) const override {
    const ortq_attribute* found = Find(attribute);
    if (found == nullptr || (found->kind == static_cast<int32_t>(AttributeKind::kString) && found->s == nullptr))
      return std::nullopt;
    return static_cast<AttributeKind>(found->kind);
  }
  std::string Config(const char*) const override { return ""; }

  TensorView view(size_t index) const { return index < inputs_.size() ? inputs_[index] : TensorView{}; }

 private:
  const ortq_attribute* Find(const char* name) const {
    const auto found = std::ranges::find_if(
        attributes_, [&](const ortq_attribute& a) { return a.name != nullptr && std::strcmp(a.name, name) == 0; });
    return found == attributes_.end() ? nullptr : &*found;
  }

  std::span<const ortq_attribute> attributes_;
  std::vector<TensorView> inputs_;
  ElementType output_type_ = 0;
};

class PlainInvocation final : public Invocation {
 public:
  PlainInvocation(const PlainNode& node, const TensorView& output, void* data, int threads)
      : node_(node), output_(output), data_(data), threads_(threads) {}

  TensorView Input(size_t index) override { return node_.view(index); }
  void* Output(std::span<const int64_t> shape) override {
    if (!std::ranges::equal(shape, output_.shape)) {
      ThrowInvalid("the output has shape ", ShapeText(output_.shape), "; required: ", ShapeText(shape));
    }
    return data_;
  }
  ParallelFor Parallel() override { return OwnThreads(threads_); }
  Scratch ScratchMemory() override { return {}; }

 private:
  const PlainNode& node_;
  TensorView output_;
  void* data_;
  int threads_;
};

const OpSpec& SpecOf(const char* op) {
  const OpSpec* spec = op == nullptr ? nullptr : FindOp(op);
  if (spec != nullptr) return *spec;
  std::string known;
  for (const OpSpec* candidate : AllOps()) known += (known.empty() ? "" : ", ") + std::string(candidate->name);
  ThrowInvalid("unknown op '", op == nullptr ? "" : op, "'; permitted: ", known);
}

template <typename T>
std::span<const T> List(const T* items, int32_t count, const char* what) {
  if (count < 0 || (count > 0 && items == nullptr))
    ThrowInvalid("the count of ", what, " is ", count, "; required: what the array holds");
  return {items, static_cast<size_t>(count)};
}

int CheckThreads(int32_t threads) {
  constexpr int32_t kMaxThreads = 4096;
  if (threads < 1 || threads > kMaxThreads) ThrowInvalid("threads is ", threads, "; permitted: 1 to ", kMaxThreads);
  return threads;
}

}  // namespace
}  // namespace ortq

using namespace ortq;

const char* ortq_last_error(void) {
  return last_error.c_str();
}

const char* ortq_describe(void) {
  thread_local std::string json;
  return Guarded([] { json = Describe(); }) == ORTQ_OK ? json.c_str() : nullptr;
}

int32_t ortq_set_isa(const char* name) {
  return Guarded([&] { ForceIsa(name == nullptr || *name == '\0' ? std::nullopt : std::optional(ParseIsa(name))); });
}

const char* ortq_active_isa(void) {
  const char* name = nullptr;
  Guarded([&] { name = IsaName(ActiveIsa()); });
  return name;
}

int32_t ortq_unpack(const char* op, const ortq_attribute* attributes, int32_t attribute_count,
                    const ortq_tensor* inputs, int32_t input_count, float* weights, int64_t count) {
  return Guarded([&] {
    const OpSpec& spec = SpecOf(op);
    if (spec.unpack == nullptr) ThrowInvalid("op '", op, "' has no weights to unpack");
    const auto given = List(inputs, input_count, "inputs");
    std::vector<ortq_tensor> tensors(given.begin(), given.end());
    if (tensors.empty()) tensors.resize(1);
    const int64_t nothing = 0;
    tensors[0] = {spec.inputs[0].types[0], 1, &nothing, nullptr};
    if (count < 0 || (count > 0 && weights == nullptr)) ThrowInvalid("weights has no room for ", count, " floats");
    PlainNode node(List(attributes, attribute_count, "attributes"), tensors);
    node.set_output_type(RequiredOutputType(spec, node));
    spec.unpack(NodeView(spec, node), {weights, static_cast<size_t>(count)});
  });
}

int32_t ortq_run(const char* op, const ortq_attribute* attributes, int32_t attribute_count, const ortq_tensor* inputs,
                 int32_t input_count, const ortq_tensor* output, int32_t threads) {
  return Guarded([&] {
    const OpSpec& spec = SpecOf(op);
    if (output == nullptr) ThrowInvalid("there is no output");
    const TensorView out = View(*output);
    PlainNode node(List(attributes, attribute_count, "attributes"), List(inputs, input_count, "inputs"));
    node.set_output_type(out.type);
    PlainInvocation call(node, out, output->data, CheckThreads(threads));
    CreateKernel(spec, node)->Compute(call);
  });
}

int32_t ortq_roofline(int32_t threads, double* read_gbs, double* int8_gops, double* fp32_gflops) {
  return Guarded([&] {
    const Roofline roofline = MeasureRoofline(CheckThreads(threads));
    if (read_gbs != nullptr) *read_gbs = roofline.read_gbs;
    if (int8_gops != nullptr) *int8_gops = roofline.int8_gops;
    if (fp32_gflops != nullptr) *fp32_gflops = roofline.fp32_gflops;
  });
}

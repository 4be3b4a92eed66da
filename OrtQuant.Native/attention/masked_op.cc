// ortquant::MaskedAttention: docs/ops/masked-attention.md and MaskedAttentionOp.cs say the same.
#include <array>
#include <utility>

#include "attention/attention.h"
#include "attention/op.h"
#include "core/matmul_op.h"

namespace ortq::attention {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kMaskTypes[] = {kBool, kFloat32, kFloat16};

enum Inputs : size_t { kQuery, kKey, kValue, kPastKey, kPastValue, kMask, kCos, kSin };

constexpr InputSpec kInputs[] = {
    {"query", TensorRole::kActivation, kFloats, "[B, S, num_heads * D]"},
    {"key", TensorRole::kActivation, kFloats, "[B, S, kv_num_heads * D]"},
    {"value", TensorRole::kActivation, kFloats, "[B, S, kv_num_heads * D]"},
    {"past_key", TensorRole::kCache, kFloats, "[B, kv_num_heads, P, D]"},
    {"past_value", TensorRole::kCache, kFloats, "[B, kv_num_heads, P, D]"},
    {"mask", TensorRole::kMask, kMaskTypes, "[B or 1, num_heads or 1, S or 1, P + S or 1]"},
    {"cos", TensorRole::kActivation, kFloats, "[B or 1, 1, S or 1, R]", true},
    {"sin", TensorRole::kActivation, kFloats, "[B or 1, 1, S or 1, R]", true},
};
constexpr AttributeSpec kAttributes[] = {
    {"num_heads", AttributeKind::kInt},
    {"kv_num_heads", AttributeKind::kInt},
    {"scale", AttributeKind::kFloat},
};
constexpr StateSpec kStates[] = {
    {{"present_key", kFloats, "[B, kv_num_heads, P + S, D]"}, kPastKey, 2},
    {{"present_value", kFloats, "[B, kv_num_heads, P + S, D]"}, kPastValue, 2},
};

template <size_t kRank>
void CheckRank(const char* name, const TensorView& tensor) {
  if (tensor.shape.size() != kRank)
    ThrowInvalid("input '", name, "' has shape ", ShapeText(tensor.shape), "; required: ", kRank, " dimensions");
}

class MaskedAttention final : public Kernel {
 public:
  explicit MaskedAttention(const NodeView& node)
      : heads_(node.Int("num_heads")),
        kv_heads_(node.Int("kv_num_heads")),
        scale_(node.Float("scale", 0)),
        isa_(IsaOf(node)) {
    if (heads_ < 1 || kv_heads_ < 1 || heads_ % kv_heads_ != 0) {
      ThrowInvalid("num_heads is ", heads_, " and kv_num_heads ", kv_heads_,
                   "; required: at least 1, the first a multiple of the second");
    }
    for (const size_t index : {kKey, kValue}) node.CheckSameType(index);
    if (node.input(kPastKey).type != node.input(kPastValue).type)
      ThrowInvalid("past_key and past_value differ in type");
    if (node.input(kCos).present != node.input(kSin).present)
      ThrowInvalid("there is one of cos and sin; required: both or none");
    if (node.input(kCos).present && node.input(kCos).type != node.input(kSin).type)
      ThrowInvalid("cos and sin differ in type");
    name_ = KernelsFor(isa_, kLanes).name;
  }

  void Compute(Invocation& call) const override {
    const TensorView query = call.Input(kQuery);
    const TensorView past_key = call.Input(kPastKey);
    CheckRank<3>("query", query);
    CheckRank<4>("past_key", past_key);
    const auto [batch, tokens, width] = std::array{query.shape[0], query.shape[1], query.shape[2]};
    const int64_t past = past_key.shape[2];
    if (width % heads_ != 0)
      ThrowInvalid("query has ", width, " columns; required: a multiple of num_heads = ", heads_);
    const int64_t head_size = width / heads_;
    const std::array activations = {batch, tokens, kv_heads_ * head_size};
    const std::array cache = {batch, kv_heads_, past, head_size};
    const std::array present = {batch, kv_heads_, past + tokens, head_size};

    Problem problem = {};
    problem.batch = batch;
    problem.tokens = tokens;
    problem.heads = heads_;
    problem.kv_heads = kv_heads_;
    problem.head_size = head_size;
    problem.scale = scale_;
    problem.half = query.type == kFloat16;
    problem.half_cache = past_key.type == kFloat16;
    problem.query = query.data;
    problem.key = Read(call, kKey, activations);
    problem.value = Read(call, kValue, activations);
    problem.query_stride = width;
    problem.key_stride = problem.value_stride = kv_heads_ * head_size;
    problem.past_key = Read(call, kPastKey, cache);
    problem.past_value = Read(call, kPastValue, cache);
    problem.past_rows = past;
    problem.present_rows = past + tokens;
    problem.mask = MaskOf(call.Input(kMask), batch, tokens, past + tokens);
    problem.rotary = RotaryOf(call, batch, tokens, head_size);
    problem.output = call.Output(query.shape);
    problem.present_key = call.State(0, present);
    problem.present_value = call.State(1, present);
    Run(KernelsFor(isa_, head_size), problem, call.Parallel(), call.ScratchMemory());
  }

  const char* Name() const override { return name_; }

 private:
  static const void* Read(Invocation& call, size_t index, std::span<const int64_t> shape) {
    const TensorView tensor = call.Input(index);
    CheckRuntimeShape(kInputs[index].name, tensor, shape);
    return tensor.data;
  }

  Mask MaskOf(const TensorView& tensor, int64_t batch, int64_t tokens, int64_t keys) const {
    CheckRank<4>("mask", tensor);
    const std::array full = {batch, heads_, tokens, keys};
    std::array<int64_t, 4> strides = {};
    int64_t stride = 1;
    for (size_t i = full.size(); i-- > 0;) {
      const int64_t size = tensor.shape[i];
      if (size != full[i] && size != 1) {
        ThrowInvalid("input 'mask' has shape ", ShapeText(tensor.shape), "; required: ", ShapeText(full),
                     ", any of them may be 1");
      }
      strides[i] = size == 1 ? 0 : stride;
      stride *= size;
    }
    return {.kind = tensor.type == kBool ? MaskKind::kBoolean : MaskKind::kAdditive,
            .data = tensor.data,
            .half = tensor.type == kFloat16,
            .batch_stride = strides[0],
            .head_stride = strides[1],
            .token_stride = strides[2],
            .key_stride = strides[3]};
  }

  static Rotary RotaryOf(Invocation& call, int64_t batch, int64_t tokens, int64_t head_size) {
    const TensorView cos = call.Input(kCos);
    if (cos.data == nullptr && cos.shape.empty()) return {};
    CheckRank<4>("cos", cos);
    const int64_t rows = cos.shape[2] == 1 ? 1 : tokens;
    const std::array shape = {cos.shape[0] == 1 ? 1 : batch, int64_t{1}, rows, cos.shape[3]};
    Rotary rotary = {.size = cos.shape[3],
                     .cos = Read(call, kCos, shape),
                     .sin = Read(call, kSin, shape),
                     .half = cos.type == kFloat16,
                     .batch_rows = cos.shape[0] == 1 ? 0 : rows,
                     .token_rows = rows == 1 ? 0 : 1};
    if (rotary.size % 2 != 0 || rotary.size > head_size) {
      ThrowInvalid("input 'cos' has ", rotary.size, " columns; required: an even number, at most the head size ",
                   head_size);
    }
    return rotary;
  }

  int64_t heads_;
  int64_t kv_heads_;
  float scale_;
  Isa isa_;
  const char* name_;
};

std::unique_ptr<Kernel> Create(const NodeView& node) {
  return std::make_unique<MaskedAttention>(node);
}

}  // namespace

const OpSpec kMaskedAttention = {
    .name = "MaskedAttention",
    .since_version = 1,
    .inputs = kInputs,
    .output = {"Y", kFloats, "[B, S, num_heads * D]"},
    .attributes = kAttributes,
    .rule = {OutputRule::LastDimension::kKept, nullptr, nullptr},
    .create = Create,
    .states = kStates,
};

}  // namespace ortq::attention

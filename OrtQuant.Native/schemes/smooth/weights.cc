#include "schemes/smooth/weights.h"

#include <array>
#include <string>

#include "core/matmul_op.h"

namespace ortq::smooth {
namespace {

std::array<int64_t, 3> CodeShape(const GroupFormat& format) {
  return {format.Tiles(), format.Chunks(), int64_t{64} * format.bits};
}

std::array<int64_t, 3> ScaleShape(const GroupFormat& format) {
  return {format.Tiles(), format.Groups(), kTileOutputs};
}

NodeFormat FormatOf(const NodeView& node) {
  NodeFormat format;
  format.N = node.Int("N");
  format.K = node.Int("K");
  const int64_t block_size = node.Int("block_size");
  format.weights = {.bits = kBits,
                    .N = format.N,
                    .K = format.K,
                    .block = block_size == -1 ? format.K : block_size,
                    .scale_type = static_cast<ScalarType>(node.input(kScales).type)};
  format.smooth_size = node.Int("smooth_size");
  format.activation_bits = static_cast<int>(node.Int("activation_bits"));
  const std::string scope = node.Text("smooth_scope");
  format.scope = scope == "call" ? SmoothScope::kCall : scope == "token" ? SmoothScope::kToken : SmoothScope::kNone;
  format.Validate();
  return format;
}

/// Indices are read as 32-bit words; constants and tensors of ONNX Runtime are aligned, a C caller's must be.
const int32_t* Order(const void* data, int64_t K) {
  if (reinterpret_cast<uintptr_t>(data) % alignof(int32_t) != 0)
    ThrowInvalid("channel_order is not aligned to 4 bytes");
  const auto* order = static_cast<const int32_t*>(data);
  CheckChannelOrder(order, K);
  return order;
}

}  // namespace

NodeWeights::NodeWeights(const NodeView& node)
    : format_(FormatOf(node)), weights_{.weights = {.format = format_.weights}} {
  node.CheckShape(kCodes, CodeShape(format_.weights));
  node.CheckShape(kScales, ScaleShape(format_.weights));
  node.CheckShape(kChannelOrder, std::array{format_.K});
  weights_.weights.codes = static_cast<const uint8_t*>(node.input(kCodes).data);
  weights_.weights.scales = node.input(kScales).data;
  const InputInfo& order = node.input(kChannelOrder);
  has_order_ = order.present;
  if (order.data != nullptr) weights_.channel_order = Order(order.data, format_.K);
  constant_ = weights_.weights.codes != nullptr && weights_.weights.scales != nullptr &&
              (!has_order_ || weights_.channel_order != nullptr);
}

SmoothWeights NodeWeights::Bind(Invocation& call) const {
  if (constant_) return weights_;
  SmoothWeights bound = weights_;
  const TensorView codes = call.Input(kCodes), scales = call.Input(kScales);
  CheckRuntimeShape("W", codes, CodeShape(format_.weights));
  CheckRuntimeShape("scales", scales, ScaleShape(format_.weights));
  bound.weights.codes = static_cast<const uint8_t*>(codes.data);
  bound.weights.scales = scales.data;
  if (has_order_) {
    const TensorView order = call.Input(kChannelOrder);
    CheckRuntimeShape("channel_order", order, std::array{format_.K});
    bound.channel_order = Order(order.data, format_.K);
  }
  return bound;
}

const SmoothWeights& NodeWeights::Constant() const {
  if (!constant_) ThrowInvalid("the weights are not constant");
  return weights_;
}

}  // namespace ortq::smooth

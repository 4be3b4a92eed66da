#include "schemes/group/weights.h"

#include <array>

#include "core/matmul_op.h"

namespace ortq::group {
namespace {

using Shape3 = std::array<int64_t, 3>;

Shape3 CodeShape(const GroupFormat& format) {
  return {format.Tiles(), format.Chunks(), int64_t{64} * format.bits};
}

Shape3 ScaleShape(const GroupFormat& format) {
  return {format.Tiles(), format.Groups(), kTileOutputs};
}

Shape3 ZeroPointShape(const GroupFormat& format) {
  return {format.Tiles(), format.ZeroPointRows(), kTileOutputs};
}

ZeroPointKind KindOf(const InputInfo& zero_points) {
  if (!zero_points.present) return ZeroPointKind::kNone;
  return zero_points.type == kUint8 ? ZeroPointKind::kInteger : ZeroPointKind::kFloat;
}

}  // namespace

GroupFormat FormatOf(const NodeView& node) {
  GroupFormat format;
  format.bits = static_cast<int>(node.Int("bits"));
  format.N = node.Int("N");
  format.K = node.Int("K");
  const int64_t block_size = node.Int("block_size");
  format.block = block_size == -1 ? format.K : block_size;
  format.scale_type = static_cast<ScalarType>(node.input(kScales).type);
  format.zp = KindOf(node.input(kZeroPoints));
  if (format.zp != ZeroPointKind::kNone) format.zp_type = static_cast<ScalarType>(node.input(kZeroPoints).type);
  format.Validate();
  node.CheckShape(kCodes, CodeShape(format));
  node.CheckShape(kScales, ScaleShape(format));
  node.CheckShape(kZeroPoints, ZeroPointShape(format));
  return format;
}

NodeWeights::NodeWeights(const NodeView& node) : weights_{.format = FormatOf(node)} {
  weights_.codes = static_cast<const uint8_t*>(node.input(kCodes).data);
  weights_.scales = node.input(kScales).data;
  weights_.zero_points = node.input(kZeroPoints).data;
  for (const size_t index : {kCodes, kScales, kZeroPoints}) {
    constant_ = constant_ && (!node.input(index).present || node.input(index).data != nullptr);
  }
}

GroupWeights NodeWeights::Bind(Invocation& call) const {
  if (constant_) return weights_;
  GroupWeights bound = weights_;
  const TensorView codes = call.Input(kCodes), scales = call.Input(kScales);
  CheckRuntimeShape("W", codes, CodeShape(bound.format));
  CheckRuntimeShape("scales", scales, ScaleShape(bound.format));
  bound.codes = static_cast<const uint8_t*>(codes.data);
  bound.scales = scales.data;
  if (bound.format.zp != ZeroPointKind::kNone) {
    const TensorView zero_points = call.Input(kZeroPoints);
    CheckRuntimeShape("zero_points", zero_points, ZeroPointShape(bound.format));
    bound.zero_points = zero_points.data;
  }
  return bound;
}

const GroupWeights& NodeWeights::Constant() const {
  if (!constant_) ThrowInvalid("the weights are not constant");
  return weights_;
}

}  // namespace ortq::group

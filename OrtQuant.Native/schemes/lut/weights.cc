#include "schemes/lut/weights.h"

#include <array>

#include "core/matmul_op.h"

namespace ortq::lut {
namespace {

std::array<int64_t, 3> CodeShape(const LutFormat& format) {
  return {format.Tiles(), format.Chunks(), int64_t{64} * format.bits};
}

std::array<int64_t, 4> ScaleShape(const LutFormat& format) {
  return {format.Tiles(), format.Groups(), format.Coefficients(), kTileOutputs};
}

std::array<int64_t, 3> ZeroPointShape(const LutFormat& format) {
  return {format.Tiles(), format.Groups(), kTileOutputs};
}

LutFormat FormatOf(const NodeView& node) {
  LutFormat format;
  format.bits = static_cast<int>(node.Int("bits"));
  format.N = node.Int("N");
  format.K = node.Int("K");
  const int64_t block_size = node.Int("block_size");
  format.block = block_size == -1 ? format.K : block_size;
  format.free_levels = node.Text("levels") == kFreeLevels;
  format.scale_type = static_cast<ScalarType>(node.input(kScales).type);
  format.offset_type = static_cast<ScalarType>(node.input(kZeroPoints).type);
  format.Validate();
  return format;
}

}  // namespace

NodeWeights::NodeWeights(const NodeView& node) : weights_{.format = FormatOf(node)} {
  const LutFormat& format = weights_.format;
  node.CheckShape(kCodes, CodeShape(format));
  node.CheckShape(kScales, ScaleShape(format));
  node.CheckShape(kZeroPoints, ZeroPointShape(format));
  weights_.codes = static_cast<const uint8_t*>(node.input(kCodes).data);
  weights_.scales = static_cast<const uint8_t*>(node.input(kScales).data);
  weights_.zero_points = static_cast<const uint8_t*>(node.input(kZeroPoints).data);
  for (const size_t index : {kCodes, kScales, kZeroPoints}) {
    constant_ = constant_ && node.input(index).data != nullptr;
  }
}

LutWeights NodeWeights::Bind(Invocation& call) const {
  if (constant_) return weights_;
  LutWeights bound = weights_;
  const auto read = [&call](const char* name, size_t index, std::span<const int64_t> shape) {
    const TensorView tensor = call.Input(index);
    CheckRuntimeShape(name, tensor, shape);
    return static_cast<const uint8_t*>(tensor.data);
  };
  bound.codes = read("W", kCodes, CodeShape(bound.format));
  bound.scales = read("scales", kScales, ScaleShape(bound.format));
  bound.zero_points = read("zero_points", kZeroPoints, ZeroPointShape(bound.format));
  return bound;
}

const LutWeights& NodeWeights::Constant() const {
  if (!constant_) ThrowInvalid("the weights are not constant");
  return weights_;
}

}  // namespace ortq::lut

#include "schemes/dual/weights.h"

#include <array>

#include "core/matmul_op.h"

namespace ortq::dual {
namespace {

std::array<int64_t, 3> CodeShape(const DualFormat& format) {
  return {format.Tiles(), format.Chunks(), kChunkBytes};
}

/// Of scales and of row sums.
std::array<int64_t, 2> RowShape(const DualFormat& format) {
  return {format.Tiles(), kLanes};
}

std::array<int64_t, 3> GroupShape(const DualFormat& format) {
  return {format.Tiles(), format.Groups(), kLanes};
}

}  // namespace

NodeWeights::NodeWeights(const NodeView& node)
    : weights_{.format = {.N = node.Int("N"), .K = node.Int("K"), .block = node.Int("block_size")}} {
  const DualFormat& format = weights_.format;
  format.Validate();
  node.CheckShape(kCodes, CodeShape(format));
  node.CheckShape(kScales, RowShape(format));
  node.CheckShape(kZeroPoints, GroupShape(format));
  node.CheckShape(kGroupScales, GroupShape(format));
  node.CheckShape(kRowSums, RowShape(format));
  weights_.codes = static_cast<const uint8_t*>(node.input(kCodes).data);
  weights_.scales = static_cast<const uint8_t*>(node.input(kScales).data);
  weights_.zero_points = static_cast<const int8_t*>(node.input(kZeroPoints).data);
  weights_.group_scales = static_cast<const uint8_t*>(node.input(kGroupScales).data);
  weights_.row_sums = static_cast<const uint8_t*>(node.input(kRowSums).data);
  for (const size_t index : {kCodes, kScales, kZeroPoints, kGroupScales, kRowSums}) {
    constant_ = constant_ && node.input(index).data != nullptr;
  }
}

DualWeights NodeWeights::Bind(Invocation& call) const {
  if (constant_) return weights_;
  DualWeights bound = weights_;
  const auto read = [&call](const char* name, size_t index, std::span<const int64_t> shape) {
    const TensorView tensor = call.Input(index);
    CheckRuntimeShape(name, tensor, shape);
    return static_cast<const uint8_t*>(tensor.data);
  };
  bound.codes = read("W", kCodes, CodeShape(bound.format));
  bound.scales = read("scales", kScales, RowShape(bound.format));
  bound.zero_points = reinterpret_cast<const int8_t*>(read("zero_points", kZeroPoints, GroupShape(bound.format)));
  bound.group_scales = read("group_scales", kGroupScales, GroupShape(bound.format));
  bound.row_sums = read("row_sums", kRowSums, RowShape(bound.format));
  return bound;
}

const DualWeights& NodeWeights::Constant() const {
  if (!constant_) ThrowInvalid("the weights are not constant");
  return weights_;
}

}  // namespace ortq::dual

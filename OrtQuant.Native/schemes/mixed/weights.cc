#include "schemes/mixed/weights.h"

#include <vector>

#include "core/matmul_op.h"

namespace ortq::mixed {
namespace {

/// One input that holds a part of a weight.
struct Part {
  size_t index;
  const char* name;
  const uint8_t* MixedWeights::*data;
  std::vector<int64_t> shape;  ///< empty: the format has no such part
  const char* count;           ///< the attribute that says whether it has; null: always
};

std::vector<Part> Parts(const MixedFormat& f) {
  std::vector<int64_t> map, outliers;
  if (f.refined > 0) map = {f.Tiles(), f.MapBytes()};
  if (f.outliers > 0) outliers = {f.Tiles(), f.Blocks(), f.outliers, kLanes};
  return {{kCodes, "W", &MixedWeights::codes, {f.Tiles(), f.TileVectors(), kVectorBytes}, nullptr},
          {kScales, "scales", &MixedWeights::scales, {f.Tiles(), f.Blocks(), kLanes}, nullptr},
          {kGroups, "group_scales", &MixedWeights::groups, {f.Tiles(), f.Groups(), kLanes}, nullptr},
          {kMap, "refined", &MixedWeights::map, map, "refined_groups"},
          {kPositions, "outlier_positions", &MixedWeights::positions, outliers, "outliers"},
          {kValues, "outlier_values", &MixedWeights::values, outliers, "outliers"}};
}

}  // namespace

NodeWeights::NodeWeights(const NodeView& node)
    : weights_{.format = {.N = node.Int("N"),
                          .K = node.Int("K"),
                          .group = node.Int("block_size"),
                          .refined = node.Int("refined_groups"),
                          .outliers = node.Int("outliers")}} {
  weights_.format.Validate();
  for (const Part& part : Parts(weights_.format)) {
    const InputInfo& input = node.input(part.index);
    if (part.shape.empty() && input.present) {
      ThrowInvalid("input ", part.index, " '", part.name, "' is given; ", part.count, " is 0, which has none");
    }
    if (part.shape.empty()) continue;
    if (!input.present) {
      ThrowInvalid("input ", part.index, " '", part.name, "' is absent; required: ", part.count, " is not 0");
    }
    node.CheckShape(part.index, part.shape);
    weights_.*part.data = static_cast<const uint8_t*>(input.data);
    constant_ = constant_ && input.data != nullptr;
  }
}

MixedWeights NodeWeights::Bind(Invocation& call) const {
  if (constant_) return weights_;
  MixedWeights bound = weights_;
  for (const Part& part : Parts(bound.format)) {
    if (part.shape.empty()) continue;
    const TensorView tensor = call.Input(part.index);
    CheckRuntimeShape(part.name, tensor, part.shape);
    bound.*part.data = static_cast<const uint8_t*>(tensor.data);
  }
  return bound;
}

const MixedWeights& NodeWeights::Constant() const {
  if (!constant_) ThrowInvalid("the weights are not constant");
  return weights_;
}

}  // namespace ortq::mixed

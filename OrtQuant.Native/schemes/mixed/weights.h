// The weights of a node of scheme `mixed`: geometry from its attributes, tensors from its inputs.
#pragma once

#include "core/op.h"
#include "schemes/mixed/format.h"

namespace ortq::mixed {

/// Positions of the inputs.
inline constexpr size_t kCodes = 1, kScales = 2, kGroups = 3, kMap = 4, kPositions = 5, kValues = 6, kBias = 7;

/// The weight tensors of a node: fixed at creation when they are constants, else read and checked in each call.
class NodeWeights {
 public:
  /// Throws Error when the format is not valid, when an input is there that it does not have or lacks one that it has,
  /// or when an input whose shape is known has another one.
  explicit NodeWeights(const NodeView& node);

  const MixedFormat& format() const { return weights_.format; }
  /// Throws Error when a tensor that is not constant has the wrong shape.
  MixedWeights Bind(Invocation& call) const;
  /// For nodes whose weights are all constant. Throws Error otherwise.
  const MixedWeights& Constant() const;

 private:
  MixedWeights weights_;
  bool constant_ = true;
};

}  // namespace ortq::mixed

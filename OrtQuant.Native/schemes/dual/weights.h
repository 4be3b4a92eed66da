// The weights of a node of scheme `dual`: geometry from its attributes, tensors from its inputs.
#pragma once

#include "core/op.h"
#include "schemes/dual/format.h"

namespace ortq::dual {

/// Positions of the inputs.
inline constexpr size_t kCodes = 1, kScales = 2, kZeroPoints = 3, kGroupScales = 4, kRowSums = 5, kBias = 6;

/// The weight tensors of a node: fixed at creation when they are constants, else read and checked in each call.
class NodeWeights {
 public:
  /// Throws Error when the format is not valid, or when an input whose shape is known has another one.
  explicit NodeWeights(const NodeView& node);

  const DualFormat& format() const { return weights_.format; }
  /// Throws Error when a tensor that is not constant has the wrong shape.
  DualWeights Bind(Invocation& call) const;
  /// For nodes whose weights are all constant. Throws Error otherwise.
  const DualWeights& Constant() const;

 private:
  DualWeights weights_;
  bool constant_ = true;
};

}  // namespace ortq::dual

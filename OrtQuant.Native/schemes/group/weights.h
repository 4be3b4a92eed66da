// The weights of a node of scheme `group`: geometry from its attributes, tensors from its inputs.
#pragma once

#include "core/op.h"
#include "schemes/group/format.h"

namespace ortq::group {

/// Positions of the inputs that hold the weights, the same in every op of the scheme.
inline constexpr size_t kCodes = 1, kScales = 2, kZeroPoints = 3;

/// The format that the attributes and input types of a node say. Throws Error when it is not valid, or when an input
/// whose shape is known has another one than the format asks for.
GroupFormat FormatOf(const NodeView& node);

/// The weight tensors of a node: fixed at creation when they are constants, else read and checked in each call.
class NodeWeights {
 public:
  explicit NodeWeights(const NodeView& node);

  const GroupFormat& format() const { return weights_.format; }
  /// Throws Error when a tensor that is not constant has the wrong shape.
  GroupWeights Bind(Invocation& call) const;
  /// For nodes whose weights are all constant. Throws Error otherwise.
  const GroupWeights& Constant() const;

 private:
  GroupWeights weights_;
  bool constant_ = true;
};

}  // namespace ortq::group

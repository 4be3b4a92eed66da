// The weights of a node of scheme `lut`: geometry from its attributes, tensors from its inputs.
#pragma once

#include "core/op.h"
#include "schemes/lut/format.h"

namespace ortq::lut {

/// Positions of the inputs.
inline constexpr size_t kCodes = 1, kScales = 2, kZeroPoints = 3, kBias = 4;

/// Values of the attribute `levels`.
inline constexpr const char* kFreeLevels = "free";
inline constexpr const char* kUniformLevels = "uniform";

/// The weight tensors of a node: fixed at creation when they are constants, else read and checked in each call.
class NodeWeights {
 public:
  /// Throws Error when the format is not valid, or when an input whose shape is known has another one.
  explicit NodeWeights(const NodeView& node);

  const LutFormat& format() const { return weights_.format; }
  /// Throws Error when a tensor that is not constant has the wrong shape.
  LutWeights Bind(Invocation& call) const;
  /// For nodes whose weights are all constant. Throws Error otherwise.
  const LutWeights& Constant() const;

 private:
  LutWeights weights_;
  bool constant_ = true;
};

}  // namespace ortq::lut

// The weights of a node of scheme `smooth`: geometry from its attributes, tensors from its inputs.
#pragma once

#include "core/op.h"
#include "schemes/smooth/format.h"

namespace ortq::smooth {

/// Positions of the inputs.
inline constexpr size_t kCodes = 1, kScales = 2, kChannelOrder = 3, kBias = 4;

/// What a matmul driver asks of a format.
struct NodeFormat : SmoothFormat {
  int64_t N = 0;
  int64_t K = 0;
};

/// The weight tensors of a node: fixed at creation when they are constants, else read and checked in each call.
class NodeWeights {
 public:
  /// Throws Error when the format is not valid, when an input whose shape is known has another one, or when a constant
  /// channel order is no permutation.
  explicit NodeWeights(const NodeView& node);

  const NodeFormat& format() const { return format_; }
  /// Throws Error when a tensor that is not constant has the wrong shape or is no permutation.
  SmoothWeights Bind(Invocation& call) const;
  /// For nodes whose weights are all constant. Throws Error otherwise.
  const SmoothWeights& Constant() const;

 private:
  NodeFormat format_;
  SmoothWeights weights_;
  bool has_order_ = false;
  bool constant_ = true;
};

/// w [N, K], in the order of the codes.
inline void Unpack(const SmoothWeights& weights, float* w) {
  Unpack(weights.weights, w);
}

}  // namespace ortq::smooth

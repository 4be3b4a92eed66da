// The stored format of scheme `smooth`, layout n16 (OrtQuant.Ops/Schemes/Smooth/SPEC.md is the judge): that of scheme
// `group` with 4 bits and no zero points, and how activations are quantized for it.
//
//   w[n, p] = scale[n, p / block] * (q[n, p] - 8)
//
// Position p of K holds channel channel_order[p] of X, where there is such an order.
#pragma once

#include "schemes/group/format.h"

namespace ortq::smooth {

inline constexpr int kBits = 4;
/// Largest group of activations with a maximum of its own; longer ones would not differ from a whole row by much.
inline constexpr int64_t kMaxSmoothSize = 1 << 20;

/// Over which rows the maximum of a group of channels is taken.
enum class SmoothScope {
  kNone,   ///< no smoothing: a row has one step
  kToken,  ///< each row by itself
  kCall,   ///< all rows of X
};

struct SmoothFormat {
  GroupFormat weights;        ///< 4 bits, no zero points
  int64_t smooth_size = 128;  ///< consecutive k that are smoothed together: a power of two >= 16
  int activation_bits = 4;    ///< 4 or 8
  SmoothScope scope = SmoothScope::kToken;

  int ActivationLimit() const { return activation_bits == 4 ? 7 : 127; }

  /// Throws Error naming the actual and the permitted value.
  void Validate() const;
};

/// The tensors of one weight; not owned, any alignment but that of channel_order.
struct SmoothWeights {
  GroupWeights weights;
  const int32_t* channel_order = nullptr;  ///< null: that of X
};

/// Throws Error unless `order` is a permutation of 0 .. K - 1.
void CheckChannelOrder(const int32_t* order, int64_t K);

}  // namespace ortq::smooth

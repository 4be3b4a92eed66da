// The stored format of scheme `dual`, layout n16 (OrtQuant.Ops/Schemes/Dual/SPEC.md is the judge).
//
//   w8[n, k] = group_scale[n, g] * q[n, k] - zp[n, g],  g = k / block       an integer in -127 .. 127
//   w[n, k]  = scale[n] * w8[n, k]
//
// Outputs are interleaved by 16, k in chunks of 32, codes are 4 bits wide:
//   codes        [tiles, chunks, 256] bytes, as scheme `group` has them
//   scales       [tiles, 16] float32
//   zero points  [tiles, groups, 16] int8
//   group scales [tiles, groups, 16] uint8, 1 .. 16; 0 in padding
//   row sums     [tiles, 16] int32: the sum of w8 over k, for activations with a zero point
#pragma once

#include <cstdint>

#include "core/types.h"

namespace ortq::dual {

inline constexpr int kBits = 4;
inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kChunkBytes = 256;
/// Sums of this many products of a weight in -127 .. 127 and an activation in -254 .. 254 fit int32.
inline constexpr int64_t kMaxK = 65536;

struct DualFormat {
  int64_t N = 0;      ///< outputs
  int64_t K = 0;      ///< inputs
  int64_t block = 0;  ///< weights per group: 32, 64, 128 or 256

  int64_t Tiles() const { return (N + kLanes - 1) / kLanes; }
  int64_t Chunks() const { return (K + 31) / 32; }
  int64_t Groups() const { return (K + block - 1) / block; }

  /// Throws Error naming the actual and the permitted value.
  void Validate() const;
};

/// The tensors of one weight; not owned, any alignment.
struct DualWeights {
  DualFormat format;
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;  ///< float32
  const int8_t* zero_points = nullptr;
  const uint8_t* group_scales = nullptr;
  const uint8_t* row_sums = nullptr;  ///< int32
};

/// w [N, K] = float(scale) * float(group scale * q - zp); bit-exact with the C# decoder.
void Unpack(const DualWeights& weights, float* w);

}  // namespace ortq::dual

// The stored format of scheme `mixed`, layout n16 (OrtQuant.Ops/Schemes/Mixed/SPEC.md is the judge).
//
//   w[n, k] = scale[n, c] * (s[n, g] * (q[n, k] - z[n, g]) + o[n, k]),  g = k / group,  c = k / block
//
// All but scale are integers. Outputs are interleaved by 16, k in vectors of 16, 64 bytes for 2 bits of 16 x 16 codes:
//   codes      [tiles, vectors + refined * group / 16, 64]: q / 4 of all groups, then q % 4 of the refined ones in
//   order;
//              in the others q is 0, 4, 8 or 12. Byte 4 * lane + j, field i holds k = 4 j + i of a vector
//   scales     [tiles, blocks, 16] float16
//   groups     [tiles, groups, 16] bytes: s in the low nibble, z in the high one
//   map        [tiles, ceil(groups / 8)] bytes: bit g % 8 of byte g / 8 says that group g is refined; the first
//              `refined` bits that are set count
//   positions  [tiles, blocks, outliers, 16] bytes: k within the block; beyond the block: of no effect
//   values     [tiles, blocks, outliers, 16] int16: o
#pragma once

#include <cstdint>

#include "core/types.h"

namespace ortq::mixed {

inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kVectorBytes = 64;
inline constexpr int64_t kVectorDepth = 16;
/// Most inputs that share a scale.
inline constexpr int64_t kMaxBlock = 256;
inline constexpr int64_t kMaxOutliers = 4;

struct MixedFormat {
  int64_t N = 0;         ///< outputs
  int64_t K = 0;         ///< inputs
  int64_t group = 0;     ///< weights per group: 16, 32 or 64
  int64_t refined = 0;   ///< groups of a tile that have 4 bits
  int64_t outliers = 0;  ///< of a row in each block

  int64_t Tiles() const { return (N + kLanes - 1) / kLanes; }
  int64_t Vectors() const { return (K + kVectorDepth - 1) / kVectorDepth; }
  int64_t Groups() const { return (K + group - 1) / group; }
  int64_t GroupsPerBlock() const {
    const int64_t most = (K + kMaxBlock - 1) / kMaxBlock;
    return (Groups() + most - 1) / most;
  }
  int64_t Blocks() const { return (Groups() + GroupsPerBlock() - 1) / GroupsPerBlock(); }
  int64_t TileVectors() const { return Vectors() + refined * (group / kVectorDepth); }
  int64_t MapBytes() const { return (Groups() + 7) / 8; }

  /// Throws Error naming the actual and the permitted value.
  void Validate() const;
};

/// The tensors of one weight; not owned, any alignment. Those that the format does not have are null.
struct MixedWeights {
  MixedFormat format;
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;  ///< float16
  const uint8_t* groups = nullptr;
  const uint8_t* map = nullptr;
  const uint8_t* positions = nullptr;
  const uint8_t* values = nullptr;  ///< int16
};

/// w [N, K] = float(scale) * float(s * (q - z) + o); bit-exact with the C# decoder.
void Unpack(const MixedWeights& weights, float* w);

}  // namespace ortq::mixed

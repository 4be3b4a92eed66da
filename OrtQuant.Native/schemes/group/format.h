// The stored format of scheme `group`, layout n16 (OrtQuant.Ops/Schemes/Group/SPEC.md is the judge).
//
//   w[n, k] ~ scale[n, g] * (q[n, k] - zp[n, g]),  g = k / block
//
// Outputs are interleaved by 16 (one AVX-512 register of 32-bit lanes), k in chunks of 32:
//   codes  [tiles, chunks, 64 * bits] bytes; a chunk is one plane (2, 4, 8 bits) or two (3 bits: 2 low bits, then the
//   high bit);
//          a plane of width b is b vectors of 64 bytes; vector v, byte 4 * lane + j, field i holds
//          k = (32 / b) v + (8 / b) j + i: a lane's bytes are the row's own, four at a time
//   scales [tiles, groups, 16] float16 or float32
//   zero points, absent: 2^(bits - 1); float: [tiles, groups, 16]; integer: [tiles, ceil(groups * zb / 8), 16] bytes,
//          each the zero points of 8 / zb consecutive groups of a lane (zb = bits, 4 for 3 bits)
#pragma once

#include <cstdint>

#include "core/types.h"

namespace ortq {

inline constexpr int64_t kChunkDepth = 32;

struct GroupFormat {
  int bits = 4;       ///< 2, 3, 4 or 8
  int64_t N = 0;      ///< outputs
  int64_t K = 0;      ///< inputs
  int64_t block = 0;  ///< weights per group: a power of two >= 16, or K (whole row)
  ZeroPointKind zp = ZeroPointKind::kNone;
  ScalarType scale_type = ScalarType::kFloat16;
  ScalarType zp_type = ScalarType::kUint8;  ///< kUint8 when zp is kInteger; kFloat16 or kFloat32 when kFloat

  int64_t Tiles() const { return (N + kTileOutputs - 1) / kTileOutputs; }
  int64_t Chunks() const { return (K + kChunkDepth - 1) / kChunkDepth; }
  int64_t Groups() const { return (K + block - 1) / block; }
  /// Bits of a stored integer zero point: those of a code, except that 3-bit ones take a nibble.
  int ZeroPointBits() const { return bits == 3 ? 4 : bits; }
  /// Groups that share a byte of integer zero points.
  int ZeroPointsPerByte() const { return 8 / ZeroPointBits(); }
  /// Rows of 16 zero points a tile has.
  int64_t ZeroPointRows() const {
    return zp == ZeroPointKind::kInteger ? (Groups() + ZeroPointsPerByte() - 1) / ZeroPointsPerByte() : Groups();
  }
  int64_t CodeBytes() const { return Tiles() * Chunks() * 64 * bits; }
  int64_t ScaleCount() const { return Tiles() * Groups() * kTileOutputs; }
  int64_t ZeroPointCount() const;  ///< elements of zp_type; 0 when there are none

  /// Throws Error naming the actual and the permitted value.
  void Validate() const;
};

/// The tensors of one weight; not owned, any alignment.
struct GroupWeights {
  GroupFormat format;
  const uint8_t* codes = nullptr;
  const void* scales = nullptr;
  const void* zero_points = nullptr;
};

/// out[i, :] = dequantized row rows[i], every operation rounded once in float32 (and once more to out's type).
/// rows[i] must be in [0, N). out is [count, K] of type float32 or float16.
void GatherRows(const GroupWeights& weights, const int64_t* rows, size_t count, void* out, ScalarType type,
                const ParallelFor& parallel);

/// w [N, K] = float(scale) * (float(q) - float(zp)); bit-exact with the C# decoder.
void Unpack(const GroupWeights& weights, float* w);

}  // namespace ortq

// The stored format of scheme `lut`, layout p16 (OrtQuant.Ops/Schemes/Lut/SPEC.md is the judge).
//
//   free:     w[n, k] = z[n, g] + sum over i of alpha[n, g, i] * (2 c_i[n, k] - 1),  g = k / block
//   uniform:  w[n, k] = scale[n, g] * (q[n, k] - zp[n, g])                           c_i is bit i of the code q
//
// Outputs are interleaved by 16, k in octets of 8, four octets a chunk:
//   codes        [tiles, chunks, 64 * bits] bytes; a byte is 8 consecutive k of one plane of one output; an octet is 32
//                bytes of planes 0 and 1, side by side for each output, then as many of planes 2 and 3; an odd last
//                plane stands alone in 16
//   scales       [tiles, groups, coefficients, 16] float16 or float32
//   zero points  [tiles, groups, 16], z or zp: float16, float32 or (uniform) uint8
#pragma once

#include <cstdint>

#include "core/types.h"

namespace ortq::lut {

inline constexpr int kMaxBits = 4;
inline constexpr int64_t kOctet = 8;

struct LutFormat {
  int bits = 3;
  int64_t N = 0;
  int64_t K = 0;
  int64_t block = 0;  ///< weights per group: a power of two >= 16, or K (whole row)
  bool free_levels = true;
  ScalarType scale_type = ScalarType::kFloat16;
  ScalarType offset_type = ScalarType::kFloat16;  ///< of zero points

  int64_t Tiles() const { return (N + kTileOutputs - 1) / kTileOutputs; }
  int64_t Chunks() const { return (K + 31) / 32; }
  int64_t Groups() const { return (K + block - 1) / block; }
  int64_t Coefficients() const { return free_levels ? bits : 1; }

  /// Throws Error naming the actual and the permitted value.
  void Validate() const;
};

/// The tensors of one weight; not owned, any alignment.
struct LutWeights {
  LutFormat format;
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;
  const uint8_t* zero_points = nullptr;
};

/// Where plane i of a lane stands in its octet.
constexpr int PlaneByte(int bits, int plane, int lane) {
  const int first = plane / 2 * 32;
  return plane % 2 == 0 && plane + 1 == bits ? first + lane : first + 2 * lane + plane % 2;
}

/// Code of (k, lane) in the codes of one tile.
inline int DecodeCode(const uint8_t* tile, int bits, int64_t k, int lane) {
  const uint8_t* octet = tile + k / kOctet * 16 * bits;
  int code = 0;
  for (int i = 0; i < bits; ++i) code |= (octet[PlaneByte(bits, i, lane)] >> (k % kOctet) & 1) << i;
  return code;
}

/// w [N, K], every operation rounded once in float32; bit-exact with the C# decoder.
void Unpack(const LutWeights& weights, float* w);

}  // namespace ortq::lut

// Scalar reading of the stored format, straight from its definition.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/half.h"
#include "schemes/group/format.h"

namespace ortq::group {

/// Code of (k, lane) in the codes of one tile.
inline int DecodeCode(const uint8_t* tile, int bits, int64_t k, int lane) {
  const uint8_t* chunk = tile + k / kChunkDepth * 64 * bits;
  const int depth = static_cast<int>(k % kChunkDepth);
  const int width = bits == 3 ? 2 : bits;
  const int fields = 8 / width;
  const int vector = depth / (4 * fields);
  const int byte = 4 * lane + depth / fields % 4;
  const int field = depth % fields;
  const int code = (chunk[64 * vector + byte] >> (field * width)) & ((1 << width) - 1);
  // The high bits of 3-bit codes: bit 4 v + i of a byte belongs to field i of the same byte of low vector v.
  return bits == 3 ? code | ((chunk[128 + byte] >> (4 * vector + field)) & 1) << 2 : code;
}

/// The 32 codes of one lane of a chunk, in order of k.
inline void DecodeChunk(const uint8_t* chunk, int bits, int lane, uint8_t (&codes)[kChunkDepth]) {
  const int width = bits == 3 ? 2 : bits;
  const int mask = (1 << width) - 1;
  uint8_t* code = codes;
  for (int vector = 0; vector < width; ++vector) {
    for (int byte = 4 * lane; byte < 4 * lane + 4; ++byte) {
      const int low = chunk[64 * vector + byte];
      const int high = bits == 3 ? chunk[128 + byte] >> (4 * vector) : 0;
      for (int i = 0; i < 8 / width; ++i) {
        *code++ = static_cast<uint8_t>(((low >> (i * width)) & mask) | ((high >> i) & 1) << 2);
      }
    }
  }
}

inline float LoadScalar(const void* data, ScalarType type, int64_t index) {
  if (type == ScalarType::kFloat16) {
    uint16_t half;
    std::memcpy(&half, static_cast<const uint8_t*>(data) + 2 * index, sizeof half);
    return HalfToFloat(half);
  }
  float value;
  std::memcpy(&value, static_cast<const uint8_t*>(data) + 4 * index, sizeof value);
  return value;
}

/// Integer zero point of (group, lane) in the zero points of one tile.
inline int DecodeZeroPoint(const uint8_t* tile, int bits, int64_t group, int lane) {
  const int per_byte = 8 / bits;
  const uint8_t byte = tile[group / per_byte * kTileOutputs + lane];
  return (byte >> (group % per_byte * bits)) & ((1 << bits) - 1);
}

inline float DecodeScale(const GroupWeights& w, int64_t tile, int64_t group, int lane) {
  return LoadScalar(w.scales, w.format.scale_type, (tile * w.format.Groups() + group) * kTileOutputs + lane);
}

inline float DecodeZeroPoint(const GroupWeights& w, int64_t tile, int64_t group, int lane) {
  const int64_t index = tile * w.format.Groups() + group;
  switch (w.format.zp) {
    case ZeroPointKind::kNone:
      return static_cast<float>(1 << (w.format.bits - 1));
    case ZeroPointKind::kFloat:
      return LoadScalar(w.zero_points, w.format.zp_type, index * kTileOutputs + lane);
    case ZeroPointKind::kInteger:
      break;
  }
  const int64_t tile_bytes = w.format.ZeroPointCount() / w.format.Tiles();
  const auto* packed = static_cast<const uint8_t*>(w.zero_points) + tile * tile_bytes;
  return static_cast<float>(DecodeZeroPoint(packed, w.format.ZeroPointBits(), group, lane));
}

}  // namespace ortq::group

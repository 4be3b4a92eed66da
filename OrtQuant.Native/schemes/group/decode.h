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
  const auto field = [&](const uint8_t* plane, int width) {
    const int per_vector = kChunkDepth / width;
    const int in_vector = depth % per_vector;
    const uint8_t byte = plane[64 * (depth / per_vector) + 4 * lane + in_vector % 4];
    return (byte >> (in_vector / 4 * width)) & ((1 << width) - 1);
  };
  return bits == 3 ? field(chunk, 2) | field(chunk + 128, 1) << 2 : field(chunk, bits);
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

/// Integer zero point of `lane` in the 16 * bits / 8 bytes of one (tile, group).
inline int DecodeZeroPoint(const uint8_t* packed, int bits, int lane) {
  const int bytes = 16 * bits / 8;
  return (packed[lane % bytes] >> (lane / bytes * bits)) & ((1 << bits) - 1);
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
  const int bits = w.format.ZeroPointBits();
  const auto* packed = static_cast<const uint8_t*>(w.zero_points) + index * kTileOutputs * bits / 8;
  return static_cast<float>(DecodeZeroPoint(packed, bits, lane));
}

}  // namespace ortq::group

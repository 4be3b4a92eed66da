// Elements of either float type, of any alignment.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/half.h"
#include "core/types.h"

namespace ortq::testing {

inline int64_t ScalarBytes(ScalarType type) {
  return type == ScalarType::kFloat32 ? 4 : type == ScalarType::kFloat16 ? 2 : 1;
}

inline float RoundTo(ScalarType type, float value) {
  return type == ScalarType::kFloat16 ? HalfToFloat(FloatToHalf(value)) : value;
}

inline void StoreScalar(uint8_t* data, int64_t index, float value, ScalarType type) {
  if (type == ScalarType::kFloat16) {
    const uint16_t half = FloatToHalf(value);
    std::memcpy(data + 2 * index, &half, 2);
  } else {
    std::memcpy(data + 4 * index, &value, 4);
  }
}

inline float LoadScalar(const uint8_t* data, int64_t index, ScalarType type) {
  if (type == ScalarType::kFloat16) {
    uint16_t half;
    std::memcpy(&half, data + 2 * index, 2);
    return HalfToFloat(half);
  }
  float value;
  std::memcpy(&value, data + 4 * index, 4);
  return value;
}

}  // namespace ortq::testing

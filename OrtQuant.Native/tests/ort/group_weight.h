// Random weights of scheme `group`, packed here field by field after the words of SPEC.md, with the dense matrix they
// mean: an encoder of its own, so that a test compares two derivations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/ort/onnx_writer.h"

namespace ortq::test {

enum class ZeroPoints { kNone, kInteger, kFloat };

struct Geometry {
  int64_t N = 0;
  int64_t K = 0;
  int64_t bits = 4;
  int64_t block_size = 32;  ///< -1: whole row
  ZeroPoints zero_points = ZeroPoints::kNone;
  int scale_type = 10;  ///< of scales and of float zero points: 1 or 10
};

struct GroupWeight : Geometry {
  std::vector<int64_t> code_shape, scale_shape, zero_point_shape;
  std::string codes, scales, zero_point_bytes;
  std::vector<float> dense;  ///< [N, K]

  /// Fills the tensors at random.
  static GroupWeight Random(const Geometry& geometry, uint32_t seed);

  int zero_point_type() const { return zero_points == ZeroPoints::kInteger ? 2 : scale_type; }
  /// Attributes of MatMulNBits without accuracy_level.
  std::vector<Attribute> Attributes() const;
  /// Initializers W, scales and zero_points (where there are any).
  std::vector<Initializer> Initializers() const;
};

float HalfToFloat(uint16_t half);
/// Rounds to nearest even.
uint16_t FloatToHalf(float value);
/// The bytes of `values` as float32 (type 1) or float16 (type 10).
std::string Encode(const std::vector<float>& values, int type);
std::vector<float> Decode(const void* data, size_t count, int type);

}  // namespace ortq::test

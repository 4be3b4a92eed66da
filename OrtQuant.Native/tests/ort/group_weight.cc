#include "tests/ort/group_weight.h"

#include <cmath>
#include <random>

namespace ortq::test {
namespace {

constexpr int64_t kLanes = 16, kDepth = 32;

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Sets the code of (lane, k) in the first plane of a chunk.
void SetPlane(std::string& chunk, int64_t width, int64_t lane, int64_t k, int64_t value) {
  const int64_t bit = k * width;  // of the row's codes, one after the other
  const int64_t word = bit / 32, j = bit % 32 / 8;
  chunk[static_cast<size_t>(64 * word + 4 * lane + j)] |= static_cast<char>(value << (bit % 8));
}

void SetCode(std::string& chunk, int64_t bits, int64_t lane, int64_t k, int64_t code) {
  if (bits != 3) return SetPlane(chunk, bits, lane, k, code);
  SetPlane(chunk, 2, lane, k, code & 3);
  const int64_t j = k % 16 / 4, high_bit = k / 16 * 4 + k % 4;
  chunk[static_cast<size_t>(128 + 4 * lane + j)] |= static_cast<char>((code >> 2) << high_bit);
}

}  // namespace

float HalfToFloat(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float magnitude = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                          : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                           : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

uint16_t FloatToHalf(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  if (magnitude < 0x1p-14f) return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
  int exponent = 0;
  const float fraction = std::frexp(magnitude, &exponent);  // in [0.5, 1)
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(fraction, 11)));
  return sign | static_cast<uint16_t>(((exponent + 13) << 10) + mantissa);
}

std::string Encode(const std::vector<float>& values, int type) {
  if (type == 1) return Raw(values);
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(FloatToHalf(value));
  return Raw(halves);
}

std::vector<float> Decode(const void* data, size_t count, int type) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = type == 1 ? static_cast<const float*>(data)[i] : HalfToFloat(static_cast<const uint16_t*>(data)[i]);
  }
  return values;
}

GroupWeight GroupWeight::Random(const Geometry& geometry, uint32_t seed) {
  GroupWeight w{geometry, {}, {}, {}, {}, {}, {}, {}};
  std::mt19937 random(seed);
  const int64_t block = w.block_size == -1 ? w.K : w.block_size;
  const int64_t tiles = CeilDiv(w.N, kLanes), chunks = CeilDiv(w.K, kDepth), groups = CeilDiv(w.K, block);
  const int64_t zero_point_bits = w.bits == 3 ? 4 : w.bits;
  const int64_t zero_point_rows = CeilDiv(groups * zero_point_bits, 8);
  const auto chunk_bytes = static_cast<size_t>(64 * w.bits);
  w.code_shape = {tiles, chunks, 64 * w.bits};
  w.scale_shape = {tiles, groups, kLanes};
  w.zero_point_shape = {tiles, w.zero_points == ZeroPoints::kInteger ? zero_point_rows : groups, kLanes};

  std::vector<float> scales(static_cast<size_t>(tiles * groups * kLanes)), offsets(scales.size());
  std::string packed_offsets(static_cast<size_t>(tiles * zero_point_rows * kLanes), '\0');
  const float middle = static_cast<float>(int64_t{1} << (w.bits - 1));
  std::uniform_real_distribution<float> scale_range(0.01f, 0.1f), offset_range(0.0f, 2 * middle - 1);
  const auto round = [&](float value) { return w.scale_type == 10 ? HalfToFloat(FloatToHalf(value)) : value; };
  for (int64_t n = 0; n < w.N; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t lane = n % kLanes, at = n / kLanes * groups + g;
      const auto i = static_cast<size_t>(at * kLanes + lane);
      scales[i] = round(scale_range(random));
      const float offset = offset_range(random);
      offsets[i] = w.zero_points == ZeroPoints::kNone    ? middle
                   : w.zero_points == ZeroPoints::kFloat ? round(offset)
                                                         : std::nearbyint(offset);
      const int64_t bit = g * zero_point_bits;
      const int64_t byte = (n / kLanes * zero_point_rows + bit / 8) * kLanes + lane;
      packed_offsets[static_cast<size_t>(byte)] |= static_cast<char>(static_cast<int>(offsets[i]) << (bit % 8));
    }
  }

  w.codes.assign(static_cast<size_t>(tiles * chunks) * chunk_bytes, '\0');
  w.dense.resize(static_cast<size_t>(w.N * w.K));
  std::uniform_int_distribution<int64_t> any_code(0, (int64_t{1} << w.bits) - 1);
  for (int64_t n = 0; n < w.N; ++n) {
    for (int64_t c = 0; c < chunks; ++c) {
      const size_t at = static_cast<size_t>(n / kLanes * chunks + c) * chunk_bytes;
      std::string chunk = w.codes.substr(at, chunk_bytes);
      for (int64_t k = 0; k < std::min(kDepth, w.K - c * kDepth); ++k) {
        const int64_t code = any_code(random), input = c * kDepth + k;
        SetCode(chunk, w.bits, n % kLanes, k, code);
        const auto i = static_cast<size_t>((n / kLanes * groups + input / block) * kLanes + n % kLanes);
        w.dense[static_cast<size_t>(n * w.K + input)] = scales[i] * (static_cast<float>(code) - offsets[i]);
      }
      w.codes.replace(at, chunk_bytes, chunk);
    }
  }
  w.scales = Encode(scales, w.scale_type);
  w.zero_point_bytes = w.zero_points == ZeroPoints::kFloat ? Encode(offsets, w.scale_type) : packed_offsets;
  return w;
}

std::vector<Attribute> GroupWeight::Attributes() const {
  return {{"K", K},
          {"N", N},
          {"bits", bits},
          {"block_size", block_size},
          {"layout", std::string("n16")},
          {"format_version", int64_t{1}}};
}

std::vector<Initializer> GroupWeight::Initializers() const {
  std::vector<Initializer> initializers = {{"W", 2, code_shape, codes, {}},
                                           {"scales", scale_type, scale_shape, scales, {}}};
  if (zero_points != ZeroPoints::kNone)
    initializers.push_back({"zero_points", zero_point_type(), zero_point_shape, zero_point_bytes, {}});
  return initializers;
}

}  // namespace ortq::test

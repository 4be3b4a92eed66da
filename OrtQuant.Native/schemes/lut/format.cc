#include "schemes/lut/format.h"

#include <bit>

#include "core/error.h"
#include "schemes/group/decode.h"

namespace ortq::lut {

void LutFormat::Validate() const {
  // The upper bounds keep every size of the format, in bytes, far from overflowing 64 bits.
  constexpr int64_t kMaxExtent = int64_t{1} << 28;
  if (bits < 1 || bits > kMaxBits) ThrowInvalid("bits is ", bits, "; permitted: 1, 2, 3, 4");
  if (!free_levels && bits == 1) ThrowInvalid("bits is 1; permitted with levels 'uniform': 2, 3, 4");
  if (N < 1 || N > kMaxExtent) ThrowInvalid("N is ", N, "; permitted: 1 to ", kMaxExtent);
  if (K < 1 || K > kMaxExtent) ThrowInvalid("K is ", K, "; permitted: 1 to ", kMaxExtent);
  const bool power_of_two = block >= 16 && std::has_single_bit(static_cast<uint64_t>(block));
  if (!power_of_two && block != K) {
    ThrowInvalid("block_size is ", block, "; permitted: a power of two >= 16, or -1 for the whole row");
  }
  if (scale_type != ScalarType::kFloat16 && scale_type != ScalarType::kFloat32) {
    ThrowInvalid("scales have ONNX type ", static_cast<int>(scale_type), "; permitted: 1 (float), 10 (float16)");
  }
  if (free_levels && offset_type == ScalarType::kUint8) {
    ThrowInvalid("zero_points have ONNX type 2 (uint8); permitted with levels 'free': 1 (float), 10 (float16)");
  }
}

void Unpack(const LutWeights& weights, float* w) {
  const LutFormat& f = weights.format;
  for (int64_t n = 0; n < f.N; ++n) {
    const int64_t tile = n / kTileOutputs;
    const int lane = static_cast<int>(n % kTileOutputs);
    const uint8_t* codes = weights.codes + tile * f.Chunks() * 64 * f.bits;
    for (int64_t g = 0; g < f.Groups(); ++g) {
      const int64_t group = tile * f.Groups() + g;
      const int64_t offset_index = group * kTileOutputs + lane;
      const float offset = f.offset_type == ScalarType::kUint8
                               ? static_cast<float>(weights.zero_points[offset_index])
                               : group::LoadScalar(weights.zero_points, f.offset_type, offset_index);
      float coefficients[kMaxBits];
      for (int64_t i = 0; i < f.Coefficients(); ++i) {
        coefficients[i] =
            group::LoadScalar(weights.scales, f.scale_type, (group * f.Coefficients() + i) * kTileOutputs + lane);
      }
      const int64_t end = f.K - g * f.block < f.block ? f.K : (g + 1) * f.block;
      for (int64_t k = g * f.block; k < end; ++k) {
        const int code = DecodeCode(codes, f.bits, k, lane);
        float value;
        if (f.free_levels) {
          value = offset;
          for (int i = 0; i < f.bits; ++i) {
            value = (code >> i & 1) != 0 ? value + coefficients[i] : value - coefficients[i];
          }
        } else {
          value = coefficients[0] * (static_cast<float>(code) - offset);
        }
        w[n * f.K + k] = value;
      }
    }
  }
}

}  // namespace ortq::lut

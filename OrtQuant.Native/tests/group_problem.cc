#include "tests/group_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "tests/scalars.h"

namespace ortq::testing {
std::string ProblemSpec::Describe() const {
  static constexpr const char* kZeroPoints[] = {"none", "integer", "float"};
  std::ostringstream text;
  text << format.bits << " bits, block " << format.block << ", zero points " << kZeroPoints[static_cast<int>(format.zp)]
       << ", scales " << static_cast<int>(format.scale_type) << ", N " << format.N << ", K " << format.K << ", "
       << InputsSpec::Describe();
  return text.str();
}

Problem::Problem(const ProblemSpec& spec)
    : spec_(spec),
      random_(spec.seed),
      codes_(static_cast<size_t>(spec.format.N * spec.format.K)),
      scales_(static_cast<size_t>(spec.format.N * spec.format.Groups())),
      zero_points_(scales_.size()),
      packed_codes_(spec.Buffer(spec.format.CodeBytes())),
      packed_scales_(spec.Buffer(spec.format.ScaleCount() * ScalarBytes(spec.format.scale_type))),
      packed_zero_points_(spec.Buffer(spec.format.ZeroPointCount() * ScalarBytes(spec.format.zp_type))),
      inputs_(spec, spec.format.N, spec.format.K) {
  Pack();
}

/// The byte and the shift of bit `plane_bit` of a code, from the definition of the layout: a chunk of 32 k is a plane
/// of `width` bits (3-bit codes: 2, then 1), vector v byte 4 lane + j field i holds k = (32 / width) v + (8 / width) j
/// + i; bit f of a byte of the high plane of 3-bit codes holds k = 16 (f / 4) + 4 j + f % 4.
uint8_t* Problem::CodeByte(int64_t n, int64_t k, int plane_bit, int* shift) const {
  const int bits = spec_.format.bits;
  uint8_t* chunk = packed_codes_.data() + (n / 16 * spec_.format.Chunks() + k / 32) * 64 * bits;
  const int64_t depth = k % 32;
  const int64_t lane = n % 16;
  if (bits == 3 && plane_bit == 2) {
    *shift = static_cast<int>(depth / 16 * 4 + depth % 4);
    return chunk + 128 + 4 * lane + depth % 16 / 4;
  }
  const int width = bits == 3 ? 2 : bits;
  const int64_t bit = depth * width;  // of the row's own codes, one after the other
  *shift = static_cast<int>(bit % 8) + plane_bit;
  return chunk + 64 * (bit / 32) + 4 * lane + bit % 32 / 8;
}

void Problem::Pack() {
  const GroupFormat& f = spec_.format;
  const int levels = 1 << f.bits;
  const int64_t groups = f.Groups();
  std::memset(packed_codes_.data(), 0, packed_codes_.size());
  std::memset(packed_scales_.data(), 0, packed_scales_.size());
  std::memset(packed_zero_points_.data(), 0, packed_zero_points_.size());
  std::uniform_real_distribution<float> magnitude(0.005f, 0.02f);
  std::normal_distribution<float> normal;
  for (int64_t n = 0; n < f.N; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t packed = (n / 16 * groups + g) * 16 + n % 16;
      const float scale = RoundTo(f.scale_type, (random_() % 8 == 0 ? -1.0f : 1.0f) * magnitude(random_));
      scales_[static_cast<size_t>(n * groups + g)] = scale;
      StoreScalar(packed_scales_.data(), packed, scale, f.scale_type);
      float& zero_point = zero_points_[static_cast<size_t>(n * groups + g)];
      zero_point = static_cast<float>(levels / 2);
      if (f.zp == ZeroPointKind::kInteger) {
        const int zb = f.bits == 3 ? 4 : f.bits;
        const int value = spec_.extreme_codes ? 0 : static_cast<int>(random_() % static_cast<unsigned>(1 << zb));
        zero_point = static_cast<float>(value);
        const int64_t rows = (groups * zb + 7) / 8;
        packed_zero_points_.data()[(n / 16 * rows + g * zb / 8) * 16 + n % 16] |=
            static_cast<uint8_t>(value << (g * zb % 8));
      } else if (f.zp == ZeroPointKind::kFloat) {
        zero_point = RoundTo(f.zp_type, static_cast<float>(levels / 2) + normal(random_));
        StoreScalar(packed_zero_points_.data(), packed, zero_point, f.zp_type);
      }
    }
    for (int64_t k = 0; k < f.K; ++k) {
      const int code = spec_.extreme_codes ? levels - 1 : static_cast<int>(random_() % static_cast<unsigned>(levels));
      codes_[static_cast<size_t>(n * f.K + k)] = static_cast<uint8_t>(code);
      for (int bit = 0; bit < f.bits; ++bit) {
        int shift = 0;
        uint8_t* byte = CodeByte(n, k, bit, &shift);
        *byte |= static_cast<uint8_t>(((code >> bit) & 1) << shift);
      }
    }
  }
}

void Problem::FlipTopBit(int64_t n, int64_t k) {
  int shift = 0;
  uint8_t* byte = CodeByte(n, k, spec_.format.bits - 1, &shift);
  *byte ^= static_cast<uint8_t>(1 << shift);
}

GroupWeights Problem::Weights() const {
  return {spec_.format, packed_codes_.data(), packed_scales_.data(),
          spec_.format.zp == ZeroPointKind::kNone ? nullptr : packed_zero_points_.data()};
}

std::vector<float> Problem::Run(const MatMulNBits& matmul, const ParallelFor& parallel) {
  inputs_.SpoilY();
  matmul.Run(Weights(), inputs_.epilogue(), inputs_.x(), inputs_.y(), spec_.type, spec_.M, parallel, {});
  return inputs_.Y();
}

int64_t Problem::ParameterIndex(int64_t n, int64_t k) const {
  return n * spec_.format.Groups() + (spec_.format.Groups() == 1 ? 0 : k / spec_.format.block);
}

double Problem::Weight(int64_t n, int64_t k) const {
  const auto p = static_cast<size_t>(ParameterIndex(n, k));
  return static_cast<double>(scales_[p]) *
         (codes_[static_cast<size_t>(n * spec_.format.K + k)] - static_cast<double>(zero_points_[p]));
}

/// Step of the activation block of (m, k): min(block, 128) inputs, whole row 128.
double Problem::StepOf(int64_t m, int64_t k) const {
  const GroupFormat& f = spec_.format;
  const int64_t block = f.Groups() == 1 ? 128 : std::min<int64_t>(f.block, 128);
  double absmax = 0;
  for (int64_t i = k / block * block; i < std::min(f.K, (k / block + 1) * block); ++i) {
    absmax = std::max(absmax, std::fabs(inputs_.X(m, i)));
  }
  return absmax / 127;
}

int64_t Problem::CountErrors(const std::vector<float>& y, AccuracyLevel level) const {
  const double middle = 1 << (spec_.format.bits - 1);
  const bool quantized = level == AccuracyLevel::kInt8 && spec_.activations != ActivationKind::kExactInt8;
  return inputs_.CountErrors(
      y,
      [&](int64_t n, int64_t k) -> WeightTerm {
        const auto p = static_cast<size_t>(ParameterIndex(n, k));
        const double code = codes_[static_cast<size_t>(n * spec_.format.K + k)];
        const auto scale = static_cast<double>(scales_[p]);
        const auto zero_point = static_cast<double>(zero_points_[p]);
        return {scale * (code - zero_point),
                std::fabs(scale) * (std::fabs(code - middle) + std::fabs(middle - zero_point))};
      },
      [&](int64_t m, int64_t k) { return quantized ? StepOf(m, k) : 0; });
}

}  // namespace ortq::testing

#include "tests/group_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "core/half.h"
#include "tests/tolerance.h"

namespace ortq::testing {
namespace {

int64_t Bytes(ScalarType type) {
  return type == ScalarType::kFloat32 ? 4 : type == ScalarType::kFloat16 ? 2 : 1;
}

float Round(float value, ScalarType type) {
  return type == ScalarType::kFloat16 ? HalfToFloat(FloatToHalf(value)) : value;
}

}  // namespace

std::string ProblemSpec::Describe() const {
  static constexpr const char* kZeroPoints[] = {"none", "integer", "float"};
  std::ostringstream text;
  text << format.bits << " bits, block " << format.block << ", zero points " << kZeroPoints[static_cast<int>(format.zp)]
       << ", scales " << static_cast<int>(format.scale_type) << ", X type " << static_cast<int>(type) << ", M " << M
       << ", N " << format.N << ", K " << format.K << ", rank " << rank << ", seed " << seed << ", offset " << offset;
  return text.str();
}

Problem::Problem(const ProblemSpec& spec)
    : spec_(spec),
      codes_(static_cast<size_t>(spec.format.N * spec.format.K)),
      scales_(static_cast<size_t>(spec.format.N * spec.format.Groups())),
      zero_points_(scales_.size()),
      packed_codes_(Buffer(spec.format.CodeBytes())),
      packed_scales_(Buffer(spec.format.ScaleCount() * Bytes(spec.format.scale_type))),
      packed_zero_points_(Buffer(spec.format.ZeroPointCount() * Bytes(spec.format.zp_type))),
      x_(Buffer(spec.M * spec.format.K * Bytes(spec.type))),
      y_(Buffer(spec.M * spec.format.N * Bytes(spec.type))),
      bias_(Buffer(spec.bias ? spec.format.N * Bytes(spec.type) : 0)),
      low_rank_a_(Buffer(spec.format.K * spec.rank * Bytes(spec.type))),
      low_rank_b_(Buffer(spec.format.N * spec.rank * Bytes(spec.type))) {
  std::mt19937 random(spec.seed);
  std::normal_distribution<float> normal;
  Pack(random);
  const GroupFormat& f = spec_.format;
  for (int64_t i = 0; i < spec_.M * f.K; ++i) {
    float value = normal(random);
    if (spec_.activations == ActivationKind::kExactInt8) {
      const int64_t k = i % f.K;
      value = k % 16 == 0 ? 127.0f : k % 16 == 7 ? -127.0f : static_cast<float>(static_cast<int>(random() % 255) - 127);
    }
    StoreScalar(x_, i, value, spec_.type);
  }
  for (int64_t i = 0; spec_.bias && i < f.N; ++i) StoreScalar(bias_, i, normal(random), spec_.type);
  for (int64_t i = 0; i < f.K * spec_.rank; ++i) StoreScalar(low_rank_a_, i, 0.1f * normal(random), spec_.type);
  for (int64_t i = 0; i < f.N * spec_.rank; ++i) StoreScalar(low_rank_b_, i, 0.1f * normal(random), spec_.type);
}

GuardedBuffer Problem::Buffer(int64_t bytes) const {
  return GuardedBuffer(static_cast<size_t>(bytes), spec_.placement, spec_.offset);
}

void Problem::StoreScalar(const GuardedBuffer& buffer, int64_t index, float value, ScalarType type) {
  if (type == ScalarType::kFloat16) {
    const uint16_t half = FloatToHalf(value);
    std::memcpy(buffer.data() + 2 * index, &half, 2);
  } else {
    std::memcpy(buffer.data() + 4 * index, &value, 4);
  }
}

float Problem::LoadScalar(const GuardedBuffer& buffer, int64_t index, ScalarType type) const {
  if (type == ScalarType::kFloat16) {
    uint16_t half;
    std::memcpy(&half, buffer.data() + 2 * index, 2);
    return HalfToFloat(half);
  }
  float value;
  std::memcpy(&value, buffer.data() + 4 * index, 4);
  return value;
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

void Problem::Pack(std::mt19937& random) {
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
      const float scale = Round((random() % 8 == 0 ? -1.0f : 1.0f) * magnitude(random), f.scale_type);
      scales_[static_cast<size_t>(n * groups + g)] = scale;
      StoreScalar(packed_scales_, packed, scale, f.scale_type);
      float& zero_point = zero_points_[static_cast<size_t>(n * groups + g)];
      zero_point = static_cast<float>(levels / 2);
      if (f.zp == ZeroPointKind::kInteger) {
        const int zb = f.bits == 3 ? 4 : f.bits;
        const int value = spec_.extreme_codes ? 0 : static_cast<int>(random() % static_cast<unsigned>(1 << zb));
        zero_point = static_cast<float>(value);
        const int64_t rows = (groups * zb + 7) / 8;
        packed_zero_points_.data()[(n / 16 * rows + g * zb / 8) * 16 + n % 16] |=
            static_cast<uint8_t>(value << (g * zb % 8));
      } else if (f.zp == ZeroPointKind::kFloat) {
        zero_point = Round(static_cast<float>(levels / 2) + normal(random), f.zp_type);
        StoreScalar(packed_zero_points_, packed, zero_point, f.zp_type);
      }
    }
    for (int64_t k = 0; k < f.K; ++k) {
      const int code = spec_.extreme_codes ? levels - 1 : static_cast<int>(random() % static_cast<unsigned>(levels));
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

void Problem::SetActivation(int64_t m, int64_t k, float value) {
  StoreScalar(x_, m * spec_.format.K + k, value, spec_.type);
}

GroupWeights Problem::Weights() const {
  return {spec_.format, packed_codes_.data(), packed_scales_.data(),
          spec_.format.zp == ZeroPointKind::kNone ? nullptr : packed_zero_points_.data()};
}

std::vector<float> Problem::Run(const MatMulNBits& matmul, const ParallelFor& parallel) {
  std::memset(y_.data(), 0xFF, y_.size());
  const Epilogue epilogue{.bias = spec_.bias ? bias_.data() : nullptr,
                          .low_rank_a = spec_.rank > 0 ? low_rank_a_.data() : nullptr,
                          .low_rank_b = spec_.rank > 0 ? low_rank_b_.data() : nullptr,
                          .rank = spec_.rank};
  matmul.Run(Weights(), epilogue, x_.data(), y_.data(), spec_.type, spec_.M, parallel, {});
  std::vector<float> y(static_cast<size_t>(spec_.M * spec_.format.N));
  for (size_t i = 0; i < y.size(); ++i) y[i] = LoadScalar(y_, static_cast<int64_t>(i), spec_.type);
  return y;
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
    absmax = std::max(absmax, std::fabs(static_cast<double>(LoadScalar(x_, m * f.K + i, spec_.type))));
  }
  return absmax / 127;
}

int64_t Problem::CountErrors(const std::vector<float>& y, AccuracyLevel level) const {
  const GroupFormat& f = spec_.format;
  const double middle = 1 << (f.bits - 1);
  const bool quantized = level == AccuracyLevel::kInt8 && spec_.activations != ActivationKind::kExactInt8;
  std::vector<double> x(static_cast<size_t>(f.K));
  std::vector<double> steps(x.size());
  std::vector<double> projected(static_cast<size_t>(spec_.rank));
  std::vector<double> projected_absolute(projected.size());
  int64_t errors = 0;
  for (int64_t m = 0; m < spec_.M; ++m) {
    for (int64_t k = 0; k < f.K; ++k) {
      x[static_cast<size_t>(k)] = static_cast<double>(LoadScalar(x_, m * f.K + k, spec_.type));
      steps[static_cast<size_t>(k)] = quantized ? StepOf(m, k) : 0;
    }
    for (int64_t j = 0; j < spec_.rank; ++j) {
      double sum = 0;
      double absolute = 0;
      for (int64_t k = 0; k < f.K; ++k) {
        const double term =
            x[static_cast<size_t>(k)] * static_cast<double>(LoadScalar(low_rank_a_, k * spec_.rank + j, spec_.type));
        sum += term;
        absolute += std::fabs(term);
      }
      projected[static_cast<size_t>(j)] = sum;
      projected_absolute[static_cast<size_t>(j)] = absolute;
    }
    for (int64_t n = 0; n < f.N; ++n) {
      double exact = 0;
      double absolute = 0;
      double stepped = 0;
      for (int64_t k = 0; k < f.K; ++k) {
        const auto p = static_cast<size_t>(ParameterIndex(n, k));
        const double scale = static_cast<double>(scales_[p]);
        const double code = codes_[static_cast<size_t>(n * f.K + k)];
        const double zero_point = static_cast<double>(zero_points_[p]);
        const double value = x[static_cast<size_t>(k)];
        exact += value * scale * (code - zero_point);
        absolute += std::fabs(value * scale) * (std::fabs(code - middle) + std::fabs(middle - zero_point));
        stepped += steps[static_cast<size_t>(k)] * std::fabs(scale * (code - zero_point));
      }
      if (level == AccuracyLevel::kInt8) {
        // The integer sums are exact; what is rounded are the blocks' results, built from uncentred codes.
        absolute += stepped;
      }
      for (int64_t j = 0; j < spec_.rank; ++j) {
        const double b = static_cast<double>(LoadScalar(low_rank_b_, j * f.N + n, spec_.type));
        exact += projected[static_cast<size_t>(j)] * b;
        absolute += projected_absolute[static_cast<size_t>(j)] * std::fabs(b);
      }
      if (spec_.bias) {
        const double bias = static_cast<double>(LoadScalar(bias_, n, spec_.type));
        exact += bias;
        absolute += std::fabs(bias);
      }
      double bound = FloatBound(f.K + spec_.rank, absolute) + ActivationBound(stepped);
      if (spec_.type == ScalarType::kFloat16) bound += HalfBound(std::fabs(exact) + bound);
      const double got = static_cast<double>(y[static_cast<size_t>(m * f.N + n)]);
      errors += !(std::fabs(got - exact) <= bound);
    }
  }
  return errors;
}

}  // namespace ortq::testing

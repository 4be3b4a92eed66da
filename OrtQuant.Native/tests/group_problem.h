// Random matmul problems in the stored format of scheme `group`, packed here by the definition of the layout, with the
// exact result in double precision and the bound a kernel has to meet.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "schemes/group/matmul.h"
#include "tests/guarded_buffer.h"

namespace ortq::testing {

/// What kind of numbers X holds.
enum class ActivationKind {
  kNormal,
  /// Integers in [-127, 127] with both extremes in every run of 16: their quantization is exact, so that the int8 level
  /// has to meet the float bound, and products are as large as they can be.
  kExactInt8,
};

struct ProblemSpec {
  GroupFormat format;
  int64_t M = 1;
  ScalarType type = ScalarType::kFloat32;  ///< of X, Y, bias and the low-rank factors
  ActivationKind activations = ActivationKind::kNormal;
  bool extreme_codes = false;  ///< all codes 2^bits - 1, zero points 0: the largest sums there are
  bool bias = false;
  int64_t rank = 0;
  uint32_t seed = 1;
  GuardedBuffer::Placement placement = GuardedBuffer::Placement::kEnd;
  size_t offset = 0;  ///< misalignment of every buffer when placement is kBegin

  std::string Describe() const;
};

class Problem {
 public:
  explicit Problem(const ProblemSpec& spec);

  const ProblemSpec& spec() const { return spec_; }
  GroupWeights Weights() const;
  /// Runs a kernel and gives Y as float32.
  std::vector<float> Run(const MatMulNBits& matmul, const ParallelFor& parallel = {});
  /// Code of (n, k) as stored; and changes it by flipping its top bit.
  void FlipTopBit(int64_t n, int64_t k);
  /// Replaces one activation.
  void SetActivation(int64_t m, int64_t k, float value);

  /// Number of elements of y further from the exact result than the bound of that level.
  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) const;
  /// Exactly dequantized weight.
  double Weight(int64_t n, int64_t k) const;

 private:
  void Pack(std::mt19937& random);
  void StoreScalar(const GuardedBuffer& buffer, int64_t index, float value, ScalarType type);
  float LoadScalar(const GuardedBuffer& buffer, int64_t index, ScalarType type) const;
  GuardedBuffer Buffer(int64_t bytes) const;
  uint8_t* CodeByte(int64_t n, int64_t k, int plane_bit, int* shift) const;
  int64_t ParameterIndex(int64_t n, int64_t k) const;
  double StepOf(int64_t m, int64_t k) const;

  ProblemSpec spec_;
  std::vector<uint8_t> codes_;      // [N, K]
  std::vector<float> scales_;       // [N, groups]
  std::vector<float> zero_points_;  // [N, groups]
  GuardedBuffer packed_codes_;
  GuardedBuffer packed_scales_;
  GuardedBuffer packed_zero_points_;
  GuardedBuffer x_;
  GuardedBuffer y_;
  GuardedBuffer bias_;
  GuardedBuffer low_rank_a_;
  GuardedBuffer low_rank_b_;
};

}  // namespace ortq::testing

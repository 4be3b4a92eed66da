// Random matmul problems in the stored format of scheme `group`, packed here by the definition of the layout, with the
// exact result in double precision and the bound a kernel has to meet.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "schemes/group/matmul.h"
#include "tests/matmul_inputs.h"

namespace ortq::testing {

struct ProblemSpec : InputsSpec {
  GroupFormat format;
  bool extreme_codes = false;  ///< all codes 2^bits - 1, zero points 0: the largest sums there are

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
  void SetActivation(int64_t m, int64_t k, float value) { inputs_.SetX(m, k, value); }

  /// Number of elements of y further from the exact result than the bound of that level.
  int64_t CountErrors(const std::vector<float>& y, AccuracyLevel level) const;
  /// Exactly dequantized weight.
  double Weight(int64_t n, int64_t k) const;
  /// X, Y and what is added, for ops of other schemes that hold their weights in this format.
  MatMulInputs& inputs() { return inputs_; }
  const MatMulInputs& inputs() const { return inputs_; }

 private:
  void Pack();
  uint8_t* CodeByte(int64_t n, int64_t k, int plane_bit, int* shift) const;
  int64_t ParameterIndex(int64_t n, int64_t k) const;
  double StepOf(int64_t m, int64_t k) const;

  ProblemSpec spec_;
  std::mt19937 random_;
  std::vector<uint8_t> codes_;      // [N, K]
  std::vector<float> scales_;       // [N, groups]
  std::vector<float> zero_points_;  // [N, groups]
  GuardedBuffer packed_codes_;
  GuardedBuffer packed_scales_;
  GuardedBuffer packed_zero_points_;
  MatMulInputs inputs_;
};

}  // namespace ortq::testing

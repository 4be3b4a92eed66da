// What matmul problems of every scheme share: X, bias and low-rank factors on guard pages, and the judgement of Y
// against the exact result.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/types.h"
#include "tests/guarded_buffer.h"
#include "tests/tolerance.h"

namespace ortq::testing {

inline constexpr AccuracyLevel kLevels[] = {AccuracyLevel::kFloat, AccuracyLevel::kInt8};

/// What kind of numbers X holds.
enum class ActivationKind {
  kNormal,
  /// Integers in [-127, 127] with both extremes in every run of 16: their quantization is exact, so that the int8 level
  /// has to meet the float bound, and products are as large as they can be.
  kExactInt8,
};

struct InputsSpec {
  int64_t M = 1;
  ScalarType type = ScalarType::kFloat32;  ///< of X, Y, bias and the low-rank factors
  ActivationKind activations = ActivationKind::kNormal;
  bool bias = false;
  int64_t rank = 0;
  uint32_t seed = 1;
  GuardedBuffer::Placement placement = GuardedBuffer::Placement::kEnd;
  size_t offset = 0;  ///< misalignment of every buffer when placement is kBegin

  std::string Describe() const;
  GuardedBuffer Buffer(int64_t bytes) const { return {static_cast<size_t>(bytes), placement, offset}; }
};

/// M, type of X, bias, rank, seed and placement for the i-th case of a sweep: each list is cycled with its own period,
/// so that all pairs of neighbours turn up.
void DrawInputs(size_t i, InputsSpec& spec);
/// N and K, likewise.
int64_t DrawN(size_t i);
int64_t DrawK(size_t i);

/// One element of the exact sum.
struct WeightTerm {
  double weight;     ///< as dequantized exactly
  double magnitude;  ///< sum of the magnitudes of the parts that a kernel multiplies and sums apart; >= |weight|
};

class MatMulInputs {
 public:
  MatMulInputs(const InputsSpec& spec, int64_t N, int64_t K);

  const void* x() const { return x_.data(); }
  void* y() const { return y_.data(); }
  Epilogue epilogue() const;
  double X(int64_t m, int64_t k) const { return Load(x_, m * K_ + k); }
  void SetX(int64_t m, int64_t k, float value) { Store(x_, m * K_ + k, value); }

  /// Makes Y something that no kernel writes.
  void SpoilY() { std::memset(y_.data(), 0xFF, y_.size()); }
  /// Y as float32.
  std::vector<float> Y() const;

  /// Number of elements of y further from the exact result than the bound (tests/tolerance.h). `term(n, k)` gives a
  /// WeightTerm, `step(m, k)` the quantization step of an activation, 0 where it is exact.
  template <typename Term, typename Step>
  int64_t CountErrors(const std::vector<float>& y, const Term& term, const Step& step,
                      double step_slack = kStepSlack) const {
    int64_t errors = 0;
    std::vector<double> steps(static_cast<size_t>(K_));
    for (int64_t m = 0; m < spec_.M; ++m) {
      for (int64_t k = 0; k < K_; ++k) steps[static_cast<size_t>(k)] = step(m, k);
      for (int64_t n = 0; n < N_; ++n) {
        double exact = 0, absolute = 0, stepped = 0;
        for (int64_t k = 0; k < K_; ++k) {
          const WeightTerm w = term(n, k);
          exact += X(m, k) * w.weight;
          absolute += std::fabs(X(m, k)) * w.magnitude;
          stepped += steps[static_cast<size_t>(k)] * std::fabs(w.weight);
        }
        // A quantized activation may be larger than the activation by part of a step.
        absolute += stepped;
        AddEpilogue(m, n, exact, absolute);
        double bound = FloatBound(K_ + spec_.rank, absolute) + (0.5 + step_slack) * stepped;
        if (spec_.type == ScalarType::kFloat16) bound += HalfBound(std::fabs(exact) + bound);
        errors += !(std::fabs(static_cast<double>(y[static_cast<size_t>(m * N_ + n)]) - exact) <= bound);
      }
    }
    return errors;
  }

 private:
  void Store(const GuardedBuffer& buffer, int64_t index, float value) const;
  double Load(const GuardedBuffer& buffer, int64_t index) const;
  void AddEpilogue(int64_t m, int64_t n, double& exact, double& absolute) const;

  InputsSpec spec_;
  int64_t N_, K_;
  GuardedBuffer x_, y_, bias_, low_rank_a_, low_rank_b_;
};

}  // namespace ortq::testing

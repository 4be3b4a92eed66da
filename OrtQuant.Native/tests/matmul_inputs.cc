#include "tests/matmul_inputs.h"

#include <random>
#include <sstream>

#include "tests/scalars.h"

namespace ortq::testing {

std::string InputsSpec::Describe() const {
  std::ostringstream text;
  text << "X type " << static_cast<int>(type) << ", M " << M << ", bias " << bias << ", rank " << rank << ", seed "
       << seed << ", offset " << offset;
  return text.str();
}

void DrawInputs(size_t i, InputsSpec& spec) {
  constexpr int64_t kM[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 25, 40};
  spec.M = kM[i % 15];
  spec.type = i % 4 == 3 ? ScalarType::kFloat16 : ScalarType::kFloat32;
  spec.bias = i % 5 == 2;
  spec.rank = i % 13 == 4 ? 3 : 0;
  spec.seed = static_cast<uint32_t>(i + 1);
  spec.placement = i % 2 == 0 ? GuardedBuffer::Placement::kEnd : GuardedBuffer::Placement::kBegin;
  spec.offset = i * 7 % 64;
}

int64_t DrawN(size_t i) {
  constexpr int64_t kN[] = {1, 15, 16, 17, 33, 48, 83};
  return kN[i % 7];
}

int64_t DrawK(size_t i) {
  constexpr int64_t kK[] = {1, 15, 16, 17, 31, 33, 64, 172, 129, 300, 576};
  return kK[i % 11];
}

MatMulInputs::MatMulInputs(const InputsSpec& spec, int64_t N, int64_t K)
    : spec_(spec),
      N_(N),
      K_(K),
      x_(spec.Buffer(spec.M * K * ScalarBytes(spec.type))),
      y_(spec.Buffer(spec.M * N * ScalarBytes(spec.type))),
      bias_(spec.Buffer(spec.bias ? N * ScalarBytes(spec.type) : 0)),
      low_rank_a_(spec.Buffer(K * spec.rank * ScalarBytes(spec.type))),
      low_rank_b_(spec.Buffer(N * spec.rank * ScalarBytes(spec.type))) {
  std::mt19937 random(spec.seed + 0x9E3779B9u);  // not the weights' generator: a row does not depend on M
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < spec.M * K; ++i) {
    float value = normal(random);
    if (spec.activations == ActivationKind::kExactInt8) {
      const int64_t k = i % K;
      value = k % 16 == 0 ? 127.0f : k % 16 == 7 ? -127.0f : static_cast<float>(static_cast<int>(random() % 255) - 127);
    }
    Store(x_, i, value);
  }
  for (int64_t i = 0; spec.bias && i < N; ++i) Store(bias_, i, normal(random));
  for (int64_t i = 0; i < K * spec.rank; ++i) Store(low_rank_a_, i, 0.1f * normal(random));
  for (int64_t i = 0; i < N * spec.rank; ++i) Store(low_rank_b_, i, 0.1f * normal(random));
}

Epilogue MatMulInputs::epilogue() const {
  return {.bias = spec_.bias ? bias_.data() : nullptr,
          .low_rank_a = spec_.rank > 0 ? low_rank_a_.data() : nullptr,
          .low_rank_b = spec_.rank > 0 ? low_rank_b_.data() : nullptr,
          .rank = spec_.rank};
}

std::vector<float> MatMulInputs::Y() const {
  std::vector<float> y(static_cast<size_t>(spec_.M * N_));
  for (size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(Load(y_, static_cast<int64_t>(i)));
  return y;
}

void MatMulInputs::Store(const GuardedBuffer& buffer, int64_t index, float value) const {
  StoreScalar(buffer.data(), index, value, spec_.type);
}

double MatMulInputs::Load(const GuardedBuffer& buffer, int64_t index) const {
  return static_cast<double>(LoadScalar(buffer.data(), index, spec_.type));
}

void MatMulInputs::AddEpilogue(int64_t m, int64_t n, double& exact, double& absolute) const {
  for (int64_t j = 0; j < spec_.rank; ++j) {
    const double b = Load(low_rank_b_, j * N_ + n);
    for (int64_t k = 0; k < K_; ++k) {
      const double term = X(m, k) * Load(low_rank_a_, k * spec_.rank + j) * b;
      exact += term;
      absolute += std::fabs(term);
    }
  }
  if (!spec_.bias) return;
  exact += Load(bias_, n);
  absolute += std::fabs(Load(bias_, n));
}

}  // namespace ortq::testing

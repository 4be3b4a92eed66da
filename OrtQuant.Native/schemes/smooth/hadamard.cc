#include "schemes/smooth/hadamard.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/buffer.h"
#include "core/error.h"
#include "core/parallel.h"
#include "schemes/group/kernels.h"

namespace ortq::smooth {
namespace {

enum class Construction { kPaley1, kPaley2, kWilliamson };

struct Factor {
  int order;
  Construction construction;
  int prime;  ///< the field of Paley's constructions, the order of Williamson's circulants
};

/// One order for each odd part, so that n has one factor at most.
constexpr Factor kFactors[] = {
    {12, Construction::kPaley1, 11},   {20, Construction::kPaley1, 19},  {28, Construction::kPaley2, 13},
    {36, Construction::kPaley2, 17},   {44, Construction::kPaley1, 43},  {60, Construction::kPaley1, 59},
    {68, Construction::kPaley1, 67},   {76, Construction::kPaley2, 37},  {108, Construction::kPaley1, 107},
    {140, Construction::kPaley1, 139}, {148, Construction::kPaley2, 73}, {172, Construction::kWilliamson, 43},
};

/// 1 for squares modulo a prime, -1 for others, 0 for 0.
std::vector<int> QuadraticCharacter(int prime) {
  std::vector<int> character(static_cast<size_t>(prime), -1);
  character[0] = 0;
  for (int i = 1; i < prime; ++i) character[static_cast<size_t>(i * i % prime)] = 1;
  return character;
}

/// The conference matrix of order prime + 1: zero diagonal, C C^T = prime * I; skew or symmetric as the prime is 3 or 1
/// modulo 4.
int Conference(const std::vector<int>& character, int i, int j) {
  const int prime = static_cast<int>(character.size());
  if (i == j) return 0;
  if (i == 0) return 1;
  if (j == 0) return prime % 4 == 3 ? -1 : 1;
  return character[static_cast<size_t>((i - j + prime) % prime)];
}

int Paley1(const std::vector<int>& character, int i, int j) {
  return Conference(character, i, j) + (i == j);
}

int Paley2(const std::vector<int>& character, int i, int j) {
  const int same = i % 2 == 1 && j % 2 == 1 ? -1 : 1;      // [1 1; 1 -1]
  const int diagonal = i % 2 == 0 && j % 2 == 0 ? 1 : -1;  // [1 -1; -1 -1]
  return i / 2 == j / 2 ? diagonal : same * Conference(character, i / 2, j / 2);
}

/// Four symmetric circulants of order 43 with A^2 + B^2 + C^2 + D^2 = 172 I. Each is 1 on the diagonal and constant on
/// the cosets 3^j {1, 6, 36, -1, -6, -36} of the units modulo 43, j = 0 .. 6; found by trying all of these.
constexpr int kWilliamsonSigns[4][7] = {
    {1, 1, 1, 1, -1, -1, -1}, {-1, 1, 1, -1, -1, 1, -1}, {-1, 1, -1, 1, 1, 1, -1}, {-1, -1, 1, 1, -1, 1, 1}};

int Williamson(int i, int j) {
  constexpr int kPrime = 43;
  // Which circulant stands in each block, and its sign.
  constexpr int kBlock[4][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}, {3, 2, 1, 0}};
  constexpr int kSign[4][4] = {{1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
  const int block = kBlock[i / kPrime][j / kPrime];
  const int sign = kSign[i / kPrime][j / kPrime];
  const int difference = (i - j + 4 * kPrime) % kPrime;
  if (difference == 0) return sign;
  int logarithm = 0;  // to the base 3, a primitive root
  for (int power = 1; power != difference; power = power * 3 % kPrime) ++logarithm;
  return sign * kWilliamsonSigns[block][logarithm % 7];
}

const Factor* FindFactor(int64_t order) {
  const auto* found = std::ranges::find_if(kFactors, [&](const Factor& factor) { return factor.order == order; });
  return found == std::end(kFactors) ? nullptr : found;
}

/// Butterflies of a run of `power` values.
void WalshHadamard(float* x, int64_t power) {
  for (int64_t half = 1; half < power; half *= 2) {
    for (int64_t i = 0; i < power; i += 2 * half) {
      for (int64_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
}

}  // namespace

HadamardOrder HadamardOrderOf(int64_t n) {
  constexpr int64_t kMaxOrder = int64_t{1} << 24;  // sums of so many float32 still mean something
  if (n >= 1 && n <= kMaxOrder) {
    if (std::has_single_bit(static_cast<uint64_t>(n))) return {n, 1, n};
    for (const Factor& factor : kFactors) {
      const int64_t power = n / factor.order;
      if (n % factor.order == 0 && std::has_single_bit(static_cast<uint64_t>(power))) return {n, factor.order, power};
    }
  }
  ThrowInvalid("K is ", n, "; permitted: powers of two up to ", kMaxOrder,
               " and their multiples by 12, 20, 28, 36, 44, 60, 68, 76, 108, 140, 148, 172");
}

std::vector<int8_t> HadamardMatrix(int64_t m) {
  if (m == 1) return {1};
  const Factor* factor = FindFactor(m);
  if (factor == nullptr) ThrowInvalid("there is no factor of order ", m);
  const std::vector<int> character = QuadraticCharacter(factor->prime);
  std::vector<int8_t> matrix(static_cast<size_t>(m * m));
  for (int i = 0; i < factor->order; ++i) {
    for (int j = 0; j < factor->order; ++j) {
      const int value = factor->construction == Construction::kPaley1   ? Paley1(character, i, j)
                        : factor->construction == Construction::kPaley2 ? Paley2(character, i, j)
                                                                        : Williamson(i, j);
      matrix[static_cast<size_t>(i * factor->order + j)] = static_cast<int8_t>(value);
    }
  }
  return matrix;
}

void HadamardRowReference(const HadamardOrder& order, const float* matrix, float scale, float* row, float* room) {
  for (int64_t a = 0; a < order.factor; ++a) WalshHadamard(row + a * order.power, order.power);
  const float* sums = row;
  if (order.factor > 1) {
    for (int64_t a = 0; a < order.factor; ++a) {
      for (int64_t b = 0; b < order.power; ++b) {
        float sum = 0;
        for (int64_t i = 0; i < order.factor; ++i) sum += matrix[a * order.factor + i] * row[i * order.power + b];
        room[a * order.power + b] = sum;
      }
    }
    sums = room;
  }
  for (int64_t i = 0; i < order.n; ++i) row[i] = sums[i] * scale;
}

HadamardTransform::HadamardTransform(int64_t n, Isa isa)
    : isa_(ParseIsa(IsaName(isa))),
      order_(HadamardOrderOf(n)),
      scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(n)))) {
  const std::vector<int8_t> signs = HadamardMatrix(order_.factor);
  matrix_.assign(signs.begin(), signs.end());
}

void HadamardTransform::Run(const void* x, void* y, ScalarType type, int64_t M, const ParallelFor& parallel,
                            const Scratch& scratch) const {
  if (type != ScalarType::kFloat32 && type != ScalarType::kFloat16) {
    ThrowInvalid("X has ONNX type ", static_cast<int>(type), "; permitted: 1 (float), 10 (float16)");
  }
  if (M < 0) ThrowInvalid("M is ", M, "; permitted: 0 and more");
  if (M == 0) return;
  HadamardRow transform = HadamardRowReference;
#if defined(ORTQUANT_X86_KERNELS)
  if (isa_ != Isa::kReference) transform = HadamardRowAvx2;
#endif
  const KernelSet& conversions = group::KernelsFor(isa_);
  const TaskRunner runner(parallel);
  const int64_t n = order_.n;
  const auto stages = static_cast<double>(std::bit_width(static_cast<uint64_t>(order_.power)));
  const double nanoseconds = static_cast<double>(n) * (0.1 * stages + 0.05 * static_cast<double>(order_.factor));
  const int64_t tasks = runner.TaskCount(static_cast<double>(M) * nanoseconds, M);
  CallBuffers buffers(scratch);
  const int64_t stride = (n + 15) / 16 * 16;
  auto* rooms = buffers.Allocate<float>(tasks * 2 * stride);
  const size_t row_bytes = static_cast<size_t>(n) * (type == ScalarType::kFloat16 ? 2 : 4);
  runner.Run(tasks, [&](int64_t task) {
    float* row = rooms + task * 2 * stride;
    const Range rows = Share(M, tasks, task);
    for (int64_t m = rows.begin; m < rows.end; ++m) {
      const auto* from = static_cast<const uint8_t*>(x) + static_cast<size_t>(m) * row_bytes;
      auto* to = static_cast<uint8_t*>(y) + static_cast<size_t>(m) * row_bytes;
      if (type == ScalarType::kFloat16) {
        conversions.half_to_float(from, row, n);
      } else {
        std::memcpy(row, from, row_bytes);
      }
      transform(order_, matrix_.data(), scale_, row, row + stride);
      if (type == ScalarType::kFloat16) {
        conversions.float_to_half(row, to, n);
      } else {
        std::memcpy(to, row, row_bytes);
      }
    }
  });
}

}  // namespace ortq::smooth

// The Hadamard transform with AVX2: the additions of the portable code in the same order, eight values at a time.
#include "schemes/group/avx2.h"
#include "schemes/smooth/hadamard.h"

namespace ortq::smooth {
namespace {

constexpr int64_t kLanes = 8;

/// Butterflies between neighbouring lanes, pairs and halves of a register: swapped + (v, signs changed where a - b
/// goes).
inline __m256 InRegister(__m256 v) {
  const __m256 odd = _mm256_setr_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
  const __m256 pairs = _mm256_setr_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
  const __m256 upper = _mm256_setr_ps(0.0f, 0.0f, 0.0f, 0.0f, -0.0f, -0.0f, -0.0f, -0.0f);
  v = _mm256_add_ps(_mm256_permute_ps(v, 0xB1), _mm256_xor_ps(v, odd));
  v = _mm256_add_ps(_mm256_permute_ps(v, 0x4E), _mm256_xor_ps(v, pairs));
  return _mm256_add_ps(_mm256_permute2f128_ps(v, v, 1), _mm256_xor_ps(v, upper));
}

inline void Butterfly(__m256& a, __m256& b) {
  const __m256 sum = _mm256_add_ps(a, b);
  b = _mm256_sub_ps(a, b);
  a = sum;
}

/// `power` values, a multiple of 8.
void WalshHadamard(float* x, int64_t power) {
  for (int64_t i = 0; i < power; i += kLanes) _mm256_store_ps(x + i, InRegister(_mm256_load_ps(x + i)));
  int64_t half = kLanes;
  // Two stages at a time halve the passes over the row.
  for (; 4 * half <= power; half *= 4) {
    for (int64_t i = 0; i < power; i += 4 * half) {
      for (int64_t j = i; j < i + half; j += kLanes) {
        __m256 v[4];
        ORTQ_UNROLL for (int q = 0; q < 4; ++q) v[q] = _mm256_load_ps(x + j + q * half);
        Butterfly(v[0], v[1]);
        Butterfly(v[2], v[3]);
        Butterfly(v[0], v[2]);
        Butterfly(v[1], v[3]);
        ORTQ_UNROLL for (int q = 0; q < 4; ++q) _mm256_store_ps(x + j + q * half, v[q]);
      }
    }
  }
  if (2 * half > power) return;
  for (int64_t j = 0; j < half; j += kLanes) {
    __m256 a = _mm256_load_ps(x + j), b = _mm256_load_ps(x + j + half);
    Butterfly(a, b);
    _mm256_store_ps(x + j, a);
    _mm256_store_ps(x + j + half, b);
  }
}

/// Vectors * 8 columns of the dense factor, Rows of its rows; products by 1 and -1 are exact.
template <int Rows, int Vectors>
inline void Multiply(const HadamardOrder& order, const float* matrix, const float* x, float* y, __m256 scale) {
  __m256 sum[Rows][Vectors];
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    ORTQ_UNROLL for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm256_setzero_ps();
  }
  for (int64_t i = 0; i < order.factor; ++i) {
    __m256 value[Vectors];
    ORTQ_UNROLL for (int v = 0; v < Vectors; ++v) value[v] = _mm256_load_ps(x + i * order.power + kLanes * v);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m256 sign = _mm256_broadcast_ss(matrix + r * order.factor + i);
      ORTQ_UNROLL for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm256_fmadd_ps(sign, value[v], sum[r][v]);
    }
  }
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    ORTQ_UNROLL for (int v = 0; v < Vectors; ++v) {
      _mm256_store_ps(y + r * order.power + kLanes * v, _mm256_mul_ps(sum[r][v], scale));
    }
  }
}

template <int Vectors>
void MultiplyColumns(const HadamardOrder& order, const float* matrix, __m256 scale, const float* row, float* room) {
  constexpr int kRows = 4;  // every order of a factor is a multiple of 4
  for (int64_t b = 0; b < order.power; b += kLanes * Vectors) {
    for (int64_t a = 0; a < order.factor; a += kRows) {
      Multiply<kRows, Vectors>(order, matrix + a * order.factor, row + b, room + a * order.power + b, scale);
    }
  }
}

}  // namespace

void HadamardRowAvx2(const HadamardOrder& order, const float* matrix, float scale, float* row, float* room) {
  if (order.power < kLanes) return HadamardRowReference(order, matrix, scale, row, room);
  for (int64_t a = 0; a < order.factor; ++a) WalshHadamard(row + a * order.power, order.power);
  const __m256 factor = _mm256_set1_ps(scale);
  if (order.factor == 1) {
    for (int64_t i = 0; i < order.n; i += kLanes) {
      _mm256_store_ps(row + i, _mm256_mul_ps(_mm256_load_ps(row + i), factor));
    }
    return;
  }
  if (order.power % (2 * kLanes) == 0) {
    MultiplyColumns<2>(order, matrix, factor, row, room);
  } else {
    MultiplyColumns<1>(order, matrix, factor, row, room);
  }
  __builtin_memcpy(row, room, static_cast<size_t>(order.n) * sizeof(float));
}

}  // namespace ortq::smooth

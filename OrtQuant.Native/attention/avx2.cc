// AVX2, FMA and F16C. Lanes are dimensions of the head; float16 caches are widened as they are read.
#include <immintrin.h>

#include <cstring>

#include "attention/kernels.h"

namespace ortq::attention {
namespace {

constexpr int64_t kVector = 8;

template <bool kHalf>
struct Row;

template <>
struct Row<true> {
  const uint16_t* data;
  __m256 Load(int64_t i) const { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + i))); }
};

template <>
struct Row<false> {
  const float* data;
  __m256 Load(int64_t i) const { return _mm256_loadu_ps(data + i); }
};

template <bool kHalf>
Row<kHalf> RowAt(CacheRows rows, int64_t index) {
  if constexpr (kHalf) {
    return {static_cast<const uint16_t*>(rows.data) + index};
  } else {
    return {static_cast<const float*>(rows.data) + index};
  }
}

bool Supports(int64_t head_size) {
  return head_size % kVector == 0;
}

/// The sums of four vectors.
__m128 Sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

/// kCount keys from t on, for kRowCount rows: the sums of a row are the same whatever the counts.
template <int kRowCount, int kCount, bool kHalf>
void ScoreKeys(const float* q, int64_t head_size, CacheRows keys, int64_t t, float* scores, int64_t stride) {
  __m256 sums[kRowCount][4];
#pragma GCC unroll 8
  for (auto& row : sums) {
#pragma GCC unroll 8
    for (auto& sum : row) sum = _mm256_setzero_ps();
  }
  for (int64_t d = 0; d < head_size; d += kVector) {
    __m256 key[kCount];
#pragma GCC unroll 8
    for (int j = 0; j < kCount; ++j) key[j] = RowAt<kHalf>(keys, (t + j) * head_size).Load(d);
#pragma GCC unroll 8
    for (int r = 0; r < kRowCount; ++r) {
      const __m256 query = _mm256_loadu_ps(q + r * head_size + d);
#pragma GCC unroll 8
      for (int j = 0; j < kCount; ++j) sums[r][j] = _mm256_fmadd_ps(query, key[j], sums[r][j]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRowCount; ++r) {
    float results[4];
    _mm_storeu_ps(results, Sums(sums[r][0], sums[r][1], sums[r][2], sums[r][3]));
    std::memcpy(scores + r * stride + t, results, kCount * sizeof(float));
  }
}

template <int kRowCount, bool kHalf>
void ScoreRows(const float* q, int64_t head_size, CacheRows keys, int64_t begin, int64_t end, float* scores,
               int64_t stride) {
  constexpr int kKeys = kRowCount > 2 ? 2 : 4;  // sums in 8 registers at most
  int64_t t = begin;
  for (; t + kKeys <= end; t += kKeys) ScoreKeys<kRowCount, kKeys, kHalf>(q, head_size, keys, t, scores, stride);
  for (; t < end; ++t) ScoreKeys<kRowCount, 1, kHalf>(q, head_size, keys, t, scores, stride);
}

template <bool kHalf>
void ScoreAll(const float* q, int64_t rows, int64_t head_size, CacheRows keys, int64_t begin, int64_t end,
              float* scores, int64_t stride) {
  for (; rows >= 4; rows -= 4, q += 4 * head_size, scores += 4 * stride) {
    ScoreRows<4, kHalf>(q, head_size, keys, begin, end, scores, stride);
  }
  if (rows == 3) ScoreRows<3, kHalf>(q, head_size, keys, begin, end, scores, stride);
  if (rows == 2) ScoreRows<2, kHalf>(q, head_size, keys, begin, end, scores, stride);
  if (rows == 1) ScoreRows<1, kHalf>(q, head_size, keys, begin, end, scores, stride);
}

void Score(const float* q, int64_t rows, int64_t head_size, CacheRows keys, int64_t begin, int64_t end, float* scores,
           int64_t stride) {
  keys.half ? ScoreAll<true>(q, rows, head_size, keys, begin, end, scores, stride)
            : ScoreAll<false>(q, rows, head_size, keys, begin, end, scores, stride);
}

/// kVectors of the head from d on, for kRowCount rows.
template <int kRowCount, int kVectors, bool kHalf>
void MixPart(const float* p, int64_t stride, int64_t head_size, CacheRows values, int64_t begin, int64_t end, int64_t d,
             float* out) {
  __m256 sums[kRowCount][kVectors];
#pragma GCC unroll 8
  for (auto& row : sums) {
#pragma GCC unroll 8
    for (auto& sum : row) sum = _mm256_setzero_ps();
  }
  for (int64_t t = begin; t < end; ++t) {
    const auto row = RowAt<kHalf>(values, t * head_size + d);
    __m256 weights[kRowCount];
#pragma GCC unroll 8
    for (int r = 0; r < kRowCount; ++r) weights[r] = _mm256_broadcast_ss(p + r * stride + t);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const __m256 value = row.Load(i * kVector);
#pragma GCC unroll 8
      for (int r = 0; r < kRowCount; ++r) sums[r][i] = _mm256_fmadd_ps(weights[r], value, sums[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRowCount; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) _mm256_storeu_ps(out + r * head_size + d + i * kVector, sums[r][i]);
  }
}

template <int kRowCount, int kVectors, bool kHalf>
void MixRows(const float* p, int64_t stride, int64_t head_size, CacheRows values, int64_t begin, int64_t end,
             float* out) {
  int64_t d = 0;
  for (; d + kVectors * kVector <= head_size; d += kVectors * kVector) {
    MixPart<kRowCount, kVectors, kHalf>(p, stride, head_size, values, begin, end, d, out);
  }
  for (; d < head_size; d += kVector) {
    MixPart<kRowCount, 1, kHalf>(p, stride, head_size, values, begin, end, d, out);
  }
}

template <bool kHalf>
void MixAll(const float* p, int64_t stride, int64_t rows, int64_t head_size, CacheRows values, int64_t begin,
            int64_t end, float* out) {
  for (; rows >= 4; rows -= 4, p += 4 * stride, out += 4 * head_size) {
    MixRows<4, 2, kHalf>(p, stride, head_size, values, begin, end, out);
  }
  if (rows == 3) MixRows<3, 4, kHalf>(p, stride, head_size, values, begin, end, out);
  if (rows == 2) MixRows<2, 4, kHalf>(p, stride, head_size, values, begin, end, out);
  if (rows == 1) MixRows<1, 8, kHalf>(p, stride, head_size, values, begin, end, out);
}

void Mix(const float* p, int64_t stride, int64_t rows, int64_t head_size, CacheRows values, int64_t begin, int64_t end,
         float* out) {
  values.half ? MixAll<true>(p, stride, rows, head_size, values, begin, end, out)
              : MixAll<false>(p, stride, rows, head_size, values, begin, end, out);
}

/// e^x for x <= 0, relative error 2e-7; 0 below the smallest normal number. Cody and Waite's reduction, a Taylor
/// polynomial of degree 6 over
/// [-ln(2)/2, ln(2)/2].
__m256 Exp(__m256 x) {
  const __m256 lowest = _mm256_set1_ps(-87.33654f);
  const __m256 tiny = _mm256_cmp_ps(x, lowest, _CMP_LT_OQ);
  x = _mm256_max_ps(lowest, x);  // in this order a NaN stays
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.0f / 720);
#pragma GCC unroll 8
  for (const float c : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(c));
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_andnot_ps(tiny, _mm256_mul_ps(y, _mm256_castsi256_ps(exponent)));
}

float Largest(__m256 x) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

void Softmax(float* scores, int64_t count) {
  __m256 largest = _mm256_loadu_ps(scores);
  for (int64_t t = kVector; t < count; t += kVector) largest = _mm256_max_ps(largest, _mm256_loadu_ps(scores + t));
  const __m256 shift = _mm256_set1_ps(Largest(largest));
  __m256 sum = _mm256_setzero_ps();
  for (int64_t t = 0; t < count; t += kVector) {
    const __m256 e = Exp(_mm256_sub_ps(_mm256_loadu_ps(scores + t), shift));
    _mm256_storeu_ps(scores + t, e);
    sum = _mm256_add_ps(sum, e);
  }
  const __m256 zero = _mm256_setzero_ps();
  const __m256 scale = _mm256_set1_ps(1.0f / _mm_cvtss_f32(Sums(sum, zero, zero, zero)));
  for (int64_t t = 0; t < count; t += kVector) {
    _mm256_storeu_ps(scores + t, _mm256_mul_ps(_mm256_loadu_ps(scores + t), scale));
  }
}

void ToFloat(const uint16_t* from, float* to, int64_t count) {
  int64_t i = 0;
  for (; i + kVector <= count; i += kVector) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  for (; i < count; ++i) to[i] = _cvtsh_ss(from[i]);
}

void ToHalf(const float* from, uint16_t* to, int64_t count) {
  int64_t i = 0;
  for (; i + kVector <= count; i += kVector) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
  }
  for (; i < count; ++i) to[i] = _cvtss_sh(from[i], _MM_FROUND_TO_NEAREST_INT);
}

}  // namespace

extern const KernelSet kAvx2;
const KernelSet kAvx2 = {"avx2", Supports, Score, Softmax, Mix, ToFloat, ToHalf};

}  // namespace ortq::attention

// Quantization of rows with AVX2: the same operations as the portable code, eight or sixteen values at a time.
#include "schemes/group/avx2.h"

#include "schemes/smooth/kernels.h"

namespace ortq::smooth {
namespace {

using group::LoadTail;
using group::MaxLane;

bool Measure(const Layout& layout, const float* x, float* maxima) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  const int64_t depth = layout.blocks_per_smooth * layout.block_steps * kStepDepth;
  int non_finite = 0;
  int64_t b = 0;
  for (int64_t begin = 0; begin < layout.K; begin += depth) {
    const int64_t end = layout.K - begin < depth ? layout.K : begin + depth;
    __m256 largest = _mm256_setzero_ps();
    for (int64_t k = begin; k < end; k += 8) {
      const __m256 magnitude = _mm256_andnot_ps(sign, LoadTail(x + k, end - k));
      largest = _mm256_max_ps(largest, magnitude);
      non_finite |= _mm256_movemask_ps(_mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
    }
    const float maximum = MaxLane(largest);
    for (int64_t i = 0; i < layout.blocks_per_smooth && b < layout.blocks; ++i) maxima[b++] = maximum;
  }
  return non_finite == 0;
}

/// The 16 codes of a step in the order of the layout, zero from `count` on; adds them up.
inline __m128i QuantizeStep(const float* x, int64_t count, __m256 inverse, __m256 steps, __m128i order, __m256i& sum) {
  __m128i words[2];
  ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
    const int64_t rest = count - 8 * half;
    const __m256 values = rest > 0 ? LoadTail(x + 8 * half, rest) : _mm256_setzero_ps();
    const __m256i value = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_mul_ps(values, inverse), steps));
    words[half] = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    sum = _mm256_add_epi32(sum, value);
  }
  return _mm_shuffle_epi8(_mm_packs_epi16(words[0], words[1]), order);
}

inline int32_t SumLanes(__m256i v) {
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1)));
}

/// No value of the row counts: codes are zero, and the scales carry the NaN into the results.
void FillNonFinite(const Layout& layout, int8_t* q, float* scales, int32_t* sums) {
  __builtin_memset(q, 0, static_cast<size_t>(layout.steps * kStepDepth));
  for (int64_t b = 0; b < layout.blocks; ++b) {
    scales[b] = __builtin_nanf("");
    sums[b] = 0;
  }
}

template <SmoothScope Scope>
void Quantize(const Layout& layout, const float* x, const float* maxima, int8_t* q, float* scales, int32_t* sums) {
  if (!Measure(layout, x, scales)) return FillNonFinite(layout, q, scales, sums);
  const float* smooth = maxima != nullptr ? maxima : scales;
  const auto smooth_at = [&](int64_t b) { return Scope == SmoothScope::kNone ? 1.0f : smooth[b]; };
  const auto inverse_at = [&](int64_t b) {
    const float s = smooth_at(b);
    return s >= kLeastMagnitude ? 1.0f / s : 0.0f;
  };
  float top = 0;
  for (int64_t b = 0; b < layout.blocks; b += layout.blocks_per_smooth) {
    const float largest = scales[b] * inverse_at(b);
    top = largest > top ? largest : top;
  }
  const auto limit = static_cast<float>(layout.activation_limit);
  const __m256 steps = _mm256_set1_ps(top >= kLeastMagnitude ? limit / top : 0.0f);
  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(layout.step_order));
  const int64_t depth = layout.block_steps * kStepDepth;
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const __m256 inverse = _mm256_set1_ps(inverse_at(b));
    const int64_t end = layout.K - b * depth < depth ? layout.K : (b + 1) * depth;
    __m256i sum = _mm256_setzero_si256();
    for (int64_t k = b * depth; k < end; k += kStepDepth) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), QuantizeStep(x + k, end - k, inverse, steps, order, sum));
    }
    sums[b] = SumLanes(sum);
    scales[b] = smooth_at(b) * top * (1.0f / limit);
  }
}

}  // namespace

const RowSmoother& Avx2Smoother(SmoothScope scope) {
  static constexpr RowSmoother kNone = {Measure, Quantize<SmoothScope::kNone>, false};
  static constexpr RowSmoother kToken = {Measure, Quantize<SmoothScope::kToken>, false};
  static constexpr RowSmoother kCall = {Measure, Quantize<SmoothScope::kCall>, true};
  return scope == SmoothScope::kNone ? kNone : scope == SmoothScope::kToken ? kToken : kCall;
}

}  // namespace ortq::smooth

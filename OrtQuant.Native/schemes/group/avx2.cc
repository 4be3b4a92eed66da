// AVX2: quantization and conversion of rows, and the table of kernels.
#include "schemes/group/avx2.h"

namespace ortq::group {
namespace {

inline int32_t SumLanes(__m256i v) {
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1)));
}

/// round-half-even(x * 127 / absmax), the same operations in the same order as the portable code.
void QuantizeRowAvx2(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                     float* scales, int32_t* sums) {
  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(step_order));
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  for (int64_t k0 = 0, b = 0; k0 < K; k0 += block, ++b) {
    const int64_t k1 = K - k0 < block ? K : k0 + block;
    __m256 absmax = _mm256_setzero_ps();
    int non_finite = 0;
    for (int64_t k = k0; k < k1; k += 8) {
      const __m256 magnitude = _mm256_andnot_ps(sign, LoadTail(x + k, k1 - k));
      absmax = _mm256_max_ps(absmax, magnitude);
      non_finite |= _mm256_movemask_ps(_mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
    }
    const float largest = MaxLane(absmax);
    scales[b] = non_finite ? __builtin_nanf("") : largest * (1.0f / 127.0f);
    const __m256 inverse = _mm256_set1_ps(!non_finite && largest >= 0x1p-120f ? 127.0f / largest : 0.0f);
    __m256i sum = _mm256_setzero_si256();
    for (int64_t k = k0; k < k1; k += kStepDepth) {
      __m128i words[2];
      for (int half = 0; half < 2; ++half) {
        const int64_t first = k + 8 * half;
        const __m256 values = non_finite ? _mm256_setzero_ps() : LoadTail(x + first, k1 - first);
        const __m256i value = _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
        words[half] = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
        sum = _mm256_add_epi32(sum, value);
      }
      const __m128i bytes = _mm_packs_epi16(words[0], words[1]);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_shuffle_epi8(bytes, order));
    }
    sums[b] = SumLanes(sum);
  }
}

void HalfToFloatAvx2(const void* in, float* out, int64_t count) {
  const auto* halves = static_cast<const uint8_t*>(in);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 2 * i))));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(Load<uint16_t>(halves + 2 * i));
}

void FloatToHalfAvx2(const float* in, void* out, int64_t count) {
  auto* halves = static_cast<uint8_t*>(out);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves + 2 * i), half);
  }
  for (; i < count; ++i) {
    const unsigned short half = _cvtss_sh(in[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __builtin_memcpy(halves + 2 * i, &half, sizeof half);
  }
}

}  // namespace

const KernelSet& Avx2Kernels() {
  static constexpr KernelSet kernels{
      .isa = Isa::kAvx2,
      .max_int8_rows = kMaxInt8Rows,
      .max_float_rows = kMaxFloatRows,
      .int8_kernel = Int8KernelAvx2,
      .float_kernel = FloatKernelAvx2,
      .dequantize = DequantizeKernelAvx2,
      .panel_gemm = PanelGemmKernelAvx2,
      .quantize_row = QuantizeRowAvx2,
      .half_to_float = HalfToFloatAvx2,
      .float_to_half = FloatToHalfAvx2,
  };
  return kernels;
}

}  // namespace ortq::group

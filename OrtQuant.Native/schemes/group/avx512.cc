// AVX-512: quantization and conversion of rows, and the table of kernels.
#include "schemes/group/avx512.h"

namespace ortq::group {
namespace {

/// round-half-even(x * 127 / absmax), the same operations in the same order as the portable code.
void QuantizeRowAvx512(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                       float* scales, int32_t* sums) {
  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(step_order));
  const __m512 kInfinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000));
  for (int64_t k0 = 0, b = 0; k0 < K; k0 += block, ++b) {
    const int64_t k1 = K - k0 < block ? K : k0 + block;
    __m512 absmax = _mm512_setzero_ps();
    __mmask16 non_finite = 0;
    for (int64_t k = k0; k < k1; k += 16) {
      const __mmask16 lanes = static_cast<__mmask16>(k1 - k >= 16 ? 0xFFFF : (1 << (k1 - k)) - 1);
      const __m512 magnitude = _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes, x + k));
      absmax = _mm512_max_ps(absmax, magnitude);
      non_finite |= _mm512_cmp_ps_mask(magnitude, kInfinity, _CMP_NLT_UQ);
    }
    const float largest = _mm512_reduce_max_ps(absmax);
    scales[b] = non_finite ? __builtin_nanf("") : largest * (1.0f / 127.0f);
    const __m512 inverse = _mm512_set1_ps(!non_finite && largest >= 0x1p-120f ? 127.0f / largest : 0.0f);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = k0; k < k1; k += 16) {
      const __mmask16 lanes = static_cast<__mmask16>(non_finite ? 0 : k1 - k >= 16 ? 0xFFFF : (1 << (k1 - k)) - 1);
      const __m512i value = _mm512_cvt_roundps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + k), inverse),
                                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_shuffle_epi8(_mm512_cvtepi32_epi8(value), order));
      sum = _mm512_add_epi32(sum, value);
    }
    sums[b] = _mm512_reduce_add_epi32(sum);
  }
}

inline __mmask16 TailMask(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
}

void HalfToFloatAvx512(const void* in, float* out, int64_t count) {
  const auto* halves = static_cast<const uint8_t*>(in);
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = TailMask(count - i);
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, halves + 2 * i)));
  }
}

void FloatToHalfAvx512(const float* in, void* out, int64_t count) {
  auto* halves = static_cast<uint8_t*>(out);
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = TailMask(count - i);
    const __m512 value = _mm512_maskz_loadu_ps(lanes, in + i);
    _mm256_mask_storeu_epi16(halves + 2 * i, lanes,
                             _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
}

}  // namespace

const KernelSet& Avx512Kernels() {
  static constexpr KernelSet kernels{
      .isa = Isa::kAvx512,
      .max_int8_rows = kMaxInt8Rows,
      .max_float_rows = kMaxFloatRows,
      .int8_kernel = Int8KernelAvx512,
      .float_kernel = FloatKernelAvx512,
      .dequantize = DequantizeKernelAvx512,
      .panel_gemm = PanelGemmKernelAvx512,
      .quantize_row = QuantizeRowAvx512,
      .half_to_float = HalfToFloatAvx512,
      .float_to_half = FloatToHalfAvx512,
  };
  return kernels;
}

}  // namespace ortq::group

// AVX-512 kernels (F, BW, VL, DQ, VNNI). One 512-bit register is 16 outputs in 32-bit lanes: a byte vector of codes
// holds 4 consecutive k of each output, which is exactly one vpdpbusd operand (unsigned codes x signed activations),
// and the four activation bytes are broadcast to all lanes by the instruction's own memory operand. Results of a group
// are then already where the 16 scales are: no horizontal sum, no shuffle.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// GCC's own headers read undefined registers on purpose and GCC 12 warns of it in callers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "schemes/group/kernels.h"

namespace ortq::group {
namespace {

// Accumulators live in registers only when every loop over them is unrolled.
#define ORTQ_UNROLL _Pragma("GCC unroll 16")

constexpr int kMaxInt8Rows = 12;

template <int Bits>
struct Codes {};  // Unpack(tile, step, u): u[i] = codes of k = 16 step + 4 i + j, i < 4, as bytes 4 lane + j

template <typename T>
inline T Load(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline __m512i LoadBytes(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}

template <>
struct Codes<8> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    for (int i = 0; i < 4; ++i) u[i] = LoadBytes(tile + step * 256 + 64 * i);
  }
};

template <>
struct Codes<4> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const __m512i mask = _mm512_set1_epi8(0x0F);
    for (int i = 0; i < 2; ++i) {
      const __m512i v = LoadBytes(tile + step * 128 + 64 * i);
      u[2 * i] = _mm512_and_si512(v, mask);
      u[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    }
  }
};

template <>
struct Codes<2> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const __m512i mask = _mm512_set1_epi8(0x03);
    const __m512i v = LoadBytes(tile + step * 64);
    u[0] = _mm512_and_si512(v, mask);
    u[1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), mask);
    u[2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    u[3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), mask);
  }
};

template <>
struct Codes<3> {
  // A chunk of 32 k is 128 bytes of low bit pairs and 64 bytes of high bits; a step is half of each.
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const uint8_t* chunk = tile + step / 2 * 192;
    const int half = static_cast<int>(step & 1);
    const __m512i low_mask = _mm512_set1_epi8(0x03);
    const __m512i code_mask = _mm512_set1_epi8(0x07);
    const __m512i low = LoadBytes(chunk + 64 * half);
    // Bits 0..3 of every byte belong to this step; placed so that field i is at bit i + 2.
    const __m512i high = LoadBytes(chunk + 128);
    const __m512i placed = half ? _mm512_srli_epi16(high, 2) : _mm512_slli_epi16(high, 2);
    constexpr int kSelect = 0xCA;  // a ? b : c, bitwise
    u[0] = _mm512_and_si512(_mm512_ternarylogic_epi32(low_mask, low, placed, kSelect), code_mask);
    u[1] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 2), _mm512_srli_epi16(placed, 1), kSelect),
        code_mask);
    u[2] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 4), _mm512_srli_epi16(placed, 2), kSelect),
        code_mask);
    u[3] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 6), _mm512_srli_epi16(placed, 3), kSelect),
        code_mask);
  }
};

inline __m512 LoadFloats(const uint8_t* p, int half) {
  return half ? _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))
              : _mm512_loadu_ps(reinterpret_cast<const float*>(p));
}

/// Integer zero points of 16 outputs as 32-bit lanes.
inline __m512i LoadZeroPoints(const uint8_t* p, int bits) {
  if (bits == 8) return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  if (bits == 4) {  // byte i: lane i in the low nibble, lane i + 8 in the high one
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_set1_epi64x(Load<long long>(p)));
    const __m512i shifts = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(4), 1);
    return _mm512_and_si512(_mm512_srlv_epi32(bytes, shifts), _mm512_set1_epi32(0x0F));
  }
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_set1_epi32(Load<int>(p)));
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
  return _mm512_and_si512(_mm512_srlv_epi32(bytes, shifts), _mm512_set1_epi32(0x03));
}

/// Scale and zero point of 16 outputs; integer zero points stay integers.
struct GroupParameters {
  __m512 scale;
  __m512i zero_points;
  __m512 float_zero_points;
};

inline GroupParameters LoadGroup(const Layout& layout, const TileWeights& tile, int64_t group) {
  GroupParameters p{};
  p.scale = LoadFloats(tile.scales + group * layout.group_scale_bytes, layout.half_scales);
  if (layout.zp == ZeroPointKind::kNone) return p;
  const uint8_t* zero_points = tile.zero_points + group * layout.group_zero_point_bytes;
  if (layout.zp == ZeroPointKind::kInteger) p.zero_points = LoadZeroPoints(zero_points, layout.zero_point_bits);
  if (layout.zp == ZeroPointKind::kFloat) p.float_zero_points = LoadFloats(zero_points, layout.half_zero_points);
  return p;
}

inline __m512i BroadcastQuad(const uint8_t* p) {
  return _mm512_set1_epi32(Load<int>(p));
}

template <int Bits, int Rows>
void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  // Independent chains hide the latency of vpdpbusd where there are few rows.
  constexpr int kChains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  __m512 total[Rows];
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) total[r] = _mm512_setzero_ps();
  const uint8_t* values = panel.values;
  const float* scales = panel.scales;
  const int32_t* offsets = panel.offsets;
  int64_t step = 0;
  int64_t blocks_left = 0;
  int64_t group = -1;
  GroupParameters p{};
  for (int64_t b = 0; b < layout.blocks; ++b) {
    if (blocks_left == 0) {
      p = LoadGroup(layout, tile, ++group);
      blocks_left = layout.blocks_per_group;
    }
    --blocks_left;

    __m512i dot[kChains][Rows];
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m512i offset = _mm512_set1_epi32(offsets[r]);
      // |sum of a block| <= 128 * 127 fits int16, and the upper half of a zero point's lane is 0.
      dot[0][r] = layout.zp == ZeroPointKind::kInteger
                      ? _mm512_dpwssd_epi32(_mm512_setzero_si512(), p.zero_points, offset)
                  : layout.zp == ZeroPointKind::kNone ? offset
                                                      : _mm512_setzero_si512();
      ORTQ_UNROLL for (int c = 1; c < kChains; ++c) dot[c][r] = _mm512_setzero_si512();
    }
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    for (; step < end; ++step) {
      __m512i u[4];
      Codes<Bits>::Unpack(tile.codes, step, u);
      ORTQ_UNROLL
      for (int i = 0; i < 4; ++i) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          __m512i& sum = dot[i % kChains][r];
          sum = _mm512_dpbusd_epi32(sum, u[i], BroadcastQuad(values + (i * Rows + r) * 4));
        }
      }
      values += 16 * Rows;
    }
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      __m512i sum = dot[0][r];
      ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm512_add_epi32(sum, dot[c][r]);
      __m512 term = _mm512_cvtepi32_ps(sum);
      if (layout.zp == ZeroPointKind::kFloat) {
        term = _mm512_fmadd_ps(p.float_zero_points, _mm512_set1_ps(static_cast<float>(offsets[r])), term);
      }
      total[r] = _mm512_fmadd_ps(term, _mm512_mul_ps(p.scale, _mm512_set1_ps(scales[r])), total[r]);
    }
    scales += Rows;
    offsets += Rows;
  }
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) _mm512_storeu_ps(y + r * y_stride, total[r]);
}

template <int Bits>
Int8Kernel SelectInt8(int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tile<Bits, 1>,  Int8Tile<Bits, 2>,  Int8Tile<Bits, 3>,
                                                       Int8Tile<Bits, 4>,  Int8Tile<Bits, 5>,  Int8Tile<Bits, 6>,
                                                       Int8Tile<Bits, 7>,  Int8Tile<Bits, 8>,  Int8Tile<Bits, 9>,
                                                       Int8Tile<Bits, 10>, Int8Tile<Bits, 11>, Int8Tile<Bits, 12>};
  return kByRows[rows - 1];
}

Int8Kernel SelectInt8(int bits, int rows) {
  switch (bits) {
    case 2:
      return SelectInt8<2>(rows);
    case 3:
      return SelectInt8<3>(rows);
    case 4:
      return SelectInt8<4>(rows);
    default:
      return SelectInt8<8>(rows);
  }
}

/// round-half-even(x * 127 / absmax), the same operations in the same order as the portable code.
void QuantizeRowAvx512(const float* x, int64_t K, int64_t block, int8_t* q, float* scales, int32_t* sums) {
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
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm512_cvtepi32_epi8(value));
      sum = _mm512_add_epi32(sum, value);
    }
    sums[b] = _mm512_reduce_add_epi32(sum);
  }
}

inline __mmask16 TailMask(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
}

void HalfToFloatAvx512(const uint16_t* in, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = TailMask(count - i);
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, in + i)));
  }
}

void FloatToHalfAvx512(const float* in, uint16_t* out, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = TailMask(count - i);
    const __m512 value = _mm512_maskz_loadu_ps(lanes, in + i);
    _mm256_mask_storeu_epi16(out + i, lanes, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
}

}  // namespace

const KernelSet& Avx512Kernels() {
  static const KernelSet kernels{
      .isa = Isa::kAvx512,
      .max_int8_rows = kMaxInt8Rows,
      .max_float_rows = ReferenceKernels().max_float_rows,
      .wide_8bit_activations = 0,
      .int8_kernel = SelectInt8,
      .float_kernel = ReferenceKernels().float_kernel,
      .dequantize = nullptr,
      .panel_gemm = nullptr,
      .quantize_row = QuantizeRowAvx512,
      .half_to_float = HalfToFloatAvx512,
      .float_to_half = FloatToHalfAvx512,
  };
  return kernels;
}

}  // namespace ortq::group

// AVX2 kernels (AVX2, FMA, F16C). A tile of 16 outputs is two halves of 8, each one 256-bit register of 32-bit lanes.
//
// Without VNNI the 8-bit product is vpmaddubsw, unsigned codes x signed activations, which adds two products into a
// signed 16-bit lane and saturates. With |activation| <= 127 and codes of b bits a lane grows by at most 2 * (2^b - 1)
// * 127:
//   2 bits:  762 per quadruple of k, 32 of them: 24384
//   3 bits: 1778 per quadruple of k, 16 of them: 28448
//   4 bits: 3810 per quadruple of k,  8 of them: 30480     all below 32767, so nothing saturates,
// and lanes are widened to 32 bits once in that many quadruples (kStepsToWiden x 4). 8-bit codes would saturate in a
// single instruction (2 * 255 * 127 = 64770): they are widened to 16 bits first, even and odd bytes apart, and
// multiplied by vpmaddwd with activations that are stored as the matching int16 pairs.
#include <immintrin.h>

#include "schemes/group/kernels.h"

// Accumulators live in registers only when every loop over them is unrolled.
#define ORTQ_UNROLL _Pragma("GCC unroll 16")

namespace ortq::group {
namespace {

constexpr int kMaxInt8Rows = 4;

template <typename T>
inline T Load(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline __m256i LoadBytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

/// Unpack(tile, step, half, u): u[i] = codes of k = 16 step + 4 i + j, i < 4, of 8 outputs, as bytes 4 lane + j.
template <int Bits>
struct Codes {};

template <>
struct Codes<8> {
  static inline void Unpack(const uint8_t* tile, int64_t step, int half, __m256i (&u)[4]) {
    ORTQ_UNROLL for (int i = 0; i < 4; ++i) u[i] = LoadBytes(tile + step * 256 + 64 * i + 32 * half);
  }
};

template <>
struct Codes<4> {
  static constexpr int kStepsToWiden = 2;
  static inline void Unpack(const uint8_t* tile, int64_t step, int half, __m256i (&u)[4]) {
    const __m256i mask = _mm256_set1_epi8(0x0F);
    ORTQ_UNROLL for (int i = 0; i < 2; ++i) {
      const __m256i v = LoadBytes(tile + step * 128 + 64 * i + 32 * half);
      u[2 * i] = _mm256_and_si256(v, mask);
      u[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), mask);
    }
  }
};

template <>
struct Codes<2> {
  static constexpr int kStepsToWiden = 8;
  static inline void Unpack(const uint8_t* tile, int64_t step, int half, __m256i (&u)[4]) {
    const __m256i mask = _mm256_set1_epi8(0x03);
    const __m256i v = LoadBytes(tile + step * 64 + 32 * half);
    u[0] = _mm256_and_si256(v, mask);
    u[1] = _mm256_and_si256(_mm256_srli_epi16(v, 2), mask);
    u[2] = _mm256_and_si256(_mm256_srli_epi16(v, 4), mask);
    u[3] = _mm256_and_si256(_mm256_srli_epi16(v, 6), mask);
  }
};

template <>
struct Codes<3> {
  static constexpr int kStepsToWiden = 4;
  // A chunk of 32 k is 128 bytes of low bit pairs and 64 bytes of high bits; a step is half of each.
  static inline void Unpack(const uint8_t* tile, int64_t step, int half, __m256i (&u)[4]) {
    const uint8_t* chunk = tile + step / 2 * 192;
    const __m256i low_mask = _mm256_set1_epi8(0x03);
    const __m256i high_mask = _mm256_set1_epi8(0x04);
    const __m256i low = LoadBytes(chunk + 64 * (step & 1) + 32 * half);
    const __m256i high = LoadBytes(chunk + 128 + 32 * half);
    // Field i of this step's four high bits at bit i + 2.
    const __m256i placed = step & 1 ? _mm256_srli_epi16(high, 2) : _mm256_slli_epi16(high, 2);
    const auto merge = [&](__m256i low_bits, __m256i high_bit) {
      return _mm256_or_si256(_mm256_and_si256(low_bits, low_mask), _mm256_and_si256(high_bit, high_mask));
    };
    u[0] = merge(low, placed);
    u[1] = merge(_mm256_srli_epi16(low, 2), _mm256_srli_epi16(placed, 1));
    u[2] = merge(_mm256_srli_epi16(low, 4), _mm256_srli_epi16(placed, 2));
    u[3] = merge(_mm256_srli_epi16(low, 6), _mm256_srli_epi16(placed, 3));
  }
};

/// Eight of the 16 floats of a group.
inline __m256 LoadFloats(const uint8_t* p, int is_half, int half) {
  return is_half ? _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * half)))
                 : _mm256_loadu_ps(reinterpret_cast<const float*>(p + 32 * half));
}

/// Integer zero points of 8 outputs as 32-bit lanes.
inline __m256i LoadZeroPoints(const uint8_t* p, int bits, int half) {
  if (bits == 8) return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * half)));
  if (bits == 4) {  // byte i: lane i in the low nibble, lane i + 8 in the high one
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_and_si256(half ? _mm256_srli_epi32(bytes, 4) : bytes, _mm256_set1_epi32(0x0F));
  }
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_set1_epi32(Load<int>(p)));  // byte i: lanes i, i + 4, i + 8, i + 12
  const __m256i shifts = half ? _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6) : _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2);
  return _mm256_and_si256(_mm256_srlv_epi32(bytes, shifts), _mm256_set1_epi32(0x03));
}

/// Sums codes x activations over the steps [step, end) into `sums`, Halves x Rows registers.
template <int Bits, int Rows, int Halves>
inline void DotBlock(const uint8_t* tile, const uint8_t* values, int64_t step, int64_t end, int half,
                     __m256i (&sums)[Halves][Rows]) {
  const __m256i ones = _mm256_set1_epi16(1);
  while (step < end) {
    __m256i narrow[Halves][Rows];
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) narrow[h][r] = _mm256_setzero_si256();
    }
    const int64_t widen = end - step < Codes<Bits>::kStepsToWiden ? end : step + Codes<Bits>::kStepsToWiden;
    for (; step < widen; ++step, values += 16 * Rows) {
      ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
        __m256i u[4];
        Codes<Bits>::Unpack(tile, step, half + h, u);
        ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
            const __m256i quad = _mm256_set1_epi32(Load<int>(values + (i * Rows + r) * 4));
            narrow[h][r] = _mm256_add_epi16(narrow[h][r], _mm256_maddubs_epi16(u[i], quad));
          }
        }
      }
    }
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_madd_epi16(narrow[h][r], ones));
      }
    }
  }
}

/// The same for 8-bit codes; `values` holds int16 pairs (k0, k2), (k1, k3).
template <int Rows, int Halves>
inline void DotWideBlock(const uint8_t* tile, const uint8_t* values, int64_t step, int64_t end, int half,
                         __m256i (&sums)[Halves][Rows]) {
  const __m256i low_bytes = _mm256_set1_epi16(0x00FF);
  for (; step < end; ++step, values += 32 * Rows) {
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      __m256i u[4];
      Codes<8>::Unpack(tile, step, half + h, u);
      ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
        const __m256i even = _mm256_and_si256(u[i], low_bytes);
        const __m256i odd = _mm256_srli_epi16(u[i], 8);
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          const uint8_t* quad = values + (i * Rows + r) * 8;
          const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(even, _mm256_set1_epi32(Load<int>(quad))),
                                                    _mm256_madd_epi16(odd, _mm256_set1_epi32(Load<int>(quad + 4))));
          sums[h][r] = _mm256_add_epi32(sums[h][r], products);
        }
      }
    }
  }
}

template <int Bits, int Rows>
void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  // With few rows both halves go together: more independent sums, and activations are broadcast once for both.
  constexpr int kHalves = Rows <= 2 ? 2 : 1;
  constexpr int kStepBytes = (Bits == 8 ? 32 : 16) * Rows;
  alignas(32) float total[Rows][16] = {};
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const int64_t group = b / layout.blocks_per_group;
    const uint8_t* scales = tile.scales + group * layout.group_scale_bytes;
    const int64_t step = b * layout.block_steps;
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    const int32_t* offsets = panel.offsets + b * Rows;
    const float* row_scales = panel.scales + b * Rows;
    for (int half = 0; half < 2; half += kHalves) {
      __m256i sums[kHalves][Rows];
      ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          const __m256i offset = _mm256_set1_epi32(offsets[r]);
          if (layout.zp == ZeroPointKind::kInteger) {
            // |sum of a block| <= 128 * 127 fits int16, and the upper half of a zero point's lane is 0.
            const uint8_t* packed = tile.zero_points + group * layout.group_zero_point_bytes;
            sums[h][r] = _mm256_madd_epi16(LoadZeroPoints(packed, layout.zero_point_bits, half + h), offset);
          } else {
            sums[h][r] = layout.zp == ZeroPointKind::kNone ? offset : _mm256_setzero_si256();
          }
        }
      }
      const uint8_t* values = panel.values + step * kStepBytes;
      if constexpr (Bits == 8) {
        DotWideBlock<Rows, kHalves>(tile.codes, values, step, end, half, sums);
      } else {
        DotBlock<Bits, Rows, kHalves>(tile.codes, values, step, end, half, sums);
      }
      ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
        const __m256 scale = LoadFloats(scales, layout.half_scales, half + h);
        __m256 zero_points = _mm256_setzero_ps();
        if (layout.zp == ZeroPointKind::kFloat) {
          zero_points =
              LoadFloats(tile.zero_points + group * layout.group_zero_point_bytes, layout.half_zero_points, half + h);
        }
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          __m256 term = _mm256_cvtepi32_ps(sums[h][r]);
          if (layout.zp == ZeroPointKind::kFloat) {
            term = _mm256_fmadd_ps(zero_points, _mm256_set1_ps(static_cast<float>(offsets[r])), term);
          }
          float* sum = total[r] + 8 * (half + h);
          const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(row_scales[r]));
          _mm256_store_ps(sum, _mm256_fmadd_ps(term, factor, _mm256_load_ps(sum)));
        }
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    _mm256_storeu_ps(y + r * y_stride, _mm256_load_ps(total[r]));
    _mm256_storeu_ps(y + r * y_stride + 8, _mm256_load_ps(total[r] + 8));
  }
}

template <int Bits>
Int8Kernel SelectInt8(int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tile<Bits, 1>, Int8Tile<Bits, 2>, Int8Tile<Bits, 3>,
                                                       Int8Tile<Bits, 4>};
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

}  // namespace

const KernelSet& Avx2Kernels() {
  static const KernelSet kernels{
      .isa = Isa::kAvx2,
      .max_int8_rows = kMaxInt8Rows,
      .max_float_rows = ReferenceKernels().max_float_rows,
      .wide_8bit_activations = 1,
      .int8_kernel = SelectInt8,
      .float_kernel = ReferenceKernels().float_kernel,
      .dequantize = nullptr,
      .panel_gemm = nullptr,
      .quantize_row = ReferenceKernels().quantize_row,
      .half_to_float = ReferenceKernels().half_to_float,
      .float_to_half = ReferenceKernels().float_to_half,
  };
  return kernels;
}

}  // namespace ortq::group

// AVX2.
//
// int8 level. vpmaddubsw, codes x activations, adds two products into a signed 16-bit lane, which grows by at most
// 2 * 15 * 127 = 3810 per quadruple of k: 8 quadruples fit (30480 < 32767). Then 16-bit lanes have to be widened to 32
// bits, which is a vpmaddwd with ones; with the group's integer scale in place of the ones it multiplies by that scale
// as well, for nothing, and sums of all groups go into one accumulator. The zero point is one vpmaddwd a group with the
// sum of its activations. The zero point of the activations meets the sum of
// the row's weights at the end of the row, and nothing becomes a float before.
#include "schemes/group/avx2.h"

#include "schemes/dual/kernels.h"

namespace ortq::dual {
namespace {

using group::Codes;
using group::kMaxInt8Rows;
using group::Load;
using group::LoadBytes;
using group::LoadTail;
using group::MaxLane;

constexpr int kBlockScale = 16;  // bytes from one group of a tile to the next

inline __m128i LoadEight(const uint8_t* bytes, int64_t group, int half) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + group * kBlockScale + 8 * half));
}

/// Group scales of 8 outputs, each in both 16-bit halves of its 32-bit lane.
inline __m256i LoadScalePairs(const TileWeights& tile, int64_t group, int half) {
  const __m256i lanes = _mm256_cvtepu8_epi32(LoadEight(tile.group_scales, group, half));
  return _mm256_or_si256(lanes, _mm256_slli_epi32(lanes, 16));
}

/// Zero points of 8 outputs in the lower 16 bits of their lanes, the upper ones 0.
inline __m256i LoadZeroPoints(const TileWeights& tile, int64_t group, int half) {
  const __m256i lanes = _mm256_cvtepi8_epi32(LoadEight(tile.zero_points, group, half));
  return _mm256_and_si256(lanes, _mm256_set1_epi32(0xFFFF));
}

/// Adds field F of a register of codes, of all halves, times the activations of each row to 16-bit sums.
template <int F, int Rows, int Halves>
inline void AddField(const __m256i (&raw)[Halves], const uint8_t* quads, __m256i (&narrow)[Halves][Rows]) {
  __m256i u[Halves];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) u[h] = Codes<kBits>::Field<F>(raw[h]);
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    const __m256i quad = _mm256_set1_epi32(Load<int>(quads + 4 * r));
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      narrow[h][r] = _mm256_add_epi16(narrow[h][r], _mm256_maddubs_epi16(u[h], quad));
      group::Pin(narrow[h][r]);
    }
  }
}

/// Adds one group of a tile, halves [half, half + Halves), to the sums of the row.
template <int Rows, int Halves>
inline void AddGroup(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, int64_t g, int half,
                     __m256i (&sums)[Halves][Rows]) {
  constexpr int kStepsToWiden = Codes<kBits>::kStepsToWiden;
  int64_t step = g * layout.block_steps;
  const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
  const uint8_t* values = panel.values + step * kStepDepth * Rows;
  __m256i scales[Halves];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
    scales[h] = LoadScalePairs(tile, g, half + h);
    const __m256i zero_points = LoadZeroPoints(tile, g, half + h);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      // |sum of a group| <= 256 * 127 fits the lower 16 bits of the offset.
      const __m256i offset = _mm256_set1_epi32(panel.offsets[g * Rows + r]);
      sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_madd_epi16(zero_points, offset));
    }
  }
  while (step < end) {
    __m256i narrow[Halves][Rows];
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) narrow[h][r] = _mm256_setzero_si256();
    }
    const int64_t widen = end - step < kStepsToWiden ? end : step + kStepsToWiden;
    for (; step < widen; ++step, values += kStepDepth * Rows) {
      ORTQ_UNROLL for (int v = 0; v < Codes<kBits>::kVectors; ++v) {
        __m256i raw[Halves];
        ORTQ_UNROLL for (int h = 0; h < Halves; ++h) raw[h] = Codes<kBits>::Load(tile.codes, step, half + h, v);
        AddField<0>(raw, values + (2 * v) * Rows * 4, narrow);
        AddField<1>(raw, values + (2 * v + 1) * Rows * 4, narrow);
      }
    }
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_madd_epi16(narrow[h][r], scales[h]));
      }
    }
  }
}

template <int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  // With few rows both halves go together: more independent sums, and activations are broadcast once for both.
  constexpr int kHalves = Rows <= 2 ? 2 : 1;
  for (int t = 0; t < tiles; ++t) {
    const TileWeights tile = TileAt(layout, first, t);
    for (int half = 0; half < 2; half += kHalves) {
      __m256i sums[kHalves][Rows];
      ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) sums[h][r] = _mm256_setzero_si256();
      }
      for (int64_t g = 0; g < layout.groups; ++g) AddGroup<Rows, kHalves>(layout, tile, panel, g, half, sums);
      ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
        const __m256 scale = group::LoadFloats(tile.scales, 0, half + h);
        const __m256i row_sums = LoadBytes(tile.row_sums + 32 * (half + h));
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          const __m256i zero_point = _mm256_set1_epi32(panel.offsets[layout.groups * Rows + r]);
          sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_mullo_epi32(row_sums, zero_point));
          const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(panel.scales[r]));
          _mm256_storeu_ps(y + r * y_stride + 16 * t + 8 * (half + h),
                           _mm256_mul_ps(_mm256_cvtepi32_ps(sums[h][r]), factor));
        }
      }
    }
  }
}

/// The code at bit `Position` of each lane, its top bit already flipped, as (q - 8) * 2^28.
template <int Position>
inline __m256 CentredCode(__m256i lanes) {
  const __m256i top = _mm256_set1_epi32(static_cast<int>(0xF0000000u));
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_slli_epi32(lanes, 28 - Position), top));
}

/// scale * (s * q - z) as scale * s * (q - 8) + scale * (8 * s - z), of two tiles.
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  for (int part = 0; part < 4; ++part) {
    const TileWeights& tile = tiles[part / 2];
    const int half = part % 2;
    const __m256 row_scale = group::LoadFloats(tile.scales, 0, half);
    float* column = out + 8 * part;
    for (int64_t step = step_begin; step < step_end;) {
      const int64_t g = step / layout.block_steps;
      const int64_t group_end = (g + 1) * layout.block_steps;
      const int64_t end = group_end < step_end ? group_end : step_end;
      const __m256i group_scale = _mm256_cvtepu8_epi32(LoadEight(tile.group_scales, g, half));
      const __m256i zero_point = _mm256_cvtepi8_epi32(LoadEight(tile.zero_points, g, half));
      const __m256 middle = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32(group_scale, 3), zero_point));
      const __m256 shift = _mm256_mul_ps(row_scale, middle);
      const __m256 scale =
          _mm256_mul_ps(row_scale, _mm256_mul_ps(_mm256_cvtepi32_ps(group_scale), _mm256_set1_ps(0x1p-28f)));
      for (; step < end; ++step, column += kStepDepth * kPanelOutputs) {
        ORTQ_UNROLL for (int v = 0; v < 2; ++v) {
          const __m256i bytes = LoadBytes(tile.codes + step * 128 + 64 * v + 32 * half);
          const __m256i codes = _mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(0x88)));
          const auto store = [&](int k, __m256 code) {
            _mm256_store_ps(column + (8 * v + k) * kPanelOutputs, _mm256_fmadd_ps(code, scale, shift));
          };
          store(0, CentredCode<0>(codes));
          store(1, CentredCode<4>(codes));
          store(2, CentredCode<8>(codes));
          store(3, CentredCode<12>(codes));
          store(4, CentredCode<16>(codes));
          store(5, CentredCode<20>(codes));
          store(6, CentredCode<24>(codes));
          store(7, CentredCode<28>(codes));
        }
      }
    }
  }
}

/// One step and zero point for the row, and the sum of every group, the same operations as the portable code. `block`
/// is the group.
void QuantizeRow(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                 float* scales, int32_t* sums) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  __m256 highest = _mm256_setzero_ps();
  __m256 lowest = _mm256_setzero_ps();
  int non_finite = 0;
  for (int64_t k = 0; k < K; k += 8) {
    const __m256 values = LoadTail(x + k, K - k);
    highest = _mm256_max_ps(highest, values);
    lowest = _mm256_min_ps(lowest, values);
    non_finite |= _mm256_movemask_ps(_mm256_cmp_ps(_mm256_andnot_ps(sign, values), infinity, _CMP_NLT_UQ));
  }
  const float most = 0.5f * MaxLane(highest);
  const float least = -0.5f * MaxLane(_mm256_xor_ps(lowest, sign));
  const float radius = most - least;
  const float inverse = !non_finite && radius >= 0x1p-120f ? 127.0f / radius : 0.0f;
  const int zero_point = non_finite ? 0 : _mm_cvtss_si32(_mm_set_ss((most + least) * inverse));

  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(step_order));
  const __m128i positions = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m256i limit = _mm256_set1_epi16(127);
  int64_t g = 0;
  for (int64_t begin = 0; begin < K; begin += block, ++g) {
    const int64_t end = K - begin < block ? K : begin + block;
    __m128i sum = _mm_setzero_si128();
    for (int64_t k = begin; k < end; k += kStepDepth) {
      __m256i words[2];
      ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
        const int64_t first = k + 8 * half;
        const __m256 values = first < end ? LoadTail(x + first, end - first) : _mm256_setzero_ps();
        words[half] = _mm256_cvtps_epi32(_mm256_mul_ps(values, _mm256_set1_ps(inverse)));
      }
      __m256i value = _mm256_permute4x64_epi64(_mm256_packs_epi32(words[0], words[1]), 0xD8);
      value = _mm256_sub_epi16(value, _mm256_set1_epi16(static_cast<int16_t>(zero_point)));
      value = _mm256_max_epi16(_mm256_min_epi16(value, limit), _mm256_sub_epi16(_mm256_setzero_si256(), limit));
      __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
      // Zero past the end of the row, and throughout a row that is not finite.
      const int64_t count = non_finite ? 0 : end - k;
      bytes =
          _mm_and_si128(bytes, _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(count < 16 ? count : 16)), positions));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_shuffle_epi8(bytes, order));
      const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), bytes);
      sum = _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
    }
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    sums[g] = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
  }
  scales[0] = non_finite ? __builtin_nanf("") : radius * (1.0f / 127.0f);
  sums[g] = -zero_point;  // the driver negates
}

void FloatTiles(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel, float* y,
                int64_t y_stride) {
  MultiplyFewRows(layout, first, tiles, panel, Dequantize, group::Avx2Kernels().panel_gemm(panel.rows), y, y_stride);
}

Int8Kernel SelectInt8(int, int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tiles<1>, Int8Tiles<2>, Int8Tiles<3>, Int8Tiles<4>};
  return kByRows[rows - 1];
}

}  // namespace

const KernelSet& Avx2Kernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::Avx2Kernels();
    set.int8_kernel = SelectInt8;
    set.float_kernel = [](int, int) -> FloatKernel { return FloatTiles; };
    set.dequantize = [](int) -> DequantizeKernel { return Dequantize; };
    set.quantize_row = QuantizeRow;
    return set;
  }();
  return kernels;
}

}  // namespace ortq::dual

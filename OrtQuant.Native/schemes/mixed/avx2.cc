// AVX2.
//
// int8 level, one block (at most 256 inputs) of a tile at a time, all of it in one int32 accumulator: a group's
// products with the upper two bits are summed in 16-bit lanes (3 * 127 * 2 for a quadruple of k, 16 quadruples at most:
// 12192), and the vpmaddwd that widens them multiplies by 4 s; the zero point is another one with s z and the sum of
// the group's activations. Then the refined groups of the block add their lower two bits the same way, by s, and last
// the outliers, their activations gathered. Groups come in order and refined ones from a bit map, so that no branch
// depends on how wide a group is. One conversion and one multiplication by scales serve the whole block.
#include "schemes/group/avx2.h"

#include "schemes/group/kernels.h"
#include "schemes/mixed/kernels.h"

namespace ortq::mixed {
namespace {

using group::kMaxInt8Rows;
using group::Load;
using group::LoadBytes;
using group::LoadTail;
using group::MaxLane;
using Codes = group::Codes<2>;

inline int64_t Least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/// A tile and what of it the kernels have walked past.
struct Cursor {
  TileWeights tile;
  const uint8_t* lower;  ///< the next refined group's lower bits
  int64_t left;          ///< refined groups to come
};

inline Cursor CursorAt(const Layout& layout, const TileWeights& first, int t) {
  Cursor cursor{};
  cursor.tile = TileAt(layout, first, t);
  cursor.lower = cursor.tile.codes + layout.steps * kVectorBytes;
  cursor.left = layout.refined;
  return cursor;
}

/// The bits of groups [begin, end) of a map, at most 16 of them.
inline uint32_t MapBits(const uint8_t* map, int64_t begin, int64_t end) {
  uint32_t bits = 0;
  for (int64_t byte = begin / 8; byte <= (end - 1) / 8; ++byte) {
    bits |= static_cast<uint32_t>(map[byte]) << (8 * (byte - begin / 8));
  }
  return (bits >> (begin % 8)) & ((1u << (end - begin)) - 1);
}

/// The bytes of a group, of 8 outputs, in 32-bit lanes.
inline __m256i LoadGroup(const TileWeights& tile, int64_t g, int half) {
  return _mm256_cvtepu8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tile.group_scales + g * kLanes + 8 * half)));
}

/// s of 8 outputs, in both halves of each lane.
inline __m256i ScalePairs(__m256i lanes) {
  const __m256i scales = _mm256_and_si256(lanes, _mm256_set1_epi32(15));
  return _mm256_or_si256(scales, _mm256_slli_epi32(scales, 16));
}

/// Adds field F of codes times the activations of each row to 16-bit sums.
template <int F, bool First, int Rows, int Halves>
inline void AddField(const __m256i (&raw)[Halves], const uint8_t* quads, __m256i (&narrow)[Halves][Rows]) {
  __m256i u[Halves];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) u[h] = Codes::Field<F>(raw[h]);
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    const __m256i quad = _mm256_set1_epi32(Load<int>(quads + 4 * r));
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      const __m256i products = _mm256_maddubs_epi16(u[h], quad);
      narrow[h][r] = First ? products : _mm256_add_epi16(narrow[h][r], products);
      group::Pin(narrow[h][r]);
    }
  }
}

template <bool First, int Rows, int Halves>
inline void AddVector(const uint8_t* vector, const uint8_t* values, int half, __m256i (&narrow)[Halves][Rows]) {
  __m256i raw[Halves];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) raw[h] = LoadBytes(vector + 32 * (half + h));
  AddField<0, First>(raw, values, narrow);
  AddField<1, false>(raw, values + Rows * 4, narrow);
  AddField<2, false>(raw, values + 2 * Rows * 4, narrow);
  AddField<3, false>(raw, values + 3 * Rows * 4, narrow);
}

/// 16-bit sums of a group's products with one of its two pairs of bits.
template <int Rows, int Halves>
inline void SumGroup(const uint8_t* vectors, const uint8_t* values, int64_t steps, int half,
                     __m256i (&narrow)[Halves][Rows]) {
  AddVector<true>(vectors, values, half, narrow);
  for (int64_t step = 1; step < steps; ++step) {
    AddVector<false>(vectors + step * kVectorBytes, values + step * kStepDepth * Rows, half, narrow);
  }
}

/// Adds the upper bits and the zero points of the groups [begin, end).
template <int Rows, int Halves>
inline void AddGroups(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, int64_t begin, int64_t end,
                      int half, __m256i (&sums)[Halves][Rows]) {
  for (int64_t g = begin; g < end; ++g) {
    const int64_t step = g * layout.block_steps;
    __m256i narrow[Halves][Rows];
    SumGroup(tile.codes + step * kVectorBytes, panel.values + step * kStepDepth * Rows,
             Least(layout.block_steps, layout.steps - step), half, narrow);
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      const __m256i lanes = LoadGroup(tile, g, half + h);
      const __m256i scales = ScalePairs(lanes);
      const __m256i factors = _mm256_slli_epi32(scales, 2);
      // s z of at most 225 in the lower 16 bits of each lane, nothing above.
      const __m256i zero_points = _mm256_madd_epi16(scales, _mm256_srli_epi32(lanes, 4));
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        // |sum of a group| <= 64 * 127 fits the lower 16 bits of the offset.
        const __m256i offset = _mm256_set1_epi32(panel.offsets[g * Rows + r]);
        const __m256i products = _mm256_madd_epi16(narrow[h][r], factors);
        sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_add_epi32(products, _mm256_madd_epi16(zero_points, offset)));
      }
    }
  }
}

/// Adds the lower bits of the refined groups among `bits`, which begin at group `begin`.
template <int Rows, int Halves>
inline void AddRefined(const Layout& layout, const Cursor& cursor, uint32_t bits, const Int8Panel& panel, int64_t begin,
                       int half, __m256i (&sums)[Halves][Rows]) {
  const uint8_t* lower = cursor.lower;
  for (int64_t left = cursor.left; bits != 0 && left > 0; bits &= bits - 1, --left) {
    const int64_t g = begin + __builtin_ctz(bits);
    const int64_t step = g * layout.block_steps;
    __m256i narrow[Halves][Rows];
    SumGroup(lower, panel.values + step * kStepDepth * Rows, Least(layout.block_steps, layout.steps - step), half,
             narrow);
    lower += layout.block_steps * kVectorBytes;
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      const __m256i scales = ScalePairs(LoadGroup(cursor.tile, g, half + h));
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_madd_epi16(narrow[h][r], scales));
      }
    }
  }
}

/// Adds the outliers of block c.
template <int Rows, int Halves>
inline void AddOutliers(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, int64_t c, int half,
                        __m256i (&sums)[Halves][Rows]) {
  const int64_t begin = c * layout.blocks_per_group * layout.block_steps * kStepDepth;
  const int64_t depth = Least(layout.blocks_per_group * layout.block_steps * kStepDepth, layout.K - begin);
  const __m128i last = _mm_set1_epi8(static_cast<char>(depth - 1));
  const auto* quads = reinterpret_cast<const int*>(panel.values + begin * Rows);
  for (int64_t slot = c * layout.outliers; slot < (c + 1) * layout.outliers; ++slot) {
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      const int64_t at = slot * kLanes + 8 * (half + h);
      const __m128i stored = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tile.outlier_positions + at));
      const __m128i inside = _mm_min_epu8(stored, last);
      const __m256i valid = _mm256_cvtepi8_epi32(_mm_cmpeq_epi8(stored, inside));
      const __m128i shorts = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile.outlier_values + 2 * at));
      // The upper half of each lane is 0: vpmaddwd then multiplies the lower ones.
      const __m256i values =
          _mm256_and_si256(_mm256_cvtepu16_epi32(shorts), _mm256_and_si256(valid, _mm256_set1_epi32(0xFFFF)));
      // Layout::step_order for 2 bits: k is byte k / 4 % 4 of quadruple k % 4 of its step.
      const __m256i k = _mm256_cvtepu8_epi32(inside);
      const __m256i quad =
          _mm256_add_epi32(_mm256_slli_epi32(_mm256_srli_epi32(k, 4), 2), _mm256_and_si256(k, _mm256_set1_epi32(3)));
      const __m256i byte = _mm256_and_si256(_mm256_srli_epi32(k, 2), _mm256_set1_epi32(3));
      const __m256i to_top = _mm256_sub_epi32(_mm256_set1_epi32(24), _mm256_slli_epi32(byte, 3));
      const __m256i index = _mm256_mullo_epi32(quad, _mm256_set1_epi32(Rows));
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        const __m256i gathered = _mm256_i32gather_epi32(quads + r, index, 4);
        const __m256i activations = _mm256_srai_epi32(_mm256_sllv_epi32(gathered, to_top), 24);
        sums[h][r] = _mm256_add_epi32(sums[h][r], _mm256_madd_epi16(values, activations));
      }
    }
  }
}

template <int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  // With few rows both halves go together: more independent sums, and activations are broadcast once for both.
  constexpr int kHalves = Rows <= 2 ? 2 : 1;
  alignas(32) float total[kUnitTiles][Rows][16] = {};
  Cursor cursors[kUnitTiles];
  for (int t = 0; t < tiles; ++t) cursors[t] = CursorAt(layout, first, t);
  for (int64_t c = 0; c < layout.groups; ++c) {
    const int64_t begin = c * layout.blocks_per_group;
    const int64_t end = Least(layout.blocks, begin + layout.blocks_per_group);
    for (int t = 0; t < tiles; ++t) {
      Cursor& cursor = cursors[t];
      const uint32_t bits = cursor.left > 0 ? MapBits(cursor.tile.refined, begin, end) : 0;
      for (int half = 0; half < 2; half += kHalves) {
        __m256i sums[kHalves][Rows];
        ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) sums[h][r] = _mm256_setzero_si256();
        }
        AddGroups<Rows, kHalves>(layout, cursor.tile, panel, begin, end, half, sums);
        AddRefined<Rows, kHalves>(layout, cursor, bits, panel, begin, half, sums);
        if (layout.outliers > 0) AddOutliers<Rows, kHalves>(layout, cursor.tile, panel, c, half, sums);
        ORTQ_UNROLL for (int h = 0; h < kHalves; ++h) {
          const __m256 scale = group::LoadFloats(cursor.tile.scales + c * layout.group_scale_bytes, 1, half + h);
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
            float* sum = total[t][r] + 8 * (half + h);
            const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(panel.scales[begin * Rows + r]));
            _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[h][r]), factor, _mm256_load_ps(sum)));
          }
        }
      }
      const int64_t passed = Least(cursor.left, __builtin_popcount(bits));
      cursor.left -= passed;
      cursor.lower += passed * layout.block_steps * kVectorBytes;
    }
  }
  group::StoreTiles<Rows>(total, tiles, y, y_stride);
}

/// The 2-bit field at bit `Position` of each lane, its top bit already flipped, as (q - 2) * 2^30.
template <int Position>
inline __m256 CentredField(__m256i lanes) {
  const __m256i top = _mm256_set1_epi32(static_cast<int>(0xC0000000u));
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_slli_epi32(lanes, 30 - Position), top));
}

/// One half of a vector: column[k] (+)= unit * q + shift for the 2-bit fields q of 16 k.
template <bool Add>
inline void DequantizeVector(const uint8_t* vector, int half, __m256 unit, __m256 shift, float* column) {
  __m256i u[4];
  group::Unpack<2>(vector, 0, half, u);
  ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
    const __m256i codes = _mm256_xor_si256(u[i], _mm256_set1_epi8(2));
    const auto store = [&](int j, __m256 code) {
      float* out = column + (4 * j + i) * kPanelOutputs;
      const __m256 w = _mm256_fmadd_ps(code, unit, shift);
      _mm256_store_ps(out, Add ? _mm256_add_ps(_mm256_load_ps(out), w) : w);
    };
    store(0, CentredField<0>(codes));
    store(1, CentredField<8>(codes));
    store(2, CentredField<16>(codes));
    store(3, CentredField<24>(codes));
  }
}

/// Weights of steps [step_begin, step_end) of half a tile but for outliers: scale * s * (4 u + l - z), u and l the
/// upper and lower bits, each less 2 and with the rest in a shift.
void DequantizeHalf(const Layout& layout, const Cursor& start, int half, int64_t step_begin, int64_t step_end,
                    float* out) {
  Cursor cursor = start;
  const int64_t first = step_begin / layout.block_steps;
  for (int64_t g = 0; g < first && cursor.left > 0; ++g) {
    const bool refined = (cursor.tile.refined[g / 8] >> (g % 8) & 1) != 0;
    cursor.left -= refined;
    cursor.lower += refined * layout.block_steps * kVectorBytes;
  }
  for (int64_t g = first; g * layout.block_steps < step_end; ++g) {
    const uint8_t* block_scale = cursor.tile.scales + g / layout.blocks_per_group * layout.group_scale_bytes;
    const __m256i lanes = LoadGroup(cursor.tile, g, half);
    const __m256 s = _mm256_cvtepi32_ps(_mm256_and_si256(lanes, _mm256_set1_epi32(15)));
    const __m256 scale = _mm256_mul_ps(group::LoadFloats(block_scale, 1, half), s);
    const __m256 centre = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(8), _mm256_srli_epi32(lanes, 4)));
    const __m256 unit = _mm256_mul_ps(scale, _mm256_set1_ps(0x1p-30f));
    const bool refined = cursor.left > 0 && (cursor.tile.refined[g / 8] >> (g % 8) & 1) != 0;
    const int64_t end = Least(step_end, (g + 1) * layout.block_steps);
    for (int64_t step = g * layout.block_steps; step < end; ++step) {
      float* column = out + (step - step_begin) * kStepDepth * kPanelOutputs;
      DequantizeVector<false>(cursor.tile.codes + step * kVectorBytes, half, _mm256_mul_ps(unit, _mm256_set1_ps(4.0f)),
                              _mm256_mul_ps(scale, centre), column);
      if (!refined) continue;
      DequantizeVector<true>(cursor.lower + (step - g * layout.block_steps) * kVectorBytes, half, unit,
                             _mm256_mul_ps(scale, _mm256_set1_ps(2.0f)), column);
    }
    cursor.left -= refined;
    cursor.lower += refined * layout.block_steps * kVectorBytes;
  }
}

void DequantizeOutliers(const Layout& layout, const TileWeights& tile, int64_t step_begin, int64_t step_end,
                        float* out) {
  const int64_t depth = layout.blocks_per_group * layout.block_steps * kStepDepth;
  const int64_t begin = step_begin * kStepDepth;
  const int64_t end = Least(step_end * kStepDepth, layout.K);
  for (int64_t c = begin / depth; c * depth < end; ++c) {
    for (int64_t i = c * layout.outliers * kLanes; i < (c + 1) * layout.outliers * kLanes; ++i) {
      const int64_t k = c * depth + tile.outlier_positions[i];
      if (tile.outlier_positions[i] >= depth || k < begin || k >= end) continue;
      const int64_t lane = i % kLanes;
      const auto half = Load<uint16_t>(tile.scales + c * layout.group_scale_bytes + 2 * lane);
      out[(k - begin) * kPanelOutputs + lane] +=
          _cvtsh_ss(half) * static_cast<float>(Load<int16_t>(tile.outlier_values + 2 * i));
    }
  }
}

/// The steps begin at a group.
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  for (int t = 0; t < 2; ++t) {
    const Cursor cursor = CursorAt(layout, tiles[t], 0);
    for (int half = 0; half < 2; ++half) {
      DequantizeHalf(layout, cursor, half, step_begin, step_end, out + 16 * t + 8 * half);
    }
    if (layout.outliers > 0) DequantizeOutliers(layout, tiles[t], step_begin, step_end, out + 16 * t);
  }
}

/// Quantizes one group with a given factor and returns the sum.
inline int32_t QuantizeGroup(const float* x, int64_t count, float inverse, bool finite, __m128i order, int8_t* q) {
  __m128i sum = _mm_setzero_si128();
  for (int64_t k = 0; k < count; k += kStepDepth) {
    __m256i words[2];
    ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
      const int64_t left = count - k - 8 * half;
      const __m256 values = finite && left > 0 ? LoadTail(x + k + 8 * half, left) : _mm256_setzero_ps();
      words[half] = _mm256_cvtps_epi32(_mm256_mul_ps(values, _mm256_set1_ps(inverse)));
    }
    const __m256i value = _mm256_permute4x64_epi64(_mm256_packs_epi32(words[0], words[1]), 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_shuffle_epi8(bytes, order));
    sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), bytes), _mm_set1_epi16(1)));
  }
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

/// One step for each block of the format and the sum of every group, the same operations as the portable code.
void QuantizeRow(const float* x, int64_t K, int64_t group, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                 float* scales, int32_t* sums) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(step_order));
  const int64_t groups = (K + group - 1) / group;
  const int64_t most = (K + kMaxBlock - 1) / kMaxBlock;
  const int64_t depth = (groups + most - 1) / most * group;
  for (int64_t begin = 0; begin < K; begin += depth) {
    const int64_t end = Least(K, begin + depth);
    __m256 absmax = _mm256_setzero_ps();
    int non_finite = 0;
    for (int64_t k = begin; k < end; k += 8) {
      const __m256 magnitude = _mm256_andnot_ps(sign, LoadTail(x + k, end - k));
      absmax = _mm256_max_ps(absmax, magnitude);
      non_finite |= _mm256_movemask_ps(_mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
    }
    const float largest = MaxLane(absmax);
    const float inverse = !non_finite && largest >= 0x1p-120f ? 127.0f / largest : 0.0f;
    for (int64_t first = begin; first < end; first += group) {
      scales[first / group] = non_finite ? __builtin_nanf("") : largest * (1.0f / 127.0f);
      sums[first / group] = QuantizeGroup(x + first, Least(group, end - first), inverse, !non_finite, order, q + first);
    }
  }
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

}  // namespace ortq::mixed

// int8 level, AVX2.
//
// Without VNNI the 8-bit product is vpmaddubsw, unsigned codes x signed activations, which adds two products into a
// signed 16-bit lane and saturates. With |activation| <= 127 and codes of b bits a lane grows by at most 2 * (2^b - 1)
// * 127:
//   2 bits:  762 per quadruple of k, 32 of them: 24384
//   3 bits: 1778 per quadruple of k, 16 of them: 28448
//   4 bits: 3810 per quadruple of k,  8 of them: 30480     all below 32767, so nothing saturates,
// and lanes are widened to 32 bits once in that many quadruples (kStepsToWiden x 4). 8-bit codes would saturate in a
// single instruction (2 * 255 * 127 = 64770): their low and high four bits are multiplied apart, like 4-bit codes, with
// the same broadcast activation, and meet when lanes are widened (sum of the low + 16 * sum of the high).
#include "schemes/group/avx2.h"

namespace ortq::group {
namespace {

/// 16-bit sums of products over a few steps, one register for 8 outputs of one row. 8-bit codes have two: of their low
/// and of their high halves, because 255 * 127 * 2 is more than 16 bits hold.
template <int Bits, int Rows, int Halves>
struct Narrow {
  static constexpr int kParts = Bits == 8 ? 2 : 1;
  static constexpr int kSteps = Bits == 8 ? 2 : Codes < Bits == 8 ? 4 : Bits > ::kStepsToWiden;
  __m256i part[kParts][Halves][Rows];

  inline __m256i Widened(int h, int r) const {
    const __m256i low = _mm256_madd_epi16(part[0][h][r], _mm256_set1_epi16(1));
    if constexpr (kParts == 1) return low;
    return _mm256_add_epi32(low, _mm256_madd_epi16(part[kParts - 1][h][r], _mm256_set1_epi16(16)));
  }
};

/// Adds one field of codes x activations; with `First` it is what there is so far.
template <bool First, int Rows, int Halves>
inline void AddProducts(const __m256i (&u)[Halves], const uint8_t* quads, __m256i (&sums)[Halves][Rows]) {
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    const __m256i quad = _mm256_set1_epi32(Load<int>(quads + 4 * r));
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      const __m256i products = _mm256_maddubs_epi16(u[h], quad);
      __m256i sum = First ? products : _mm256_add_epi16(sums[h][r], products);
      Pin(sum);
      sums[h][r] = sum;
    }
  }
}

/// Field F of the v-th register of a step, of all halves: an activation is broadcast once for them.
template <int Bits, int F, bool First, int Rows, int Halves, typename Raw>
inline void AddField(const Raw (&raw)[Halves], int v, const uint8_t* values, Narrow<Bits, Rows, Halves>& narrow) {
  if constexpr (F < Codes<Bits>::kFields) {
    __m256i u[Halves];
    const uint8_t* quads = values + (v * Codes<Bits>::kFields + F) * Rows * 4;
    if constexpr (Bits == 8) {
      const __m256i mask = _mm256_set1_epi8(0x0F);
      ORTQ_UNROLL for (int h = 0; h < Halves; ++h) u[h] = _mm256_and_si256(raw[h], mask);
      AddProducts<First>(u, quads, narrow.part[0]);
      ORTQ_UNROLL for (int h = 0; h < Halves; ++h) u[h] = _mm256_and_si256(_mm256_srli_epi16(raw[h], 4), mask);
      AddProducts<First>(u, quads, narrow.part[1]);
    } else {
      ORTQ_UNROLL for (int h = 0; h < Halves; ++h) u[h] = Codes<Bits>::template Field<F>(raw[h]);
      AddProducts<First>(u, quads, narrow.part[0]);
    }
  }
}

template <int Bits, bool First, int Rows, int Halves>
inline void AddStep(const uint8_t* tile, const uint8_t* values, int64_t step, int half,
                    Narrow<Bits, Rows, Halves>& narrow) {
  using C = Codes<Bits>;
  ORTQ_UNROLL for (int v = 0; v < C::kVectors; ++v) {
    decltype(C::Load(tile, step, half, v)) raw[Halves];
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) raw[h] = C::Load(tile, step, half + h, v);
    if (First && v == 0) {
      AddField<Bits, 0, First>(raw, v, values, narrow);
    } else {
      AddField<Bits, 0, false>(raw, v, values, narrow);
    }
    AddField<Bits, 1, false>(raw, v, values, narrow);
    AddField<Bits, 2, false>(raw, v, values, narrow);
    AddField<Bits, 3, false>(raw, v, values, narrow);
  }
}

/// The products of the steps [step, end), at most Narrow::kSteps of them and at least one.
template <int Bits, int Rows, int Halves>
inline void SumSteps(const uint8_t* tile, const uint8_t* values, int64_t step, int64_t end, int half,
                     Narrow<Bits, Rows, Halves>& narrow) {
  AddStep<Bits, true>(tile, values, step, half, narrow);
  while (++step < end) AddStep<Bits, false>(tile, values += 16 * Rows, step, half, narrow);
}

/// Adds activation block b of one tile to `total`, halves [half, half + Halves).
template <int Bits, int Rows, int Halves>
inline void AddBlock(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, int64_t b, int half,
                     float (&total)[Rows][16]) {
  using Sums = Narrow<Bits, Rows, Halves>;
  const int64_t group = b / layout.blocks_per_group;
  const int64_t begin = b * layout.block_steps;
  const int64_t end = begin + layout.block_steps < layout.steps ? begin + layout.block_steps : layout.steps;
  const uint8_t* values = panel.values + begin * 16 * Rows;
  Pin(values);
  const int32_t* offsets = panel.offsets + b * Rows;
  Sums narrow;
  int64_t step = begin + Sums::kSteps < end ? begin + Sums::kSteps : end;
  SumSteps<Bits, Rows, Halves>(tile.codes, values, begin, step, half, narrow);
  // Offsets come in now and not before: until here all registers serve the products.
  __m256i sums[Halves][Rows];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
    __m256i zero_points = _mm256_setzero_si256();
    if (layout.zp == ZeroPointKind::kInteger) {
      zero_points = LoadZeroPoints(tile.zero_points, layout.zero_point_bits, group, half + h);
    }
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      __m256i start = _mm256_set1_epi32(offsets[r]);
      // |sum of a block| <= 128 * 127 fits int16, and the upper half of a zero point's lane is 0.
      if (layout.zp != ZeroPointKind::kNone) start = _mm256_madd_epi16(zero_points, start);
      sums[h][r] = _mm256_add_epi32(start, narrow.Widened(h, r));
    }
  }
  while (step < end) {
    values += Sums::kSteps * 16 * Rows;
    const int64_t first = step;
    step = first + Sums::kSteps < end ? first + Sums::kSteps : end;
    SumSteps<Bits, Rows, Halves>(tile.codes, values, first, step, half, narrow);
    ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) sums[h][r] = _mm256_add_epi32(sums[h][r], narrow.Widened(h, r));
    }
  }
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
    const __m256 scale = LoadFloats(tile.scales + group * layout.group_scale_bytes, layout.half_scales, half + h);
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
      const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(panel.scales[b * Rows + r]));
      _mm256_store_ps(sum, _mm256_fmadd_ps(term, factor, _mm256_load_ps(sum)));
    }
  }
}

template <int Bits, int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  // Both halves go together where registers suffice: an activation is broadcast once for both.
  constexpr int kHalves = Rows <= (Bits == 8 ? 2 : 4) ? 2 : 1;
  alignas(32) float total[kUnitTiles][Rows][16] = {};
  for (int64_t b = 0; b < layout.blocks; ++b) {
    for (int t = 0; t < tiles; ++t) {
      const TileWeights tile = TileAt(layout, first, t);
      for (int half = 0; half < 2; half += kHalves) {
        AddBlock<Bits, Rows, kHalves>(layout, tile, panel, b, half, total[t]);
      }
    }
  }
  StoreTiles<Rows>(total, tiles, y, y_stride);
}

template <int Bits>
Int8Kernel SelectInt8(int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tiles<Bits, 1>, Int8Tiles<Bits, 2>, Int8Tiles<Bits, 3>,
                                                       Int8Tiles<Bits, 4>};
  return kByRows[rows - 1];
}

}  // namespace

Int8Kernel Int8KernelAvx2(int bits, int rows) {
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

}  // namespace ortq::group

// int8 level, AVX2.
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
#include "schemes/group/avx2.h"

namespace ortq::group {
namespace {

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

/// Adds activation block b of one tile to `total`, halves [half, half + Halves).
template <int Bits, int Rows, int Halves>
inline void AddBlock(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, int64_t b, int half,
                     float (&total)[Rows][16]) {
  constexpr int kStepBytes = (Bits == 8 ? 32 : 16) * Rows;
  const int64_t group = b / layout.blocks_per_group;
  const int64_t step = b * layout.block_steps;
  const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
  const int32_t* offsets = panel.offsets + b * Rows;
  __m256i sums[Halves][Rows];
  ORTQ_UNROLL for (int h = 0; h < Halves; ++h) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m256i offset = _mm256_set1_epi32(offsets[r]);
      if (layout.zp == ZeroPointKind::kInteger) {
        // |sum of a block| <= 128 * 127 fits int16, and the upper half of a zero point's lane is 0.
        sums[h][r] =
            _mm256_madd_epi16(LoadZeroPoints(tile.zero_points, layout.zero_point_bits, group, half + h), offset);
      } else {
        sums[h][r] = layout.zp == ZeroPointKind::kNone ? offset : _mm256_setzero_si256();
      }
    }
  }
  const uint8_t* values = panel.values + step * kStepBytes;
  if constexpr (Bits == 8) {
    DotWideBlock<Rows, Halves>(tile.codes, values, step, end, half, sums);
  } else {
    DotBlock<Bits, Rows, Halves>(tile.codes, values, step, end, half, sums);
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
  // With few rows both halves go together: more independent sums, and activations are broadcast once for both.
  constexpr int kHalves = Rows <= 2 ? 2 : 1;
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

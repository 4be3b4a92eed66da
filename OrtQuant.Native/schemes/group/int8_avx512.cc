// int8 level, AVX-512 VNNI. A vector of codes is exactly one vpdpbusd operand (unsigned codes x signed activations);
// the four activation bytes of a row are broadcast to all lanes. Results of a block are then already where the 16
// scales are: no horizontal sum, no shuffle. One unpacked vector of codes serves every row of the panel.
#include "schemes/group/avx512.h"

namespace ortq::group {
namespace {

/// Where the integer sum of a block starts: at -(zero point) * (sum of the activations), when that is an integer.
inline __m512i StartValue(ZeroPointKind kind, __m512i zero_points, int32_t offset) {
  switch (kind) {
    case ZeroPointKind::kNone:
      return _mm512_set1_epi32(offset);
    // |sum of a block| <= 128 * 127 fits int16, and the upper half of a zero point's lane is 0.
    case ZeroPointKind::kInteger:
      return _mm512_dpwssd_epi32(_mm512_setzero_si512(), zero_points, _mm512_set1_epi32(offset));
    default:
      return _mm512_setzero_si512();
  }
}

template <int Bits, int Rows, int Tiles>
void Int8Span(const Layout& layout, const TileWeights& first, const Int8Panel& panel, float* y, int64_t y_stride) {
  // Independent sums hide the latency of vpdpbusd.
  constexpr int kChains = Tiles * Rows >= 4 ? 1 : Tiles * Rows >= 2 ? 2 : 4;
  __m512 total[Tiles][Rows];
  TileWeights tiles[Tiles];
  GroupParameters p[Tiles];
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    tiles[t] = TileAt(layout, first, t);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) total[t][r] = _mm512_setzero_ps();
  }
  const uint8_t* values = panel.values;
  const float* scales = panel.scales;
  const int32_t* offsets = panel.offsets;
  int64_t step = 0;
  int64_t blocks_left = 0;
  int64_t group = -1;
  for (int64_t b = 0; b < layout.blocks; ++b, scales += Rows, offsets += Rows) {
    if (blocks_left == 0) {
      ++group;
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) p[t] = LoadGroup(layout, tiles[t], group);
      blocks_left = layout.blocks_per_group;
    }
    --blocks_left;

    __m512i dot[Tiles][kChains][Rows];
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        dot[t][0][r] = StartValue(layout.zp, p[t].zero_points, offsets[r]);
        ORTQ_UNROLL for (int c = 1; c < kChains; ++c) dot[t][c][r] = _mm512_setzero_si512();
      }
    }
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    for (; step < end; ++step, values += 16 * Rows) {
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
        __m512i u[4];
        Codes<Bits>::Unpack(tiles[t].codes, step, u);
        ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
            __m512i& sum = dot[t][i % kChains][r];
            sum = _mm512_dpbusd_epi32(sum, u[i], BroadcastQuad(values + (i * Rows + r) * 4));
          }
        }
      }
    }
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        __m512i sum = dot[t][0][r];
        ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm512_add_epi32(sum, dot[t][c][r]);
        __m512 term = _mm512_cvtepi32_ps(sum);
        if (layout.zp == ZeroPointKind::kFloat) {
          term = _mm512_fmadd_ps(p[t].float_zero_points, _mm512_set1_ps(static_cast<float>(offsets[r])), term);
        }
        total[t][r] = _mm512_fmadd_ps(term, _mm512_mul_ps(p[t].scale, _mm512_set1_ps(scales[r])), total[t][r]);
      }
    }
  }
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) _mm512_storeu_ps(y + r * y_stride + 16 * t, total[t][r]);
  }
}

/// One or two rows wait for memory or for the end of a block. Short blocks (up to 64 k) and long tiles gain from tiles
/// side by side, whose block ends overlap; otherwise consecutive tiles are one long stream, which the prefetchers
/// follow best. M = 1, 4096 x 4096, idle machine, four tiles against one, us: 4 bits g32 347 and 407, g128 330 and 272;
/// 8 bits g32 599 and 682, g128 574 and 530. Software prefetch 1 to 2 KiB ahead made each of them slower.
bool SideBySide(const Layout& layout) {
  return layout.tile_code_bytes >= 32 * 1024 && layout.block_steps <= 4;
}

template <int Bits, int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  constexpr int kAtOnce = kTilesAtOnce<Rows>;
  int t = 0;
  const bool side_by_side = Rows > 2 || SideBySide(layout);
  for (; side_by_side && t + kAtOnce <= tiles; t += kAtOnce) {
    Int8Span<Bits, Rows, kAtOnce>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
  if constexpr (kAtOnce > 1) {
    for (; t < tiles; ++t) Int8Span<Bits, Rows, 1>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
}

template <int Bits>
Int8Kernel SelectInt8(int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tiles<Bits, 1>,  Int8Tiles<Bits, 2>,  Int8Tiles<Bits, 3>,
                                                       Int8Tiles<Bits, 4>,  Int8Tiles<Bits, 5>,  Int8Tiles<Bits, 6>,
                                                       Int8Tiles<Bits, 7>,  Int8Tiles<Bits, 8>,  Int8Tiles<Bits, 9>,
                                                       Int8Tiles<Bits, 10>, Int8Tiles<Bits, 11>, Int8Tiles<Bits, 12>};
  return kByRows[rows - 1];
}

}  // namespace

Int8Kernel Int8KernelAvx512(int bits, int rows) {
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

// int8 level, AVX-512 VNNI. A vector of codes is exactly one vpdpbusd operand (unsigned codes x signed activations);
// the four activation bytes of a row are broadcast to all lanes. Results of a block are then already where the 16
// scales are: no horizontal sum, no shuffle. One unpacked vector of codes serves every row of the panel.
#include "schemes/group/avx512.h"

namespace ortq::group {
namespace {

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

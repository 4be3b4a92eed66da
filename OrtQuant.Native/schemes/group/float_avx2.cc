// Float level, AVX2. A code with its top bit flipped and moved to the top of its 32-bit lane is (q - 2^(bits-1)) *
// 2^(32-bits) as a signed integer: one shift, one mask, one exact conversion, and zero points stay a small correction
// through the sums of the activations. (There is no 16-entry table look-up in 256 bits.)
#include "schemes/group/avx2.h"

namespace ortq::group {
namespace {

/// Codes come out of Centred multiplied by this.
template <int Bits>
constexpr float kCodeUnit = static_cast<float>(1u << (32 - Bits));

/// The field at bit `Position` of each lane, its top bit already flipped, as a float in units of kCodeUnit.
template <int Bits, int Position>
inline __m256 TopField(__m256i lanes) {
  constexpr int kShift = 32 - Bits - Position;
  const __m256i top = _mm256_set1_epi32(static_cast<int>(~0u << (32 - Bits)));
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_slli_epi32(lanes, kShift), top));
}

/// c[k] = kCodeUnit * (q - 2^(Bits-1)) of 8 outputs, for the 16 k of a step.
template <int Bits>
inline void Centred(const uint8_t* tile, int64_t step, int half, __m256 (&c)[16]) {
  if constexpr (Bits == 4) {
    ORTQ_UNROLL for (int v = 0; v < 2; ++v) {
      const __m256i bytes = LoadBytes(tile + step * 128 + 64 * v + 32 * half);
      const __m256i codes = _mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(0x88)));
      c[8 * v + 0] = TopField<4, 0>(codes);
      c[8 * v + 1] = TopField<4, 4>(codes);
      c[8 * v + 2] = TopField<4, 8>(codes);
      c[8 * v + 3] = TopField<4, 12>(codes);
      c[8 * v + 4] = TopField<4, 16>(codes);
      c[8 * v + 5] = TopField<4, 20>(codes);
      c[8 * v + 6] = TopField<4, 24>(codes);
      c[8 * v + 7] = TopField<4, 28>(codes);
    }
  } else {
    __m256i u[4];
    Unpack<Bits>(tile, step, half, u);
    ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
      const __m256i codes = _mm256_xor_si256(u[i], _mm256_set1_epi8(static_cast<char>(1 << (Bits - 1))));
      // Positions 4 i + j of the step: k itself for 8 bits, k = 4 j + i for 2 and 3 (Layout::step_order).
      constexpr int kI = Bits == 8 ? 4 : 1;
      constexpr int kJ = Bits == 8 ? 1 : 4;
      c[kI * i] = TopField<Bits, 0>(codes);
      c[kI * i + kJ] = TopField<Bits, 8>(codes);
      c[kI * i + 2 * kJ] = TopField<Bits, 16>(codes);
      c[kI * i + 3 * kJ] = TopField<Bits, 24>(codes);
    }
  }
}

/// Scale of 8 outputs and 2^(Bits-1) - zero point, what has to be added to a centred code.
struct HalfGroup {
  __m256 scale;
  __m256 centre;
};

template <int Bits>
inline HalfGroup LoadHalfGroup(const Layout& layout, const TileWeights& tile, int64_t group, int half) {
  const __m256 scale = LoadFloats(tile.scales + group * layout.group_scale_bytes, layout.half_scales, half);
  if (layout.zp == ZeroPointKind::kNone) return {scale, _mm256_setzero_ps()};
  const __m256 values =
      layout.zp == ZeroPointKind::kInteger
          ? _mm256_cvtepi32_ps(LoadZeroPoints(tile.zero_points, layout.zero_point_bits, group, half))
          : LoadFloats(tile.zero_points + group * layout.group_zero_point_bytes, layout.half_zero_points, half);
  return {scale, _mm256_sub_ps(_mm256_set1_ps(static_cast<float>(1 << (Bits - 1))), values)};
}

/// Adds block b of one half tile to `total`.
template <int Bits, int Rows>
inline void AddBlock(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, int64_t b, int half,
                     float (&total)[Rows][16]) {
  constexpr int kChains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  const int64_t begin = b * layout.block_steps;
  const int64_t end = begin + layout.block_steps < layout.steps ? begin + layout.block_steps : layout.steps;
  const HalfGroup group = LoadHalfGroup<Bits>(layout, tile, b / layout.blocks_per_group, half);
  const float* values = panel.values + begin * kStepDepth * Rows;
  __m256 dot[kChains][Rows];
  ORTQ_UNROLL for (int c = 0; c < kChains; ++c) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) dot[c][r] = _mm256_setzero_ps();
  }
  for (int64_t step = begin; step < end; ++step, values += kStepDepth * Rows) {
    __m256 w[16];
    Centred<Bits>(tile.codes, step, half, w);
    ORTQ_UNROLL for (int k = 0; k < 16; ++k) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        dot[k % kChains][r] = _mm256_fmadd_ps(w[k], _mm256_set1_ps(values[k * Rows + r]), dot[k % kChains][r]);
      }
    }
  }
  const __m256 unit = _mm256_set1_ps(1 / kCodeUnit<Bits>);
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    __m256 sum = dot[0][r];
    ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm256_add_ps(sum, dot[c][r]);
    sum = _mm256_mul_ps(sum, unit);
    if (layout.zp != ZeroPointKind::kNone) {
      sum = _mm256_fmadd_ps(group.centre, _mm256_set1_ps(panel.sums[b * Rows + r]), sum);
    }
    float* out = total[r] + 8 * half;
    _mm256_store_ps(out, _mm256_fmadd_ps(sum, group.scale, _mm256_load_ps(out)));
  }
}

template <int Bits, int Rows>
void FloatTiles(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel, float* y,
                int64_t y_stride) {
  alignas(32) float total[kUnitTiles][Rows][16] = {};
  for (int64_t b = 0; b < layout.blocks; ++b) {
    for (int t = 0; t < tiles; ++t) {
      const TileWeights tile = TileAt(layout, first, t);
      for (int half = 0; half < 2; ++half) AddBlock<Bits, Rows>(layout, tile, panel, b, half, total[t]);
    }
  }
  StoreTiles<Rows>(total, tiles, y, y_stride);
}

template <int Bits>
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  const int64_t group_steps = layout.blocks_per_group * layout.block_steps;
  for (int part = 0; part < 4; ++part) {
    const TileWeights& tile = tiles[part / 2];
    const int half = part % 2;
    float* column = out + 8 * part;
    for (int64_t step = step_begin; step < step_end;) {
      const int64_t index = step / group_steps;
      const int64_t group_end = (index + 1) * group_steps;
      const int64_t end = group_end < step_end ? group_end : step_end;
      const HalfGroup group = LoadHalfGroup<Bits>(layout, tile, index, half);
      const __m256 scale = _mm256_mul_ps(group.scale, _mm256_set1_ps(1 / kCodeUnit<Bits>));
      const __m256 shift = _mm256_mul_ps(group.scale, group.centre);
      for (; step < end; ++step, column += kStepDepth * kPanelOutputs) {
        __m256 c[16];
        Centred<Bits>(tile.codes, step, half, c);
        ORTQ_UNROLL for (int k = 0; k < 16; ++k) {
          _mm256_store_ps(column + k * kPanelOutputs, _mm256_fmadd_ps(c[k], scale, shift));
        }
      }
    }
  }
}

template <int Rows>
void PanelGemm(const float* x, const float* w, int64_t depth, int accumulate, float* y, int64_t y_stride) {
  for (int column = 0; column < kPanelOutputs; column += 16) {
    __m256 sum[Rows][2];
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      ORTQ_UNROLL for (int h = 0; h < 2; ++h) {
        sum[r][h] = accumulate ? _mm256_loadu_ps(y + r * y_stride + column + 8 * h) : _mm256_setzero_ps();
      }
    }
    const float* value = x;
    const float* weight = w + column;
    for (int64_t k = 0; k < depth; ++k, value += Rows, weight += kPanelOutputs) {
      const __m256 w0 = _mm256_load_ps(weight);
      const __m256 w1 = _mm256_load_ps(weight + 8);
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        const __m256 broadcast = _mm256_set1_ps(value[r]);
        sum[r][0] = _mm256_fmadd_ps(broadcast, w0, sum[r][0]);
        sum[r][1] = _mm256_fmadd_ps(broadcast, w1, sum[r][1]);
      }
    }
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      ORTQ_UNROLL for (int h = 0; h < 2; ++h) _mm256_storeu_ps(y + r * y_stride + column + 8 * h, sum[r][h]);
    }
  }
}

template <int Bits>
FloatKernel SelectFloat(int rows) {
  static constexpr FloatKernel kByRows[kMaxFloatRows] = {FloatTiles<Bits, 1>, FloatTiles<Bits, 2>, FloatTiles<Bits, 3>,
                                                         FloatTiles<Bits, 4>, FloatTiles<Bits, 5>, FloatTiles<Bits, 6>};
  return kByRows[rows - 1];
}

}  // namespace

FloatKernel FloatKernelAvx2(int bits, int rows) {
  switch (bits) {
    case 2:
      return SelectFloat<2>(rows);
    case 3:
      return SelectFloat<3>(rows);
    case 4:
      return SelectFloat<4>(rows);
    default:
      return SelectFloat<8>(rows);
  }
}

DequantizeKernel DequantizeKernelAvx2(int bits) {
  switch (bits) {
    case 2:
      return Dequantize<2>;
    case 3:
      return Dequantize<3>;
    case 4:
      return Dequantize<4>;
    default:
      return Dequantize<8>;
  }
}

PanelGemmKernel PanelGemmKernelAvx2(int rows) {
  static constexpr PanelGemmKernel kByRows[kMaxFloatRows] = {PanelGemm<1>, PanelGemm<2>, PanelGemm<3>,
                                                             PanelGemm<4>, PanelGemm<5>, PanelGemm<6>};
  return kByRows[rows - 1];
}

}  // namespace ortq::group

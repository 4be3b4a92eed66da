// Float level, AVX-512. Codes become floats centred on 2^(bits-1), so that zero points are a small correction through
// the sums of the activations and products are no larger than they must be:
//   2, 3, 4 bits: a 16-entry table in a register, vpermps. It looks at the low four bits of each lane only, so a shift
//   brings
//                 a code into place and nothing needs masking (the table repeats for narrower codes).
//   8 bits:       the code with its top bit flipped, moved to the top byte of its lane, is (q - 128) * 2^24 as an
//   integer.
#include "schemes/group/avx512.h"

namespace ortq::group {
namespace {

/// Centred code i of the table, repeated with the period of the width.
template <int Bits>
inline __m512 CodeTable() {
  __m512i code = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  code = _mm512_and_si512(code, _mm512_set1_epi32((1 << Bits) - 1));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(code, _mm512_set1_epi32(1 << (Bits - 1))));
}

/// 8-bit codes come out of Centred multiplied by this.
template <int Bits>
constexpr float kCodeUnit = Bits == 8 ? 0x1p24f : 1.0f;

/// c[k] = kCodeUnit * (q - 2^(Bits-1)) of the 16 outputs, for the 16 k of a step.
template <int Bits>
inline void Centred(const uint8_t* tile, int64_t step, __m512 table, __m512 (&c)[16]) {
  if constexpr (Bits == 4) {
    ORTQ_UNROLL for (int v = 0; v < 2; ++v) {
      const __m512i codes = LoadBytes(tile + step * 128 + 64 * v);
      ORTQ_UNROLL for (int i = 0; i < 8; ++i) {
        c[8 * v + i] = _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * i), table);
      }
    }
  } else if constexpr (Bits == 2) {
    const __m512i codes = LoadBytes(tile + step * 64);
    ORTQ_UNROLL for (int i = 0; i < 16; ++i) {
      c[i] = _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 2 * i), table);
    }
  } else {
    __m512i u[4];
    Codes<Bits>::Unpack(tile, step, u);
    ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
      if constexpr (Bits == 8) u[i] = _mm512_xor_si512(u[i], _mm512_set1_epi8(static_cast<char>(0x80)));
      ORTQ_UNROLL for (int j = 0; j < 4; ++j) {
        if constexpr (Bits == 8) {
          const __m512i top =
              _mm512_and_si512(_mm512_slli_epi32(u[i], 24 - 8 * j), _mm512_set1_epi32(static_cast<int>(0xFF000000)));
          c[4 * i + j] = _mm512_cvtepi32_ps(top);
        } else {
          // Position 4 i + j of the step is k = 4 j + i (Layout::step_order).
          c[4 * j + i] = _mm512_permutexvar_ps(_mm512_srli_epi32(u[i], 8 * j), table);
        }
      }
    }
  }
}

/// 2^(Bits-1) - zero point, what has to be added to a centred code.
template <int Bits>
inline __m512 Centre(const Layout& layout, const GroupParameters& p) {
  const __m512 middle = _mm512_set1_ps(static_cast<float>(1 << (Bits - 1)));
  switch (layout.zp) {
    case ZeroPointKind::kNone:
      return _mm512_setzero_ps();
    case ZeroPointKind::kInteger:
      return _mm512_sub_ps(middle, _mm512_cvtepi32_ps(p.zero_points));
    default:
      return _mm512_sub_ps(middle, p.float_zero_points);
  }
}

template <int Bits, int Rows>
void FloatTile(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, float* y, int64_t y_stride) {
  constexpr int kChains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  const __m512 table = CodeTable < Bits == 8 ? 4 : Bits > ();
  __m512 total[Rows];
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) total[r] = _mm512_setzero_ps();
  const float* values = panel.values;
  const float* sums = panel.sums;
  int64_t step = 0;
  int64_t blocks_left = 0;
  int64_t group = -1;
  GroupParameters p{};
  __m512 centre = _mm512_setzero_ps();
  for (int64_t b = 0; b < layout.blocks; ++b) {
    if (blocks_left == 0) {
      p = LoadGroup(layout, tile, ++group);
      centre = Centre<Bits>(layout, p);
      blocks_left = layout.blocks_per_group;
    }
    --blocks_left;
    __m512 dot[kChains][Rows];
    ORTQ_UNROLL for (int c = 0; c < kChains; ++c) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) dot[c][r] = _mm512_setzero_ps();
    }
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    for (; step < end; ++step, values += kStepDepth * Rows) {
      __m512 w[16];
      Centred<Bits>(tile.codes, step, table, w);
      ORTQ_UNROLL for (int k = 0; k < 16; ++k) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          dot[k % kChains][r] = _mm512_fmadd_ps(w[k], _mm512_set1_ps(values[k * Rows + r]), dot[k % kChains][r]);
        }
      }
    }
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      __m512 sum = dot[0][r];
      ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm512_add_ps(sum, dot[c][r]);
      if constexpr (Bits == 8) sum = _mm512_mul_ps(sum, _mm512_set1_ps(1 / kCodeUnit<Bits>));
      if (layout.zp != ZeroPointKind::kNone) sum = _mm512_fmadd_ps(centre, _mm512_set1_ps(sums[r]), sum);
      total[r] = _mm512_fmadd_ps(sum, p.scale, total[r]);
    }
    sums += Rows;
  }
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) _mm512_storeu_ps(y + r * y_stride, total[r]);
}

template <int Bits>
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  const __m512 table = CodeTable < Bits == 8 ? 4 : Bits > ();
  const int64_t group_steps = layout.blocks_per_group * layout.block_steps;
  for (int t = 0; t < 2; ++t) {
    float* column = out + 16 * t;
    for (int64_t step = step_begin; step < step_end;) {
      const int64_t group = step / group_steps;
      const int64_t group_end = (group + 1) * group_steps;
      const int64_t end = group_end < step_end ? group_end : step_end;
      const GroupParameters p = LoadGroup(layout, tiles[t], group);
      const __m512 scale = _mm512_mul_ps(p.scale, _mm512_set1_ps(1 / kCodeUnit<Bits>));
      const __m512 shift = _mm512_mul_ps(p.scale, Centre<Bits>(layout, p));
      for (; step < end; ++step, column += kStepDepth * kPanelOutputs) {
        __m512 c[16];
        Centred<Bits>(tiles[t].codes, step, table, c);
        ORTQ_UNROLL for (int k = 0; k < 16; ++k) {
          _mm512_store_ps(column + k * kPanelOutputs, _mm512_fmadd_ps(c[k], scale, shift));
        }
      }
    }
  }
}

template <int Rows>
void PanelGemm(const float* x, const float* w, int64_t depth, int accumulate, float* y, int64_t y_stride) {
  __m512 sum[Rows][2];
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    ORTQ_UNROLL for (int h = 0; h < 2; ++h) {
      sum[r][h] = accumulate ? _mm512_loadu_ps(y + r * y_stride + 16 * h) : _mm512_setzero_ps();
    }
  }
  for (int64_t k = 0; k < depth; ++k, x += Rows, w += kPanelOutputs) {
    const __m512 w0 = _mm512_load_ps(w);
    const __m512 w1 = _mm512_load_ps(w + 16);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m512 value = _mm512_set1_ps(x[r]);
      sum[r][0] = _mm512_fmadd_ps(value, w0, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(value, w1, sum[r][1]);
    }
  }
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    ORTQ_UNROLL for (int h = 0; h < 2; ++h) _mm512_storeu_ps(y + r * y_stride + 16 * h, sum[r][h]);
  }
}

template <int Bits>
FloatKernel SelectFloat(int rows) {
  static constexpr FloatKernel kByRows[kMaxFloatRows] = {FloatTile<Bits, 1>,  FloatTile<Bits, 2>,  FloatTile<Bits, 3>,
                                                         FloatTile<Bits, 4>,  FloatTile<Bits, 5>,  FloatTile<Bits, 6>,
                                                         FloatTile<Bits, 7>,  FloatTile<Bits, 8>,  FloatTile<Bits, 9>,
                                                         FloatTile<Bits, 10>, FloatTile<Bits, 11>, FloatTile<Bits, 12>};
  return kByRows[rows - 1];
}

}  // namespace

FloatKernel FloatKernelAvx512(int bits, int rows) {
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

DequantizeKernel DequantizeKernelAvx512(int bits) {
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

PanelGemmKernel PanelGemmKernelAvx512(int rows) {
  static constexpr PanelGemmKernel kByRows[kMaxFloatRows] = {PanelGemm<1>, PanelGemm<2>,  PanelGemm<3>,  PanelGemm<4>,
                                                             PanelGemm<5>, PanelGemm<6>,  PanelGemm<7>,  PanelGemm<8>,
                                                             PanelGemm<9>, PanelGemm<10>, PanelGemm<11>, PanelGemm<12>};
  return kByRows[rows - 1];
}

}  // namespace ortq::group

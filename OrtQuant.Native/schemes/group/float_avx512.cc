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

template <int Bits, int Rows, int Tiles>
void FloatSpan(const Layout& layout, const TileWeights& first, const FloatPanel& panel, float* y, int64_t y_stride) {
  // Eight independent sums hide the latency of FMA.
  constexpr int kChains = Tiles * Rows >= 8 ? 1 : Tiles * Rows >= 4 ? 2 : 4;
  const __m512 table = CodeTable < Bits == 8 ? 4 : Bits > ();
  __m512 total[Tiles][Rows];
  TileWeights tiles[Tiles];
  __m512 scale[Tiles];
  __m512 centre[Tiles];
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    tiles[t] = TileAt(layout, first, t);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) total[t][r] = _mm512_setzero_ps();
  }
  const float* values = panel.values;
  const float* sums = panel.sums;
  int64_t step = 0;
  int64_t blocks_left = 0;
  int64_t group = -1;
  for (int64_t b = 0; b < layout.blocks; ++b, sums += Rows) {
    if (blocks_left == 0) {
      ++group;
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
        const GroupParameters p = LoadGroup(layout, tiles[t], group);
        scale[t] = p.scale;
        centre[t] = Centre<Bits>(layout, p);
      }
      blocks_left = layout.blocks_per_group;
    }
    --blocks_left;
    __m512 dot[Tiles][kChains][Rows];
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      ORTQ_UNROLL for (int c = 0; c < kChains; ++c) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) dot[t][c][r] = _mm512_setzero_ps();
      }
    }
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    for (; step < end; ++step, values += kStepDepth * Rows) {
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
        __m512 w[16];
        Centred<Bits>(tiles[t].codes, step, table, w);
        ORTQ_UNROLL for (int k = 0; k < 16; ++k) {
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
            __m512& sum = dot[t][k % kChains][r];
            sum = _mm512_fmadd_ps(w[k], _mm512_set1_ps(values[k * Rows + r]), sum);
          }
        }
      }
    }
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        __m512 sum = dot[t][0][r];
        ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm512_add_ps(sum, dot[t][c][r]);
        if constexpr (Bits == 8) sum = _mm512_mul_ps(sum, _mm512_set1_ps(1 / kCodeUnit<Bits>));
        if (layout.zp != ZeroPointKind::kNone) sum = _mm512_fmadd_ps(centre[t], _mm512_set1_ps(sums[r]), sum);
        total[t][r] = _mm512_fmadd_ps(sum, scale[t], total[t][r]);
      }
    }
  }
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) _mm512_storeu_ps(y + r * y_stride + 16 * t, total[t][r]);
  }
}

template <int Bits, int Rows>
void FloatTiles(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel, float* y,
                int64_t y_stride) {
  constexpr int kAtOnce = kTilesAtOnce<Rows>;
  int t = 0;
  for (; t + kAtOnce <= tiles; t += kAtOnce) {
    FloatSpan<Bits, Rows, kAtOnce>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
  if constexpr (kAtOnce > 1) {
    for (; t < tiles; ++t) FloatSpan<Bits, Rows, 1>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
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
  static constexpr FloatKernel kByRows[kMaxFloatRows] = {
      FloatTiles<Bits, 1>, FloatTiles<Bits, 2>,  FloatTiles<Bits, 3>,  FloatTiles<Bits, 4>,
      FloatTiles<Bits, 5>, FloatTiles<Bits, 6>,  FloatTiles<Bits, 7>,  FloatTiles<Bits, 8>,
      FloatTiles<Bits, 9>, FloatTiles<Bits, 10>, FloatTiles<Bits, 11>, FloatTiles<Bits, 12>};
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

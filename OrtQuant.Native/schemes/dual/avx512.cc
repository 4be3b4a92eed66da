// AVX-512 VNNI; the structure is that of avx2.cc.
//
// int8 level. Two 4-bit codes, one in each byte of a 16-bit lane, times an integer scale of at most 16 stay in their
// bytes: (q0 + 256 q1) * s = q0 s + 256 q1 s, and 15 * 16 < 256. So one vpmullw turns 64 codes into 64 unsigned bytes s
// * q, and vpdpbusd adds their products with the activations of all groups into one int32 accumulator. With one or two
// rows that vpmullw would be an instruction for every one or two vpdpbusd; there each group has a sum of its own,
// multiplied by s once. The integers are the same. The zero point is one vpdpwssd a group with the sum of its
// activations.
#include "schemes/group/avx512.h"

#include "schemes/dual/kernels.h"

namespace ortq::dual {
namespace {

using group::BroadcastQuad;
using group::Codes;
using group::kMaxInt8Rows;
using group::kTilesAtOnce;
using group::LoadBytes;

constexpr int kBlockScale = 16;  // bytes from one group of a tile to the next

inline __m128i LoadSixteen(const uint8_t* bytes, int64_t group) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + group * kBlockScale));
}

/// Group scales of 16 outputs as 32-bit lanes.
inline __m512i LoadGroupScales(const TileWeights& tile, int64_t group) {
  return _mm512_cvtepu8_epi32(LoadSixteen(tile.group_scales, group));
}

/// Zero points of 16 outputs in the lower 16 bits of their lanes, the upper ones 0.
inline __m512i LoadZeroPoints(const TileWeights& tile, int64_t group) {
  const __m512i lanes = _mm512_cvtepi8_epi32(LoadSixteen(tile.zero_points, group));
  return _mm512_and_si512(lanes, _mm512_set1_epi32(0xFFFF));
}

template <int Rows, int Tiles>
void Int8Span(const Layout& layout, const TileWeights& first, const Int8Panel& panel, float* y, int64_t y_stride) {
  // Independent sums hide the latency of vpdpbusd.
  constexpr int kChains = Tiles * Rows >= 4 ? 1 : Tiles * Rows >= 2 ? 2 : 4;
  constexpr bool kScalesSums = Rows <= 2;
  TileWeights tiles[Tiles];
  __m512i total[Tiles][Rows];
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    tiles[t] = TileAt(layout, first, t);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) total[t][r] = _mm512_setzero_si512();
  }
  const uint8_t* values = panel.values;
  const int32_t* offsets = panel.offsets;
  int64_t step = 0;
  for (int64_t g = 0; g < layout.groups; ++g, offsets += Rows) {
    __m512i scales[Tiles];
    __m512i dot[Tiles][kChains][Rows];
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      scales[t] = LoadGroupScales(tiles[t], g);
      if constexpr (!kScalesSums) scales[t] = _mm512_or_si512(scales[t], _mm512_slli_epi32(scales[t], 16));
      const __m512i zero_points = LoadZeroPoints(tiles[t], g);
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        // |sum of a group| <= 256 * 127 fits the lower 16 bits of the offset.
        total[t][r] = _mm512_dpwssd_epi32(total[t][r], zero_points, _mm512_set1_epi32(offsets[r]));
        ORTQ_UNROLL for (int c = 0; c < kChains; ++c) dot[t][c][r] = _mm512_setzero_si512();
      }
    }
    const int64_t end = step + layout.block_steps < layout.steps ? step + layout.block_steps : layout.steps;
    for (; step < end; ++step, values += kStepDepth * Rows) {
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
        __m512i u[4];
        Codes<kBits>::Unpack(tiles[t].codes, step, u);
        ORTQ_UNROLL for (int i = 0; i < 4; ++i) {
          if constexpr (!kScalesSums) u[i] = _mm512_mullo_epi16(u[i], scales[t]);
          ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
            __m512i& sum = kScalesSums ? dot[t][i % kChains][r] : total[t][r];
            sum = _mm512_dpbusd_epi32(sum, u[i], BroadcastQuad(values + (i * Rows + r) * 4));
          }
        }
      }
    }
    if constexpr (kScalesSums) {
      ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
        ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
          __m512i sum = dot[t][0][r];
          ORTQ_UNROLL for (int c = 1; c < kChains; ++c) sum = _mm512_add_epi32(sum, dot[t][c][r]);
          total[t][r] = _mm512_add_epi32(total[t][r], _mm512_mullo_epi32(sum, scales[t]));
        }
      }
    }
  }
  ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
    const __m512 scale = _mm512_loadu_ps(tiles[t].scales);
    const __m512i row_sums = LoadBytes(tiles[t].row_sums);
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      // Here offsets are those past the last group: the zero points of the activations.
      total[t][r] = _mm512_add_epi32(total[t][r], _mm512_mullo_epi32(row_sums, _mm512_set1_epi32(offsets[r])));
      const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(panel.scales[r]));
      _mm512_storeu_ps(y + r * y_stride + 16 * t, _mm512_mul_ps(_mm512_cvtepi32_ps(total[t][r]), factor));
    }
  }
}

template <int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  // One or two rows wait for memory, and consecutive tiles are one long stream (as in scheme `group` with long blocks).
  constexpr int kAtOnce = Rows <= 2 ? 1 : kTilesAtOnce<Rows>;
  int t = 0;
  for (; t + kAtOnce <= tiles; t += kAtOnce) {
    Int8Span<Rows, kAtOnce>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
  if constexpr (kAtOnce > 1) {
    for (; t < tiles; ++t) Int8Span<Rows, 1>(layout, TileAt(layout, first, t), panel, y + 16 * t, y_stride);
  }
}

/// scale * (s * q - z) as scale * s * (q - 8) + scale * (8 * s - z), of two tiles. The centred code comes from a table
/// in a register: vpermps looks at the low four bits of a lane only.
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  const __m512 table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  for (int t = 0; t < 2; ++t) {
    const TileWeights& tile = tiles[t];
    const __m512 row_scale = _mm512_loadu_ps(tile.scales);
    float* column = out + 16 * t;
    for (int64_t step = step_begin; step < step_end;) {
      const int64_t g = step / layout.block_steps;
      const int64_t group_end = (g + 1) * layout.block_steps;
      const int64_t end = group_end < step_end ? group_end : step_end;
      const __m512i group_scale = LoadGroupScales(tile, g);
      const __m512i zero_point = _mm512_cvtepi8_epi32(LoadSixteen(tile.zero_points, g));
      const __m512 middle = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_slli_epi32(group_scale, 3), zero_point));
      const __m512 shift = _mm512_mul_ps(row_scale, middle);
      const __m512 scale = _mm512_mul_ps(row_scale, _mm512_cvtepi32_ps(group_scale));
      for (; step < end; ++step, column += kStepDepth * kPanelOutputs) {
        ORTQ_UNROLL for (int v = 0; v < 2; ++v) {
          const __m512i codes = LoadBytes(tile.codes + step * 128 + 64 * v);
          ORTQ_UNROLL for (int k = 0; k < 8; ++k) {
            const __m512 code = _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * k), table);
            _mm512_store_ps(column + (8 * v + k) * kPanelOutputs, _mm512_fmadd_ps(code, scale, shift));
          }
        }
      }
    }
  }
}

/// One step and zero point for the row, and the sum of every group, the same operations as the portable code. `block`
/// is the group.
void QuantizeRow(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                 float* scales, int32_t* sums) {
  const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000));
  __m512 highest = _mm512_setzero_ps();
  __m512 lowest = _mm512_setzero_ps();
  __mmask16 non_finite = 0;
  for (int64_t k = 0; k < K; k += 16) {
    const auto lanes = static_cast<__mmask16>(K - k >= 16 ? 0xFFFF : (1 << (K - k)) - 1);
    const __m512 values = _mm512_maskz_loadu_ps(lanes, x + k);
    highest = _mm512_max_ps(highest, values);
    lowest = _mm512_min_ps(lowest, values);
    non_finite |= _mm512_cmp_ps_mask(_mm512_abs_ps(values), infinity, _CMP_NLT_UQ);
  }
  const float most = 0.5f * _mm512_reduce_max_ps(highest);
  const float least = 0.5f * _mm512_reduce_min_ps(lowest);
  const float radius = most - least;
  const float inverse = !non_finite && radius >= 0x1p-120f ? 127.0f / radius : 0.0f;
  const int zero_point = non_finite ? 0 : _mm_cvtss_si32(_mm_set_ss((most + least) * inverse));

  const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(step_order));
  int64_t g = 0;
  for (int64_t begin = 0; begin < K; begin += block, ++g) {
    const int64_t end = K - begin < block ? K : begin + block;
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = begin; k < end; k += kStepDepth) {
      // Zero past the end of the row, and throughout a row that is not finite.
      const auto lanes = static_cast<__mmask16>(non_finite ? 0 : end - k >= 16 ? 0xFFFF : (1 << (end - k)) - 1);
      const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + k), _mm512_set1_ps(inverse));
      __m512i value = _mm512_cvt_roundps_epi32(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      value = _mm512_sub_epi32(value, _mm512_set1_epi32(zero_point));
      value = _mm512_max_epi32(_mm512_min_epi32(value, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
      value = _mm512_maskz_mov_epi32(lanes, value);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_shuffle_epi8(_mm512_cvtepi32_epi8(value), order));
      sum = _mm512_add_epi32(sum, value);
    }
    sums[g] = _mm512_reduce_add_epi32(sum);
  }
  scales[0] = non_finite ? __builtin_nanf("") : radius * (1.0f / 127.0f);
  sums[g] = -zero_point;  // the driver negates
}

void FloatTiles(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel, float* y,
                int64_t y_stride) {
  MultiplyFewRows(layout, first, tiles, panel, Dequantize, group::Avx512Kernels().panel_gemm(panel.rows), y, y_stride);
}

Int8Kernel SelectInt8(int, int rows) {
  static constexpr Int8Kernel kByRows[kMaxInt8Rows] = {Int8Tiles<1>, Int8Tiles<2>,  Int8Tiles<3>,  Int8Tiles<4>,
                                                       Int8Tiles<5>, Int8Tiles<6>,  Int8Tiles<7>,  Int8Tiles<8>,
                                                       Int8Tiles<9>, Int8Tiles<10>, Int8Tiles<11>, Int8Tiles<12>};
  return kByRows[rows - 1];
}

}  // namespace

const KernelSet& Avx512Kernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::Avx512Kernels();
    set.int8_kernel = SelectInt8;
    set.float_kernel = [](int, int) -> FloatKernel { return FloatTiles; };
    set.dequantize = [](int) -> DequantizeKernel { return Dequantize; };
    set.quantize_row = QuantizeRow;
    return set;
  }();
  return kernels;
}

}  // namespace ortq::dual

// AVX2.
//
// int8 level. A table holds the 16 partial sums of a quad of activations as bytes; vpshufb looks 32 of them up, by the
// low or the high four bits of 32 bytes of weights: 8 consecutive k of a plane of an output are a byte, two quads.
//
//   a pair of planes   both bytes of a 16-bit lane are one output's, and read one table. Uniform levels: vpmaddubsw
//                      with 1, 2 (as signed bytes; the table entries are the unsigned ones) joins the planes. Free
//                      levels need each plane's own sum: the lanes are added as 16-bit numbers, and their upper bytes
//                      once more; what the upper bytes have put into the first sum is taken out at the end.
//   a single plane     16 outputs in 16 bytes, their low quads looked up in one 128-bit half and the high ones in the
//                      other, added up in the same way: even outputs below, odd ones above.
//
// A block has at most 32 quads: 3 * 255 * 32 = 24480 and 255 * 32 = 8160 fit 16 bits.
#include "schemes/group/avx2.h"

#include "schemes/group/kernels.h"
#include "schemes/lut/kernels.h"

namespace ortq::lut {
namespace {

using group::Load;
using group::LoadFloats;
using group::LoadTail;
using group::MaxLane;

/// Bytes of an octet of one row in a panel: the tables of its two quads.
constexpr int64_t kTableBytes = 32;
constexpr int kRowsAtOnce = 4;
constexpr float kQuadShare = 127.0f / 253.0f;

inline __m256i Broadcast(const uint8_t* table) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
}

/// Where the codes of a block of each tile begin, and how far it is to the next octet.
template <int Tiles>
struct BlockCodes {
  const uint8_t* tile[Tiles];
  int64_t octet_bytes;
  int64_t octets;
};

/// 16-bit sums of looked up bytes over a block, for each tile and row, 16 outputs in order. Of a pair of planes: joined
/// in `low` (uniform levels), or plane by plane in `low` and `high` (free levels). Of a single plane: in `low`.
template <int Rows, int Tiles>
struct Sums {
  __m256i low[Tiles][Rows];
  __m256i high[Tiles][Rows];
};

/// So many tiles go together that their sums stay in registers: a table is loaded once for all of them.
constexpr int TilesAtOnce(int rows, int tiles, int sums_each) {
  const int fit = 8 / (rows * sums_each);
  return fit < 1 ? 1 : fit < tiles ? fit : tiles;
}

/// Adds bytes as 16-bit lanes, and the upper bytes once more: `low` is then what the lower bytes add up to and 256
/// times `high`.
inline void AddBytes(__m256i bytes, __m256i& low, __m256i& high) {
  low = _mm256_add_epi16(low, bytes);
  group::Pin(low);
  high = _mm256_add_epi16(high, _mm256_srli_epi16(bytes, 8));
  group::Pin(high);
}

template <bool Free, int Count, int Rows, int Tiles>
inline void SumPairOf(const BlockCodes<Tiles>& codes, int first, int64_t offset, const uint8_t* tables,
                      Sums<Rows, Tiles>& sums) {
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  const __m256i places = _mm256_set1_epi16(0x0201);
  const uint8_t* code[Count];
  __m256i low[Count][Rows], high[Count][Rows];
  ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
    code[t] = codes.tile[first + t] + offset;
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) low[t][r] = high[t][r] = _mm256_setzero_si256();
  }
  for (int64_t o = 0; o < codes.octets; ++o, tables += kTableBytes * Rows) {
    ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
      __m256i index[Count];
      ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
        const __m256i bytes = group::LoadBytes(code[t] + o * codes.octet_bytes);
        index[t] = _mm256_and_si256(half == 0 ? bytes : _mm256_srli_epi16(bytes, 4), nibble);
      }
      ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
        const __m256i table = Broadcast(tables + kTableBytes * r + 16 * half);
        ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
          const __m256i found = _mm256_shuffle_epi8(table, index[t]);
          if constexpr (Free) {
            AddBytes(found, low[t][r], high[t][r]);
          } else {
            low[t][r] = _mm256_add_epi16(low[t][r], _mm256_maddubs_epi16(found, places));
            group::Pin(low[t][r]);
          }
        }
      }
    }
  }
  ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      sums.low[first + t][r] = Free ? _mm256_sub_epi16(low[t][r], _mm256_slli_epi16(high[t][r], 8)) : low[t][r];
      if (Free) sums.high[first + t][r] = high[t][r];
    }
  }
}

template <int Count, int Rows, int Tiles>
inline void SumSingleOf(const BlockCodes<Tiles>& codes, int first, int64_t offset, const uint8_t* tables,
                        Sums<Rows, Tiles>& sums) {
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  const __m256i quads = _mm256_setr_epi64x(0, 0, 4, 4);
  const uint8_t* code[Count];
  __m256i even[Count][Rows], odd[Count][Rows];
  ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
    code[t] = codes.tile[first + t] + offset;
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) even[t][r] = odd[t][r] = _mm256_setzero_si256();
  }
  for (int64_t o = 0; o < codes.octets; ++o, tables += kTableBytes * Rows) {
    __m256i index[Count];
    ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
      const uint8_t* p = code[t] + o * codes.octet_bytes;
      const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
      index[t] = _mm256_and_si256(_mm256_srlv_epi64(bytes, quads), nibble);
    }
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(tables + kTableBytes * r));
      ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
        AddBytes(_mm256_shuffle_epi8(table, index[t]), even[t][r], odd[t][r]);
      }
    }
  }
  ORTQ_UNROLL for (int t = 0; t < Count; ++t) {
    ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
      const __m256i evens = _mm256_sub_epi16(even[t][r], _mm256_slli_epi16(odd[t][r], 8));
      const __m256i lower = _mm256_unpacklo_epi16(evens, odd[t][r]);  // outputs 0 .. 7 of either quad
      const __m256i upper = _mm256_unpackhi_epi16(evens, odd[t][r]);
      sums.low[first + t][r] = _mm256_add_epi16(_mm256_permute2x128_si256(lower, upper, 0x20),
                                                _mm256_permute2x128_si256(lower, upper, 0x31));
    }
  }
}

template <bool Free, int Rows, int Tiles>
inline void SumPair(const BlockCodes<Tiles>& codes, int64_t offset, const uint8_t* tables, Sums<Rows, Tiles>& sums) {
  constexpr int kCount = TilesAtOnce(Rows, Tiles, Free ? 2 : 1);
  ORTQ_UNROLL for (int t = 0; t < Tiles; t += kCount) SumPairOf<Free, kCount>(codes, t, offset, tables, sums);
}

template <int Rows, int Tiles>
inline void SumSingle(const BlockCodes<Tiles>& codes, int64_t offset, const uint8_t* tables, Sums<Rows, Tiles>& sums) {
  constexpr int kCount = TilesAtOnce(Rows, Tiles, 2);
  ORTQ_UNROLL for (int t = 0; t < Tiles; t += kCount) SumSingleOf<kCount>(codes, t, offset, tables, sums);
}

/// Eight of 16 lanes, widened.
inline __m256i Widened(__m256i lanes, int half) {
  return _mm256_cvtepi16_epi32(half == 0 ? _mm256_castsi256_si128(lanes) : _mm256_extracti128_si256(lanes, 1));
}

/// Offsets or zero points of 8 outputs.
inline __m256 LoadOffsets(const Layout& layout, const TileWeights& tile, int64_t group, int half) {
  const uint8_t* p = tile.zero_points + group * layout.group_zero_point_bytes;
  if (layout.zp != ZeroPointKind::kInteger) return LoadFloats(p, layout.half_zero_points, half);
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * half))));
}

/// Coefficient i of 8 outputs.
inline __m256 LoadCoefficient(const Layout& layout, const TileWeights& tile, int64_t group, int i, int half) {
  const uint8_t* p = tile.scales + group * layout.group_scale_bytes + i * (layout.half_scales ? 32 : 64);
  return LoadFloats(p, layout.half_scales, half);
}

/// Adds activation block b of `Tiles` consecutive tiles.
template <int Bits, bool Free, int Rows, int Tiles>
inline void AddBlock(const Layout& layout, const TileWeights& first, int tile, const Int8Panel& panel, int64_t b,
                     float (*total)[Rows][16]) {
  constexpr int kPairs = Bits / 2;
  constexpr bool kHasSingle = Bits % 2 != 0;
  constexpr int kCoefficients = Free ? Bits : 1;
  const int64_t begin = b * layout.block_steps;
  const int64_t end = begin + layout.block_steps < layout.steps ? begin + layout.block_steps : layout.steps;
  const int64_t group = b / layout.blocks_per_group;
  BlockCodes<Tiles> codes{{}, 16 * Bits, 2 * (end - begin)};
  __m256 zero_points[Tiles][2], coefficients[Tiles][2][kCoefficients];
  for (int t = 0; t < Tiles; ++t) {
    const TileWeights weights = TileAt(layout, first, tile + t);
    codes.tile[t] = weights.codes + begin * 32 * Bits;
    ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
      zero_points[t][half] = LoadOffsets(layout, weights, group, half);
      ORTQ_UNROLL for (int i = 0; i < kCoefficients; ++i) {
        coefficients[t][half][i] = LoadCoefficient(layout, weights, group, i, half);
      }
    }
  }
  const uint8_t* tables = panel.values + begin * 2 * kTableBytes * Rows;
  Sums<Rows, Tiles> sums[kPairs + (kHasSingle ? 1 : 0)];
  ORTQ_UNROLL for (int p = 0; p < kPairs; ++p) SumPair<Free>(codes, 32 * p, tables, sums[p]);
  if constexpr (kHasSingle) SumSingle(codes, 32 * kPairs, tables, sums[kPairs]);

  const int32_t* offsets = panel.offsets + b * Rows;         // minus the sum of the block
  const int32_t* least = offsets + BlocksOf(layout) * Rows;  // the least sums of its quads, added up
  ORTQ_UNROLL for (int r = 0; r < Rows; ++r) {
    const __m256 step = _mm256_set1_ps(panel.scales[b * Rows + r]);
    const __m256i one_plane = _mm256_set1_epi16(static_cast<int16_t>(least[r]));
    const __m256i two_planes = _mm256_add_epi16(one_plane, _mm256_add_epi16(one_plane, one_plane));
    const __m256i sum = _mm256_set1_epi16(static_cast<int16_t>(offsets[r]));
    const __m256 offset = _mm256_set1_ps(static_cast<float>(Free ? -offsets[r] : offsets[r]));
    ORTQ_UNROLL for (int t = 0; t < Tiles; ++t) {
      // |sums of 2^i a over two planes| <= 3 * 255 * 32 and |sums of +-a| <= 255 * 32 fit 16 bits.
      __m256i planes[Bits];
      if constexpr (Free) {
        ORTQ_UNROLL for (int i = 0; i < Bits; ++i) {
          const auto& of = sums[i / 2];
          const __m256i ones = _mm256_add_epi16(i % 2 == 0 ? of.low[t][r] : of.high[t][r], one_plane);
          planes[i] = _mm256_add_epi16(_mm256_add_epi16(ones, ones), sum);
        }
      } else {
        ORTQ_UNROLL for (int p = 0; p < kPairs; ++p) planes[p] = _mm256_add_epi16(sums[p].low[t][r], two_planes);
        if constexpr (kHasSingle) planes[kPairs] = _mm256_add_epi16(sums[kPairs].low[t][r], one_plane);
      }
      ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
        float* out = total[tile + t][r] + 8 * half;
        if constexpr (Free) {
          __m256 value = _mm256_mul_ps(zero_points[t][half], offset);
          ORTQ_UNROLL for (int i = 0; i < Bits; ++i) {
            value = _mm256_fmadd_ps(coefficients[t][half][i], _mm256_cvtepi32_ps(Widened(planes[i], half)), value);
          }
          _mm256_store_ps(out, _mm256_fmadd_ps(value, step, _mm256_load_ps(out)));
        } else {
          __m256i dot = Widened(planes[0], half);
          if constexpr (Bits > 2) dot = _mm256_add_epi32(dot, _mm256_slli_epi32(Widened(planes[1], half), 2));
          // With integer zero points both terms are integers below 2^24: the sum is exact either way.
          const __m256 term = _mm256_fmadd_ps(zero_points[t][half], offset, _mm256_cvtepi32_ps(dot));
          const __m256 factor = _mm256_mul_ps(coefficients[t][half][0], step);
          _mm256_store_ps(out, _mm256_fmadd_ps(term, factor, _mm256_load_ps(out)));
        }
      }
    }
  }
}

template <int Bits, bool Free, int Rows>
void Int8Tiles(const Layout& layout, const TileWeights& first, int tiles, const Int8Panel& panel, float* y,
               int64_t y_stride) {
  constexpr int kTiles = Rows == 1 ? 4 : Rows <= 2 || !Free ? 2 : 1;
  alignas(32) float total[kUnitTiles][Rows][16] = {};
  for (int64_t b = 0; b < BlocksOf(layout); ++b) {
    int t = 0;
    for (; t + kTiles <= tiles; t += kTiles) AddBlock<Bits, Free, Rows, kTiles>(layout, first, t, panel, b, total);
    for (; t < tiles; ++t) AddBlock<Bits, Free, Rows, 1>(layout, first, t, panel, b, total);
  }
  group::StoreTiles<Rows>(total, tiles, y, y_stride);
}

/// Tables of both quads of each octet: entry c is the sum of a_j over the bits j of c, less the least such sum. Bytes
/// wrap around on the way, and end in 0 .. 255.
void ExpandRow(const int8_t* q, int64_t quads, int rows, int row, uint8_t* panel) {
  const __m256i picks[4] = {
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
      _mm256_setr_epi8(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5),
      _mm256_setr_epi8(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6),
      _mm256_setr_epi8(3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7)};
  const __m256i codes =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m256i zero = _mm256_setzero_si256();
  __m256i masks[4];
  ORTQ_UNROLL for (int j = 0; j < 4; ++j) {
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << j));
    masks[j] = _mm256_cmpeq_epi8(_mm256_and_si256(codes, bit), bit);
  }
  for (int64_t o = 0; o < quads / 2; ++o) {
    const __m256i eight = _mm256_set1_epi64x(Load<int64_t>(reinterpret_cast<const uint8_t*>(q) + 8 * o));
    // a where it counts, and its magnitude where it is negative and does not.
    __m256i table = zero;
    ORTQ_UNROLL for (int j = 0; j < 4; ++j) {
      const __m256i a = _mm256_shuffle_epi8(eight, picks[j]);
      table = _mm256_add_epi8(table, _mm256_and_si256(a, masks[j]));
      table = _mm256_sub_epi8(table, _mm256_min_epi8(a, zero));
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(panel + (o * rows + row) * kTableBytes), table);
  }
}

inline int32_t SumLanes(__m256i v) {
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1)));
}

/// The same operations in the same order as the portable code.
void QuantizeRow(const float* x, int64_t K, int64_t block, const uint8_t (&)[kStepDepth], int8_t* q, float* scales,
                 int32_t* sums) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000));
  const int64_t blocks = (K + block - 1) / block;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = b * block;
    const int64_t end = K - begin < block ? K : begin + block;
    __m256 largest = _mm256_setzero_ps();
    __m256 largest_quad = _mm256_setzero_ps();
    int non_finite = 0;
    for (int64_t k = begin; k < end; k += 8) {
      const __m256 magnitude = _mm256_andnot_ps(sign, LoadTail(x + k, end - k));
      const __m256 pairs = _mm256_hadd_ps(magnitude, magnitude);
      largest = _mm256_max_ps(largest, magnitude);
      largest_quad = _mm256_max_ps(largest_quad, _mm256_hadd_ps(pairs, pairs));
      non_finite |= _mm256_movemask_ps(_mm256_cmp_ps(magnitude, infinity, _CMP_NLT_UQ));
    }
    const float most = MaxLane(largest), most_of_quads = MaxLane(largest_quad) * kQuadShare;
    const float range = most > most_of_quads ? most : most_of_quads;
    const __m256 inverse = _mm256_set1_ps(!non_finite && range >= 0x1p-120f ? 127.0f / range : 0.0f);
    __m256i sum = _mm256_setzero_si256();
    __m256i magnitudes = _mm256_setzero_si256();
    for (int64_t k = begin; k < end; k += kStepDepth) {
      __m128i words[2];
      ORTQ_UNROLL for (int half = 0; half < 2; ++half) {
        const int64_t at = k + 8 * half;
        const __m256 values = non_finite ? _mm256_setzero_ps() : LoadTail(x + at, end - at);
        const __m256i value = _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
        words[half] = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
        sum = _mm256_add_epi32(sum, value);
        magnitudes = _mm256_add_epi32(magnitudes, _mm256_abs_epi32(value));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + k), _mm_packs_epi16(words[0], words[1]));
    }
    scales[b] = non_finite ? __builtin_nanf("") : range * (1.0f / 127.0f);
    scales[blocks + b] = 0;
    sums[b] = SumLanes(sum);
    sums[blocks + b] = (SumLanes(magnitudes) - sums[b]) / 2;
  }
}

/// The planes of 8 outputs, 8 bits each from the lowest plane on, inverted: a one is a minus.
template <int Bits>
inline __m256i LoadMinuses(const uint8_t* octet, int half) {
  __m256i planes = _mm256_setzero_si256();
  if constexpr (Bits >= 2) {
    const auto* pairs = reinterpret_cast<const __m128i*>(octet + 16 * half);
    planes = _mm256_cvtepu16_epi32(_mm_loadu_si128(pairs));
    if constexpr (Bits == 4) {
      planes = _mm256_or_si256(planes, _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(pairs + 2)), 16));
    }
  }
  if constexpr (Bits % 2 != 0) {
    const auto* single = reinterpret_cast<const __m128i*>(octet + 32 * (Bits / 2) + 8 * half);
    planes = _mm256_or_si256(planes, _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(single)), 8 * (Bits - 1)));
  }
  return _mm256_xor_si256(planes, _mm256_set1_epi32(-1));
}

/// Uniform levels as free ones: alpha_i = scale * 2^(i - 1), z = scale * ((2^bits - 1) / 2 - zp).
template <int Bits, bool Free>
void Dequantize(const Layout& layout, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end, float* out) {
  const int64_t group_steps = layout.blocks_per_group * layout.block_steps;
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  for (int part = 0; part < 4; ++part) {
    const TileWeights& tile = tiles[part / 2];
    const int half = part % 2;
    float* column = out + 8 * part;
    for (int64_t step = step_begin; step < step_end;) {
      const int64_t group = step / group_steps;
      const int64_t group_end = (group + 1) * group_steps;
      const int64_t end = group_end < step_end ? group_end : step_end;
      __m256 offset = LoadOffsets(layout, tile, group, half);
      __m256 alpha[Bits];
      ORTQ_UNROLL for (int i = 0; i < Bits; ++i) alpha[i] = LoadCoefficient(layout, tile, group, Free ? i : 0, half);
      if constexpr (!Free) {
        const __m256 middle = _mm256_set1_ps(0.5f * static_cast<float>((1 << Bits) - 1));
        offset = _mm256_mul_ps(alpha[0], _mm256_sub_ps(middle, offset));
        ORTQ_UNROLL for (int i = 0; i < Bits; ++i) {
          alpha[i] = _mm256_mul_ps(alpha[i], _mm256_set1_ps(0.5f * static_cast<float>(1 << i)));
        }
      }
      const uint8_t* octet = tile.codes + step * 32 * Bits;
      for (; step < end; ++step) {
        for (int o = 0; o < 2; ++o, octet += 16 * Bits) {
          const __m256i minuses = LoadMinuses<Bits>(octet, half);
          ORTQ_UNROLL for (int k = 0; k < 8; ++k, column += kPanelOutputs) {
            __m256 value = offset;
            ORTQ_UNROLL for (int i = 0; i < Bits; ++i) {
              const __m256i minus = _mm256_and_si256(_mm256_slli_epi32(minuses, 31 - 8 * i - k), sign);
              value = _mm256_add_ps(value, _mm256_xor_ps(alpha[i], _mm256_castsi256_ps(minus)));
            }
            _mm256_store_ps(column, value);
          }
        }
      }
    }
  }
}

template <bool Free>
DequantizeKernel SelectDequantize(int bits) {
  switch (bits) {
    case 1:
      return Dequantize<1, Free>;
    case 2:
      return Dequantize<2, Free>;
    case 3:
      return Dequantize<3, Free>;
    default:
      return Dequantize<4, Free>;
  }
}

template <int Bits, bool Free>
Int8Kernel ByRows(int rows) {
  static constexpr Int8Kernel kByRows[kRowsAtOnce] = {Int8Tiles<Bits, Free, 1>, Int8Tiles<Bits, Free, 2>,
                                                      Int8Tiles<Bits, Free, 3>, Int8Tiles<Bits, Free, 4>};
  return kByRows[rows - 1];
}

template <bool Free>
Int8Kernel SelectInt8(int bits, int rows) {
  switch (bits) {
    case 1:
      return ByRows<1, Free>(rows);
    case 2:
      return ByRows<2, Free>(rows);
    case 3:
      return ByRows<3, Free>(rows);
    default:
      return ByRows<4, Free>(rows);
  }
}

template <bool Free>
void FloatTiles(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel, float* y,
                int64_t y_stride) {
  MultiplyFewRows(layout, first, tiles, panel, SelectDequantize<Free>(layout.bits),
                  group::Avx2Kernels().panel_gemm(panel.rows), y, y_stride);
}

template <bool Free>
const KernelSet& Kernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::Avx2Kernels();
    set.max_int8_rows = kRowsAtOnce;
    set.int8_kernel = SelectInt8<Free>;
    set.float_kernel = [](int, int) -> FloatKernel { return FloatTiles<Free>; };
    set.dequantize = SelectDequantize<Free>;
    set.quantize_row = QuantizeRow;
    set.quad_bytes = static_cast<int>(kTableBytes / 2);
    set.expand_row = ExpandRow;
    return set;
  }();
  return kernels;
}

}  // namespace

const KernelSet& Avx2Kernels(bool free_levels) {
  return free_levels ? Kernels<true>() : Kernels<false>();
}

}  // namespace ortq::lut

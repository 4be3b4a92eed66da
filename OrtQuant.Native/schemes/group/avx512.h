// AVX-512 pieces that the int8 and the float kernels share (F, BW, VL, DQ, VNNI). Included by AVX-512 files only;
// everything is in an anonymous namespace for the reason given in core/tile_kernels.h.
//
// One 512-bit register is 16 outputs in 32-bit lanes: a byte vector of codes holds 4 k of each output.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// GCC's own headers read undefined registers on purpose and GCC 12 warns of it in callers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "schemes/group/kernels.h"

namespace ortq::group {
namespace {

// Accumulators live in registers only when every loop over them is unrolled. Instrumented builds keep the loops: a
// hundred thousand checked copies of the same access take minutes to compile and show nothing more.
#if defined(__SANITIZE_ADDRESS__)
#define ORTQ_UNROLL
#else
#define ORTQ_UNROLL _Pragma("GCC unroll 16")
#endif

constexpr int kMaxInt8Rows = 12;
constexpr int kMaxFloatRows = 12;

template <int Bits>
struct Codes {
};  // Unpack(tile, step, u): u[i] = codes of positions 4 i + j of the step (Layout::step_order), as bytes 4 lane + j

template <typename T>
inline T Load(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline __m512i LoadBytes(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}

template <>
struct Codes<8> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    for (int i = 0; i < 4; ++i) u[i] = LoadBytes(tile + step * 256 + 64 * i);
  }
};

template <>
struct Codes<4> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const __m512i mask = _mm512_set1_epi8(0x0F);
    for (int i = 0; i < 2; ++i) {
      const __m512i v = LoadBytes(tile + step * 128 + 64 * i);
      u[2 * i] = _mm512_and_si512(v, mask);
      u[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    }
  }
};

template <>
struct Codes<2> {
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const __m512i mask = _mm512_set1_epi8(0x03);
    const __m512i v = LoadBytes(tile + step * 64);
    u[0] = _mm512_and_si512(v, mask);
    u[1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), mask);
    u[2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    u[3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), mask);
  }
};

template <>
struct Codes<3> {
  // A chunk of 32 k is 128 bytes of low bit pairs and 64 bytes of high bits; a step is half of each.
  static inline void Unpack(const uint8_t* tile, int64_t step, __m512i (&u)[4]) {
    const uint8_t* chunk = tile + step / 2 * 192;
    const int half = static_cast<int>(step & 1);
    const __m512i low_mask = _mm512_set1_epi8(0x03);
    const __m512i code_mask = _mm512_set1_epi8(0x07);
    const __m512i low = LoadBytes(chunk + 64 * half);
    // Bits 0..3 of every byte belong to this step; placed so that field i is at bit i + 2.
    const __m512i high = LoadBytes(chunk + 128);
    const __m512i placed = half ? _mm512_srli_epi16(high, 2) : _mm512_slli_epi16(high, 2);
    constexpr int kSelect = 0xCA;  // a ? b : c, bitwise
    u[0] = _mm512_and_si512(_mm512_ternarylogic_epi32(low_mask, low, placed, kSelect), code_mask);
    u[1] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 2), _mm512_srli_epi16(placed, 1), kSelect),
        code_mask);
    u[2] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 4), _mm512_srli_epi16(placed, 2), kSelect),
        code_mask);
    u[3] = _mm512_and_si512(
        _mm512_ternarylogic_epi32(low_mask, _mm512_srli_epi16(low, 6), _mm512_srli_epi16(placed, 3), kSelect),
        code_mask);
  }
};

inline __m512 LoadFloats(const uint8_t* p, int half) {
  return half ? _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))
              : _mm512_loadu_ps(reinterpret_cast<const float*>(p));
}

/// Integer zero points of 16 outputs as 32-bit lanes; a byte holds those of 8 / bits consecutive groups.
inline __m512i LoadZeroPoints(const uint8_t* tile, int bits, int64_t group) {
  const int64_t bit = group * bits;
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + bit / 8 * kTileOutputs));
  const __m512i fields = _mm512_srl_epi32(_mm512_cvtepu8_epi32(bytes), _mm_cvtsi64_si128(bit % 8));
  return _mm512_and_si512(fields, _mm512_set1_epi32((1 << bits) - 1));
}

/// Scale and zero point of 16 outputs; integer zero points stay integers.
struct GroupParameters {
  __m512 scale;
  __m512i zero_points;
  __m512 float_zero_points;
};

inline GroupParameters LoadGroup(const Layout& layout, const TileWeights& tile, int64_t group) {
  GroupParameters p{};
  p.scale = LoadFloats(tile.scales + group * layout.group_scale_bytes, layout.half_scales);
  if (layout.zp == ZeroPointKind::kNone) return p;
  if (layout.zp == ZeroPointKind::kInteger) {
    p.zero_points = LoadZeroPoints(tile.zero_points, layout.zero_point_bits, group);
  } else {
    p.float_zero_points = LoadFloats(tile.zero_points + group * layout.group_zero_point_bytes, layout.half_zero_points);
  }
  return p;
}

/// Tiles that a kernel walks side by side: as many as registers allow beside two accumulators per row and tile.
template <int Rows>
constexpr int kTilesAtOnce = Rows <= 2   ? 4
                             : Rows <= 6 ? 2
                                         : 1;

inline __m512i BroadcastQuad(const uint8_t* p) {
  return _mm512_set1_epi32(Load<int>(p));
}

}  // namespace

Int8Kernel Int8KernelAvx512(int bits, int rows);
FloatKernel FloatKernelAvx512(int bits, int rows);
DequantizeKernel DequantizeKernelAvx512(int bits);
PanelGemmKernel PanelGemmKernelAvx512(int rows);

}  // namespace ortq::group

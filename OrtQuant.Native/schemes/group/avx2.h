// AVX2 pieces that the int8 and the float kernels share (AVX2, FMA, F16C). Included by AVX2 files only; everything is
// in an anonymous namespace for the reason given in core/tile_kernels.h.
//
// A tile of 16 outputs is two halves of 8, each one 256-bit register of 32-bit lanes.
#pragma once

#include <immintrin.h>

#include "schemes/group/kernels.h"

// Accumulators live in registers only when every loop over them is unrolled. Instrumented builds keep the loops: a
// hundred thousand checked copies of the same access take minutes to compile and show nothing more.
#if defined(__SANITIZE_ADDRESS__)
#define ORTQ_UNROLL
#else
#define ORTQ_UNROLL _Pragma("GCC unroll 16")
#endif

namespace ortq::group {
namespace {

constexpr int kMaxInt8Rows = 4;
constexpr int kMaxFloatRows = 6;

template <typename T>
inline T Load(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

inline __m256i LoadBytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

/// Holds a running sum in a register, and additions in the order in which they are written. Left to itself GCC makes a
/// tree of a long sum, with all products alive at once, and a kernel that spends half its time on the stack.
inline void Pin(__m256i& sum) {
  asm volatile("" : "+x"(sum));
}

/// Keeps loads through a pointer where they are: GCC takes those that a loop repeats out of it, onto the stack.
inline void Pin(const uint8_t*& pointer) {
  asm volatile("" : "+r"(pointer));
}

/// Codes of a step of 16 k for 8 outputs (a half tile), in two stages, so that a kernel needs few registers at a time:
///   Load(tile, step, half, v)   the v-th of kVectors registers as stored
///   Field<f>(raw)               its f-th of kFields: codes of positions 4 i + j of the step (Layout::step_order), as
///                               bytes 4 lane + j, where i = v * kFields + f
/// kStepsToWiden: so many steps of products with |activation| <= 127 fit 16 bits.
template <int Bits>
struct Codes {};

template <>
struct Codes<8> {
  static constexpr int kVectors = 4;
  static constexpr int kFields = 1;
  static inline __m256i Load(const uint8_t* tile, int64_t step, int half, int v) {
    return LoadBytes(tile + step * 256 + 64 * v + 32 * half);
  }
  template <int F>
  static inline __m256i Field(__m256i raw) {
    return raw;
  }
};

template <>
struct Codes<4> {
  static constexpr int kVectors = 2;
  static constexpr int kFields = 2;
  static constexpr int kStepsToWiden = 2;
  static inline __m256i Load(const uint8_t* tile, int64_t step, int half, int v) {
    return LoadBytes(tile + step * 128 + 64 * v + 32 * half);
  }
  template <int F>
  static inline __m256i Field(__m256i raw) {
    return _mm256_and_si256(F == 0 ? raw : _mm256_srli_epi16(raw, 4), _mm256_set1_epi8(0x0F));
  }
};

template <>
struct Codes<2> {
  static constexpr int kVectors = 1;
  static constexpr int kFields = 4;
  static constexpr int kStepsToWiden = 8;
  static inline __m256i Load(const uint8_t* tile, int64_t step, int half, int) {
    return LoadBytes(tile + step * 64 + 32 * half);
  }
  template <int F>
  static inline __m256i Field(__m256i raw) {
    return _mm256_and_si256(F == 0 ? raw : _mm256_srli_epi16(raw, 2 * F), _mm256_set1_epi8(0x03));
  }
};

template <>
struct Codes<3> {
  static constexpr int kVectors = 1;
  static constexpr int kFields = 4;
  static constexpr int kStepsToWiden = 4;
  struct Raw {
    __m256i low;   ///< bit pairs
    __m256i high;  ///< field f's high bit at bit f + 2
  };
  // A chunk of 32 k is 128 bytes of low bit pairs and 64 bytes of high bits; a step is half of each.
  static inline Raw Load(const uint8_t* tile, int64_t step, int half, int) {
    const uint8_t* chunk = tile + step / 2 * 192;
    const __m256i high = LoadBytes(chunk + 128 + 32 * half);
    return {LoadBytes(chunk + 64 * (step & 1) + 32 * half),
            step & 1 ? _mm256_srli_epi16(high, 2) : _mm256_slli_epi16(high, 2)};
  }
  template <int F>
  static inline __m256i Field(const Raw& raw) {
    const __m256i low = F == 0 ? raw.low : _mm256_srli_epi16(raw.low, 2 * F);
    const __m256i high = F == 0 ? raw.high : _mm256_srli_epi16(raw.high, F);
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(0x03)),
                           _mm256_and_si256(high, _mm256_set1_epi8(0x04)));
  }
};

/// All codes of a step: u[i] for i in [0, 4).
template <int Bits>
inline void Unpack(const uint8_t* tile, int64_t step, int half, __m256i (&u)[4]) {
  using C = Codes<Bits>;
  ORTQ_UNROLL for (int v = 0; v < C::kVectors; ++v) {
    const auto raw = C::Load(tile, step, half, v);
    __m256i* const first = u + v * C::kFields;
    first[0] = C::template Field<0>(raw);
    if constexpr (C::kFields >= 2) first[1] = C::template Field<1>(raw);
    if constexpr (C::kFields >= 4) {
      first[2] = C::template Field<2>(raw);
      first[3] = C::template Field<3>(raw);
    }
  }
}

/// Bits of the lane mask for the first `count` of 8 floats.
inline __m256i TailMask(int64_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count < 8 ? count : 8)), lanes);
}

inline __m256 LoadTail(const float* p, int64_t count) {
  return count >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, TailMask(count));
}

inline float MaxLane(__m256 v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

/// Eight of the 16 floats of a group.
inline __m256 LoadFloats(const uint8_t* p, int is_half, int half) {
  return is_half ? _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * half)))
                 : _mm256_loadu_ps(reinterpret_cast<const float*>(p + 32 * half));
}

/// Integer zero points of 8 outputs as 32-bit lanes; a byte holds those of 8 / bits consecutive groups.
inline __m256i LoadZeroPoints(const uint8_t* tile, int bits, int64_t group, int half) {
  const int64_t bit = group * bits;
  const uint8_t* p = tile + bit / 8 * kTileOutputs + 8 * half;
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_and_si256(_mm256_srl_epi32(bytes, _mm_cvtsi64_si128(bit % 8)), _mm256_set1_epi32((1 << bits) - 1));
}

template <int Rows>
inline void StoreTiles(const float (&total)[kUnitTiles][Rows][16], int tiles, float* y, int64_t y_stride) {
  for (int t = 0; t < tiles; ++t) {
    for (int r = 0; r < Rows; ++r) {
      _mm256_storeu_ps(y + r * y_stride + 16 * t, _mm256_load_ps(total[t][r]));
      _mm256_storeu_ps(y + r * y_stride + 16 * t + 8, _mm256_load_ps(total[t][r] + 8));
    }
  }
}

}  // namespace

Int8Kernel Int8KernelAvx2(int bits, int rows);
FloatKernel FloatKernelAvx2(int bits, int rows);
DequantizeKernel DequantizeKernelAvx2(int bits);
PanelGemmKernel PanelGemmKernelAvx2(int rows);

}  // namespace ortq::group

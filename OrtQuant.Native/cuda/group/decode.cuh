// From stored words to operands of the tensor cores.
#pragma once

#include "cuda/device.cuh"
#include "cuda/group/args.h"
#include "cuda/group/layout.h"

namespace ortq::cuda {

/// Four scales or float zero points of neighbouring outputs, as stored.
struct Raw4 {
  uint4 bits;
  static __device__ __forceinline__ Raw4 Get(const uint8_t* p, int64_t index, bool half) {
    Raw4 raw;
    if (half) {
      const uint2 v = Load<uint2>(p + 2 * index);
      raw.bits = make_uint4(v.x, v.y, 0, 0);
    } else {
      raw.bits = Load<uint4>(p + 4 * index);
    }
    return raw;
  }
  __device__ __forceinline__ void ToFloats(float (&values)[4], bool half) const {
    if (half) {
      const float2 low = __half22float2(Pair16<__half>::Of(bits.x)), high = __half22float2(Pair16<__half>::Of(bits.y));
      values[0] = low.x, values[1] = low.y, values[2] = high.x, values[3] = high.y;
    } else {
      values[0] = __uint_as_float(bits.x), values[1] = __uint_as_float(bits.y);
      values[2] = __uint_as_float(bits.z), values[3] = __uint_as_float(bits.w);
    }
  }
};

/// What is subtracted from the codes of one output: its zero point, on top of the base of each field. Exact: integers
/// of at most 11 bits in float16 (8 in bfloat16), so a difference is the integer q - zp.
template <int BITS, typename T>
class Zero {
 public:
  __device__ __forceinline__ void Set(int zero_point) {
    if constexpr (kThroughFloat) {
      float_zero_ = 8388608.0f + static_cast<float>(zero_point);
    } else {
#pragma unroll
      for (int i = 0; i < kBases; ++i) zero_[i] = Pair16<T>::Both(-static_cast<float>(F::Base(i) + zero_point));
    }
  }
  /// (q - zp) of pair `pair`, as two T.
  __device__ __forceinline__ uint32_t Subtract(uint32_t low, uint32_t high, int pair) const {
    if constexpr (kThroughFloat) {
      // 2^23 + code, by putting the byte into the mantissa of 2^23.
      const float a = __uint_as_float(__byte_perm(low, 0x4B000000u, 0x7440u + pair)) - float_zero_;
      const float b = __uint_as_float(__byte_perm(low, 0x4B000000u, 0x7440u + pair + 2)) - float_zero_;
      return Pair16<T>::Pack(a, b);
    } else {
      return Pair16<T>::Bits(__hadd2(Pair16<T>::Of(F::Pair(low, high, pair)), zero_[F::BaseIndex(pair)]));
    }
  }

 private:
  static constexpr bool kThroughFloat = BITS == 8 && Pair16<T>::kBfloat;
  using F = Fields<kThroughFloat ? 4 : BITS, Pair16<T>::kBfloat>;
  static constexpr int kBases = F::kBases;
  typename Pair16<T>::Vector zero_[kBases];
  float float_zero_;
};

/// Zero points of the four outputs of a thread in `group`, from the integers stored (the row's 4 bytes).
template <int BITS, typename T>
__device__ __forceinline__ void SetZeros(Zero<BITS, T> (&zeros)[4], uint32_t stored, int group, bool integer) {
  constexpr int kBits = ZeroPointBits(BITS);
  const int shift = group * kBits & 7;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int value = static_cast<int>(stored >> (8 * i + shift)) & ((1 << kBits) - 1);
    zeros[i].Set(integer ? value : 1 << (BITS - 1));
  }
}

/// The scale as a factor of T, and what a float zero point adds: w = scale * (q - h) + scale * (h - zp), h =
/// 2^(BITS-1). Rounds each weight to T once (float zero points: twice), as a model whose weights are stored as T would
/// be.
template <int BITS, typename T>
struct Scale16 {
  typename Pair16<T>::Vector scale;
  typename Pair16<T>::Vector offset;
  __device__ __forceinline__ uint32_t Apply(uint32_t integers) const {
    return Pair16<T>::Bits(__hfma2(Pair16<T>::Of(integers), scale, offset));
  }
};

template <int BITS, typename T>
__device__ __forceinline__ void SetScales(Scale16<BITS, T> (&out)[4], const float (&scales)[4],
                                          const float (&zero_points)[4], bool float_zero_points) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[i].scale = Pair16<T>::Both(scales[i]);
    // -0: added to a product it leaves the sign of a zero alone.
    out[i].offset = Pair16<T>::Both(float_zero_points ? scales[i] * ((1 << (BITS - 1)) - zero_points[i]) : -0.0f);
  }
}

/// X of one unit: kWordDepth consecutive k of one row, as the B operands of its steps.
template <int BITS>
struct Operand {
  static constexpr int kRegisters = Layout<BITS>::kWordDepth / 2;
  uint32_t x[kRegisters];

  /// Step s multiplies pairs 2 s and 2 s + 1: k = 2 s, 2 s + P and 2 s + 1, 2 s + 1 + P, P = kPairs.
  __device__ __forceinline__ void Step(int s, uint32_t (&b)[2]) const {
    b[0] = __byte_perm(x[s], x[s + kRegisters / 2], 0x5410);
    b[1] = __byte_perm(x[s], x[s + kRegisters / 2], 0x7632);
  }
};

/// Words of one unit: four outputs of a thread, and the high bits of 3-bit codes.
struct Words {
  uint4 low;
  uint4 high;
  __device__ __forceinline__ uint32_t Low(int i) const {
    return i == 0 ? low.x : i == 1 ? low.y : i == 2 ? low.z : low.w;
  }
  __device__ __forceinline__ uint32_t High(int i) const {
    return i == 0 ? high.x : i == 1 ? high.y : i == 2 ? high.z : high.w;
  }
};

}  // namespace ortq::cuda

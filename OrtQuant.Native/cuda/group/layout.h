// Where the codes of scheme `group` lie and how bits become numbers: pure integer arithmetic that the host compiles as
// well, so that tests without a GPU check exactly what the kernels use (tests/cuda_layout_test.cc).
//
// A tile is 16 outputs; along K it is a run of vectors of 64 bytes, byte 4 * lane + j. A *word* is the 4 bytes of one
// lane in one vector: kWordDepth consecutive k of one output. A *unit* is 4 consecutive vectors of a tile, and the
// kernels give a warp one unit of two tiles at once: thread (g, t), g = lane / 4, t = lane % 4, reads the 16 bytes of
// outputs 4 (g % 4) .. + 3 in vector t of tile g / 4. Those are 256 contiguous bytes of either tile, 16 bytes a thread:
// whole sectors, nothing read twice, and no shuffle: the four words of a thread are operands of mma.m16n8k16 as they
// are, whose rows are outputs and whose k slots are filled with any k as long as X is put in the same order.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ORTQ_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define ORTQ_HOST_DEVICE inline
#endif

namespace ortq::cuda {

inline constexpr int kTile = 16;
inline constexpr int kVectorBytes = 64;
inline constexpr int kUnitVectors = 4;

template <int BITS>
struct Layout {
  static_assert(BITS == 2 || BITS == 3 || BITS == 4 || BITS == 8);
  /// Width of the main plane; 3 bits are a plane of 2 and one of 1.
  static constexpr int kWidth = BITS == 3 ? 2 : BITS;
  /// Consecutive k of one output in a word of the main plane.
  static constexpr int kWordDepth = 32 / kWidth;
  static constexpr int kUnitDepth = kUnitVectors * kWordDepth;
  /// From one unit of a tile to the next: vector 4 u + t lies at kUnitBytes * u + VectorOffset(t).
  static constexpr int kUnitBytes = BITS == 3 ? 384 : 256;
  /// Pairs of codes in a word: pair p is codes p and p + kPairs, which lie 16 bits apart.
  static constexpr int kPairs = kWordDepth / 2;
  /// Steps of 16 k that a unit is in mma.m16n8k16: step s takes pairs 2 s and 2 s + 1 of every thread.
  static constexpr int kSteps = kPairs / 2;

  static ORTQ_HOST_DEVICE int64_t Vectors(int64_t K) { return (K + 31) / 32 * kWidth; }
  static ORTQ_HOST_DEVICE int64_t Units(int64_t K) { return (Vectors(K) + kUnitVectors - 1) / kUnitVectors; }
  static ORTQ_HOST_DEVICE int64_t TileBytes(int64_t K) { return (K + 31) / 32 * kVectorBytes * BITS; }
  /// Byte offset of a vector of the main plane in its tile.
  static ORTQ_HOST_DEVICE int64_t VectorOffset(int64_t vector) {
    if (BITS == 3) return vector / 2 * (3 * kVectorBytes) + vector % 2 * kVectorBytes;
    return vector * kVectorBytes;
  }
  /// Byte offset of the high bits that belong to a vector of 3-bit codes, and the shift that brings them down.
  static ORTQ_HOST_DEVICE int64_t HighOffset(int64_t vector) { return vector / 2 * (3 * kVectorBytes) + 128; }
  static ORTQ_HOST_DEVICE int HighShift(int64_t vector) { return static_cast<int>(vector % 2) * 4; }
};

/// Position within its word, counted in k, of the element that pair register `pair` holds in its low (0) or high half.
template <int BITS>
ORTQ_HOST_DEVICE int PairDepth(int pair, int half) {
  return pair + half * Layout<BITS>::kPairs;
}

/// Codes of a word as pairs of 16-bit floats, each `Base(p) + code`: the code is masked where it lies and takes the
/// place of the lowest bits of a power of two's mantissa, with the exponent that gives the lowest of them the value 1.
/// float16 has 10 bits of mantissa and reaches a whole byte of 2-, 3- and 4-bit codes; bfloat16 has 7 and is shifted
/// more often.
template <int BITS, bool BFLOAT>
struct Fields {
  static_assert(!(BITS == 8 && BFLOAT), "8-bit codes have no room in a bfloat16: they go through float");
  static constexpr int kMantissa = BFLOAT ? 7 : 10;
  static constexpr int kBias = BFLOAT ? 127 : 15;
  /// Codes of a run that are masked without a shift, and how far the run is from the next.
  static constexpr int kFieldsPerShift = BITS == 8 ? 1 : BITS == 4 ? (BFLOAT ? 1 : 2) : (BFLOAT ? 2 : 4);
  /// Different bases among the pairs.
  static constexpr int kBases = kFieldsPerShift;

  static ORTQ_HOST_DEVICE constexpr int Bit(int pair) { return pair % kFieldsPerShift * Layout<BITS>::kWidth; }
  static ORTQ_HOST_DEVICE constexpr int BaseIndex(int pair) { return pair % kFieldsPerShift; }
  static ORTQ_HOST_DEVICE constexpr int Base(int base_index) {
    return 1 << (kMantissa - base_index * Layout<BITS>::kWidth);
  }
  static ORTQ_HOST_DEVICE constexpr uint32_t Magic(int pair) {
    return static_cast<uint32_t>(kBias + kMantissa - Bit(pair)) << kMantissa;
  }
  /// low: the word; high: the high bits of 3-bit codes, already shifted by HighShift.
  static ORTQ_HOST_DEVICE uint32_t Pair(uint32_t low, uint32_t high, int pair) {
    const int bit = Bit(pair);
    const int shift = pair * Layout<BITS>::kWidth - bit;
    const uint32_t field = (1u << Layout<BITS>::kWidth) - 1u;
    uint32_t value = ((low >> shift) & ((field << bit) * 0x00010001u)) | Magic(pair) * 0x00010001u;
    if (BITS == 3) {
      // The high bit of field `pair` is bit pair % 4 of byte pair / 4.
      const int left = bit + 2 - (pair / 4 * 8 + pair % 4);
      const uint32_t moved = left >= 0 ? high << (left & 31) : high >> (-left & 31);
      value |= moved & ((4u << bit) * 0x00010001u);
    }
    return value;
  }
};

/// Groups: k >> shift; a whole row is one group.
ORTQ_HOST_DEVICE int64_t GroupOf(int64_t k, int shift) {
  return k >> shift;
}

/// Which of the eight 16-byte pieces of a row of 64 k of X in shared memory lies where piece 0 would. A quarter of a
/// warp reads 2 rows (half a warp 4 rows, at 8 bits) of as many pieces each at once, which must lie in different banks.
ORTQ_HOST_DEVICE constexpr int SwizzleOf(int word_depth, int row) {
  return word_depth == 16 ? row & 1 : word_depth == 8 ? (row & 1) << 2 : (row & 3) << 1;
}

/// Width of a stored integer zero point.
ORTQ_HOST_DEVICE constexpr int ZeroPointBits(int bits) {
  return bits == 3 ? 4 : bits;
}

}  // namespace ortq::cuda

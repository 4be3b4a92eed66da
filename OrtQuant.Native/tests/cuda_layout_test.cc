// The index arithmetic of the CUDA kernels (cuda/group/layout.h), compiled for the host: a warp of the tensor-core
// kernels is played through lane by lane, fragment by fragment, and must give the product of the weights that the CPU
// decodes.
#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <set>
#include <vector>

#include "core/half.h"
#include "cuda/group/layout.h"
#include "schemes/group/decode.h"

namespace ortq::cuda {
namespace {

float FromBits16(uint32_t bits, bool bfloat) {
  return bfloat ? std::bit_cast<float>(bits << 16) : HalfToFloat(static_cast<uint16_t>(bits));
}

uint32_t Word(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

/// Codes of one weight, random, in the stored layout.
struct Codes {
  GroupFormat format;
  std::vector<uint8_t> bytes;

  Codes(int bits, int64_t N, int64_t K) : format{.bits = bits, .N = N, .K = K, .block = K} {
    std::mt19937 random(static_cast<uint32_t>(bits * 131 + K));
    bytes.resize(static_cast<size_t>(format.CodeBytes()));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  }
  const uint8_t* Tile(int64_t tile) const { return bytes.data() + tile * format.Chunks() * 64 * format.bits; }
  int At(int64_t n, int64_t k) const {
    return group::DecodeCode(Tile(n / kTileOutputs), format.bits, k, static_cast<int>(n % kTileOutputs));
  }
};

/// Both words of thread (g, t) for output i of its four, in unit `unit`; zero where the tile has ended.
template <int BITS>
std::pair<uint32_t, uint32_t> WordsOf(const Codes& codes, int g, int t, int64_t unit, int i) {
  using L = Layout<BITS>;
  const int64_t vector = kUnitVectors * unit + t;
  if (vector >= L::Vectors(codes.format.K)) return {0, 0};
  const uint8_t* tile = codes.Tile(g / 4) + 16 * (g % 4) + 4 * i;
  const uint32_t low = Word(tile + L::VectorOffset(vector));
  return {low, BITS == 3 ? Word(tile + L::HighOffset(vector)) >> L::HighShift(t) : 0};
}

/// The integer in half `half` of a pair, after the base is taken off.
template <int BITS, bool BFLOAT>
float CodeOf(uint32_t low, uint32_t high, int pair, int half) {
  if constexpr (BITS == 8 && BFLOAT) {  // as Zero<8, bfloat16>: bytes through float
    return static_cast<float>((low >> (8 * (pair + 2 * half))) & 0xFF);
  } else {
    using F = Fields<BITS, BFLOAT>;
    const uint32_t value = F::Pair(low, high, pair) >> (16 * half) & 0xFFFF;
    return FromBits16(value, BFLOAT) - static_cast<float>(F::Base(F::BaseIndex(pair)));
  }
}

/// Y [8, 32] of the first two tiles by mma.m16n8k16's definition: thread (g, t) holds rows g, g + 8 and k slots 2 t, 2
/// t + 1, 2 t + 8, 2 t + 9 of A, column g and the same slots of B, rows g, g + 8 and columns 2 t, 2 t + 1 of the
/// result.
template <int BITS, bool BFLOAT>
std::vector<double> WarpProduct(const Codes& codes, const std::vector<float>& x) {
  using L = Layout<BITS>;
  const int64_t K = codes.format.K;
  std::vector<double> y(8 * 32);
  for (int64_t unit = 0; unit < L::Units(K); ++unit) {
    for (int step = 0; step < L::kSteps; ++step) {
      for (int half_tile = 0; half_tile < 2; ++half_tile) {
        double a[16][16], b[16][8];
        for (int lane = 0; lane < 32; ++lane) {
          const int g = lane / 4, t = lane % 4;
          for (int slot = 0; slot < 4; ++slot) {
            const int column = 2 * t + slot % 2 + slot / 2 * 8;
            const int pair = 2 * step + slot / 2, half = slot % 2;
            for (int i = 0; i < 2; ++i) {
              const auto [low, high] = WordsOf<BITS>(codes, g, t, unit, 2 * half_tile + i);
              a[g + 8 * i][column] = CodeOf<BITS, BFLOAT>(low, high, pair, half);
            }
            const int64_t k = unit * L::kUnitDepth + t * L::kWordDepth + PairDepth<BITS>(pair, half);
            b[column][g] = k < K ? x[static_cast<size_t>(g * K + k)] : 0;
          }
        }
        for (int row = 0; row < 16; ++row) {
          for (int column = 0; column < 8; ++column) {
            double sum = 0;
            for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
            // Row g (+ 8) is output 4 g + 2 half_tile (+ 1) of the 32.
            y[static_cast<size_t>(column * 32 + 4 * (row % 8) + 2 * half_tile + row / 8)] += sum;
          }
        }
      }
    }
  }
  return y;
}

template <int BITS, bool BFLOAT>
int WrongOutputs(const Codes& used, const Codes& expected_codes) {
  const int64_t K = used.format.K;
  std::mt19937 random(7);
  std::vector<float> x(static_cast<size_t>(8 * K));
  for (float& value : x) value = static_cast<float>(static_cast<int>(random() % 64) - 32);
  const std::vector<double> y = WarpProduct<BITS, BFLOAT>(used, x);
  int wrong = 0;
  for (int64_t m = 0; m < 8; ++m) {
    for (int64_t n = 0; n < 32; ++n) {
      double expected = 0;
      for (int64_t k = 0; k < K; ++k)
        expected += static_cast<double>(x[static_cast<size_t>(m * K + k)]) * expected_codes.At(n, k);
      wrong += y[static_cast<size_t>(m * 32 + n)] != expected;
    }
  }
  return wrong;
}

template <int BITS, bool BFLOAT>
void CheckProducts() {
  for (const int64_t K : {1, 18, 32, 64, 96, 160, 512}) {
    Codes codes(BITS, 32, K);
    EXPECT_EQ((WrongOutputs<BITS, BFLOAT>(codes, codes)), 0) << BITS << " bits, K " << K << ", bfloat16 " << BFLOAT;
  }
  // One flipped bit is one wrong output in each of the 8 rows (x is nowhere 0 at that k).
  Codes codes(BITS, 32, 96), flipped = codes;
  flipped.bytes[static_cast<size_t>(64 * BITS + 4 * 5)] ^= 1;
  EXPECT_GE((WrongOutputs<BITS, BFLOAT>(flipped, codes)), 6);
}

TEST(CudaLayout, AWarpMultipliesWhatTheCpuDecodes) {
  CheckProducts<2, false>();
  CheckProducts<2, true>();
  CheckProducts<3, false>();
  CheckProducts<3, true>();
  CheckProducts<4, false>();
  CheckProducts<4, true>();
  CheckProducts<8, false>();
  CheckProducts<8, true>();
}

template <int BITS>
void CheckUnitReads() {
  using L = Layout<BITS>;
  const Codes codes(BITS, 32, 512);
  for (int64_t unit = 0; unit < L::Units(512); ++unit) {
    std::set<int64_t> sectors;
    for (int g = 0; g < 4; ++g) {
      for (int t = 0; t < 4; ++t) {
        const int64_t offset = L::VectorOffset(kUnitVectors * unit + t) + 16 * g;
        ASSERT_EQ(offset % 16, 0);
        ASSERT_LE(offset + 16, L::TileBytes(512));
        sectors.insert(offset / 32);
      }
    }
    EXPECT_EQ(sectors.size(), 8u) << "a quarter of a KiB in 8 sectors of 32 bytes";
  }
  EXPECT_EQ(L::TileBytes(512), codes.format.Chunks() * 64 * BITS);
}

TEST(CudaLayout, AUnitOfATileIsWholeSectors) {
  CheckUnitReads<2>();
  CheckUnitReads<3>();
  CheckUnitReads<4>();
  CheckUnitReads<8>();
}

/// Every code of every pair must be exact in its 16-bit float, zero point taken off included.
template <int BITS, bool BFLOAT>
void CheckExactness() {
  using F = Fields<BITS, BFLOAT>;
  for (int pair = 0; pair < Layout<BITS>::kPairs; ++pair) {
    EXPECT_LE(F::Bit(pair) + BITS, F::kMantissa) << "the code fits the mantissa";
    const float largest_zero = static_cast<float>(F::Base(F::BaseIndex(pair)) + (1 << BITS) - 1);
    EXPECT_LT(largest_zero, static_cast<float>(2 << F::kMantissa)) << "base + zero point is an exact integer";
  }
}

TEST(CudaLayout, CodesAndZeroPointsAreExact) {
  CheckExactness<2, false>();
  CheckExactness<2, true>();
  CheckExactness<3, false>();
  CheckExactness<3, true>();
  CheckExactness<4, false>();
  CheckExactness<4, true>();
  CheckExactness<8, false>();
}

/// Two-way bank conflicts of shared memory are a matter of arithmetic as well: the 16-byte pieces that a quarter of a
/// warp reads at once must lie in different banks.
TEST(CudaLayout, SwizzledRowsOfXHaveNoBankConflicts) {
  struct Case {
    int word_depth, lanes, bytes;
  };
  for (const auto& [word_depth, lanes, bytes] : {Case{16, 8, 16}, Case{8, 8, 16}, Case{4, 16, 8}}) {
    for (int first = 0; first < 32; first += lanes) {
      for (int unit = 0; unit < 64 / (4 * word_depth); ++unit) {
        for (int part = 0; part < (word_depth == 16 ? 2 : 1); ++part) {
          std::set<int> banks;
          for (int lane = first; lane < first + lanes; ++lane) {
            const int row = lane / 4, offset = (unit * 4 + lane % 4) * word_depth * 2 + 16 * part;
            const int place = row * 128 + 16 * (offset / 16 ^ SwizzleOf(word_depth, row)) + offset % 16;
            for (int i = 0; i < bytes / 4; ++i) banks.insert((place / 4 + i) % 32);
          }
          EXPECT_EQ(banks.size(), 32u) << word_depth << " k a word, lanes from " << first;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ortq::cuda

#include "schemes/mixed/format.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/half.h"
#include "schemes/mixed/decode.h"
#include "schemes/mixed/kernels.h"

namespace ortq::mixed {
namespace {

bool IsSet(const uint8_t* map, int64_t g) {
  return (map[g / 8] >> (g % 8) & 1) != 0;
}

int Code(const uint8_t* vectors, int64_t vector, int64_t k, int lane) {
  return vectors[vector * kVectorBytes + 4 * lane + k % 16 / 4] >> (2 * (k % 4)) & 3;
}

}  // namespace

void MixedFormat::Validate() const {
  constexpr int64_t kMaxN = int64_t{1} << 28;  // keeps every size in bytes far from overflowing 64 bits
  constexpr int64_t kMaxK = int64_t{1} << 20;
  if (N < 1 || N > kMaxN) ThrowInvalid("N is ", N, "; permitted: 1 to ", kMaxN);
  if (K < 1 || K > kMaxK) ThrowInvalid("K is ", K, "; permitted: 1 to ", kMaxK);
  if (group != 16 && group != 32 && group != 64) ThrowInvalid("block_size is ", group, "; permitted: 16, 32, 64");
  if (refined < 0 || refined > Groups()) {
    ThrowInvalid("refined_groups is ", refined, "; permitted: 0 to ", Groups(), ", the groups of a row");
  }
  if (outliers < 0 || outliers > kMaxOutliers) {
    ThrowInvalid("outliers is ", outliers, "; permitted: 0 to ", kMaxOutliers);
  }
}

int64_t BlockDepth(const Layout& layout, int64_t c) {
  const int64_t depth = layout.blocks_per_group * layout.block_steps * kStepDepth;
  return std::min(depth, layout.K - c * depth);
}

void DecodeBlock(const Layout& layout, const TileWeights& tile, int64_t c, BlockIntegers& block) {
  std::memset(&block, 0, sizeof block);
  const int64_t first_group = c * layout.blocks_per_group;
  const int64_t end_group = std::min(layout.blocks, first_group + layout.blocks_per_group);
  int64_t rank = 0;
  for (int64_t g = 0; g < first_group && layout.refined > 0; ++g) rank += IsSet(tile.refined, g);
  for (int64_t g = first_group; g < end_group; ++g) {
    const bool refined = rank < layout.refined && IsSet(tile.refined, g);
    const int64_t first = g * layout.block_steps * kStepDepth;
    const int64_t end = std::min(layout.K, first + layout.block_steps * kStepDepth);
    for (int64_t k = first; k < end; ++k) {
      const int64_t extra = layout.steps + rank * layout.block_steps + (k - first) / kStepDepth;
      for (int lane = 0; lane < kLanes; ++lane) {
        const int parameters = tile.group_scales[g * kLanes + lane];
        int q = 4 * Code(tile.codes, k / kStepDepth, k, lane);
        if (refined) q += Code(tile.codes, extra, k, lane);
        block.w[k - c * layout.blocks_per_group * layout.block_steps * kStepDepth][lane] =
            (parameters & 15) * (q - (parameters >> 4));
      }
    }
    rank += refined;
  }
  const int64_t depth = BlockDepth(layout, c);
  for (int64_t slot = c * layout.outliers * kLanes; slot < (c + 1) * layout.outliers * kLanes; ++slot) {
    const int64_t position = tile.outlier_positions[slot];
    int16_t value;
    std::memcpy(&value, tile.outlier_values + 2 * slot, sizeof value);
    if (position < depth) block.w[position][slot % kLanes] += value;
  }
}

void Unpack(const MixedWeights& weights, float* w) {
  const MixedFormat& f = weights.format;
  const Layout layout = MakeLayout(f);
  const TileWeights first = FirstTile(weights);
  BlockIntegers block;
  for (int64_t t = 0; t < f.Tiles(); ++t) {
    const TileWeights tile = TileAt(layout, first, t);
    for (int64_t c = 0; c < f.Blocks(); ++c) {
      DecodeBlock(layout, tile, c, block);
      const int64_t depth = BlockDepth(layout, c);
      const int64_t begin = c * f.GroupsPerBlock() * f.group;
      for (int64_t n = t * kLanes; n < std::min(f.N, (t + 1) * kLanes); ++n) {
        uint16_t half;
        std::memcpy(&half, tile.scales + 2 * (c * kLanes + n % kLanes), sizeof half);
        const float scale = HalfToFloat(half);
        for (int64_t i = 0; i < depth; ++i) {
          w[n * f.K + begin + i] = scale * static_cast<float>(block.w[i][n % kLanes]);
        }
      }
    }
  }
}

}  // namespace ortq::mixed

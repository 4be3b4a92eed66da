// Scalar reading of the stored format, straight from its definition.
#pragma once

#include <cstdint>

#include "core/tile_kernels.h"
#include "schemes/mixed/format.h"

namespace ortq::mixed {

/// Integer weights s * (q - z) + o of one block of a tile: [k - first k of the block][lane]. Beyond K they are 0.
struct BlockIntegers {
  int32_t w[kMaxBlock][kLanes];
};

/// Decodes block c of a tile.
void DecodeBlock(const Layout& layout, const TileWeights& tile, int64_t c, BlockIntegers& block);

/// Number of inputs of a block; the last one may be shorter.
int64_t BlockDepth(const Layout& layout, int64_t c);

}  // namespace ortq::mixed

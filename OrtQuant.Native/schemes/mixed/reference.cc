// Portable kernels: any processor, written for clarity. They define what the others must compute (kernels.h).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/half.h"
#include "schemes/group/kernels.h"
#include "schemes/mixed/decode.h"
#include "schemes/mixed/kernels.h"

namespace ortq::mixed {
namespace {

float Scale(const TileWeights& tile, int64_t c, int lane) {
  uint16_t half;
  std::memcpy(&half, tile.scales + 2 * (c * kLanes + lane), sizeof half);
  return HalfToFloat(half);
}

int64_t FirstInput(const Layout& layout, int64_t c) {
  return c * layout.blocks_per_group * layout.block_steps * kStepDepth;
}

void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  BlockIntegers block;
  for (int r = 0; r < panel.rows; ++r) std::fill_n(y + r * y_stride, kLanes, 0.0f);
  for (int64_t c = 0; c < layout.groups; ++c) {
    DecodeBlock(layout, tile, c, block);
    const int64_t begin = FirstInput(layout, c);
    const int64_t depth = (BlockDepth(layout, c) + kStepDepth - 1) / kStepDepth * kStepDepth;
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int r = 0; r < panel.rows; ++r) {
        int32_t sum = 0;
        for (int64_t p = begin; p < begin + depth; ++p) {
          const int64_t k = p - p % kStepDepth + layout.step_order[p % kStepDepth];
          sum += block.w[k - begin][lane] * static_cast<int8_t>(panel.values[(p / 4 * panel.rows + r) * 4 + p % 4]);
        }
        const float step = panel.scales[c * layout.blocks_per_group * panel.rows + r];
        float& out = y[r * y_stride + lane];
        out = std::fma(static_cast<float>(sum), Scale(tile, c, lane) * step, out);
      }
    }
  }
}

void FloatTile(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, float* y, int64_t y_stride) {
  double total[16][kLanes] = {};
  BlockIntegers block;
  for (int64_t c = 0; c < layout.groups; ++c) {
    DecodeBlock(layout, tile, c, block);
    const int64_t begin = FirstInput(layout, c);
    for (int64_t k = begin; k < begin + BlockDepth(layout, c); ++k) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const auto w = static_cast<double>(Scale(tile, c, lane) * static_cast<float>(block.w[k - begin][lane]));
        for (int r = 0; r < panel.rows; ++r) {
          total[r][lane] += w * static_cast<double>(panel.values[k * panel.rows + r]);
        }
      }
    }
  }
  for (int r = 0; r < panel.rows; ++r) {
    for (int lane = 0; lane < kLanes; ++lane) y[r * y_stride + lane] = static_cast<float>(total[r][lane]);
  }
}

/// One step for each block of the format, and the sum of every group. `group` is the group.
void QuantizeRow(const float* x, int64_t K, int64_t group, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                 float* scales, int32_t* sums) {
  const int64_t depth = MixedFormat{.K = K, .group = group}.GroupsPerBlock() * group;
  for (int64_t begin = 0; begin < K; begin += depth) {
    const int64_t end = std::min(K, begin + depth);
    float absmax = 0;
    bool finite = true;
    for (int64_t k = begin; k < end; ++k) {
      finite &= std::isfinite(x[k]);
      absmax = std::max(absmax, std::fabs(x[k]));
    }
    // 127 / absmax overflows for subnormal blocks, which are below any resolution that matters: they count as zero.
    const float inverse = finite && absmax >= 0x1p-120f ? 127.0f / absmax : 0.0f;
    for (int64_t first = begin; first < end; first += group) {
      int32_t sum = 0;
      for (int64_t step = first; step < std::min(end, first + group); step += kStepDepth) {
        for (int p = 0; p < kStepDepth; ++p) {
          const int64_t k = step + step_order[p];
          const int32_t value = finite && k < K ? static_cast<int32_t>(std::nearbyint(x[k] * inverse)) : 0;
          q[step + p] = static_cast<int8_t>(value);
          sum += value;
        }
      }
      // Products with a non-finite activation must not look like numbers: the block's scale carries the NaN.
      scales[first / group] = finite ? absmax * (1.0f / 127.0f) : NAN;
      sums[first / group] = sum;
    }
  }
}

}  // namespace

const KernelSet& ReferenceKernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::ReferenceKernels();
    set.int8_kernel = [](int, int) -> Int8Kernel { return EachTile<Int8Tile, Int8Panel>; };
    set.float_kernel = [](int, int) -> FloatKernel { return EachTile<FloatTile, FloatPanel>; };
    set.quantize_row = QuantizeRow;
    return set;
  }();
  return kernels;
}

}  // namespace ortq::mixed

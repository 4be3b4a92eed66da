// Portable kernels: any processor, written for clarity. They define what the others must compute (kernels.h).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "schemes/dual/kernels.h"
#include "schemes/group/decode.h"
#include "schemes/group/kernels.h"

namespace ortq::dual {
namespace {

constexpr int kLaneCount = static_cast<int>(kLanes);

/// Integer weight of (k, lane).
int Int8Weight(const Layout& layout, const TileWeights& tile, int64_t k, int lane) {
  const int64_t index = k / (layout.block_steps * kStepDepth) * kLanes + lane;
  const auto zero_point = static_cast<int8_t>(tile.zero_points[index]);
  return tile.group_scales[index] * group::DecodeCode(tile.codes, kBits, k, lane) - zero_point;
}

void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  for (int lane = 0; lane < kLaneCount; ++lane) {
    const float scale = group::LoadScalar(tile.scales, ScalarType::kFloat32, lane);
    int32_t row_sum;
    std::memcpy(&row_sum, tile.row_sums + 4 * lane, sizeof row_sum);
    for (int r = 0; r < panel.rows; ++r) {
      // A sum that leaves 32 bits (only weights that break the format can make one) wraps, as it does in vectors.
      uint32_t sum = 0;
      for (int64_t p = 0; p < layout.steps * kStepDepth; ++p) {
        const int64_t k = p - p % kStepDepth + layout.step_order[p % kStepDepth];
        const auto a = static_cast<int8_t>(panel.values[(p / 4 * panel.rows + r) * 4 + p % 4]);
        sum += static_cast<uint32_t>(Int8Weight(layout, tile, k, lane) * a);
      }
      sum += static_cast<uint32_t>(panel.offsets[layout.groups * panel.rows + r]) * static_cast<uint32_t>(row_sum);
      y[r * y_stride + lane] = static_cast<float>(static_cast<int32_t>(sum)) * (scale * panel.scales[r]);
    }
  }
}

void FloatTile(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, float* y, int64_t y_stride) {
  for (int lane = 0; lane < kLaneCount; ++lane) {
    const auto scale = static_cast<double>(group::LoadScalar(tile.scales, ScalarType::kFloat32, lane));
    for (int r = 0; r < panel.rows; ++r) {
      double sum = 0;
      for (int64_t k = 0; k < layout.K; ++k) {
        sum += Int8Weight(layout, tile, k, lane) * static_cast<double>(panel.values[k * panel.rows + r]);
      }
      y[r * y_stride + lane] = static_cast<float>(scale * sum);
    }
  }
}

/// One step and zero point for the row, and the sum of every group. `block` is the group.
void QuantizeRow(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                 float* scales, int32_t* sums) {
  float least = 0, most = 0;
  bool finite = true;
  for (int64_t k = 0; k < K; ++k) {
    finite &= std::isfinite(x[k]);
    least = std::min(least, x[k]);
    most = std::max(most, x[k]);
  }
  // Halves, because the difference of the ends need not be a finite number.
  const float radius = 0.5f * most - 0.5f * least;
  // 127 / radius overflows for subnormal rows, which are below any resolution that matters: they count as zero.
  const float inverse = finite && radius >= 0x1p-120f ? 127.0f / radius : 0.0f;
  const auto zero_point = static_cast<int32_t>(std::nearbyint(finite ? (0.5f * most + 0.5f * least) * inverse : 0.0f));
  int64_t g = 0;
  for (int64_t begin = 0; begin < K; begin += block, ++g) {
    int32_t sum = 0;
    for (int64_t step = begin; step < std::min(K, begin + block); step += kStepDepth) {
      for (int i = 0; i < kStepDepth; ++i) {
        const int64_t k = step + step_order[i];
        const auto rounded = finite && k < K ? static_cast<int32_t>(std::nearbyint(x[k] * inverse)) : zero_point;
        const int32_t value = std::clamp(rounded - zero_point, -127, 127);
        q[step + i] = static_cast<int8_t>(value);
        sum += value;
      }
    }
    sums[g] = sum;
  }
  // Products with a non-finite activation must not look like numbers: the row's scale carries the NaN.
  scales[0] = finite ? radius * (1.0f / 127.0f) : NAN;
  sums[g] = -zero_point;  // the driver negates
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

}  // namespace ortq::dual

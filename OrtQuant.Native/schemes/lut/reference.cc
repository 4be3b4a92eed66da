// Portable kernels: any processor, written for clarity, without tables. They define what the others must compute
// (kernels.h).
#include <algorithm>
#include <cmath>

#include "schemes/group/decode.h"
#include "schemes/group/kernels.h"
#include "schemes/lut/kernels.h"

namespace ortq::lut {
namespace {

constexpr int kLanes = static_cast<int>(kTileOutputs);
constexpr float kQuadShare = 127.0f / 253.0f;

ScalarType TypeOf(int half) {
  return half ? ScalarType::kFloat16 : ScalarType::kFloat32;
}

float Coefficient(const Layout& layout, const TileWeights& tile, int64_t group, int i, int lane) {
  return group::LoadScalar(tile.scales + group * layout.group_scale_bytes, TypeOf(layout.half_scales),
                           i * kLanes + lane);
}

float Offset(const Layout& layout, const TileWeights& tile, int64_t group, int lane) {
  const uint8_t* offsets = tile.zero_points + group * layout.group_zero_point_bytes;
  return layout.zp == ZeroPointKind::kInteger ? static_cast<float>(offsets[lane])
                                              : group::LoadScalar(offsets, TypeOf(layout.half_zero_points), lane);
}

template <bool Free>
float Weight(const Layout& layout, const TileWeights& tile, int64_t group, int64_t k, int lane) {
  const int code = DecodeCode(tile.codes, layout.bits, k, lane);
  const float offset = Offset(layout, tile, group, lane);
  if (!Free) return Coefficient(layout, tile, group, 0, lane) * (static_cast<float>(code) - offset);
  float value = offset;
  for (int i = 0; i < layout.bits; ++i) {
    const float alpha = Coefficient(layout, tile, group, i, lane);
    value = (code >> i & 1) != 0 ? value + alpha : value - alpha;
  }
  return value;
}

/// One block of one row and one output, from the sums of a over the planes' ones, without the step.
template <bool Free>
void AddBlock(const Layout& layout, const TileWeights& tile, int64_t group, int lane, const int32_t (&ones)[kMaxBits],
              int32_t sum, float step, float& y) {
  const float offset = Offset(layout, tile, group, lane);
  if (Free) {
    float value = offset * static_cast<float>(sum);
    for (int i = 0; i < layout.bits; ++i) {
      value = std::fma(Coefficient(layout, tile, group, i, lane), static_cast<float>(2 * ones[i] - sum), value);
    }
    y = std::fma(value, step, y);
    return;
  }
  int32_t dot = 0;
  for (int i = 0; i < kMaxBits; ++i) dot += ones[i] << i;  // 0 for planes that there are not
  const float term = layout.zp == ZeroPointKind::kInteger
                         ? static_cast<float>(dot - static_cast<int32_t>(offset) * sum)
                         : std::fma(offset, static_cast<float>(-sum), static_cast<float>(dot));
  y = std::fma(term, Coefficient(layout, tile, group, 0, lane) * step, y);
}

template <bool Free>
void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  for (int r = 0; r < panel.rows; ++r) {
    for (int lane = 0; lane < kLanes; ++lane) {
      float& out = y[r * y_stride + lane];
      out = 0;
      for (int64_t b = 0; b < BlocksOf(layout); ++b) {
        const int64_t begin = b * layout.block_steps * kStepDepth;
        const int64_t end = std::min(layout.steps, (b + 1) * layout.block_steps) * kStepDepth;
        int32_t ones[kMaxBits] = {};
        for (int64_t k = begin; k < end; ++k) {
          const int code = DecodeCode(tile.codes, layout.bits, k, lane);
          const auto a = static_cast<int8_t>(panel.values[(k / 4 * panel.rows + r) * 4 + k % 4]);
          for (int i = 0; i < layout.bits; ++i) ones[i] += (code >> i & 1) * a;
        }
        const int64_t index = b * panel.rows + r;
        AddBlock<Free>(layout, tile, b / layout.blocks_per_group, lane, ones, -panel.offsets[index],
                       panel.scales[index], out);
      }
    }
  }
}

template <bool Free>
void FloatTile(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, float* y, int64_t y_stride) {
  const int64_t group_depth = layout.blocks_per_group * layout.block_steps * kStepDepth;
  for (int lane = 0; lane < kLanes; ++lane) {
    double total[16] = {};
    for (int64_t k = 0; k < layout.K; ++k) {
      const auto w = static_cast<double>(Weight<Free>(layout, tile, k / group_depth, k, lane));
      for (int r = 0; r < panel.rows; ++r) total[r] += w * static_cast<double>(panel.values[k * panel.rows + r]);
    }
    for (int r = 0; r < panel.rows; ++r) y[r * y_stride + lane] = static_cast<float>(total[r]);
  }
}

void QuantizeRow(const float* x, int64_t K, int64_t block, const uint8_t (&)[kStepDepth], int8_t* q, float* scales,
                 int32_t* sums) {
  const int64_t blocks = (K + block - 1) / block;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = b * block;
    const int64_t end = std::min(K, begin + block);
    float largest = 0, largest_quad = 0;
    bool finite = true;
    for (int64_t k = begin; k < end; k += 4) {
      float magnitude[4] = {};
      for (int64_t j = k; j < std::min(end, k + 4); ++j) {
        finite &= std::isfinite(x[j]);
        magnitude[j - k] = std::fabs(x[j]);
        largest = std::max(largest, magnitude[j - k]);
      }
      largest_quad = std::max(largest_quad, (magnitude[0] + magnitude[1]) + (magnitude[2] + magnitude[3]));
    }
    const float range = std::max(largest, largest_quad * kQuadShare);
    const float inverse = finite && range >= 0x1p-120f ? 127.0f / range : 0.0f;
    int32_t sum = 0, magnitudes = 0;
    for (int64_t k = begin; k < begin + (end - begin + kStepDepth - 1) / kStepDepth * kStepDepth; ++k) {
      const int32_t value = finite && k < end ? static_cast<int32_t>(std::nearbyint(x[k] * inverse)) : 0;
      q[k] = static_cast<int8_t>(value);
      sum += value;
      magnitudes += std::abs(value);
    }
    // Products with a non-finite activation must not look like numbers: the block's scale carries the NaN.
    scales[b] = finite ? range * (1.0f / 127.0f) : NAN;
    scales[blocks + b] = 0;
    sums[b] = sum;
    sums[blocks + b] = (magnitudes - sum) / 2;
  }
}

template <bool Free>
const KernelSet& Kernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::ReferenceKernels();
    set.int8_kernel = [](int, int) -> Int8Kernel { return EachTile<Int8Tile<Free>, Int8Panel>; };
    set.float_kernel = [](int, int) -> FloatKernel { return EachTile<FloatTile<Free>, FloatPanel>; };
    set.quantize_row = QuantizeRow;
    return set;
  }();
  return kernels;
}

}  // namespace

const KernelSet& ReferenceKernels(bool free_levels) {
  return free_levels ? Kernels<true>() : Kernels<false>();
}

}  // namespace ortq::lut

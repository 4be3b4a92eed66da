// Portable kernels: any processor, written for clarity. They define what the others must compute.
//
// int8 level, per activation block b of weight group g (all integer until the last line):
//   t = sum_k q[k] * a[k] - zp * sum_k a[k]
//   y = fma(float(t), scale[g] * a_scale[b], y)
// Since everything up to t is exact and the last line is rounded in a fixed order, every instruction set gives these
// bits.
#include <cmath>
#include <cstring>

#include "schemes/group/decode.h"
#include "schemes/group/kernels.h"

namespace ortq::group {
namespace {

constexpr int kRows = 4;  // panel height: decoding a code costs more than using it
constexpr int kLanes = static_cast<int>(kTileOutputs);

struct GroupParameters {
  float scale[kLanes];
  float zero_point[kLanes];
};

GroupParameters LoadGroup(const Layout& layout, const TileWeights& tile, int64_t group) {
  GroupParameters p;
  const uint8_t* scales = tile.scales + group * layout.group_scale_bytes;
  const uint8_t* float_zero_points =
      layout.zp == ZeroPointKind::kFloat ? tile.zero_points + group * layout.group_zero_point_bytes : nullptr;
  const auto type = [](int half) { return half ? ScalarType::kFloat16 : ScalarType::kFloat32; };
  for (int i = 0; i < kLanes; ++i) {
    p.scale[i] = LoadScalar(scales, type(layout.half_scales), i);
    switch (layout.zp) {
      case ZeroPointKind::kNone:
        p.zero_point[i] = static_cast<float>(1 << (layout.bits - 1));
        break;
      case ZeroPointKind::kInteger:
        p.zero_point[i] = static_cast<float>(DecodeZeroPoint(tile.zero_points, layout.zero_point_bits, group, i));
        break;
      case ZeroPointKind::kFloat:
        p.zero_point[i] = LoadScalar(float_zero_points, type(layout.half_zero_points), i);
        break;
    }
  }
  return p;
}

void Int8Tile(const Layout& layout, const TileWeights& tile, const Int8Panel& panel, float* y, int64_t y_stride) {
  for (int r = 0; r < panel.rows; ++r) {
    for (int i = 0; i < kLanes; ++i) y[r * y_stride + i] = 0;
  }
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const GroupParameters p = LoadGroup(layout, tile, b / layout.blocks_per_group);
    int32_t dot[kRows][kLanes] = {};
    const int64_t k_begin = b * layout.block_steps * kStepDepth;
    const int64_t block_end = k_begin + layout.block_steps * kStepDepth;
    const int64_t steps_end = layout.steps * kStepDepth;
    const int64_t p_end = block_end < steps_end ? block_end : steps_end;
    for (int64_t p = k_begin; p < p_end; ++p) {
      const int64_t k = p - p % kStepDepth + layout.step_order[p % kStepDepth];
      for (int i = 0; i < kLanes; ++i) {
        const int code = DecodeCode(tile.codes, layout.bits, k, i);
        for (int r = 0; r < panel.rows; ++r) {
          dot[r][i] += code * static_cast<int8_t>(panel.values[(p / 4 * panel.rows + r) * 4 + p % 4]);
        }
      }
    }
    for (int r = 0; r < panel.rows; ++r) {
      const int32_t offset = panel.offsets[b * panel.rows + r];
      for (int i = 0; i < kLanes; ++i) {
        float term;
        switch (layout.zp) {
          case ZeroPointKind::kNone:
            term = static_cast<float>(dot[r][i] + offset);
            break;
          case ZeroPointKind::kInteger:
            term = static_cast<float>(dot[r][i] + static_cast<int32_t>(p.zero_point[i]) * offset);
            break;
          default:
            term = std::fma(p.zero_point[i], static_cast<float>(offset), static_cast<float>(dot[r][i]));
        }
        float& out = y[r * y_stride + i];
        out = std::fma(term, p.scale[i] * panel.scales[b * panel.rows + r], out);
      }
    }
  }
}

void FloatTile(const Layout& layout, const TileWeights& tile, const FloatPanel& panel, float* y, int64_t y_stride) {
  double total[kRows][kLanes] = {};
  const int64_t group_depth = layout.blocks_per_group * layout.block_steps * kStepDepth;
  for (int64_t g = 0; g < layout.groups; ++g) {
    const GroupParameters p = LoadGroup(layout, tile, g);
    const int64_t k_end = layout.K - g * group_depth < group_depth ? layout.K : (g + 1) * group_depth;
    for (int64_t k = g * group_depth; k < k_end; ++k) {
      for (int i = 0; i < kLanes; ++i) {
        const float w = p.scale[i] * (static_cast<float>(DecodeCode(tile.codes, layout.bits, k, i)) - p.zero_point[i]);
        for (int r = 0; r < panel.rows; ++r) {
          total[r][i] += static_cast<double>(w) * static_cast<double>(panel.values[k * panel.rows + r]);
        }
      }
    }
  }
  for (int r = 0; r < panel.rows; ++r) {
    for (int i = 0; i < kLanes; ++i) y[r * y_stride + i] = static_cast<float>(total[r][i]);
  }
}

void QuantizeRowPortable(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth], int8_t* q,
                         float* scales, int32_t* sums) {
  for (int64_t k0 = 0, b = 0; k0 < K; k0 += block, ++b) {
    const int64_t k1 = K - k0 < block ? K : k0 + block;
    float absmax = 0;
    bool finite = true;
    for (int64_t k = k0; k < k1; ++k) {
      const float magnitude = std::fabs(x[k]);
      finite &= std::isfinite(x[k]);
      absmax = magnitude > absmax ? magnitude : absmax;
    }
    // Products with a non-finite activation must not look like numbers: the block's scale carries the NaN.
    scales[b] = finite ? absmax * (1.0f / 127.0f) : NAN;
    // 127 / absmax overflows for subnormal blocks, which are below any resolution that matters: they count as zero.
    const float inverse = finite && absmax >= 0x1p-120f ? 127.0f / absmax : 0.0f;
    int32_t sum = 0;
    for (int64_t step = k0; step < k1; step += kStepDepth) {
      for (int p = 0; p < kStepDepth; ++p) {
        const int64_t k = step + step_order[p];
        const int32_t value = finite && k < K ? static_cast<int32_t>(std::nearbyint(x[k] * inverse)) : 0;
        q[step + p] = static_cast<int8_t>(value);
        sum += value;
      }
    }
    sums[b] = sum;
  }
}

void HalfToFloatPortable(const void* in, float* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = LoadScalar(in, ScalarType::kFloat16, i);
}

void FloatToHalfPortable(const float* in, void* out, int64_t count) {
  auto* bytes = static_cast<uint8_t*>(out);
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t half = FloatToHalf(in[i]);
    std::memcpy(bytes + 2 * i, &half, sizeof half);
  }
}

}  // namespace

const KernelSet& ReferenceKernels() {
  static constexpr KernelSet kernels{
      .isa = Isa::kReference,
      .max_int8_rows = kRows,
      .max_float_rows = kRows,
      .int8_kernel = [](int, int) -> Int8Kernel { return EachTile<Int8Tile, Int8Panel>; },
      .float_kernel = [](int, int) -> FloatKernel { return EachTile<FloatTile, FloatPanel>; },
      .dequantize = nullptr,
      .panel_gemm = nullptr,
      .quantize_row = QuantizeRowPortable,
      .half_to_float = HalfToFloatPortable,
      .float_to_half = FloatToHalfPortable,
  };
  return kernels;
}

}  // namespace ortq::group

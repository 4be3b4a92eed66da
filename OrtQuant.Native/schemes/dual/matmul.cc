#include <string>

#include "schemes/dual/kernels.h"

namespace ortq::dual {

DualGrainedMatMul DualGrainedMatMul::Create(const DualFormat& format, AccuracyLevel level, Isa isa) {
  format.Validate();
  std::string name = std::string(IsaName(isa)) + (level == AccuracyLevel::kInt8 ? " int8" : " float") + " dual 4-bit";
  return DualGrainedMatMul(TiledMatMul(KernelsFor(isa), MakeLayout(format), format.N, level, std::move(name)));
}

Layout MakeLayout(const DualFormat& format) {
  Layout layout{};
  layout.bits = kBits;
  layout.zp = ZeroPointKind::kInteger;
  layout.K = format.K;
  layout.steps = (format.K + kStepDepth - 1) / kStepDepth;
  layout.block_steps = format.block / kStepDepth;
  layout.blocks = format.Groups() + 1;  // the last one for the zero point of the activations
  layout.blocks_per_group = 1;
  layout.groups = format.Groups();
  layout.tile_code_bytes = format.Chunks() * kChunkBytes;
  layout.tile_scale_bytes = kLanes * static_cast<int64_t>(sizeof(float));
  layout.tile_zero_point_bytes = format.Groups() * kLanes;
  layout.tile_group_scale_bytes = format.Groups() * kLanes;
  layout.tile_row_sum_bytes = kLanes * static_cast<int64_t>(sizeof(int32_t));
  SetStepOrder(layout);
  return layout;
}

TileWeights FirstTile(const DualWeights& weights) {
  return {weights.codes, weights.scales, reinterpret_cast<const uint8_t*>(weights.zero_points), weights.group_scales,
          weights.row_sums};
}

const KernelSet& KernelsFor(Isa isa) {
#if defined(ORTQUANT_X86_KERNELS)
  return KernelSets{ReferenceKernels, Avx2Kernels, Avx512Kernels}.For(isa);
#else
  return KernelSets{ReferenceKernels}.For(isa);
#endif
}

}  // namespace ortq::dual

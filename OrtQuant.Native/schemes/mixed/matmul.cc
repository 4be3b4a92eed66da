#include <string>

#include "schemes/mixed/kernels.h"

namespace ortq::mixed {

MixedBitMatMul MixedBitMatMul::Create(const MixedFormat& format, AccuracyLevel level, Isa isa) {
  format.Validate();
  const KernelSet& kernels = KernelsFor(isa);
  std::string name =
      std::string(IsaName(kernels.isa)) + (level == AccuracyLevel::kInt8 ? " int8" : " float") + " mixed 2/4-bit";
  return MixedBitMatMul(TiledMatMul(kernels, MakeLayout(format), format.N, level, std::move(name)));
}

Layout MakeLayout(const MixedFormat& format) {
  Layout layout{};
  layout.bits = 2;
  layout.half_scales = 1;
  layout.zp = ZeroPointKind::kInteger;
  layout.K = format.K;
  layout.steps = format.Vectors();
  layout.block_steps = format.group / kStepDepth;
  layout.blocks = format.Groups();
  layout.blocks_per_group = format.GroupsPerBlock();
  layout.groups = format.Blocks();
  layout.refined = format.refined;
  layout.outliers = format.outliers;
  layout.tile_code_bytes = format.TileVectors() * kVectorBytes;
  layout.group_scale_bytes = kLanes * 2;
  layout.tile_scale_bytes = format.Blocks() * layout.group_scale_bytes;
  layout.tile_group_scale_bytes = format.Groups() * kLanes;
  layout.tile_map_bytes = format.refined > 0 ? format.MapBytes() : 0;
  layout.tile_outliers = format.Blocks() * format.outliers * kLanes;
  SetStepOrder(layout);
  return layout;
}

TileWeights FirstTile(const MixedWeights& weights) {
  return {.codes = weights.codes,
          .scales = weights.scales,
          .zero_points = nullptr,
          .group_scales = weights.groups,
          .refined = weights.map,
          .outlier_positions = weights.positions,
          .outlier_values = weights.values};
}

const KernelSet& KernelsFor(Isa isa) {
#if defined(ORTQUANT_X86_KERNELS)
  return KernelSets{ReferenceKernels, Avx2Kernels, Avx2Kernels}.For(isa);
#else
  return KernelSets{ReferenceKernels}.For(isa);
#endif
}

}  // namespace ortq::mixed

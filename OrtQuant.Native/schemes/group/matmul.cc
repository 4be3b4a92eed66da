#include "schemes/group/matmul.h"

#include <algorithm>
#include <string>

#include "schemes/group/kernels.h"

namespace ortq {

MatMulNBits MatMulNBits::Create(const GroupFormat& format, AccuracyLevel level, Isa isa) {
  format.Validate();
  std::string name = std::string(IsaName(isa)) + (level == AccuracyLevel::kInt8 ? " int8 " : " float ") +
                     std::to_string(format.bits) + "-bit";
  return MatMulNBits(TiledMatMul(group::KernelsFor(isa), group::MakeLayout(format), format.N, level, std::move(name)));
}

void MatMulNBits::Run(const GroupWeights& weights, const Epilogue& epilogue, const void* x, void* y, ScalarType type,
                      int64_t M, const ParallelFor& parallel, const Scratch& scratch) const {
  matmul_.Run(
      {weights.codes, static_cast<const uint8_t*>(weights.scales), static_cast<const uint8_t*>(weights.zero_points)},
      epilogue, x, y, type, M, parallel, scratch);
}

namespace group {

Layout MakeLayout(const GroupFormat& format) {
  Layout layout{};
  layout.bits = format.bits;
  layout.half_scales = format.scale_type == ScalarType::kFloat16;
  layout.half_zero_points = format.zp_type == ScalarType::kFloat16;
  layout.zero_point_bits = format.ZeroPointBits();
  layout.zp = format.zp;
  layout.K = format.K;
  layout.steps = (format.K + kStepDepth - 1) / kStepDepth;
  // One group has the whole row, whose length need not be a multiple of anything; several have a power of two each.
  const bool one_group = format.Groups() == 1;
  const int64_t group_steps = one_group ? layout.steps : format.block / kStepDepth;
  layout.block_steps = one_group ? kMaxBlockSteps : std::min<int64_t>(kMaxBlockSteps, group_steps);
  layout.blocks = (layout.steps + layout.block_steps - 1) / layout.block_steps;
  layout.blocks_per_group = one_group ? layout.blocks : group_steps / layout.block_steps;
  layout.groups = format.Groups();
  layout.tile_code_bytes = format.Chunks() * 64 * format.bits;
  layout.group_scale_bytes = kTileOutputs * (layout.half_scales ? 2 : 4);
  layout.tile_scale_bytes = layout.groups * layout.group_scale_bytes;
  layout.group_zero_point_bytes = kTileOutputs * (layout.half_zero_points ? 2 : 4);
  layout.tile_zero_point_bytes = format.zp == ZeroPointKind::kInteger ? format.ZeroPointCount() / format.Tiles()
                                                                      : layout.groups * layout.group_zero_point_bytes;
  SetStepOrder(layout);
  return layout;
}

const KernelSet& KernelsFor(Isa isa) {
#if defined(ORTQUANT_X86_KERNELS)
  return KernelSets{ReferenceKernels, Avx2Kernels, Avx512Kernels}.For(isa);
#else
  return KernelSets{ReferenceKernels}.For(isa);
#endif
}

}  // namespace group
}  // namespace ortq

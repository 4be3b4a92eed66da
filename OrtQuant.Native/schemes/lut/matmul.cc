#include <algorithm>
#include <string>

#include "schemes/group/kernels.h"
#include "schemes/lut/kernels.h"

namespace ortq::lut {

LutGemm LutGemm::Create(const LutFormat& format, AccuracyLevel level, Isa isa) {
  format.Validate();
  std::string name = std::string(IsaName(isa)) + (level == AccuracyLevel::kInt8 ? " int8" : " float") +
                     (format.free_levels ? " lut free " : " lut uniform ") + std::to_string(format.bits) + "-bit";
  return LutGemm(
      TiledMatMul(KernelsFor(isa, format.free_levels), MakeLayout(format), format.N, level, std::move(name)));
}

Layout MakeLayout(const LutFormat& format) {
  Layout layout{};
  layout.bits = format.bits;
  layout.half_scales = format.scale_type == ScalarType::kFloat16;
  layout.half_zero_points = format.offset_type == ScalarType::kFloat16;
  layout.zp = format.offset_type == ScalarType::kUint8 ? ZeroPointKind::kInteger : ZeroPointKind::kFloat;
  layout.K = format.K;
  layout.steps = (format.K + kStepDepth - 1) / kStepDepth;
  // One group has the whole row, whose length need not be a multiple of anything; several have a power of two each.
  const bool one_group = format.Groups() == 1;
  const int64_t group_steps = one_group ? layout.steps : format.block / kStepDepth;
  layout.block_steps = one_group ? kMaxBlockSteps : std::min<int64_t>(kMaxBlockSteps, group_steps);
  const int64_t blocks = (layout.steps + layout.block_steps - 1) / layout.block_steps;
  layout.blocks = 2 * blocks;  // sums of activations, then of the negative ones' magnitudes
  layout.blocks_per_group = one_group ? blocks : group_steps / layout.block_steps;
  layout.groups = format.Groups();
  layout.tile_code_bytes = format.Chunks() * 64 * format.bits;
  layout.group_scale_bytes = format.Coefficients() * kTileOutputs * (layout.half_scales ? 2 : 4);
  layout.tile_scale_bytes = layout.groups * layout.group_scale_bytes;
  layout.group_zero_point_bytes =
      layout.zp == ZeroPointKind::kInteger ? kTileOutputs : kTileOutputs * (layout.half_zero_points ? 2 : 4);
  layout.tile_zero_point_bytes = layout.groups * layout.group_zero_point_bytes;
  for (int p = 0; p < kStepDepth; ++p) layout.step_order[p] = static_cast<uint8_t>(p);
  return layout;
}

const KernelSet& KernelsFor(Isa isa, bool free_levels) {
  ParseIsa(IsaName(isa));
  switch (isa) {
#if defined(ORTQUANT_X86_KERNELS)
    case Isa::kAvx512: {
      // Nothing of its own: 32 look-ups an instruction here, too.
      static const auto make = [](bool levels) {
        KernelSet set = Avx2Kernels(levels);
        set.isa = Isa::kAvx512;
        return set;
      };
      static const KernelSet sets[] = {make(false), make(true)};
      return sets[free_levels ? 1 : 0];
    }
    case Isa::kAvx2:
      return Avx2Kernels(free_levels);
#endif
    default:
      return ReferenceKernels(free_levels);
  }
}

}  // namespace ortq::lut

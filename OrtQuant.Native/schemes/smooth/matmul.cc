#include <algorithm>
#include <string>

#include "schemes/group/kernels.h"
#include "schemes/smooth/kernels.h"

namespace ortq::smooth {
namespace {

std::string NameOf(const SmoothFormat& format, AccuracyLevel level, Isa isa) {
  const std::string name = IsaName(isa);
  if (level == AccuracyLevel::kFloat) return name + " float smooth 4-bit";
  return name + " int8 smooth 4-bit, " + std::to_string(format.activation_bits) + "-bit activations";
}

const RowSmoother& SmootherFor(Isa isa, SmoothScope scope) {
#if defined(ORTQUANT_X86_KERNELS)
  // Processors with AVX-512 have AVX2: products are those of scheme group, and quantizing the rows is a small part.
  if (isa != Isa::kReference) return Avx2Smoother(scope);
#endif
  return ReferenceSmoother(scope);
}

template <Isa Instructions, SmoothScope Scope>
const KernelSet& Kernels() {
  static const KernelSet kernels = [] {
    KernelSet set = group::KernelsFor(Instructions);
    set.smoother = &SmootherFor(Instructions, Scope);
    return set;
  }();
  return kernels;
}

template <SmoothScope Scope>
const KernelSet& KernelsOf(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return Kernels<Isa::kAvx512, Scope>();
    case Isa::kAvx2:
      return Kernels<Isa::kAvx2, Scope>();
    default:
      return Kernels<Isa::kReference, Scope>();
  }
}

}  // namespace

RuntimeSmoothMatMul RuntimeSmoothMatMul::Create(const SmoothFormat& format, AccuracyLevel level, Isa isa) {
  format.Validate();
  return RuntimeSmoothMatMul(TiledMatMul(KernelsFor(isa, format.scope), MakeLayout(format), format.weights.N, level,
                                         NameOf(format, level, isa)));
}

void RuntimeSmoothMatMul::Run(const SmoothWeights& weights, const Epilogue& epilogue, const void* x, void* y,
                              ScalarType type, int64_t M, const ParallelFor& parallel, const Scratch& scratch) const {
  TileWeights first{weights.weights.codes, static_cast<const uint8_t*>(weights.weights.scales), nullptr};
  first.channel_order = weights.channel_order;
  matmul_.Run(first, epilogue, x, y, type, M, parallel, scratch);
}

Layout MakeLayout(const SmoothFormat& format) {
  Layout layout = group::MakeLayout(format.weights);
  const bool one_group = format.weights.Groups() == 1;
  const int64_t smooth_steps = format.smooth_size / kStepDepth;
  // Blocks end where groups of weights or of activations do.
  layout.block_steps = std::min(layout.block_steps, smooth_steps);
  layout.blocks = (layout.steps + layout.block_steps - 1) / layout.block_steps;
  layout.blocks_per_group = one_group ? layout.blocks : format.weights.block / kStepDepth / layout.block_steps;
  layout.activation_limit = format.ActivationLimit();
  layout.blocks_per_smooth = smooth_steps / layout.block_steps;
  return layout;
}

const KernelSet& KernelsFor(Isa isa, SmoothScope scope) {
  switch (scope) {
    case SmoothScope::kNone:
      return KernelsOf<SmoothScope::kNone>(isa);
    case SmoothScope::kToken:
      return KernelsOf<SmoothScope::kToken>(isa);
    default:
      return KernelsOf<SmoothScope::kCall>(isa);
  }
}

}  // namespace ortq::smooth

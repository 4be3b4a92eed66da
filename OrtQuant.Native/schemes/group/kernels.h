// Scheme `group` on the driver of core/matmul.cc: which kernels an instruction set has, and the strides of a weight.
#pragma once

#include "core/tile_kernels.h"
#include "schemes/group/format.h"

namespace ortq::group {

const KernelSet& ReferenceKernels();
#if defined(ORTQUANT_X86_KERNELS)
const KernelSet& Avx2Kernels();
const KernelSet& Avx512Kernels();
#endif

/// The kernels of an instruction set that this machine supports; throws Error otherwise.
const KernelSet& KernelsFor(Isa isa);

Layout MakeLayout(const GroupFormat& format);

}  // namespace ortq::group

// The kernels of scheme `group`, as op.cc lists them.
#pragma once

#include <memory>

#include "core/op.h"

namespace ortq::group {

/// Position of `bias` among the inputs of MatMulNBits; the low-rank factors follow.
inline constexpr size_t kBias = 4;

std::unique_ptr<Kernel> CreateGather(const NodeView& node);

/// On a CUDA device. Throw Error where there is no CUDA library or no device.
std::unique_ptr<Kernel> CreateCudaMatMul(const NodeView& node);
std::unique_ptr<Kernel> CreateCudaGather(const NodeView& node);

}  // namespace ortq::group

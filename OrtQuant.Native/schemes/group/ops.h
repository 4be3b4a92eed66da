// The kernels of scheme `group`, as op.cc lists them.
#pragma once

#include <memory>

#include "core/op.h"

namespace ortq::group {

/// Positions of the inputs of MatMulNBits after the weights.
inline constexpr size_t kBias = 4, kLowRankA = 5, kLowRankB = 6;

std::unique_ptr<Kernel> CreateMatMul(const NodeView& node);
std::unique_ptr<Kernel> CreateGather(const NodeView& node);

}  // namespace ortq::group

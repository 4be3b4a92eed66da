// The kernels of scheme `smooth` that have files of their own, as op.cc lists them.
#pragma once

#include <memory>

#include "core/op.h"

namespace ortq::smooth {

std::unique_ptr<Kernel> CreateHadamard(const NodeView& node);

}  // namespace ortq::smooth

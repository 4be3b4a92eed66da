// The attention ops.
#pragma once

#include <span>

#include "core/op.h"

namespace ortq::attention {

extern const OpSpec kMaskedAttention;

/// All of them.
std::span<const OpSpec* const> Ops();

}  // namespace ortq::attention

#include "attention/op.h"

namespace ortq::attention {

std::span<const OpSpec* const> Ops() {
  static constexpr const OpSpec* kOps[] = {&kMaskedAttention};
  return kOps;
}

}  // namespace ortq::attention

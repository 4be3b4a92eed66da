#include "schemes/smooth/format.h"

#include <bit>
#include <vector>

#include "core/error.h"

namespace ortq::smooth {

void SmoothFormat::Validate() const {
  weights.Validate();
  if (smooth_size < 16 || smooth_size > kMaxSmoothSize || !std::has_single_bit(static_cast<uint64_t>(smooth_size))) {
    ThrowInvalid("smooth_size is ", smooth_size, "; permitted: powers of two from 16 to ", kMaxSmoothSize);
  }
  if (activation_bits != 4 && activation_bits != 8) {
    ThrowInvalid("activation_bits is ", activation_bits, "; permitted: 4, 8");
  }
}

void CheckChannelOrder(const int32_t* order, int64_t K) {
  std::vector<bool> seen(static_cast<size_t>(K));
  for (int64_t p = 0; p < K; ++p) {
    const int64_t channel = order[p];
    if (channel < 0 || channel >= K) {
      ThrowInvalid("channel_order[", p, "] is ", channel, "; permitted: 0 to K - 1 = ", K - 1);
    }
    if (seen[static_cast<size_t>(channel)]) {
      ThrowInvalid("channel_order[", p, "] is ", channel, " as an entry before it; each channel must stand there once");
    }
    seen[static_cast<size_t>(channel)] = true;
  }
}

}  // namespace ortq::smooth

#include "schemes/dual/format.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "schemes/group/decode.h"

namespace ortq::dual {

void DualFormat::Validate() const {
  constexpr int64_t kMaxN = int64_t{1} << 28;  // keeps every size in bytes far from overflowing 64 bits
  if (N < 1 || N > kMaxN) ThrowInvalid("N is ", N, "; permitted: 1 to ", kMaxN);
  if (K < 1 || K > kMaxK) ThrowInvalid("K is ", K, "; permitted: 1 to ", kMaxK);
  if (block != 32 && block != 64 && block != 128 && block != 256) {
    ThrowInvalid("block_size is ", block, "; permitted: 32, 64, 128, 256");
  }
}

void Unpack(const DualWeights& weights, float* w) {
  const DualFormat& f = weights.format;
  for (int64_t n = 0; n < f.N; ++n) {
    const int64_t tile = n / kLanes;
    const int lane = static_cast<int>(n % kLanes);
    float scale;
    std::memcpy(&scale, weights.scales + 4 * n, sizeof scale);
    for (int64_t c = 0; c < f.Chunks(); ++c) {
      // A group is whole chunks.
      uint8_t codes[kChunkDepth];
      group::DecodeChunk(weights.codes + (tile * f.Chunks() + c) * kChunkBytes, kBits, lane, codes);
      const int64_t index = (tile * f.Groups() + c * kChunkDepth / f.block) * kLanes + lane;
      const int group_scale = weights.group_scales[index];
      const int zero_point = weights.zero_points[index];
      const int64_t end = std::min(f.K, (c + 1) * kChunkDepth);
      for (int64_t k = c * kChunkDepth; k < end; ++k) {
        w[n * f.K + k] = scale * static_cast<float>(group_scale * codes[k % kChunkDepth] - zero_point);
      }
    }
  }
}

}  // namespace ortq::dual

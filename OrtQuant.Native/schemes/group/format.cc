#include "schemes/group/format.h"

#include <bit>

#include "core/error.h"

namespace ortq {
namespace {

bool IsFloatType(ScalarType type) {
  return type == ScalarType::kFloat16 || type == ScalarType::kFloat32;
}

}  // namespace

int64_t GroupFormat::ZeroPointCount() const {
  return zp == ZeroPointKind::kNone ? 0 : Tiles() * ZeroPointRows() * kTileOutputs;
}

void GroupFormat::Validate() const {
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) ThrowInvalid("bits is ", bits, "; permitted: 2, 3, 4, 8");
  // The upper bounds keep every size of the format, in bytes, far from overflowing 64 bits.
  constexpr int64_t kMaxExtent = int64_t{1} << 28;
  if (N < 1 || N > kMaxExtent) ThrowInvalid("N is ", N, "; permitted: 1 to ", kMaxExtent);
  if (K < 1 || K > kMaxExtent) ThrowInvalid("K is ", K, "; permitted: 1 to ", kMaxExtent);
  const bool power_of_two = block >= 16 && std::has_single_bit(static_cast<uint64_t>(block));
  if (!power_of_two && block != K) {
    ThrowInvalid("block_size is ", block, "; permitted: a power of two >= 16, or -1 for the whole row");
  }
  if (!IsFloatType(scale_type)) {
    ThrowInvalid("scales have ONNX type ", static_cast<int>(scale_type), "; permitted: 1 (float), 10 (float16)");
  }
  if (zp == ZeroPointKind::kInteger && zp_type != ScalarType::kUint8) {
    ThrowInvalid("integer zero points have ONNX type ", static_cast<int>(zp_type), "; permitted: 2 (uint8)");
  }
  if (zp == ZeroPointKind::kFloat && !IsFloatType(zp_type)) {
    ThrowInvalid("float zero points have ONNX type ", static_cast<int>(zp_type),
                 "; permitted: 1 (float), 10 (float16)");
  }
}

}  // namespace ortq

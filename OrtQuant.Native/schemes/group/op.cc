// The op contracts of scheme `group`: OrtQuant.Ops/Schemes/Group/SPEC.md and GroupOp.cs say the same.
#include <algorithm>
#include <cstdint>

#include "schemes/group/ops.h"
#include "schemes/group/weights.h"
#include "schemes/schemes.h"

namespace ortq::group {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kBytes[] = {kUint8};
constexpr ElementType kZeroPointTypes[] = {kUint8, kFloat32, kFloat16};
constexpr ElementType kIndexTypes[] = {kInt32, kInt64};

constexpr int64_t kBits[] = {2, 3, 4, 8};
constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
constexpr int64_t kOutputTypes[] = {kFloat32, kFloat16};
constexpr int64_t kFormatVersions[] = {1};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kWeightInput = {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 64 * bits]"};
constexpr InputSpec kScalesInput = {"scales", TensorRole::kScale, kFloats, "[T, G, 16]"};
constexpr InputSpec kZeroPointsInput = {"zero_points", TensorRole::kZeroPoint, kZeroPointTypes,
                                        "[T, ceil(G * zb / 8), 16] or [T, G, 16]", true};

constexpr AttributeSpec kK = {"K", AttributeKind::kInt};
constexpr AttributeSpec kN = {"N", AttributeKind::kInt};
constexpr AttributeSpec kBitsAttribute = {.name = "bits", .kind = AttributeKind::kInt, .values = kBits};
constexpr AttributeSpec kBlockSize = {"block_size", AttributeKind::kInt};
constexpr AttributeSpec kLayout = {.name = "layout", .kind = AttributeKind::kString, .texts = kLayouts};
constexpr AttributeSpec kVersion = {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions};

constexpr InputSpec kMatMulInputs[] = {
    {"X", TensorRole::kActivation, kFloats, "[..., K]"},
    kWeightInput,
    kScalesInput,
    kZeroPointsInput,
    {"bias", TensorRole::kBias, kFloats, "[N]", true},
    {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true},
    {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true},
};
constexpr AttributeSpec kMatMulAttributes[] = {
    kK,
    kN,
    kBitsAttribute,
    kBlockSize,
    {.name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels},
    kLayout,
    kVersion,
};

constexpr InputSpec kGatherInputs[] = {
    {"indices", TensorRole::kIndices, kIndexTypes, "[...]"},
    kWeightInput,
    kScalesInput,
    kZeroPointsInput,
};
constexpr AttributeSpec kGatherAttributes[] = {
    kK,
    kN,
    kBitsAttribute,
    kBlockSize,
    kLayout,
    kVersion,
    {.name = "dtype", .kind = AttributeKind::kInt, .values = kOutputTypes},
};

void UnpackWeights(const NodeView& node, std::span<float> weights) {
  const NodeWeights stored(node);
  const GroupFormat& format = stored.format();
  if (weights.size() != static_cast<size_t>(format.N * format.K)) {
    ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
  }
  Unpack(stored.Constant(), weights.data());
}

constexpr OpSpec kMatMul = {
    .name = "MatMulNBits",
    .since_version = 1,
    .inputs = kMatMulInputs,
    .output = {"Y", kFloats, "[..., N]"},
    .attributes = kMatMulAttributes,
    .rule = {OutputRule::LastDimension::kReplaced, "N", nullptr},
    .create = CreateMatMul,
    .unpack = UnpackWeights,
};

constexpr OpSpec kGather = {
    .name = "GatherNBits",
    .since_version = 1,
    .inputs = kGatherInputs,
    .output = {"Y", kFloats, "[..., K]"},
    .attributes = kGatherAttributes,
    .rule = {OutputRule::LastDimension::kAppended, "K", "dtype"},
    .create = CreateGather,
    .unpack = UnpackWeights,
};

constexpr const OpSpec* kOps[] = {&kMatMul, &kGather};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"group", kOps};

}  // namespace ortq::group

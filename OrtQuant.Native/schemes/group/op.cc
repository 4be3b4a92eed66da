// The op contracts of scheme `group`: OrtQuant.Ops/Schemes/Group/SPEC.md and GroupOp.cs say the same.
#include <algorithm>
#include <array>
#include <cstdint>

#include "schemes/group/ops.h"
#include "schemes/group/weights.h"
#include "schemes/schemes.h"

namespace ortq::group {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kCudaFloats[] = {kFloat32, kFloat16, kBfloat16};
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

template <size_t COUNT>
constexpr std::array<InputSpec, 7> MatMulInputs(const ElementType (&floats)[COUNT]) {
  return {{
      {"X", TensorRole::kActivation, floats, "[..., K]"},
      kWeightInput,
      kScalesInput,
      kZeroPointsInput,
      {"bias", TensorRole::kBias, floats, "[N]", true},
      {"low_rank_a", TensorRole::kLowRankA, floats, "[K, r]", true},
      {"low_rank_b", TensorRole::kLowRankB, floats, "[r, N]", true},
  }};
}
constexpr std::array<InputSpec, 7> kMatMulInputs = MatMulInputs(kFloats);
constexpr std::array<InputSpec, 7> kCudaMatMulInputs = MatMulInputs(kCudaFloats);

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

constexpr OpSpec OnCuda(OpSpec spec, std::unique_ptr<Kernel> (*create)(const NodeView& node)) {
  spec.create = create;
  return spec;
}
constexpr OpSpec kCudaMatMul = [] {
  OpSpec spec = OnCuda(kMatMul, CreateCudaMatMul);
  spec.inputs = kCudaMatMulInputs;
  spec.output.types = kCudaFloats;
  return spec;
}();
constexpr OpSpec kCudaGather = OnCuda(kGather, CreateCudaGather);

constexpr const OpSpec* kOps[] = {&kMatMul, &kGather};
constexpr const OpSpec* kCudaOps[] = {&kCudaMatMul, &kCudaGather};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"group", kOps, kCudaOps};

}  // namespace ortq::group

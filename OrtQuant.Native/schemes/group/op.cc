// The op contracts of scheme `group`: OrtQuant.Ops/Schemes/Group/SPEC.md and GroupOp.cs say the same.
#include <algorithm>
#include <array>
#include <cstdint>

#include "core/matmul_op.h"
#include "schemes/group/matmul.h"
#include "schemes/group/ops.h"
#include "schemes/group/weights.h"
#include "schemes/schemes.h"

namespace ortq::group {
namespace {

constexpr ElementType kCudaFloats[] = {kFloat32, kFloat16, kBfloat16};
constexpr ElementType kZeroPointTypes[] = {kUint8, kFloat32, kFloat16};
constexpr ElementType kIndexTypes[] = {kInt32, kInt64};

constexpr int64_t kBits[] = {2, 3, 4, 8};
constexpr int64_t kOutputTypes[] = {kFloat32, kFloat16};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kWeightInput = {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 64 * bits]"};
constexpr InputSpec kScalesInput = {"scales", TensorRole::kScale, kFloats, "[T, G, 16]"};
constexpr InputSpec kZeroPointsInput = {"zero_points", TensorRole::kZeroPoint, kZeroPointTypes,
                                        "[T, ceil(G * zb / 8), 16] or [T, G, 16]", true};

constexpr AttributeSpec kBitsAttribute = {.name = "bits", .kind = AttributeKind::kInt, .values = kBits};

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
    kKAttribute,
    kNAttribute,
    kBitsAttribute,
    kBlockSizeAttribute,
    kAccuracyLevelAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
};

constexpr InputSpec kGatherInputs[] = {
    {"indices", TensorRole::kIndices, kIndexTypes, "[...]"},
    kWeightInput,
    kScalesInput,
    kZeroPointsInput,
};
constexpr AttributeSpec kGatherAttributes[] = {
    kKAttribute,
    kNAttribute,
    kBitsAttribute,
    kBlockSizeAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
    {.name = "dtype", .kind = AttributeKind::kInt, .values = kOutputTypes},
};

using MatMul = MatMulOp<NodeWeights, MatMulNBits, kBias>;
constexpr OpSpec kMatMul = MatMul::Spec("MatMulNBits", kMatMulInputs, kMatMulAttributes);

constexpr OpSpec kGather = {
    .name = "GatherNBits",
    .since_version = 1,
    .inputs = kGatherInputs,
    .output = {"Y", kFloats, "[..., K]"},
    .attributes = kGatherAttributes,
    .rule = {OutputRule::LastDimension::kAppended, "K", "dtype"},
    .create = CreateGather,
    .unpack = MatMul::UnpackWeights,
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

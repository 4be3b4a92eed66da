// The op contract of scheme `smooth`: OrtQuant.Ops/Schemes/Smooth/SPEC.md and SmoothOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/schemes.h"
#include "schemes/smooth/kernels.h"
#include "schemes/smooth/ops.h"
#include "schemes/smooth/weights.h"

namespace ortq::smooth {
namespace {

constexpr ElementType kInts[] = {kInt32};

constexpr int64_t kActivationBits[] = {4, 8};
constexpr const char* kLayouts[] = {"n16"};
constexpr const char* kScopes[] = {"call", "token", "none"};

constexpr InputSpec kInputs[] = {
    kXInput,
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 256]"},
    {"scales", TensorRole::kScale, kFloats, "[T, G, 16]"},
    {"channel_order", TensorRole::kChannelOrder, kInts, "[K]", true},
    kBiasInput,
    kLowRankAInput,
    kLowRankBInput,
};

constexpr AttributeSpec kAttributes[] = {
    kKAttribute,
    kNAttribute,
    kBlockSizeAttribute,
    {"smooth_size", AttributeKind::kInt},
    {.name = "smooth_scope", .kind = AttributeKind::kString, .texts = kScopes},
    {.name = "activation_bits", .kind = AttributeKind::kInt, .values = kActivationBits},
    kAccuracyLevelAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
};

constexpr OpSpec kMatMul =
    MatMulOp<NodeWeights, RuntimeSmoothMatMul, kBias>::Spec("RuntimeSmoothMatMul", kInputs, kAttributes);

constexpr InputSpec kHadamardInputs[] = {kXInput};
constexpr AttributeSpec kHadamardAttributes[] = {
    kKAttribute,
    kVersionAttribute,
};

constexpr OpSpec kHadamard = {
    .name = "HadamardTransform",
    .since_version = 1,
    .inputs = kHadamardInputs,
    .output = {"Y", kFloats, "[..., K]"},
    .attributes = kHadamardAttributes,
    .rule = {OutputRule::LastDimension::kReplaced, "K", nullptr},
    .create = CreateHadamard,
    .unpack = nullptr,
};

constexpr const OpSpec* kOps[] = {&kMatMul, &kHadamard};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"smooth", kOps};

}  // namespace ortq::smooth

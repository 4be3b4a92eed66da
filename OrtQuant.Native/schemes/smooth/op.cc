// The op contract of scheme `smooth`: OrtQuant.Ops/Schemes/Smooth/SPEC.md and SmoothOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/schemes.h"
#include "schemes/smooth/kernels.h"
#include "schemes/smooth/ops.h"
#include "schemes/smooth/weights.h"

namespace ortq::smooth {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kBytes[] = {kUint8};
constexpr ElementType kInts[] = {kInt32};

constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
constexpr int64_t kActivationBits[] = {4, 8};
constexpr int64_t kFormatVersions[] = {1};
constexpr const char* kLayouts[] = {"n16"};
constexpr const char* kScopes[] = {"call", "token", "none"};

constexpr InputSpec kInputs[] = {
    {"X", TensorRole::kActivation, kFloats, "[..., K]"},
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 256]"},
    {"scales", TensorRole::kScale, kFloats, "[T, G, 16]"},
    {"channel_order", TensorRole::kChannelOrder, kInts, "[K]", true},
    {"bias", TensorRole::kBias, kFloats, "[N]", true},
    {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true},
    {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true},
};

constexpr AttributeSpec kAttributes[] = {
    {"K", AttributeKind::kInt},
    {"N", AttributeKind::kInt},
    {"block_size", AttributeKind::kInt},
    {"smooth_size", AttributeKind::kInt},
    {.name = "smooth_scope", .kind = AttributeKind::kString, .texts = kScopes},
    {.name = "activation_bits", .kind = AttributeKind::kInt, .values = kActivationBits},
    {.name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels},
    {.name = "layout", .kind = AttributeKind::kString, .texts = kLayouts},
    {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions},
};

std::unique_ptr<Kernel> Create(const NodeView& node) {
  NodeWeights weights(node);
  auto matmul = RuntimeSmoothMatMul::Create(weights.format(), LevelOf(node), IsaOf(node));
  return std::make_unique<MatMulKernel<NodeWeights, RuntimeSmoothMatMul>>(node, std::move(weights), kBias,
                                                                          std::move(matmul));
}

void UnpackWeights(const NodeView& node, std::span<float> weights) {
  const NodeWeights stored(node);
  const NodeFormat& format = stored.format();
  if (weights.size() != static_cast<size_t>(format.N * format.K)) {
    ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
  }
  Unpack(stored.Constant().weights, weights.data());
}

constexpr OpSpec kMatMul = {
    .name = "RuntimeSmoothMatMul",
    .since_version = 1,
    .inputs = kInputs,
    .output = {"Y", kFloats, "[..., N]"},
    .attributes = kAttributes,
    .rule = {OutputRule::LastDimension::kReplaced, "N", nullptr},
    .create = Create,
    .unpack = UnpackWeights,
};

constexpr InputSpec kHadamardInputs[] = {{"X", TensorRole::kActivation, kFloats, "[..., K]"}};
constexpr AttributeSpec kHadamardAttributes[] = {
    {"K", AttributeKind::kInt},
    {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions},
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

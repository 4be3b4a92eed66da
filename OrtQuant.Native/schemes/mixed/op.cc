// The op contract of scheme `mixed`: OrtQuant.Ops/Schemes/Mixed/SPEC.md and MixedOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/mixed/kernels.h"
#include "schemes/mixed/weights.h"
#include "schemes/schemes.h"

namespace ortq::mixed {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kHalves[] = {kFloat16};
constexpr ElementType kBytes[] = {kUint8};
constexpr ElementType kShorts[] = {kInt16};

constexpr int64_t kBlockSizes[] = {16, 32, 64};
constexpr int64_t kOutlierCounts[] = {0, 1, 2, 3, 4};
constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
constexpr int64_t kFormatVersions[] = {1};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kInputs[] = {
    {"X", TensorRole::kActivation, kFloats, "[..., K]"},
    {"W", TensorRole::kPackedWeight, kBytes, "[T, V + R * block_size / 16, 64]"},
    {"scales", TensorRole::kScale, kHalves, "[T, C, 16]"},
    {"group_scales", TensorRole::kScale, kBytes, "[T, G, 16]"},
    {"refined", TensorRole::kPackedWeight, kBytes, "[T, ceil(G / 8)]", true},
    {"outlier_positions", TensorRole::kSparse, kBytes, "[T, C, P, 16]", true},
    {"outlier_values", TensorRole::kSparse, kShorts, "[T, C, P, 16]", true},
    {"bias", TensorRole::kBias, kFloats, "[N]", true},
    {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true},
    {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true},
};

constexpr AttributeSpec kAttributes[] = {
    {"K", AttributeKind::kInt},
    {"N", AttributeKind::kInt},
    {.name = "block_size", .kind = AttributeKind::kInt, .values = kBlockSizes},
    {"refined_groups", AttributeKind::kInt},
    {.name = "outliers", .kind = AttributeKind::kInt, .values = kOutlierCounts},
    {.name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels},
    {.name = "layout", .kind = AttributeKind::kString, .texts = kLayouts},
    {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions},
};

std::unique_ptr<Kernel> Create(const NodeView& node) {
  NodeWeights weights(node);
  auto matmul = MixedBitMatMul::Create(weights.format(), LevelOf(node), IsaOf(node));
  return std::make_unique<MatMulKernel<NodeWeights, MixedBitMatMul>>(node, std::move(weights), kBias,
                                                                     std::move(matmul));
}

void UnpackWeights(const NodeView& node, std::span<float> weights) {
  const NodeWeights stored(node);
  const MixedFormat& format = stored.format();
  if (weights.size() != static_cast<size_t>(format.N * format.K)) {
    ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
  }
  Unpack(stored.Constant(), weights.data());
}

constexpr OpSpec kMatMul = {
    .name = "MixedBitMatMul",
    .since_version = 1,
    .inputs = kInputs,
    .output = {"Y", kFloats, "[..., N]"},
    .attributes = kAttributes,
    .rule = {OutputRule::LastDimension::kReplaced, "N", nullptr},
    .create = Create,
    .unpack = UnpackWeights,
};

constexpr const OpSpec* kOps[] = {&kMatMul};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"mixed", kOps};

}  // namespace ortq::mixed

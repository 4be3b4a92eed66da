// The op contract of scheme `dual`: OrtQuant.Ops/Schemes/Dual/SPEC.md and DualOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/dual/kernels.h"
#include "schemes/dual/weights.h"
#include "schemes/schemes.h"

namespace ortq::dual {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kFloat32Only[] = {kFloat32};
constexpr ElementType kBytes[] = {kUint8};
constexpr ElementType kSignedBytes[] = {kInt8};
constexpr ElementType kInts[] = {kInt32};

constexpr int64_t kBlockSizes[] = {32, 64, 128, 256};
constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
constexpr int64_t kFormatVersions[] = {1};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kInputs[] = {
    {"X", TensorRole::kActivation, kFloats, "[..., K]"},
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 256]"},
    {"scales", TensorRole::kScale, kFloat32Only, "[T, 16]"},
    {"zero_points", TensorRole::kZeroPoint, kSignedBytes, "[T, G, 16]"},
    {"group_scales", TensorRole::kScale, kBytes, "[T, G, 16]"},
    {"row_sums", TensorRole::kRowSum, kInts, "[T, 16]"},
    {"bias", TensorRole::kBias, kFloats, "[N]", true},
    {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true},
    {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true},
};

constexpr AttributeSpec kAttributes[] = {
    {"K", AttributeKind::kInt},
    {"N", AttributeKind::kInt},
    {.name = "block_size", .kind = AttributeKind::kInt, .values = kBlockSizes},
    {.name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels},
    {.name = "layout", .kind = AttributeKind::kString, .texts = kLayouts},
    {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions},
};

std::unique_ptr<Kernel> Create(const NodeView& node) {
  NodeWeights weights(node);
  auto matmul = DualGrainedMatMul::Create(weights.format(), LevelOf(node), IsaOf(node));
  return std::make_unique<MatMulKernel<NodeWeights, DualGrainedMatMul>>(node, std::move(weights), kBias,
                                                                        std::move(matmul));
}

void UnpackWeights(const NodeView& node, std::span<float> weights) {
  const NodeWeights stored(node);
  const DualFormat& format = stored.format();
  if (weights.size() != static_cast<size_t>(format.N * format.K)) {
    ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
  }
  Unpack(stored.Constant(), weights.data());
}

constexpr OpSpec kMatMul = {
    .name = "DualGrainedMatMul",
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
const Scheme kScheme = {"dual", kOps};

}  // namespace ortq::dual

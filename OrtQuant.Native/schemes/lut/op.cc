// The op contract of scheme `lut`: OrtQuant.Ops/Schemes/Lut/SPEC.md and LutOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/lut/kernels.h"
#include "schemes/lut/weights.h"
#include "schemes/schemes.h"

namespace ortq::lut {
namespace {

constexpr ElementType kFloats[] = {kFloat32, kFloat16};
constexpr ElementType kBytes[] = {kUint8};
constexpr ElementType kZeroPointTypes[] = {kUint8, kFloat32, kFloat16};

constexpr int64_t kBits[] = {1, 2, 3, 4};
constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
constexpr int64_t kFormatVersions[] = {1};
constexpr const char* kLayouts[] = {"p16"};
constexpr const char* kLevels[] = {kFreeLevels, kUniformLevels};

constexpr InputSpec kInputs[] = {
    {"X", TensorRole::kActivation, kFloats, "[..., K]"},
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 64 * bits]"},
    {"scales", TensorRole::kScale, kFloats, "[T, G, A, 16]"},
    {"zero_points", TensorRole::kZeroPoint, kZeroPointTypes, "[T, G, 16]"},
    {"bias", TensorRole::kBias, kFloats, "[N]", true},
    {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true},
    {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true},
};

constexpr AttributeSpec kAttributes[] = {
    {"K", AttributeKind::kInt},
    {"N", AttributeKind::kInt},
    {.name = "bits", .kind = AttributeKind::kInt, .values = kBits},
    {"block_size", AttributeKind::kInt},
    {.name = "levels", .kind = AttributeKind::kString, .texts = kLevels},
    {.name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels},
    {.name = "layout", .kind = AttributeKind::kString, .texts = kLayouts},
    {.name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFormatVersions},
};

std::unique_ptr<Kernel> Create(const NodeView& node) {
  NodeWeights weights(node);
  auto matmul = LutGemm::Create(weights.format(), LevelOf(node), IsaOf(node));
  return std::make_unique<MatMulKernel<NodeWeights, LutGemm>>(node, std::move(weights), kBias, std::move(matmul));
}

void UnpackWeights(const NodeView& node, std::span<float> weights) {
  const NodeWeights stored(node);
  const LutFormat& format = stored.format();
  if (weights.size() != static_cast<size_t>(format.N * format.K)) {
    ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
  }
  Unpack(stored.Constant(), weights.data());
}

constexpr OpSpec kMatMul = {
    .name = "LutGemm",
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
const Scheme kScheme = {"lut", kOps};

}  // namespace ortq::lut

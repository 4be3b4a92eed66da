// The op contract of scheme `mixed`: OrtQuant.Ops/Schemes/Mixed/SPEC.md and MixedOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/mixed/kernels.h"
#include "schemes/mixed/weights.h"
#include "schemes/schemes.h"

namespace ortq::mixed {
namespace {

constexpr ElementType kHalves[] = {kFloat16};
constexpr ElementType kShorts[] = {kInt16};

constexpr int64_t kBlockSizes[] = {16, 32, 64};
constexpr int64_t kOutlierCounts[] = {0, 1, 2, 3, 4};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kInputs[] = {
    kXInput,
    {"W", TensorRole::kPackedWeight, kBytes, "[T, V + R * block_size / 16, 64]"},
    {"scales", TensorRole::kScale, kHalves, "[T, C, 16]"},
    {"group_scales", TensorRole::kScale, kBytes, "[T, G, 16]"},
    {"refined", TensorRole::kPackedWeight, kBytes, "[T, ceil(G / 8)]", true},
    {"outlier_positions", TensorRole::kSparse, kBytes, "[T, C, P, 16]", true},
    {"outlier_values", TensorRole::kSparse, kShorts, "[T, C, P, 16]", true},
    kBiasInput,
    kLowRankAInput,
    kLowRankBInput,
};

constexpr AttributeSpec kAttributes[] = {
    kKAttribute,
    kNAttribute,
    {.name = "block_size", .kind = AttributeKind::kInt, .values = kBlockSizes},
    {"refined_groups", AttributeKind::kInt},
    {.name = "outliers", .kind = AttributeKind::kInt, .values = kOutlierCounts},
    kAccuracyLevelAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
};

constexpr OpSpec kMatMul = MatMulOp<NodeWeights, MixedBitMatMul, kBias>::Spec("MixedBitMatMul", kInputs, kAttributes);

constexpr const OpSpec* kOps[] = {&kMatMul};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"mixed", kOps};

}  // namespace ortq::mixed

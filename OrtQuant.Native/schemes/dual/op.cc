// The op contract of scheme `dual`: OrtQuant.Ops/Schemes/Dual/SPEC.md and DualOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/dual/kernels.h"
#include "schemes/dual/weights.h"
#include "schemes/schemes.h"

namespace ortq::dual {
namespace {

constexpr ElementType kFloat32Only[] = {kFloat32};
constexpr ElementType kSignedBytes[] = {kInt8};
constexpr ElementType kInts[] = {kInt32};

constexpr int64_t kBlockSizes[] = {32, 64, 128, 256};
constexpr const char* kLayouts[] = {"n16"};

constexpr InputSpec kInputs[] = {
    kXInput,
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 256]"},
    {"scales", TensorRole::kScale, kFloat32Only, "[T, 16]"},
    {"zero_points", TensorRole::kZeroPoint, kSignedBytes, "[T, G, 16]"},
    {"group_scales", TensorRole::kScale, kBytes, "[T, G, 16]"},
    {"row_sums", TensorRole::kRowSum, kInts, "[T, 16]"},
    kBiasInput,
    kLowRankAInput,
    kLowRankBInput,
};

constexpr AttributeSpec kAttributes[] = {
    kKAttribute,
    kNAttribute,
    {.name = "block_size", .kind = AttributeKind::kInt, .values = kBlockSizes},
    kAccuracyLevelAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
};

constexpr OpSpec kMatMul =
    MatMulOp<NodeWeights, DualGrainedMatMul, kBias>::Spec("DualGrainedMatMul", kInputs, kAttributes);

constexpr const OpSpec* kOps[] = {&kMatMul};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"dual", kOps};

}  // namespace ortq::dual

// The op contract of scheme `lut`: OrtQuant.Ops/Schemes/Lut/SPEC.md and LutOp.cs say the same.
#include "core/matmul_op.h"
#include "schemes/lut/kernels.h"
#include "schemes/lut/weights.h"
#include "schemes/schemes.h"

namespace ortq::lut {
namespace {

constexpr ElementType kZeroPointTypes[] = {kUint8, kFloat32, kFloat16};

constexpr int64_t kBits[] = {1, 2, 3, 4};
constexpr const char* kLayouts[] = {"p16"};
constexpr const char* kLevels[] = {kFreeLevels, kUniformLevels};

constexpr InputSpec kInputs[] = {
    kXInput,
    {"W", TensorRole::kPackedWeight, kBytes, "[T, C, 64 * bits]"},
    {"scales", TensorRole::kScale, kFloats, "[T, G, A, 16]"},
    {"zero_points", TensorRole::kZeroPoint, kZeroPointTypes, "[T, G, 16]"},
    kBiasInput,
    kLowRankAInput,
    kLowRankBInput,
};

constexpr AttributeSpec kAttributes[] = {
    kKAttribute,
    kNAttribute,
    {.name = "bits", .kind = AttributeKind::kInt, .values = kBits},
    kBlockSizeAttribute,
    {.name = "levels", .kind = AttributeKind::kString, .texts = kLevels},
    kAccuracyLevelAttribute,
    LayoutAttribute(kLayouts),
    kVersionAttribute,
};

constexpr OpSpec kMatMul = MatMulOp<NodeWeights, LutGemm, kBias>::Spec("LutGemm", kInputs, kAttributes);

constexpr const OpSpec* kOps[] = {&kMatMul};

}  // namespace

extern const Scheme kScheme;
const Scheme kScheme = {"lut", kOps};

}  // namespace ortq::lut

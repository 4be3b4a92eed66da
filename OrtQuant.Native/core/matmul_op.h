// What the matmul ops of all schemes share: X, bias, low-rank factors, accuracy level, instruction set.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/isa.h"
#include "core/op.h"
#include "core/types.h"

namespace ortq {

// What their contracts say alike.
inline constexpr ElementType kFloats[] = {kFloat32, kFloat16};
inline constexpr ElementType kBytes[] = {kUint8};
inline constexpr int64_t kAccuracyLevels[] = {0, 1, 4};
inline constexpr int64_t kFirstVersion[] = {1};
inline constexpr InputSpec kXInput = {"X", TensorRole::kActivation, kFloats, "[..., K]"};
inline constexpr InputSpec kBiasInput = {"bias", TensorRole::kBias, kFloats, "[N]", true};
inline constexpr InputSpec kLowRankAInput = {"low_rank_a", TensorRole::kLowRankA, kFloats, "[K, r]", true};
inline constexpr InputSpec kLowRankBInput = {"low_rank_b", TensorRole::kLowRankB, kFloats, "[r, N]", true};
inline constexpr AttributeSpec kKAttribute = {"K", AttributeKind::kInt};
inline constexpr AttributeSpec kNAttribute = {"N", AttributeKind::kInt};
inline constexpr AttributeSpec kBlockSizeAttribute = {"block_size", AttributeKind::kInt};
inline constexpr AttributeSpec kAccuracyLevelAttribute = {
    .name = "accuracy_level", .kind = AttributeKind::kInt, .required = false, .values = kAccuracyLevels};
inline constexpr AttributeSpec kVersionAttribute = {
    .name = kFormatVersion, .kind = AttributeKind::kInt, .values = kFirstVersion};
constexpr AttributeSpec LayoutAttribute(std::span<const char* const> layouts) {
  return {.name = "layout", .kind = AttributeKind::kString, .texts = layouts};
}

/// The instruction set of a node: that of the session's configuration entry `ortquant.force_isa`, else the active one.
Isa IsaOf(const NodeView& node);

/// The attribute `accuracy_level`.
AccuracyLevel LevelOf(const NodeView& node);

/// Throws Error unless a tensor that is known at run time only has `shape`.
void CheckRuntimeShape(const char* name, const TensorView& tensor, std::span<const int64_t> shape);

/// Bias and low-rank factors of a node: fixed at creation when they are constants, else read in each call. They are
/// inputs `bias`, `bias` + 1 and `bias` + 2.
class NodeEpilogue {
 public:
  NodeEpilogue(const NodeView& node, size_t bias, int64_t N, int64_t K);

  Epilogue Bind(Invocation& call) const;

 private:
  Epilogue Make(const TensorView& bias, const TensorView& a, const TensorView& b) const;

  size_t bias_;
  int64_t N_;
  int64_t K_;
  Epilogue epilogue_;
  bool has_bias_ = false;
  bool has_low_rank_ = false;
  bool constant_ = true;
};

/// X of a matmul node, whose last dimension is K.
class NodeActivations {
 public:
  /// Throws Error when X is known to have another last dimension.
  NodeActivations(const NodeView& node, int64_t K);

  /// X of this call and its number of rows; allocates Y with the same leading dimensions and N last.
  struct Rows {
    const void* x;
    void* y;
    int64_t M;
  };
  Rows Bind(Invocation& call, int64_t N) const;

  ScalarType type() const { return type_; }

 private:
  void Check(std::span<const int64_t> shape) const;

  int64_t K_;
  ScalarType type_;
};

/// The kernel of a matmul op: NodeWeights has format() (with N and K) and Bind(call), MatMul has Run and kernel_name.
template <typename NodeWeights, typename MatMul>
class MatMulKernel final : public Kernel {
 public:
  /// `bias` is the position of that input.
  MatMulKernel(const NodeView& node, NodeWeights weights, size_t bias, MatMul matmul)
      : weights_(std::move(weights)),
        epilogue_(node, bias, weights_.format().N, weights_.format().K),
        activations_(node, weights_.format().K),
        matmul_(std::move(matmul)) {}

  void Compute(Invocation& call) const override {
    const auto [x, y, M] = activations_.Bind(call, weights_.format().N);
    if (M == 0) return;
    matmul_.Run(weights_.Bind(call), epilogue_.Bind(call), x, y, activations_.type(), M, call.Parallel(),
                call.ScratchMemory());
  }

  const char* Name() const override { return matmul_.kernel_name(); }

 private:
  NodeWeights weights_;
  NodeEpilogue epilogue_;
  NodeActivations activations_;
  MatMul matmul_;
};

/// A matmul op: NodeWeights as MatMulKernel takes them, with Constant() besides, which Unpack(weights, float*) of the
/// scheme dequantizes; MatMul::Create(format, level, isa); Bias, the position of that input.
template <typename NodeWeights, typename MatMul, size_t Bias>
struct MatMulOp {
  static std::unique_ptr<Kernel> Create(const NodeView& node) {
    NodeWeights weights(node);
    MatMul matmul = MatMul::Create(weights.format(), LevelOf(node), IsaOf(node));
    return std::make_unique<MatMulKernel<NodeWeights, MatMul>>(node, std::move(weights), Bias, std::move(matmul));
  }

  static void UnpackWeights(const NodeView& node, std::span<float> weights) {
    const NodeWeights stored(node);
    const auto& format = stored.format();
    if (weights.size() != static_cast<size_t>(format.N * format.K)) {
      ThrowInvalid("the output holds ", weights.size(), " floats; required: N * K = ", format.N * format.K);
    }
    Unpack(stored.Constant(), weights.data());
  }

  static constexpr OpSpec Spec(const char* name, std::span<const InputSpec> inputs,
                               std::span<const AttributeSpec> attributes) {
    return {
        .name = name,
        .since_version = 1,
        .inputs = inputs,
        .output = {"Y", kFloats, "[..., N]"},
        .attributes = attributes,
        .rule = {OutputRule::LastDimension::kReplaced, "N", nullptr},
        .create = Create,
        .unpack = UnpackWeights,
    };
  }
};

}  // namespace ortq

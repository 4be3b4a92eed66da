// MatMulNBits: Y = X . dequant(W)^T + bias + (X . low_rank_a) . low_rank_b.
#include <array>
#include <string>

#include "core/isa.h"
#include "core/matmul.h"
#include "schemes/group/ops.h"
#include "schemes/group/weights.h"

namespace ortq::group {
namespace {

Isa IsaOf(const NodeView& node) {
  const std::string forced = node.Config("ortquant.force_isa");
  if (forced.empty()) return ActiveIsa();
  try {
    return ParseIsa(forced);
  } catch (const Error& error) {
    throw Error(error.code(), std::string("session config entry 'ortquant.force_isa': ") + error.what());
  }
}

AccuracyLevel LevelOf(const NodeView& node) {
  return node.Int("accuracy_level", 0) == 4 ? AccuracyLevel::kInt8 : AccuracyLevel::kFloat;
}

/// Bias and low-rank factors of a node: fixed at creation when they are constants, else read in each call.
class NodeEpilogue {
 public:
  NodeEpilogue(const NodeView& node, int64_t N, int64_t K) : N_(N), K_(K) {
    for (const size_t index : {kBias, kLowRankA, kLowRankB}) node.CheckSameType(index);
    node.CheckShape(kBias, std::array{N});
    node.CheckShape(kLowRankA, std::array{K, int64_t{-1}});
    node.CheckShape(kLowRankB, std::array{int64_t{-1}, N});
    const InputInfo& bias = node.input(kBias);
    const InputInfo& a = node.input(kLowRankA);
    const InputInfo& b = node.input(kLowRankB);
    if (a.present != b.present) ThrowInvalid("inputs 'low_rank_a' and 'low_rank_b' must be given together");
    has_bias_ = bias.present;
    has_low_rank_ = a.present;
    constant_ = (!has_bias_ || bias.data != nullptr) && (!has_low_rank_ || (a.data != nullptr && b.data != nullptr));
    if (constant_)
      epilogue_ = Make({bias.type, bias.shape, bias.data}, {a.type, a.shape, a.data}, {b.type, b.shape, b.data});
  }

  Epilogue Bind(Invocation& call) const {
    if (constant_) return epilogue_;
    const auto get = [&](bool present, size_t index) { return present ? call.Input(index) : TensorView{}; };
    return Make(get(has_bias_, kBias), get(has_low_rank_, kLowRankA), get(has_low_rank_, kLowRankB));
  }

 private:
  Epilogue Make(const TensorView& bias, const TensorView& a, const TensorView& b) const {
    Epilogue epilogue;
    if (has_bias_) CheckRuntimeShape("bias", bias, std::array{N_});
    epilogue.bias = bias.data;
    if (!has_low_rank_) return epilogue;
    const int64_t rank = a.shape.size() == 2 ? a.shape[1] : 0;
    CheckRuntimeShape("low_rank_a", a, std::array{K_, rank});
    CheckRuntimeShape("low_rank_b", b, std::array{rank, N_});
    if (rank == 0) return epilogue;
    epilogue.low_rank_a = a.data;
    epilogue.low_rank_b = b.data;
    epilogue.rank = rank;
    return epilogue;
  }

  int64_t N_;
  int64_t K_;
  Epilogue epilogue_;
  bool has_bias_ = false;
  bool has_low_rank_ = false;
  bool constant_ = true;
};

class MatMulKernel final : public Kernel {
 public:
  explicit MatMulKernel(const NodeView& node)
      : weights_(node),
        epilogue_(node, weights_.format().N, weights_.format().K),
        type_(static_cast<ScalarType>(node.input(0).type)),
        matmul_(MatMulNBits::Create(weights_.format(), LevelOf(node), IsaOf(node))) {
    const InputInfo& x = node.input(0);
    if (x.shape_known) CheckActivations(x.shape);
  }

  void Compute(Invocation& call) const override {
    const TensorView x = call.Input(0);
    CheckActivations(x.shape);
    const auto leading = x.shape.first(x.shape.size() - 1);
    int64_t M = 1;
    for (const int64_t size : leading) M *= size;
    ShapeBuffer shape(leading);
    shape.Append(weights_.format().N);
    void* y = call.Output(shape.dims());
    if (M == 0) return;
    matmul_.Run(weights_.Bind(call), epilogue_.Bind(call), x.data, y, type_, M, call.Parallel(), call.ScratchMemory());
  }

  const char* Name() const override { return matmul_.kernel_name(); }

 private:
  /// -1 stands for a dimension that is known at run time only.
  void CheckActivations(std::span<const int64_t> shape) const {
    const int64_t K = weights_.format().K;
    if (!shape.empty() && (shape.back() == K || shape.back() == -1)) return;
    ThrowInvalid("input 0 'X' has shape ", ShapeText(shape), "; required: the last dimension is K = ", K);
  }

  NodeWeights weights_;
  NodeEpilogue epilogue_;
  ScalarType type_;
  MatMulNBits matmul_;
};

}  // namespace

std::unique_ptr<Kernel> CreateMatMul(const NodeView& node) {
  return std::make_unique<MatMulKernel>(node);
}

}  // namespace ortq::group

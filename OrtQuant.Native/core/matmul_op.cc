#include "core/matmul_op.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace ortq {

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

void CheckRuntimeShape(const char* name, const TensorView& tensor, std::span<const int64_t> shape) {
  if (std::ranges::equal(tensor.shape, shape)) return;
  ThrowInvalid("input '", name, "' has shape ", ShapeText(tensor.shape), "; required: ", ShapeText(shape));
}

NodeEpilogue::NodeEpilogue(const NodeView& node, size_t bias_input, int64_t N, int64_t K)
    : bias_(bias_input), N_(N), K_(K) {
  for (const size_t index : {bias_, bias_ + 1, bias_ + 2}) node.CheckSameType(index);
  node.CheckShape(bias_, std::array{N});
  node.CheckShape(bias_ + 1, std::array{K, int64_t{-1}});
  node.CheckShape(bias_ + 2, std::array{int64_t{-1}, N});
  const InputInfo& bias = node.input(bias_);
  const InputInfo& a = node.input(bias_ + 1);
  const InputInfo& b = node.input(bias_ + 2);
  if (a.present != b.present) ThrowInvalid("inputs 'low_rank_a' and 'low_rank_b' must be given together");
  has_bias_ = bias.present;
  has_low_rank_ = a.present;
  constant_ = (!has_bias_ || bias.data != nullptr) && (!has_low_rank_ || (a.data != nullptr && b.data != nullptr));
  if (constant_) {
    epilogue_ = Make({bias.type, bias.shape, bias.data}, {a.type, a.shape, a.data}, {b.type, b.shape, b.data});
  }
}

Epilogue NodeEpilogue::Bind(Invocation& call) const {
  if (constant_) return epilogue_;
  const auto get = [&](bool present, size_t index) { return present ? call.Input(index) : TensorView{}; };
  return Make(get(has_bias_, bias_), get(has_low_rank_, bias_ + 1), get(has_low_rank_, bias_ + 2));
}

Epilogue NodeEpilogue::Make(const TensorView& bias, const TensorView& a, const TensorView& b) const {
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

NodeActivations::NodeActivations(const NodeView& node, int64_t K)
    : K_(K), type_(static_cast<ScalarType>(node.input(0).type)) {
  if (node.input(0).shape_known) Check(node.input(0).shape);
}

NodeActivations::Rows NodeActivations::Bind(Invocation& call, int64_t N) const {
  const TensorView x = call.Input(0);
  Check(x.shape);
  const auto leading = x.shape.first(x.shape.size() - 1);
  int64_t M = 1;
  for (const int64_t size : leading) M *= size;
  ShapeBuffer shape(leading);
  shape.Append(N);
  return {x.data, call.Output(shape.dims()), M};
}

/// -1 stands for a dimension that is known at run time only.
void NodeActivations::Check(std::span<const int64_t> shape) const {
  if (!shape.empty() && (shape.back() == K_ || shape.back() == -1)) return;
  ThrowInvalid("input 0 'X' has shape ", ShapeText(shape), "; required: the last dimension is K = ", K_);
}

}  // namespace ortq

// MatMulNBits: Y = X . dequant(W)^T + bias + (X . low_rank_a) . low_rank_b.
#include "core/matmul_op.h"

#include "schemes/group/matmul.h"
#include "schemes/group/ops.h"
#include "schemes/group/weights.h"

namespace ortq::group {

std::unique_ptr<Kernel> CreateMatMul(const NodeView& node) {
  NodeWeights weights(node);
  auto matmul = MatMulNBits::Create(weights.format(), LevelOf(node), IsaOf(node));
  return std::make_unique<MatMulKernel<NodeWeights, MatMulNBits>>(node, std::move(weights), kBias, std::move(matmul));
}

}  // namespace ortq::group

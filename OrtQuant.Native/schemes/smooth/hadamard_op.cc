// HadamardTransform: Y = X . H^T / sqrt(K) along the last dimension.
#include "core/matmul_op.h"
#include "schemes/smooth/hadamard.h"
#include "schemes/smooth/ops.h"

namespace ortq::smooth {
namespace {

class HadamardKernel final : public Kernel {
 public:
  explicit HadamardKernel(const NodeView& node)
      : size_(node.Int("K")),
        transform_(size_, IsaOf(node)),
        activations_(node, size_),
        name_(std::string(IsaName(transform_.isa())) + " hadamard") {}

  void Compute(Invocation& call) const override {
    const auto [x, y, M] = activations_.Bind(call, size_);
    transform_.Run(x, y, activations_.type(), M, call.Parallel(), call.ScratchMemory());
  }

  const char* Name() const override { return name_.c_str(); }

 private:
  int64_t size_;
  HadamardTransform transform_;
  NodeActivations activations_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Kernel> CreateHadamard(const NodeView& node) {
  return std::make_unique<HadamardKernel>(node);
}

}  // namespace ortq::smooth

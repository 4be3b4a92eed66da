// The ops of scheme `group` on a CUDA device. Weights, X and Y are in device memory and are never read here; shapes
// are.
#include "core/matmul_op.h"
#include "cuda/library.h"
#include "schemes/group/ops.h"
#include "schemes/group/weights.h"

namespace ortq::group {
namespace {

ortq_cuda_group_weights OnDevice(const GroupWeights& weights) {
  const GroupFormat& format = weights.format;
  return {format.bits,
          static_cast<int32_t>(format.zp),
          static_cast<int32_t>(format.scale_type),
          static_cast<int32_t>(format.zp_type),
          format.N,
          format.K,
          format.block,
          weights.codes,
          weights.scales,
          weights.zero_points};
}

/// `accuracy_level` says what precision is enough; the float arithmetic of these kernels is enough for all levels.
class CudaMatMul final : public Kernel {
 public:
  explicit CudaMatMul(const NodeView& node)
      : library_(cuda::RequireDevice()),
        weights_(node),
        epilogue_(node, kBias, weights_.format().N, weights_.format().K),
        activations_(node, weights_.format().K),
        name_("cuda float " + std::to_string(weights_.format().bits) + "-bit") {}

  void Compute(Invocation& call) const override {
    const auto [x, y, M] = activations_.Bind(call, weights_.format().N);
    if (M == 0) return;
    const ortq_cuda_group_weights weights = OnDevice(weights_.Bind(call));
    const Epilogue added = epilogue_.Bind(call);
    const ortq_cuda_epilogue epilogue = {added.bias, added.low_rank_a, added.low_rank_b, added.rank};
    const auto type = static_cast<int32_t>(activations_.type());
    ortq_cuda_plan plan{};
    library_.Check(library_.group_plan(&weights, type, M, added.rank, &plan));
    void* workspace = nullptr;
    if (plan.workspace_bytes > 0) {
      const Scratch scratch = call.ScratchMemory();
      workspace = scratch.allocate(scratch.context, static_cast<size_t>(plan.workspace_bytes));
    }
    library_.Check(library_.group_matmul(&weights, &epilogue, &plan, type, M, x, y, workspace, call.Stream()));
  }

  const char* Name() const override { return name_.c_str(); }

 private:
  const cuda::Library& library_;
  NodeWeights weights_;
  NodeEpilogue epilogue_;
  NodeActivations activations_;
  std::string name_;
};

class CudaGather final : public Kernel {
 public:
  explicit CudaGather(const NodeView& node)
      : library_(cuda::RequireDevice()), weights_(node), type_(node.output_type()) {
    if (!node.input(0).shape_known && type_ != kFloat32) {
      ThrowInvalid("input 0 'indices' has an unknown rank; required with dtype ", type_, ": a known rank");
    }
  }

  void Compute(Invocation& call) const override {
    const TensorView indices = call.Input(0);
    ShapeBuffer shape(indices.shape);
    shape.Append(weights_.format().K);
    void* y = call.Output(shape.dims());
    int64_t count = 1;
    for (const int64_t size : indices.shape) count *= size;
    if (count == 0) return;
    const ortq_cuda_group_weights weights = OnDevice(weights_.Bind(call));
    library_.Check(library_.group_gather(&weights, type_, indices.data, indices.type, count, y, call.Stream()));
  }

  const char* Name() const override { return "cuda gather"; }

 private:
  const cuda::Library& library_;
  NodeWeights weights_;
  ElementType type_;
};

}  // namespace

std::unique_ptr<Kernel> CreateCudaMatMul(const NodeView& node) {
  return std::make_unique<CudaMatMul>(node);
}

std::unique_ptr<Kernel> CreateCudaGather(const NodeView& node) {
  return std::make_unique<CudaGather>(node);
}

}  // namespace ortq::group

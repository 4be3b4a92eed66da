// GatherNBits: Y[..., :] = dequant(W)[indices[...], :].
#include "core/buffer.h"
#include "schemes/group/ops.h"
#include "schemes/group/weights.h"

namespace ortq::group {
namespace {

class GatherKernel final : public Kernel {
 public:
  explicit GatherKernel(const NodeView& node) : weights_(node), type_(static_cast<ScalarType>(node.output_type())) {
    // A front end cannot tell an unknown rank from a scalar while it infers shapes, and needs a shape to set the type.
    if (!node.input(0).shape_known && type_ == ScalarType::kFloat16) {
      ThrowInvalid("input 0 'indices' has an unknown rank; required with dtype 10 (float16): a known rank");
    }
  }

  void Compute(Invocation& call) const override {
    const TensorView indices = call.Input(0);
    const int64_t K = weights_.format().K;
    ShapeBuffer shape(indices.shape);
    shape.Append(K);
    void* y = call.Output(shape.dims());
    int64_t count = 1;
    for (const int64_t size : indices.shape) count *= size;
    if (count == 0) return;
    CallBuffers buffers(call.ScratchMemory());
    const auto rows = buffers.Allocate<int64_t>(count);
    if (indices.type == kInt64) {
      ToRows(static_cast<const int64_t*>(indices.data), count, rows);
    } else {
      ToRows(static_cast<const int32_t*>(indices.data), count, rows);
    }
    GatherRows(weights_.Bind(call), rows, static_cast<size_t>(count), y, type_, call.Parallel());
  }

  const char* Name() const override { return "gather"; }

 private:
  /// Negative indices count from the end, as in ONNX Gather.
  template <typename Index>
  void ToRows(const Index* indices, int64_t count, int64_t* rows) const {
    const int64_t N = weights_.format().N;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = indices[i];
      if (index < -N || index >= N) ThrowInvalid("indices[", i, "] is ", index, "; permitted: ", -N, " to ", N - 1);
      rows[i] = index < 0 ? index + N : index;
    }
  }

  NodeWeights weights_;
  ScalarType type_;
};

}  // namespace

std::unique_ptr<Kernel> CreateGather(const NodeView& node) {
  return std::make_unique<GatherKernel>(node);
}

}  // namespace ortq::group

// ggml's matrix product on the CPU, weights in the buffer type that its CPU backend prefers for them (repacked where it
// can).
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "bench/peer.h"

namespace ortq::bench {
namespace {

/// The format of as many bits. Only those of 32 or 256 inputs a block exist, so the group size is ggml's own.
ggml_type TypeOf(int bits) {
  switch (bits) {
    case 2:
      return GGML_TYPE_Q2_K;
    case 3:
      return GGML_TYPE_Q3_K;
    case 4:
      return GGML_TYPE_Q4_0;
    default:
      return GGML_TYPE_Q8_0;
  }
}

std::vector<float> Normal(int64_t count, float deviation) {
  std::vector<float> values(static_cast<size_t>(count));
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, deviation);
  for (float& value : values) value = normal(random);
  return values;
}

class GgmlPeer : public Peer {
 public:
  explicit GgmlPeer(const PeerProblem& p) : type_(TypeOf(p.bits)), backend_(ggml_backend_cpu_init()) {
    ggml_backend_cpu_set_n_threads(backend_, p.threads);
    const auto copies = static_cast<size_t>(p.copies);
    const size_t leaves = copies + 1;  // the weights and X; a graph has as much room for leaves as for nodes
    const ggml_init_params weights_room{ggml_tensor_overhead() * (copies + 2), nullptr, /*no_alloc=*/true};
    weights_ = ggml_init(weights_room);
    for (size_t i = 0; i < copies; ++i) ggml_new_tensor_2d(weights_, type_, p.K, p.N);
    const ggml_init_params products_room{
        ggml_tensor_overhead() * (copies + 2) + ggml_graph_overhead_custom(leaves, false), nullptr, /*no_alloc=*/true};
    products_ = ggml_init(products_room);
    ggml_tensor* x = ggml_new_tensor_2d(products_, GGML_TYPE_F32, p.K, p.M);
    graph_ = ggml_new_graph_custom(products_, leaves, false);
    const std::vector<ggml_tensor*> products = Multiply(x);
    AllocateWeights(p, products.front());
    AllocateProducts(p, x, products);
  }

  ~GgmlPeer() override {
    ggml_backend_buffer_free(product_buffer_);
    ggml_backend_buffer_free(weight_buffer_);
    ggml_free(products_);
    ggml_free(weights_);
    ggml_backend_free(backend_);
  }

  std::string name() const override {
    return std::string("ggml ") + ggml_type_name(type_) + (repacked_ ? " repacked" : "");
  }

  void Run() override {
    if (ggml_backend_graph_compute(backend_, graph_) != GGML_STATUS_SUCCESS) throw std::runtime_error("ggml failed");
  }

 private:
  std::vector<ggml_tensor*> Multiply(ggml_tensor* x) {
    std::vector<ggml_tensor*> products;
    for (ggml_tensor* w = ggml_get_first_tensor(weights_); w != nullptr; w = ggml_get_next_tensor(weights_, w)) {
      products.push_back(ggml_mul_mat(products_, w, x));
      ggml_build_forward_expand(graph_, products.back());
    }
    return products;
  }

  /// A buffer type of the CPU backend that takes the product with repacked weights, as llama.cpp finds it.
  ggml_backend_buffer_type_t RepackedType(ggml_tensor* product) {
    const ggml_backend_reg_t reg = ggml_backend_cpu_reg();
    const ggml_backend_dev_t device = ggml_backend_reg_dev_get(reg, 0);
    const auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts"));
    if (get == nullptr) return nullptr;
    ggml_tensor* weight = product->src[0];
    for (ggml_backend_buffer_type_t* type = get(device); type != nullptr && *type != nullptr; ++type) {
      weight->buffer = ggml_backend_buft_alloc_buffer(*type, 0);
      const bool supported = ggml_backend_dev_supports_op(device, product);
      ggml_backend_buffer_free(weight->buffer);
      weight->buffer = nullptr;
      if (supported) return *type;
    }
    return nullptr;
  }

  void AllocateWeights(const PeerProblem& p, ggml_tensor* product) {
    ggml_backend_buffer_type_t type = RepackedType(product);
    repacked_ = type != nullptr;
    weight_buffer_ =
        ggml_backend_alloc_ctx_tensors_from_buft(weights_, repacked_ ? type : ggml_backend_cpu_buffer_type());
    const std::vector<float> values = Normal(p.N * p.K, 0.02f);
    std::vector<uint8_t> packed(ggml_row_size(type_, p.K) * static_cast<size_t>(p.N));
    ggml_quantize_chunk(type_, values.data(), packed.data(), 0, p.N, p.K, nullptr);
    for (ggml_tensor* w = ggml_get_first_tensor(weights_); w != nullptr; w = ggml_get_next_tensor(weights_, w)) {
      ggml_backend_tensor_set(w, packed.data(), 0, packed.size());
    }
  }

  /// All products are written to one place, as in the other peers' runs.
  void AllocateProducts(const PeerProblem& p, ggml_tensor* x, const std::vector<ggml_tensor*>& products) {
    const size_t x_bytes = (ggml_nbytes(x) + 63) / 64 * 64;
    product_buffer_ =
        ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), x_bytes + ggml_nbytes(products[0]));
    auto* base = static_cast<uint8_t*>(ggml_backend_buffer_get_base(product_buffer_));
    ggml_backend_tensor_alloc(product_buffer_, x, base);
    for (ggml_tensor* y : products) ggml_backend_tensor_alloc(product_buffer_, y, base + x_bytes);
    const std::vector<float> values = Normal(p.M * p.K, 1);
    ggml_backend_tensor_set(x, values.data(), 0, ggml_nbytes(x));
  }

  ggml_type type_;
  ggml_backend_t backend_;
  bool repacked_ = false;
  ggml_context* weights_ = nullptr;
  ggml_context* products_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  ggml_backend_buffer_t weight_buffer_ = nullptr;
  ggml_backend_buffer_t product_buffer_ = nullptr;
};

}  // namespace

std::unique_ptr<Peer> MakeGgmlPeer(const PeerProblem& problem) {
  // Formats of 2 and 3 bits have blocks of 256 inputs, the others of 32.
  const int64_t multiple = problem.bits < 4 ? 256 : 32;
  if (problem.accuracy_level != 4 || problem.K % multiple != 0) return nullptr;
  return std::make_unique<GgmlPeer>(problem);
}

}  // namespace ortq::bench

// The driver: one loop nest for every width, instruction set, accuracy level and number of rows.
//
//   activations are converted, quantized and interleaved once (core/activations.cc)
//   for each task = (rows that fit the L2 cache) x (a run of units of 4 tiles of 16 outputs)
//     for each unit: for each panel of rows: kernel(unit, panel)        packed weights stay in L2 between panels
//       epilogue of that piece: low rank, bias, conversion to Y's type
//
// K is never cut between threads, so results do not depend on the cut.
#include "core/matmul.h"

#include <cstring>
#include <string>

#include "core/activations.h"
#include "core/error.h"

namespace ortq {
namespace {

constexpr int kMaxPanelRows = 16;
/// Rows of activations kept in the L2 cache while weights stream past them.
constexpr int64_t kRowBlockBytes = 384 * 1024;
constexpr int64_t kMaxRowBlock = 192;
/// From here on dequantizing a panel of weights once for all rows beats unpacking it for every panel of rows.
constexpr int64_t kPanelGemmMinRows = 24;
constexpr int64_t kPanelSteps = 32;

/// Everything one call needs, shared read-only by its tasks.
struct Call {
  const KernelSet& kernels;
  const Layout& layout;
  const TileWeights& weights;  ///< tile 0
  int64_t N;
  const Activations& activations;
  AccuracyLevel level;
  const float* bias;
  const float* low_rank_b;
  int64_t rank;
  void* y;
  ScalarType type;
};

int64_t Tiles(int64_t N) {
  return (N + kTileOutputs - 1) / kTileOutputs;
}

/// Where a piece of Y is computed: in place when Y's memory can take whole tiles, else in a buffer of the task.
class OutputPiece {
 public:
  OutputPiece(const Call& call, int64_t first_row, int64_t first_output, int64_t outputs, float* room)
      : call_(call), first_row_(first_row), first_output_(first_output) {
    const int64_t N = call.N;
    outputs_ = std::min(outputs, N - first_output);
    in_place_ = call.type == ScalarType::kFloat32 && outputs_ == outputs &&
                reinterpret_cast<uintptr_t>(call.y) % alignof(float) == 0;
    data_ = in_place_ ? static_cast<float*>(call.y) + first_row * N + first_output : room;
    stride_ = in_place_ ? N : outputs;
  }

  float* data() const { return data_; }
  int64_t stride() const { return stride_; }

  void Finish(int64_t rows) const {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = data_ + r * stride_;
      if (call_.low_rank_b != nullptr) AddLowRank(first_row_ + r, row);
      if (call_.bias != nullptr) {
        for (int64_t i = 0; i < outputs_; ++i) row[i] += call_.bias[first_output_ + i];
      }
      if (!in_place_) Store(first_row_ + r, row);
    }
  }

 private:
  void AddLowRank(int64_t m, float* row) const {
    const float* t = call_.activations.low_rank + m * call_.rank;
    for (int64_t j = 0; j < call_.rank; ++j) {
      const float* b = call_.low_rank_b + j * call_.N + first_output_;
      for (int64_t i = 0; i < outputs_; ++i) row[i] += t[j] * b[i];
    }
  }

  void Store(int64_t m, const float* row) const {
    const int64_t index = m * call_.N + first_output_;
    if (call_.type == ScalarType::kFloat16) {
      call_.kernels.float_to_half(row, static_cast<uint8_t*>(call_.y) + 2 * index, outputs_);
    } else {
      std::memcpy(static_cast<uint8_t*>(call_.y) + 4 * index, row, static_cast<size_t>(outputs_) * 4);
    }
  }

  const Call& call_;
  int64_t first_row_;
  int64_t first_output_;
  int64_t outputs_;
  bool in_place_;
  float* data_;
  int64_t stride_;
};

void MultiplyUnits(const Call& call, Range panels, Range units) {
  alignas(64) float room[kMaxPanelRows * kUnitTiles * kTileOutputs];
  const Layout& layout = call.layout;
  for (int64_t u = units.begin; u < units.end; ++u) {
    const int64_t first_tile = u * kUnitTiles;
    const auto tiles = static_cast<int>(std::min<int64_t>(kUnitTiles, Tiles(call.N) - first_tile));
    const TileWeights first = TileAt(layout, call.weights, first_tile);
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const OutputPiece piece(call, call.activations.plan.FirstRow(p), first_tile * kTileOutputs, tiles * kTileOutputs,
                              room);
      const int rows = call.activations.plan.Rows(p);
      if (call.level == AccuracyLevel::kInt8) {
        const Int8Panel panel = call.activations.Int8(p, layout);
        call.kernels.int8_kernel(layout.bits, rows)(layout, first, tiles, panel, piece.data(), piece.stride());
      } else {
        const FloatPanel panel = call.activations.Float(p, layout);
        call.kernels.float_kernel(layout.bits, rows)(layout, first, tiles, panel, piece.data(), piece.stride());
      }
      piece.Finish(rows);
    }
  }
}

/// Float level, many rows: two tiles are dequantized a stretch of K at a time, and every panel multiplies with that.
void MultiplyDequantized(const Call& call, Range panels, Range tile_pairs) {
  alignas(64) float w[kPanelSteps * kStepDepth * kPanelOutputs];
  alignas(64) float room[kMaxRowBlock * kPanelOutputs];
  const Layout& layout = call.layout;
  const PanelPlan& plan = call.activations.plan;
  const int64_t first_row = plan.FirstRow(panels.begin);
  const int64_t last_tile = Tiles(call.N) - 1;
  const auto dequantize = call.kernels.dequantize(layout.bits);
  for (int64_t pair = tile_pairs.begin; pair < tile_pairs.end; ++pair) {
    const TileWeights tiles[2] = {TileAt(layout, call.weights, 2 * pair),
                                  TileAt(layout, call.weights, std::min(2 * pair + 1, last_tile))};
    const OutputPiece piece(call, first_row, pair * kPanelOutputs, kPanelOutputs, room);
    for (int64_t s = 0; s < layout.steps; s += kPanelSteps) {
      const int64_t end = std::min(layout.steps, s + kPanelSteps);
      dequantize(layout, tiles, s, end, w);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        const FloatPanel panel = call.activations.Float(p, layout);
        call.kernels.panel_gemm(panel.rows)(panel.values + s * kStepDepth * panel.rows, w, (end - s) * kStepDepth,
                                            s != 0, piece.data() + (plan.FirstRow(p) - first_row) * piece.stride(),
                                            piece.stride());
      }
    }
    piece.Finish(plan.FirstRow(panels.end) - first_row);
  }
}

/// Estimated time of a call on one thread: the larger of moving the weights and multiplying.
double EstimateNanoseconds(const Layout& layout, int64_t N, AccuracyLevel level, int64_t M) {
  const double weights = static_cast<double>(N) * static_cast<double>(layout.K);
  const double bytes_per_nanosecond = 25;
  const double products_per_nanosecond = level == AccuracyLevel::kInt8 ? 120 : 30;
  return std::max(weights * layout.bits / 8 / bytes_per_nanosecond,
                  weights * static_cast<double>(M) / products_per_nanosecond);
}

}  // namespace

struct TiledMatMul::State {
  const KernelSet& kernels;
  Layout layout;
  int64_t N;
  AccuracyLevel level;
  std::string name;
};

TiledMatMul::TiledMatMul(const KernelSet& kernels, const Layout& layout, int64_t N, AccuracyLevel level,
                         std::string name)
    : state_(new State{kernels, layout, N, level, std::move(name)}) {}
TiledMatMul::TiledMatMul(TiledMatMul&&) noexcept = default;
TiledMatMul& TiledMatMul::operator=(TiledMatMul&&) noexcept = default;
TiledMatMul::~TiledMatMul() = default;

const char* TiledMatMul::kernel_name() const {
  return state_->name.c_str();
}

Isa TiledMatMul::isa() const {
  return state_->kernels.isa;
}

void TiledMatMul::Run(const TileWeights& first, const Epilogue& epilogue, const void* x, void* y, ScalarType type,
                      int64_t M, const ParallelFor& parallel, const Scratch& scratch) const {
  const auto& [kernels, layout, N, level, name] = *state_;
  if (type != ScalarType::kFloat32 && type != ScalarType::kFloat16) {
    ThrowInvalid("X has ONNX type ", static_cast<int>(type), "; permitted: 1 (float), 10 (float16)");
  }
  if (M < 0) ThrowInvalid("M is ", M, "; permitted: 0 and more");
  if (M == 0) return;

  CallBuffers buffers(scratch);
  const TaskRunner runner(parallel);
  const FloatInputs inputs(kernels, type);
  const bool low_rank = epilogue.low_rank_a != nullptr && epilogue.low_rank_b != nullptr && epilogue.rank > 0;
  const bool dequantized = level == AccuracyLevel::kFloat && M >= kPanelGemmMinRows && kernels.dequantize != nullptr;
  const float* low_rank_a = low_rank ? inputs.Tensor(epilogue.low_rank_a, layout.K * epilogue.rank, buffers) : nullptr;
  const int max_rows = level == AccuracyLevel::kInt8 ? kernels.max_int8_rows : kernels.max_float_rows;
  const Activations activations = PrepareActivations(
      {kernels, layout, level, type, x, first.channel_order, low_rank_a, low_rank ? epilogue.rank : 0, max_rows}, M,
      runner, buffers);
  const Call call{kernels,
                  layout,
                  first,
                  N,
                  activations,
                  level,
                  inputs.Tensor(epilogue.bias, N, buffers),
                  low_rank ? inputs.Tensor(epilogue.low_rank_b, epilogue.rank * N, buffers) : nullptr,
                  epilogue.rank,
                  y,
                  type};

  // Row blocks that stay in L2, then as many output ranges as threads can use.
  const int64_t row_bytes = layout.steps * kStepDepth * (level == AccuracyLevel::kInt8 ? kernels.quad_bytes : 16) / 4;
  const int64_t rows_per_block =
      dequantized ? kMaxRowBlock : std::clamp<int64_t>(kRowBlockBytes / row_bytes, max_rows, kMaxRowBlock);
  const int64_t panels = activations.plan.panels;
  const int64_t row_blocks = (panels + rows_per_block / max_rows - 1) / (rows_per_block / max_rows);
  const int64_t tiles_per_unit = dequantized ? kPanelOutputs / kTileOutputs : kUnitTiles;
  const int64_t units = (Tiles(N) + tiles_per_unit - 1) / tiles_per_unit;
  const int64_t tasks = runner.TaskCount(EstimateNanoseconds(layout, N, level, M), units * row_blocks);
  const int64_t ranges = std::min(units, (tasks + row_blocks - 1) / row_blocks);
  runner.Run(row_blocks * ranges, [&](int64_t i) {
    const Range rows = Share(panels, row_blocks, i / ranges);
    const Range outputs = Share(units, ranges, i % ranges);
    (dequantized ? MultiplyDequantized : MultiplyUnits)(call, rows, outputs);
  });
}

void MultiplyFewRows(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel,
                     DequantizeKernel dequantize, PanelGemmKernel gemm, float* y, int64_t y_stride) {
  constexpr int64_t kSteps = 8;
  alignas(64) float w[kSteps * kStepDepth * kPanelOutputs];
  alignas(64) float room[kMaxPanelRows * kPanelOutputs];
  for (int t = 0; t < tiles; t += 2) {
    const bool pair = t + 1 < tiles;
    const TileWeights two[2] = {TileAt(layout, first, t), TileAt(layout, first, pair ? t + 1 : t)};
    float* out = pair ? y + kTileOutputs * t : room;
    const int64_t stride = pair ? y_stride : kPanelOutputs;
    for (int64_t step = 0; step < layout.steps; step += kSteps) {
      const int64_t end = std::min(step + kSteps, layout.steps);
      dequantize(layout, two, step, end, w);
      gemm(panel.values + step * kStepDepth * panel.rows, w, (end - step) * kStepDepth, step != 0, out, stride);
    }
    for (int r = 0; !pair && r < panel.rows; ++r) {
      std::memcpy(y + r * y_stride + kTileOutputs * t, room + r * kPanelOutputs, kTileOutputs * sizeof(float));
    }
  }
}

void SetStepOrder(Layout& layout) {
  const int fields = layout.bits == 3 ? 4 : 8 / layout.bits;
  for (int p = 0; p < kStepDepth; ++p) {
    const int in_vector = p % (4 * fields);
    layout.step_order[p] = static_cast<uint8_t>(p - in_vector + in_vector % 4 * fields + in_vector / 4);
  }
}

const KernelSet& KernelSets::For(Isa isa) const {
  ParseIsa(IsaName(isa));  // throws where it is not supported
  switch (isa) {
#if defined(ORTQUANT_X86_KERNELS)
    case Isa::kAvx512:
      return avx512();
    case Isa::kAvx2:
      return avx2();
#endif
    default:
      return reference();
  }
}

}  // namespace ortq

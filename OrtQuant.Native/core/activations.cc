#include "core/activations.h"

#include <algorithm>
#include <cstring>

namespace ortq {
namespace {

bool IsAligned(const void* data, size_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

/// Copies one quantized row into its place in a panel of `rows` rows.
void InterleaveQuads(const int8_t* q, int64_t quads, int rows, int row, uint8_t* panel) {
  for (int64_t i = 0; i < quads; ++i) std::memcpy(panel + (i * rows + row) * 4, q + 4 * i, 4);
}

/// Row buffers and outputs of the panels; one instance serves all threads, which write disjoint panels.
class Preparer {
 public:
  Preparer(const ActivationRequest& request, const PanelPlan& plan, CallBuffers& buffers)
      : request_(request),
        plan_(plan),
        inputs_(request.kernels, request.type),
        depth_(request.layout.steps * kStepDepth) {
    const int64_t M = plan.M;
    const int64_t blocks = request.layout.blocks;
    if (request.level == AccuracyLevel::kInt8) {
      values_ = buffers.Allocate<uint8_t>(M * depth_ / 4 * request.kernels.quad_bytes);
      scales_ = buffers.Allocate<float>(M * blocks);
      offsets_ = buffers.Allocate<int32_t>(M * blocks);
      row_bytes_ = depth_ + 8 * blocks + 64;
    } else {
      float_values_ = buffers.Allocate<float>(M * depth_);
      sums_ = buffers.Allocate<float>(M * blocks);
    }
    if (request.low_rank_a != nullptr) low_rank_ = buffers.Allocate<float>(M * request.rank);
    if (request.channel_order != nullptr) order_bytes_ = depth_ * 4;
  }

  /// Bytes of working memory that PreparePanels and MeasureRows need.
  int64_t RoomBytes() const { return depth_ * 4 + order_bytes_ + row_bytes_; }

  bool MeasuresCall() const {
    const RowSmoother* smoother = request_.kernels.smoother;
    return request_.level == AccuracyLevel::kInt8 && smoother != nullptr && smoother->over_call && plan_.M > 1;
  }

  /// The maxima of some rows, [blocks].
  void MeasureRows(Range rows, uint8_t* room, float* maxima) const {
    const int64_t blocks = request_.layout.blocks;
    auto* row_maxima = reinterpret_cast<float*>(room + depth_ * 4 + order_bytes_);
    std::fill_n(maxima, blocks, 0.0f);
    for (int64_t m = rows.begin; m < rows.end; ++m) {
      const float* x = InOrder(Row(m, room), room);
      // A row that is not finite gives no result, and does not spoil those of the others.
      if (!request_.kernels.smoother->measure(request_.layout, x, row_maxima)) continue;
      for (int64_t b = 0; b < blocks; ++b) maxima[b] = std::max(maxima[b], row_maxima[b]);
    }
  }

  /// `maxima` are those of the call; null where rows have their own.
  void PreparePanels(Range panels, uint8_t* room, const float* maxima) const {
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int64_t first = plan_.FirstRow(p);
      for (int r = 0; r < plan_.Rows(p); ++r) {
        const float* x = Row(first + r, room);
        const float* ordered = InOrder(x, room);
        if (request_.level == AccuracyLevel::kInt8) {
          QuantizeInto(p, r, ordered, maxima, room + depth_ * 4 + order_bytes_);
        } else {
          CopyInto(p, r, ordered);
        }
        if (low_rank_ != nullptr) ProjectRow(x, low_rank_ + (first + r) * request_.rank);
      }
    }
  }

  Activations Result() const {
    return {.plan = plan_,
            .values = values_,
            .float_values = float_values_,
            .scales = scales_,
            .offsets = offsets_,
            .sums = sums_,
            .low_rank = low_rank_,
            .quad_bytes = request_.kernels.quad_bytes};
  }

 private:
  const float* Row(int64_t m, uint8_t* room) const {
    return inputs_.Row(request_.x, m * request_.layout.K, request_.layout.K, reinterpret_cast<float*>(room));
  }

  /// The row in the order of the weights' K.
  const float* InOrder(const float* x, uint8_t* room) const {
    if (request_.channel_order == nullptr) return x;
    auto* ordered = reinterpret_cast<float*>(room + depth_ * 4);
    for (int64_t k = 0; k < request_.layout.K; ++k) ordered[k] = x[request_.channel_order[k]];
    return ordered;
  }

  void QuantizeInto(int64_t panel, int r, const float* x, const float* maxima, uint8_t* room) const {
    const Layout& layout = request_.layout;
    const int rows = plan_.Rows(panel);
    const int64_t first = plan_.FirstRow(panel);
    const ExpandRow expand = request_.kernels.expand_row;
    uint8_t* panel_values = values_ + first * depth_ / 4 * request_.kernels.quad_bytes;
    float* panel_scales = scales_ + first * layout.blocks;
    int32_t* panel_offsets = offsets_ + first * layout.blocks;

    auto* row_scales = reinterpret_cast<float*>(room);
    auto* row_sums = reinterpret_cast<int32_t*>(room + 4 * layout.blocks);
    const bool in_place = rows == 1 && expand == nullptr;
    auto* q = reinterpret_cast<int8_t*>(in_place ? panel_values : room + 8 * layout.blocks);
    if (const RowSmoother* smoother = request_.kernels.smoother; smoother != nullptr) {
      smoother->quantize(layout, x, maxima, q, row_scales, row_sums);
    } else {
      request_.kernels.quantize_row(x, layout.K, layout.block_steps * kStepDepth, layout.step_order, q, row_scales,
                                    row_sums);
    }
    if (!in_place) (expand != nullptr ? expand : InterleaveQuads)(q, depth_ / 4, rows, r, panel_values);
    const int32_t factor = layout.zp == ZeroPointKind::kNone ? -(1 << (layout.bits - 1)) : -1;
    for (int64_t b = 0; b < layout.blocks; ++b) {
      panel_scales[b * rows + r] = row_scales[b];
      panel_offsets[b * rows + r] = row_sums[b] * factor;
    }
  }

  void CopyInto(int64_t panel, int r, const float* x) const {
    const Layout& layout = request_.layout;
    const int rows = plan_.Rows(panel);
    const int64_t first = plan_.FirstRow(panel);
    float* values = float_values_ + first * depth_;
    for (int64_t k = 0; k < layout.K; ++k) values[k * rows + r] = x[k];
    for (int64_t k = layout.K; k < depth_; ++k) values[k * rows + r] = 0;
    const int64_t block = layout.block_steps * kStepDepth;
    for (int64_t b = 0; b < layout.blocks; ++b) {
      const int64_t end = std::min(layout.K, (b + 1) * block);
      double sum = 0;
      for (int64_t k = b * block; k < end; ++k) sum += static_cast<double>(x[k]);
      sums_[first * layout.blocks + b * rows + r] = static_cast<float>(sum);
    }
  }

  void ProjectRow(const float* x, float* out) const {
    for (int64_t j = 0; j < request_.rank; ++j) out[j] = 0;
    for (int64_t k = 0; k < request_.layout.K; ++k) {
      const float* a = request_.low_rank_a + k * request_.rank;
      for (int64_t j = 0; j < request_.rank; ++j) out[j] += x[k] * a[j];
    }
  }

  const ActivationRequest& request_;
  PanelPlan plan_;
  FloatInputs inputs_;
  int64_t depth_;
  int64_t row_bytes_ = 0;
  int64_t order_bytes_ = 0;
  uint8_t* values_ = nullptr;
  float* float_values_ = nullptr;
  float* scales_ = nullptr;
  int32_t* offsets_ = nullptr;
  float* sums_ = nullptr;
  float* low_rank_ = nullptr;
};

}  // namespace

const float* FloatInputs::Row(const void* data, int64_t begin, int64_t count, float* room) const {
  if (type_ == ScalarType::kFloat16) {
    kernels_.half_to_float(static_cast<const uint8_t*>(data) + 2 * begin, room, count);
    return room;
  }
  const auto* bytes = static_cast<const uint8_t*>(data) + 4 * begin;
  if (IsAligned(bytes, alignof(float))) return reinterpret_cast<const float*>(bytes);
  std::memcpy(room, bytes, static_cast<size_t>(count) * 4);
  return room;
}

const float* FloatInputs::Tensor(const void* data, int64_t count, CallBuffers& buffers) const {
  if (data == nullptr) return nullptr;
  const bool in_place = type_ == ScalarType::kFloat32 && IsAligned(data, alignof(float));
  return Row(data, 0, count, in_place ? nullptr : buffers.Allocate<float>(count));
}

Int8Panel Activations::Int8(int64_t panel, const Layout& layout) const {
  const int64_t first = plan.FirstRow(panel);
  return {plan.Rows(panel), values + first * layout.steps * kStepDepth / 4 * quad_bytes, scales + first * layout.blocks,
          offsets + first * layout.blocks};
}

FloatPanel Activations::Float(int64_t panel, const Layout& layout) const {
  const int64_t first = plan.FirstRow(panel);
  return {plan.Rows(panel), float_values + first * layout.steps * kStepDepth, sums + first * layout.blocks};
}

Activations PrepareActivations(const ActivationRequest& request, int64_t M, const TaskRunner& runner,
                               CallBuffers& buffers) {
  const PanelPlan plan(M, request.max_rows);
  const Preparer preparer(request, plan, buffers);
  constexpr double kNanosecondsPerValue = 0.5;
  const double work = static_cast<double>(M) * static_cast<double>(request.layout.K) *
                      (kNanosecondsPerValue + 0.1 * static_cast<double>(request.rank));
  const int64_t tasks = runner.TaskCount(work, plan.panels);
  const int64_t room_bytes = (preparer.RoomBytes() + 63) / 64 * 64;
  auto* rooms = buffers.Allocate<uint8_t>(tasks * room_bytes);
  float* maxima = nullptr;
  if (preparer.MeasuresCall()) {
    // The largest of some numbers does not depend on who looked at which.
    const int64_t blocks = request.layout.blocks;
    maxima = buffers.Allocate<float>(tasks * blocks);
    runner.Run(tasks, [&](int64_t i) {
      preparer.MeasureRows(Share(M, tasks, i), rooms + i * room_bytes, maxima + i * blocks);
    });
    for (int64_t i = blocks; i < tasks * blocks; ++i) maxima[i % blocks] = std::max(maxima[i % blocks], maxima[i]);
  }
  runner.Run(tasks,
             [&](int64_t i) { preparer.PreparePanels(Share(plan.panels, tasks, i), rooms + i * room_bytes, maxima); });
  return preparer.Result();
}

}  // namespace ortq

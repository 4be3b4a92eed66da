// X as the kernels read it: converted, quantized where the accuracy level asks for it, and interleaved into panels of
// rows.
#pragma once

#include <cstdint>

#include "core/buffer.h"
#include "core/parallel.h"
#include "core/tile_kernels.h"
#include "core/types.h"

namespace ortq {

/// Cuts M rows into panels of at most max_rows, as even as possible: a panel unpacks every weight once, so 8 + 8 rows
/// beat 12 + 4.
struct PanelPlan {
  int64_t M;
  int64_t panels;

  PanelPlan(int64_t rows, int max_rows) : M(rows), panels((rows + max_rows - 1) / max_rows) {}
  int64_t FirstRow(int64_t panel) const { return panel * (M / panels) + (panel < M % panels ? panel : M % panels); }
  int Rows(int64_t panel) const { return static_cast<int>(FirstRow(panel + 1) - FirstRow(panel)); }
};

/// float32 views of the call's inputs, whatever their type and alignment.
class FloatInputs {
 public:
  FloatInputs(const KernelSet& kernels, ScalarType type) : kernels_(kernels), type_(type) {}

  /// count elements from index begin; `room` is used when the data cannot be read in place.
  const float* Row(const void* data, int64_t begin, int64_t count, float* room) const;
  /// The whole of a tensor; null stays null.
  const float* Tensor(const void* data, int64_t count, CallBuffers& buffers) const;

 private:
  const KernelSet& kernels_;
  ScalarType type_;
};

/// All panels of one call, in one of the two forms.
struct Activations {
  PanelPlan plan;
  const uint8_t* values = nullptr;      ///< int8 level; see Int8Panel
  const float* float_values = nullptr;  ///< float level; see FloatPanel
  const float* scales = nullptr;
  const int32_t* offsets = nullptr;
  const float* sums = nullptr;
  const float* low_rank = nullptr;  ///< X . A, [M, rank]
  int quad_bytes = 4;               ///< KernelSet::quad_bytes

  Int8Panel Int8(int64_t panel, const Layout& layout) const;
  FloatPanel Float(int64_t panel, const Layout& layout) const;
};

struct ActivationRequest {
  const KernelSet& kernels;
  const Layout& layout;
  AccuracyLevel level;
  ScalarType type;
  const void* x;
  const int32_t* channel_order;  ///< [K] or null; see TileWeights
  const float* low_rank_a;       ///< [K, rank] or null
  int64_t rank;
  int max_rows;
};

Activations PrepareActivations(const ActivationRequest& request, int64_t M, const TaskRunner& runner,
                               CallBuffers& buffers);

}  // namespace ortq

// What a scheme whose weights lie in tiles of 16 outputs gives to the driver (core/matmul.cc): strides, and the inner
// loops of an instruction set; and the plain data that passes between the two.
//
// Kernel files are compiled with flags of their instruction set, so nothing with external linkage may be instantiated
// in them: a comdat copy of an inline function with AVX-512 in it could be the one the linker keeps for every caller.
// That is why only plain data is shared here.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "core/types.h"

namespace ortq {

/// K is walked in steps of 16: the smallest group, and four 32-bit lanes of packed activations.
inline constexpr int kStepDepth = 16;
/// Longest run of K whose integer dot product is accumulated before it is scaled: 16 k x 8. It bounds the error of the
/// activation quantization of long groups, and keeps a block's sum of int8 activations within int16.
inline constexpr int kMaxBlockSteps = 8;
/// Tiles that a kernel is given at once. With few rows it walks them side by side: weights then arrive in as many
/// streams, which hardware prefetchers serve better than one, and an activation is broadcast once for all of them.
inline constexpr int kUnitTiles = 4;
/// Outputs of a tile pair, the unit of the dequantized panel of the float GEMM.
inline constexpr int kPanelOutputs = 32;

/// Strides and counts of one format, resolved once per matmul.
struct Layout {
  int bits;
  int half_scales;       ///< scales are float16
  int half_zero_points;  ///< float zero points are float16
  int zero_point_bits;   ///< of integer zero points
  ZeroPointKind zp;
  int64_t K;
  int64_t steps;             ///< ceil(K / 16)
  int64_t block_steps;       ///< steps of an activation block: 1, 2, 4 or 8
  int64_t blocks;            ///< ceil(steps / block_steps)
  int64_t blocks_per_group;  ///< activation blocks that share a scale; whole row: all
  int64_t groups;
  int64_t tile_code_bytes;
  int64_t tile_scale_bytes;
  int64_t group_scale_bytes;       ///< of 16 outputs
  int64_t group_zero_point_bytes;  ///< of 16 outputs; float zero points only
  int64_t tile_zero_point_bytes;
  int64_t tile_group_scale_bytes;  ///< of schemes that have scales of groups beside those of outputs
  int64_t tile_row_sum_bytes;      ///< of schemes that have sums of each output's weights
  int activation_limit;            ///< largest quantized activation, of schemes with a RowSmoother
  int64_t blocks_per_smooth;       ///< activation blocks that are smoothed together, likewise
  int64_t refined;                 ///< of schemes in which some groups of a tile have more bits: how many
  int64_t outliers;                ///< of schemes with sparse weights: how many a row has in each group
  int64_t tile_map_bytes;          ///< of the bit map of those groups
  int64_t tile_outliers;           ///< sparse weights of a tile
  /// Order of the activations of a step of 16 k in an Int8Panel: position p holds k = step_order[p]. Shifting a vector
  /// of codes by one field leaves every (8 / bits)-th k, so those stand together.
  uint8_t step_order[kStepDepth];
};

/// The first of one or more consecutive tiles of 16 outputs.
struct TileWeights {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* zero_points;
  const uint8_t* group_scales = nullptr;  ///< of schemes that have scales of groups beside those of outputs
  const uint8_t* row_sums = nullptr;      ///< of schemes that have sums of each output's weights
  /// Of schemes that store K in another order: position p holds channel channel_order[p] of X.
  const int32_t* channel_order = nullptr;
  const uint8_t* refined = nullptr;            ///< of schemes in which some groups have more bits: a bit for each group
  const uint8_t* outlier_positions = nullptr;  ///< of schemes with sparse weights: a byte each
  const uint8_t* outlier_values = nullptr;     ///< int16 each
};

/// Tile t, counted from `first`; what the scheme does not have stays null.
static inline TileWeights TileAt(const Layout& layout, const TileWeights& first, int64_t t) {
  const auto at = [t](const uint8_t* data, int64_t bytes) { return data == nullptr ? nullptr : data + t * bytes; };
  return {at(first.codes, layout.tile_code_bytes),
          at(first.scales, layout.tile_scale_bytes),
          at(first.zero_points, layout.tile_zero_point_bytes),
          at(first.group_scales, layout.tile_group_scale_bytes),
          at(first.row_sums, layout.tile_row_sum_bytes),
          first.channel_order,
          at(first.refined, layout.tile_map_bytes),
          at(first.outlier_positions, layout.tile_outliers),
          at(first.outlier_values, 2 * layout.tile_outliers)};
}

/// A kernel that multiplies with one tile at a time.
template <auto MultiplyTile, typename Panel>
static void EachTile(const Layout& layout, const TileWeights& first, int tiles, const Panel& panel, float* y,
                     int64_t y_stride) {
  for (int t = 0; t < tiles; ++t) {
    MultiplyTile(layout, TileAt(layout, first, t), panel, y + t * kTileOutputs, y_stride);
  }
}

/// Rows of quantized activations, interleaved so that the rows of one k-quadruple are contiguous: kernels then read one
/// forward stream however many rows there are (rows K apart would fall into the same L1 sets when K is a power of two).
struct Int8Panel {
  int rows;
  const uint8_t* values;  ///< [K / 4, rows] quadruples of int8 in Layout::step_order, or what expand_row makes of them
  const float* scales;    ///< [blocks, rows]
  const int32_t*
      offsets;  ///< [blocks, rows]: -sum of the block's values, times 2^(bits-1) when there are no zero points
};

/// Rows of float activations, [K, rows], and the sum of each block, [blocks, rows].
struct FloatPanel {
  int rows;
  const float* values;
  const float* sums;
};

/// y[r * y_stride + i] = dot product of row r with output i of `tiles` consecutive tiles, r < panel.rows, i < 16 *
/// tiles. 1 <= tiles <= kUnitTiles.
using Int8Kernel = void (*)(const Layout&, const TileWeights& first, int tiles, const Int8Panel&, float* y,
                            int64_t y_stride);
using FloatKernel = void (*)(const Layout&, const TileWeights& first, int tiles, const FloatPanel&, float* y,
                             int64_t y_stride);

/// out[k - 16 * step_begin][32] = dequantized weights of two tiles for steps [step_begin, step_end).
using DequantizeKernel = void (*)(const Layout&, const TileWeights (&tiles)[2], int64_t step_begin, int64_t step_end,
                                  float* out);
/// y[rows, 32] (+)= x [depth, rows] . w [depth, 32]; y is overwritten when `accumulate` is 0.
using PanelGemmKernel = void (*)(const float* x, const float* w, int64_t depth, int accumulate, float* y,
                                 int64_t y_stride);

/// A FloatKernel made of the two: for schemes whose float level has no kernel of its own for few rows. A stretch of K
/// is dequantized at a time that fits the L1 cache.
void MultiplyFewRows(const Layout& layout, const TileWeights& first, int tiles, const FloatPanel& panel,
                     DequantizeKernel dequantize, PanelGemmKernel gemm, float* y, int64_t y_stride);

/// Quantizes K floats in blocks of `block`: q has room for whole steps, each in `step_order`, its padding set to 0.
using QuantizeRow = void (*)(const float* x, int64_t K, int64_t block, const uint8_t (&step_order)[kStepDepth],
                             int8_t* q, float* scales, int32_t* sums);

/// What quantizes rows where their activations are divided by the maximum of their channels first.
struct RowSmoother {
  /// maxima[b] = the largest magnitude in the blocks that are smoothed together with activation block b. False where
  /// the row has a NaN or an infinity.
  bool (*measure)(const Layout&, const float* x, float* maxima);
  /// As QuantizeRow, in blocks of the layout. `maxima` [blocks] are what the row is divided by; null: its own.
  void (*quantize)(const Layout&, const float* x, const float* maxima, int8_t* q, float* scales, int32_t* sums);
  /// Maxima are those of all finite rows of a call; else each row has its own.
  bool over_call;
};

/// Puts a quantized row in its place in a panel of `rows` rows, `quads` quadruples as KernelSet::quad_bytes bytes each.
using ExpandRow = void (*)(const int8_t* q, int64_t quads, int rows, int row, uint8_t* panel);
/// Halves may have any alignment.
using HalfToFloatRow = void (*)(const void* in, float* out, int64_t count);
using FloatToHalfRow = void (*)(const float* in, void* out, int64_t count);

struct KernelSet {
  Isa isa;
  int max_int8_rows;  ///< rows of the largest panel
  int max_float_rows;
  Int8Kernel (*int8_kernel)(int bits, int rows);    ///< rows in [1, max_int8_rows]
  FloatKernel (*float_kernel)(int bits, int rows);  ///< rows in [1, max_float_rows]
  DequantizeKernel (*dequantize)(int bits);         ///< null: the instruction set has no panel GEMM
  PanelGemmKernel (*panel_gemm)(int rows);
  QuantizeRow quantize_row;
  HalfToFloatRow half_to_float;
  FloatToHalfRow float_to_half;
  const RowSmoother* smoother = nullptr;  ///< in place of quantize_row
  int quad_bytes = 4;                     ///< what an Int8Panel holds for a quadruple of a row
  ExpandRow expand_row = nullptr;         ///< null: the quadruples themselves
};

/// The kernels of one scheme, by instruction set.
struct KernelSets {
  const KernelSet& (*reference)();
#if defined(ORTQUANT_X86_KERNELS)
  const KernelSet& (*avx2)();
  const KernelSet& (*avx512)();
#endif

  /// Throws Error when this machine does not support the instruction set.
  const KernelSet& For(Isa isa) const;
};

/// Fills layout.step_order from layout.bits.
void SetStepOrder(Layout& layout);

}  // namespace ortq

// The contract between the attention driver and the instruction sets: a few rows of queries against the keys and values
// of one head.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace ortq::attention {

/// Keys or values of one head, [rows, head_size], as the cache holds them.
struct CacheRows {
  const void* data;
  bool half;  ///< float16, else float32
};

/// Rows of queries that a kernel takes at once, at most.
inline constexpr int64_t kRows = 8;

/// Key ranges begin at a multiple of this, and rows of scores are multiples of it apart.
inline constexpr int64_t kLanes = 8;

/// What an instruction set implements. A row's result does not depend on the rows beside it, nor on where a range
/// begins and ends outside of the keys that the row attends to.
struct KernelSet {
  const char* name;

  /// Whether this set can do heads of that size.
  bool (*supports)(int64_t head_size);

  /// scores[r * stride + t] = q[r] . keys[t] for t in [begin, end); q is [rows, head_size].
  void (*score)(const float* q, int64_t rows, int64_t head_size, CacheRows keys, int64_t begin, int64_t end,
                float* scores, int64_t stride);

  /// Scores [0, count) become probabilities; count is a multiple of kLanes. Scores of -infinity become 0.
  void (*softmax)(float* scores, int64_t count);

  /// out[r] = sum over t in [begin, end) of p[r * stride + t] * values[t]; out is [rows, head_size].
  void (*mix)(const float* p, int64_t stride, int64_t rows, int64_t head_size, CacheRows values, int64_t begin,
              int64_t end, float* out);

  void (*to_float)(const uint16_t* from, float* to, int64_t count);
  void (*to_half)(const float* from, uint16_t* to, int64_t count);
};

extern const KernelSet kReference;
extern const KernelSet kAvx2;

/// The kernels of an instruction set for heads of that size; those of the next lower one where it has none of its own.
const KernelSet& KernelsFor(Isa isa, int64_t head_size);

}  // namespace ortq::attention

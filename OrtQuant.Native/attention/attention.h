// Attention of new tokens over a cache of keys and values, and the growth of that cache: loops, rotary embedding,
// masks, threads.
#pragma once

#include <cstdint>

#include "attention/kernels.h"
#include "core/types.h"

namespace ortq::attention {

/// What a query may attend to.
enum class MaskKind {
  kCausal,    ///< everything up to its own token, or the last `window` of that
  kBoolean,   ///< where the mask is true; a row without any gives zeros
  kAdditive,  ///< everything; the mask is added to the scores
};

/// A tensor [batch or 1, heads or 1, tokens or 1, keys or 1]; strides in elements, 0 where a dimension is 1.
struct Mask {
  MaskKind kind = MaskKind::kCausal;
  const void* data = nullptr;
  bool half = false;  ///< additive: float16, else float32
  int64_t batch_stride = 0, head_stride = 0, token_stride = 0, key_stride = 0;
  int64_t window = 0;  ///< causal: keys that a query attends to at most; 0: all
};

/// Cosines and sines of the rotary embedding: element i of a head turns with element i + rotary / 2, or 2i with 2i + 1
/// (interleaved). Row of token s of batch b: b * batch_rows + s * token_rows, and the past length of b on top where
/// `after_past`.
struct Rotary {
  int64_t size = 0;  ///< dimensions that turn; 0: none
  const void* cos = nullptr;
  const void* sin = nullptr;
  bool half = false;        ///< float16, else float32
  bool both_halves = true;  ///< rows of `size` numbers, one for each dimension; else of size / 2
  bool interleaved = false;
  bool after_past = false;
  int64_t batch_rows = 0;
  int64_t token_rows = 1;
};

/// One call. Activations: [batch, tokens, *] with `stride` elements from token to token.
struct Problem {
  int64_t batch, tokens, heads, kv_heads, head_size;
  float scale = 1;
  bool half = false;  ///< activations and output are float16, else float32
  const void *query, *key, *value;
  int64_t query_stride, key_stride, value_stride;

  bool half_cache = false;            ///< the cache is float16, else float32
  const void *past_key, *past_value;  ///< [batch, kv_heads, past_rows, head_size]; null where past_rows is 0
  void *present_key, *present_value;  ///< [batch, kv_heads, present_rows, head_size]; may be the past itself
  int64_t past_rows, present_rows;
  const int64_t* past_lengths = nullptr;  ///< [batch], rows of the past that count; null: past_rows each

  Mask mask;
  Rotary rotary;
  void* output;  ///< [batch, tokens, heads * head_size]

  int64_t PastLength(int64_t b) const { return past_lengths == nullptr ? past_rows : past_lengths[b]; }
};

/// Appends the new keys and values to the cache and attends. The result does not depend on the number of threads.
void Run(const KernelSet& kernels, const Problem& problem, const ParallelFor& parallel, const Scratch& scratch);

}  // namespace ortq::attention

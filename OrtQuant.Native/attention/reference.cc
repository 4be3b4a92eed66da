// Portable kernels: the definition of the result.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/kernels.h"
#include "core/half.h"

namespace ortq::attention {
namespace {

float At(CacheRows rows, int64_t index) {
  return rows.half ? HalfToFloat(static_cast<const uint16_t*>(rows.data)[index])
                   : static_cast<const float*>(rows.data)[index];
}

bool Supports(int64_t) {
  return true;
}

void Score(const float* q, int64_t rows, int64_t head_size, CacheRows keys, int64_t begin, int64_t end, float* scores,
           int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = begin; t < end; ++t) {
      float sum = 0;
      for (int64_t d = 0; d < head_size; ++d) sum += q[r * head_size + d] * At(keys, t * head_size + d);
      scores[r * stride + t] = sum;
    }
  }
}

void Softmax(float* scores, int64_t count) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t t = 0; t < count; ++t) largest = std::max(largest, scores[t]);
  float sum = 0;
  for (int64_t t = 0; t < count; ++t) sum += scores[t] = std::exp(scores[t] - largest);
  for (int64_t t = 0; t < count; ++t) scores[t] /= sum;
}

void Mix(const float* p, int64_t stride, int64_t rows, int64_t head_size, CacheRows values, int64_t begin, int64_t end,
         float* out) {
  std::fill_n(out, rows * head_size, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = begin; t < end; ++t) {
      const float weight = p[r * stride + t];
      for (int64_t d = 0; d < head_size; ++d) out[r * head_size + d] += weight * At(values, t * head_size + d);
    }
  }
}

void ToFloat(const uint16_t* from, float* to, int64_t count) {
  std::transform(from, from + count, to, HalfToFloat);
}

void ToHalf(const float* from, uint16_t* to, int64_t count) {
  std::transform(from, from + count, to, FloatToHalf);
}

}  // namespace

const KernelSet kReference = {"reference", Supports, Score, Softmax, Mix, ToFloat, ToHalf};

const KernelSet& KernelsFor(Isa isa, int64_t head_size) {
#ifdef ORTQUANT_X86_KERNELS
  if (isa >= Isa::kAvx2 && kAvx2.supports(head_size)) return kAvx2;
#endif
  (void)isa;
  (void)head_size;
  return kReference;
}

}  // namespace ortq::attention

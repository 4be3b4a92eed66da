// Quantization of rows for any processor, written for clarity. It defines what the others must compute (kernels.h).
#include <algorithm>
#include <cmath>

#include "schemes/smooth/kernels.h"

namespace ortq::smooth {
namespace {

bool Measure(const Layout& layout, const float* x, float* maxima) {
  bool finite = true;
  std::fill_n(maxima, layout.blocks, 0.0f);
  for (int64_t k = 0; k < layout.K; ++k) {
    finite &= std::isfinite(x[k]);
    float& largest =
        maxima[k / (layout.block_steps * kStepDepth) / layout.blocks_per_smooth * layout.blocks_per_smooth];
    largest = std::max(largest, std::fabs(x[k]));
  }
  for (int64_t b = 0; b < layout.blocks; ++b) {
    maxima[b] = maxima[b / layout.blocks_per_smooth * layout.blocks_per_smooth];
  }
  return finite;
}

template <SmoothScope Scope>
void Quantize(const Layout& layout, const float* x, const float* maxima, int8_t* q, float* scales, int32_t* sums) {
  const bool finite = Measure(layout, x, scales);
  const auto smooth = [&](int64_t b) {
    return Scope == SmoothScope::kNone ? 1.0f : maxima != nullptr ? maxima[b] : scales[b];
  };
  const auto inverse = [&](int64_t b) { return smooth(b) >= kLeastMagnitude ? 1.0f / smooth(b) : 0.0f; };
  float top = 0;
  for (int64_t b = 0; b < layout.blocks; ++b) top = std::max(top, scales[b] * inverse(b));
  const auto limit = static_cast<float>(layout.activation_limit);
  const float steps = finite && top >= kLeastMagnitude ? limit / top : 0.0f;
  for (int64_t b = 0; b < layout.blocks; ++b) {
    int32_t sum = 0;
    const int64_t end = std::min(layout.steps, (b + 1) * layout.block_steps) * kStepDepth;
    for (int64_t p = b * layout.block_steps * kStepDepth; p < end; ++p) {
      const int64_t k = p - p % kStepDepth + layout.step_order[p % kStepDepth];
      const float position = finite && k < layout.K ? x[k] * inverse(b) * steps : 0.0f;
      q[p] = static_cast<int8_t>(std::nearbyint(position));
      sum += q[p];
    }
    sums[b] = sum;
    // Products with a non-finite activation must not look like numbers: the row's scales carry the NaN.
    scales[b] = finite ? smooth(b) * top * (1.0f / limit) : NAN;
  }
}

template <SmoothScope Scope>
constexpr RowSmoother kSmoother = {Measure, Quantize<Scope>, Scope == SmoothScope::kCall};

}  // namespace

const RowSmoother& ReferenceSmoother(SmoothScope scope) {
  switch (scope) {
    case SmoothScope::kNone:
      return kSmoother<SmoothScope::kNone>;
    case SmoothScope::kToken:
      return kSmoother<SmoothScope::kToken>;
    default:
      return kSmoother<SmoothScope::kCall>;
  }
}

}  // namespace ortq::smooth

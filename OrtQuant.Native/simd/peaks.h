// Loops that keep one execution resource busy; the roofline times them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace ortq::simd {

/// Each function returns something that depends on all its work, so that none of it can be left out.
struct Peaks {
  uint64_t (*read)(const void* data, size_t bytes);  ///< bytes is a multiple of 512
  uint64_t (*int8)(int64_t rounds);
  double int8_operations;  ///< per round
  float (*fp32)(int64_t rounds);
  double fp32_operations;  ///< per round
};

const Peaks& ReferencePeaks();
#if defined(ORTQUANT_X86_KERNELS)
const Peaks& Avx2Peaks();
const Peaks& Avx512Peaks();
#endif

}  // namespace ortq::simd

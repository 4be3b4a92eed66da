#include <immintrin.h>

#include "simd/peaks.h"

namespace ortq::simd {
namespace {

constexpr int kChains = 12;

uint64_t Read(const void* data, size_t bytes) {
  const auto* p = static_cast<const char*>(data);
  __m256i any[4] = {};
  for (size_t i = 0; i < bytes; i += 512) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      any[j % 4] = _mm256_or_si256(
          any[j % 4], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + 32 * static_cast<size_t>(j))));
    }
  }
  const __m256i all = _mm256_or_si256(_mm256_or_si256(any[0], any[1]), _mm256_or_si256(any[2], any[3]));
  uint64_t words[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), all);
  return words[0] | words[1] | words[2] | words[3];
}

// Without VNNI the cheapest 8-bit product is vpmaddubsw and a 16-bit add.
uint64_t Int8(int64_t rounds) {
  __m256i sums[kChains] = {};
  // Opaque, so that equal chains are not merged into one.
  for (auto& sum : sums) asm volatile("" : "+x"(sum));
  __m256i a = _mm256_set1_epi8(3);
  __m256i b = _mm256_set1_epi8(-2);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      __m256i product = _mm256_maddubs_epi16(a, b);
      asm volatile("" : "+x"(product));
      sums[c] = _mm256_add_epi16(sums[c], product);
    }
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm256_add_epi16(sums[0], sums[c]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sums[0], 0));
}

float Fp32(int64_t rounds) {
  __m256 sums[kChains] = {};
  // Opaque, so that equal chains are not merged into one.
  for (auto& sum : sums) asm volatile("" : "+x"(sum));
  __m256 a = _mm256_set1_ps(1e-3f);
  __m256 b = _mm256_set1_ps(1e-3f);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(a, b, sums[c]);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm256_add_ps(sums[0], sums[c]);
  return _mm256_cvtss_f32(sums[0]);
}

}  // namespace

const Peaks& Avx2Peaks() {
  static const Peaks peaks{Read, Int8, kChains * 64.0, Fp32, kChains * 16.0};
  return peaks;
}

}  // namespace ortq::simd

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "simd/peaks.h"

namespace ortq::simd {
namespace {

// More independent chains than latency x throughput of any unit so far.
constexpr int kChains = 12;

uint64_t Read(const void* data, size_t bytes) {
  const auto* p = static_cast<const char*>(data);
  __m512i any[4] = {};
  for (size_t i = 0; i < bytes; i += 512) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) any[j % 4] = _mm512_or_si512(any[j % 4], _mm512_loadu_si512(p + i + 64 * j));
  }
  const __m512i all = _mm512_or_si512(_mm512_or_si512(any[0], any[1]), _mm512_or_si512(any[2], any[3]));
  return static_cast<uint64_t>(_mm512_reduce_or_epi64(all));
}

uint64_t Int8(int64_t rounds) {
  __m512i sums[kChains] = {};
  // Opaque, so that equal chains are not merged into one.
  for (auto& sum : sums) asm volatile("" : "+v"(sum));
  __m512i a = _mm512_set1_epi8(3);
  __m512i b = _mm512_set1_epi8(-2);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbusd_epi32(sums[c], a, b);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_epi32(sums[0], sums[c]);
  return static_cast<uint64_t>(_mm512_reduce_or_epi64(sums[0]));
}

float Fp32(int64_t rounds) {
  __m512 sums[kChains] = {};
  // Opaque, so that equal chains are not merged into one.
  for (auto& sum : sums) asm volatile("" : "+v"(sum));
  __m512 a = _mm512_set1_ps(1e-3f);
  __m512 b = _mm512_set1_ps(1e-3f);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(a, b, sums[c]);
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_ps(sums[0], sums[c]);
  return _mm512_reduce_add_ps(sums[0]);
}

}  // namespace

const Peaks& Avx512Peaks() {
  static const Peaks peaks{Read, Int8, kChains * 128.0, Fp32, kChains * 32.0};
  return peaks;
}

}  // namespace ortq::simd

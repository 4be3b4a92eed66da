#include "core/roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/isa.h"
#include "simd/peaks.h"

namespace ortq {
namespace simd {
namespace {

uint64_t ReadPortable(const void* data, size_t bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  uint64_t any[8] = {};
  for (size_t i = 0; i < bytes / 8; i += 8) {
    for (size_t j = 0; j < 8; ++j) any[j] |= words[i + j];
  }
  return any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7];
}

uint64_t Int8Portable(int64_t rounds) {
  volatile uint8_t code = 3;
  volatile int8_t activation = -2;
  int32_t sums[8] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    const int32_t product = code * activation;
    for (int32_t& sum : sums) sum += product;
  }
  int64_t total = 0;
  for (const int32_t sum : sums) total += sum;
  return static_cast<uint64_t>(total);
}

float Fp32Portable(int64_t rounds) {
  volatile float a = 1e-3f;
  float sums[8] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    const float x = a;
    for (float& sum : sums) sum += x * x;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace

const Peaks& ReferencePeaks() {
  static constexpr Peaks peaks{ReadPortable, Int8Portable, 16.0, Fp32Portable, 16.0};
  return peaks;
}

}  // namespace simd

namespace {

using Clock = std::chrono::steady_clock;

const simd::Peaks& ActivePeaks() {
  switch (ActiveIsa()) {
#if defined(ORTQUANT_X86_KERNELS)
    case Isa::kAvx512:
      return simd::Avx512Peaks();
    case Isa::kAvx2:
      return simd::Avx2Peaks();
#endif
    default:
      return simd::ReferencePeaks();
  }
}

/// Seconds from the moment that all threads are ready until the last has finished; the best of `repeats`.
double BestSeconds(int threads, int repeats, const std::function<void(int)>& work) {
  double best = 1e300;
  for (int i = 0; i < repeats; ++i) {
    std::atomic<int> waiting{threads};
    std::vector<std::thread> workers;
    const auto body = [&](int thread) {
      --waiting;
      while (waiting.load() > 0) std::this_thread::yield();
      work(thread);
    };
    for (int t = 1; t < threads; ++t) workers.emplace_back(body, t);
    --waiting;
    while (waiting.load() > 0) std::this_thread::yield();
    const auto start = Clock::now();
    work(0);
    for (std::thread& worker : workers) worker.join();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

Roofline MeasureRoofline(int threads) {
  if (threads < 1 || threads > 1024) ThrowInvalid("threads is ", threads, "; permitted: 1 to 1024");
  const simd::Peaks& peaks = ActivePeaks();
  std::atomic<uint64_t> sink{0};
  const auto count = static_cast<size_t>(threads);

  // Far larger than any last-level cache that one socket of this class has per thread.
  constexpr size_t kTotalBytes = size_t{256} << 20;
  const size_t share = kTotalBytes / count / 4096 * 4096;
  const std::vector<uint64_t> memory(share * count / 8, 1);
  const auto* bytes = reinterpret_cast<const char*>(memory.data());
  constexpr int kRepeats = 5;
  const double read_seconds =
      BestSeconds(threads, kRepeats, [&](int t) { sink += peaks.read(bytes + static_cast<size_t>(t) * share, share); });

  constexpr double kOperations = 2e9;  // a few milliseconds a thread on a vector unit
  const auto int8_rounds = static_cast<int64_t>(kOperations / peaks.int8_operations);
  const double int8_seconds = BestSeconds(threads, kRepeats, [&](int) { sink += peaks.int8(int8_rounds); });
  const auto fp32_rounds = static_cast<int64_t>(kOperations / 4 / peaks.fp32_operations);
  const double fp32_seconds =
      BestSeconds(threads, kRepeats, [&](int) { sink += static_cast<uint64_t>(peaks.fp32(fp32_rounds)); });

  return {static_cast<double>(share * count) / read_seconds * 1e-9,
          threads * static_cast<double>(int8_rounds) * peaks.int8_operations / int8_seconds * 1e-9,
          threads * static_cast<double>(fp32_rounds) * peaks.fp32_operations / fp32_seconds * 1e-9};
}

}  // namespace ortq

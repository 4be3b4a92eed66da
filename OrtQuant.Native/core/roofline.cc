#include "core/roofline.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
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

constexpr size_t kStreamPiece = 1024;
/// Shares are multiples of what the most streams take in one turn.
constexpr size_t kStreamUnit = 8 * kStreamPiece;

/// Reads all bytes as so many streams side by side, a piece of each in turn: one stream alone does not keep as many
/// cache lines in flight as a core can, and a kernel that reads several would pass for faster than the machine.
uint64_t ReadStreams(const simd::Peaks& peaks, const char* data, size_t bytes, size_t streams) {
  if (streams == 1) return peaks.read(data, bytes);
  const size_t length = bytes / streams;
  uint64_t any = 0;
  for (size_t offset = 0; offset < length; offset += kStreamPiece) {
    for (size_t s = 0; s < streams; ++s) any |= peaks.read(data + s * length + offset, kStreamPiece);
  }
  return any;
}

/// Memory filled with ones, on huge pages where the system gives them: what limits is to be the memory, not the walks
/// through page tables.
class LargePages {
 public:
  explicit LargePages(size_t bytes) : memory_(static_cast<char*>(std::aligned_alloc(kAlignment, Rounded(bytes)))) {
    if (memory_ == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    madvise(memory_.get(), Rounded(bytes), MADV_HUGEPAGE);  // advice: it is no error that it is not taken
#endif
    std::memset(memory_.get(), 1, bytes);
  }
  const char* data() const {
    return memory_.get();
  }

 private:
  static constexpr size_t kAlignment = size_t{2} << 20;
  static constexpr size_t Rounded(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> memory_;
};

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
  const size_t share = kTotalBytes / count / kStreamUnit * kStreamUnit;
  const LargePages memory(share * count);
  constexpr int kRepeats = 5;
  double read_seconds = 1e300;
  int read_streams = 0;
  for (const int streams : {1, 2, 4, 8}) {
    const double seconds = BestSeconds(threads, kRepeats, [&](int t) {
      sink += ReadStreams(peaks, memory.data() + static_cast<size_t>(t) * share, share, static_cast<size_t>(streams));
    });
    if (seconds < read_seconds) {
      read_seconds = seconds;
      read_streams = streams;
    }
  }

  constexpr double kOperations = 2e9;  // a few milliseconds a thread on a vector unit
  const auto int8_rounds = static_cast<int64_t>(kOperations / peaks.int8_operations);
  const double int8_seconds = BestSeconds(threads, kRepeats, [&](int) { sink += peaks.int8(int8_rounds); });
  const auto fp32_rounds = static_cast<int64_t>(kOperations / 4 / peaks.fp32_operations);
  const double fp32_seconds =
      BestSeconds(threads, kRepeats, [&](int) { sink += static_cast<uint64_t>(peaks.fp32(fp32_rounds)); });

  return {static_cast<double>(share * count) / read_seconds * 1e-9, read_streams,
          threads * static_cast<double>(int8_rounds) * peaks.int8_operations / int8_seconds * 1e-9,
          threads * static_cast<double>(fp32_rounds) * peaks.fp32_operations / fp32_seconds * 1e-9};
}

}  // namespace ortq

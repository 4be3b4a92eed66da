// Cutting work into tasks and running them on the caller's threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace ortq {

class TaskRunner {
 public:
  explicit TaskRunner(const ParallelFor& parallel) : parallel_(parallel) {}

  /// How many tasks are worth starting for work of about `nanoseconds` on one thread, at most `limit`. Each task should
  /// outlast the cost of waking a thread, and there should be a few for every thread so that uneven ones level out.
  int64_t TaskCount(double nanoseconds, int64_t limit) const {
    if (parallel_.run == nullptr || parallel_.threads == 1) return 1;
    constexpr double kGrainNanoseconds = 5000;
    constexpr int kTasksPerThread = 4;
    constexpr int kAssumedThreads = 16;
    const int threads = parallel_.threads > 0 ? parallel_.threads : kAssumedThreads;
    const auto by_work = static_cast<int64_t>(std::min(nanoseconds / kGrainNanoseconds, 1e6));
    const int64_t by_threads = int64_t{threads} * kTasksPerThread;
    return std::max<int64_t>(1, std::min({limit, by_work, by_threads}));
  }

  /// Calls task(i) for i in [0, count). Tasks must not throw.
  template <typename Task>
  void Run(int64_t count, const Task& task) const {
    if (count == 1 || parallel_.run == nullptr) {
      for (int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    parallel_.run(
        parallel_.context, static_cast<size_t>(count),
        [](void* arg, size_t i) { (*static_cast<const Task*>(arg))(static_cast<int64_t>(i)); },
        const_cast<Task*>(&task));
  }

 private:
  ParallelFor parallel_;
};

/// The i-th of `parts` even, contiguous shares of [0, count).
struct Range {
  int64_t begin;
  int64_t end;
};

inline Range Share(int64_t count, int64_t parts, int64_t i) {
  return {count * i / parts, count * (i + 1) / parts};
}

}  // namespace ortq

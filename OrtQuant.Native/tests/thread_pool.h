// A plain pool for tests: real threads, tasks taken in an order that differs from run to run.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "core/types.h"

namespace ortq::testing {

class ThreadPool {
 public:
  /// `hint` is what the core is told; `threads` run.
  ThreadPool(int threads, int hint) : threads_(threads), hint_(hint) {}

  ParallelFor parallel() {
    return {this,
            [](void* context, size_t count, void (*body)(void*, size_t), void* arg) {
              static_cast<ThreadPool*>(context)->Run(count, body, arg);
            },
            hint_};
  }
  size_t largest_count() const { return largest_count_; }

 private:
  void Run(size_t count, void (*body)(void*, size_t), void* arg) {
    if (count > largest_count_) largest_count_ = count;
    std::atomic<size_t> next{0};
    const auto work = [&] {
      // Backwards, so that a kernel that relied on the order would show it.
      for (size_t i = next++; i < count; i = next++) body(arg, count - 1 - i);
    };
    std::vector<std::thread> workers;
    for (int t = 1; t < threads_; ++t) workers.emplace_back(work);
    work();
    for (std::thread& worker : workers) worker.join();
  }

  int threads_;
  int hint_;
  size_t largest_count_ = 0;
};

}  // namespace ortq::testing

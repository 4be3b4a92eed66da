#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace ortq {
namespace {

void Run(void* context, size_t count, void (*body)(void* arg, size_t i), void* arg) {
  const auto threads = static_cast<size_t>(reinterpret_cast<uintptr_t>(context));
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(arg, i);
  };
  std::vector<std::jthread> helpers;
  for (size_t i = 1; i < std::min(threads, count); ++i) helpers.emplace_back(work);
  work();
}

}  // namespace

ParallelFor OwnThreads(int threads) {
  return {reinterpret_cast<void*>(static_cast<uintptr_t>(threads)), Run, threads};
}

}  // namespace ortq

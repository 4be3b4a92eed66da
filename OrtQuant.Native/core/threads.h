// Threads for callers without a pool of their own.
#pragma once

#include "core/types.h"

namespace ortq {

/// Runs each call on up to `threads` threads that live as long as the call; the calling thread is one of them.
ParallelFor OwnThreads(int threads);

}  // namespace ortq

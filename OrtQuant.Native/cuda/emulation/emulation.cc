#include <sys/mman.h>
#include <ucontext.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace ortq::cuda::emulation {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

struct Copy {
  void* to;
  const void* from;
  int bytes;
};

struct Fiber {
  ucontext_t context{};  ///< where it starts; afterwards it resumes at `place`, which takes no system call
  jmp_buf place;
  bool started = false;
  std::unique_ptr<char[]> stack;
  bool done = false;
  std::vector<Copy> uncommitted;
  std::deque<std::vector<Copy>> groups;
};

/// What the 32 threads of a warp bring to one tensor-core instruction.
struct Warp {
  int arrived = 0;
  uint64_t instruction = 0;
  float (*d[32])[4];
  const uint32_t (*a[32])[4];
  const uint32_t (*b[32])[2];
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<uint8_t> shared;
  jmp_buf scheduler;
  const std::function<void()>* body = nullptr;
  unsigned current = 0;
  unsigned waiting = 0;  ///< at the barrier
  uint64_t barrier = 0;
  bool progress = false;
};

Block* block = nullptr;

Fiber& Current() {
  return block->fibers[block->current];
}

void Yield() {
  if (_setjmp(Current().place) == 0) _longjmp(block->scheduler, 1);
}

/// Runs the current thread until it yields or ends.
void Resume() {
  if (_setjmp(block->scheduler) != 0) return;
  Fiber& fiber = Current();
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  setcontext(&fiber.context);
}

void RunFiber() {
  (*block->body)();
  Current().done = true;
  _longjmp(block->scheduler, 1);
}

void Start(unsigned index) {
  Fiber& fiber = block->fibers[index];
  if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStackBytes);
  fiber.done = fiber.started = false;
  fiber.uncommitted.clear();
  fiber.groups.clear();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, RunFiber, 0);
}

/// Threads run in turn, the last first in every other block: what depends on an order that no barrier makes differs
/// then.
void RunBlock(unsigned threads, bool backwards) {
  for (unsigned i = 0; i < threads; ++i) Start(i);
  // Shared memory holds no zeros on a device: NaN in every type.
  std::fill(block->shared.begin(), block->shared.end(), uint8_t{0xFF});
  for (unsigned left = threads; left > 0;) {
    block->progress = false;
    for (unsigned i = 0; i < threads; ++i) {
      block->current = backwards ? threads - 1 - i : i;
      if (Current().done) continue;
      threadIdx = dim3(block->current, 0, 0);
      Resume();
      if (Current().done) {
        --left;
        block->progress = true;
      }
    }
    if (!block->progress) {
      std::fprintf(stderr, "emulated CUDA: threads wait for each other forever\n");
      std::abort();
    }
  }
}

}  // namespace

void Launch(const std::function<void()>& body, dim3 grid, unsigned threads, size_t shared_bytes) {
  static Block storage;
  block = &storage;
  if (block->fibers.size() < threads) block->fibers.resize(threads);
  block->warps.assign((threads + 31) / 32, {});
  block->shared.resize(shared_bytes + 128);
  block->body = &body;
  gridDim = grid;
  blockDim = dim3(threads);
  bool backwards = false;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        RunBlock(threads, backwards);
        backwards = !backwards;
      }
    }
  }
}

uint8_t* DynamicShared() {
  const auto address = reinterpret_cast<uintptr_t>(block->shared.data());
  return reinterpret_cast<uint8_t*>((address + 127) / 128 * 128);
}

void CopyLater(void* to, const void* from, int bytes) {
  Current().uncommitted.push_back({to, from, bytes});
}

void CommitCopies() {
  Current().groups.push_back(std::move(Current().uncommitted));
  Current().uncommitted.clear();
}

void WaitCopies(int pending) {
  auto& groups = Current().groups;
  for (; groups.size() > static_cast<size_t>(pending); groups.pop_front()) {
    for (const Copy& copy : groups.front()) {
      std::memset(copy.to, 0, 16);
      std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
    }
  }
}

void Mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], float (*element)(uint32_t bits)) {
  Warp& warp = block->warps[block->current / 32];
  const unsigned lane = block->current % 32;
  warp.d[lane] = &d, warp.a[lane] = &a, warp.b[lane] = &b;
  if (++warp.arrived < 32) {
    for (const uint64_t instruction = warp.instruction; warp.instruction == instruction;) Yield();
    return;
  }
  warp.arrived = 0;
  ++warp.instruction;
  block->progress = true;
  const auto half = [element](uint32_t bits, int i) { return element(bits >> (16 * i) & 0xFFFF); };
  float left[16][16], right[16][8];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) {
      for (int h = 0; h < 2; ++h) left[g + i % 2 * 8][2 * t + i / 2 * 8 + h] = half((*warp.a[l])[i], h);
    }
    for (int i = 0; i < 2; ++i) {
      for (int h = 0; h < 2; ++h) right[2 * t + 8 * i + h][g] = half((*warp.b[l])[i], h);
    }
  }
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + i / 2 * 8, column = 2 * (l % 4) + i % 2;
      float sum = (*warp.d[l])[i];
      for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
      (*warp.d[l])[i] = sum;
    }
  }
}

}  // namespace ortq::cuda::emulation

void __syncthreads() {
  auto* block = ortq::cuda::emulation::block;
  if (++block->waiting == blockDim.x) {
    block->waiting = 0;
    ++block->barrier;
    block->progress = true;
    return;
  }
  for (const uint64_t barrier = block->barrier; block->barrier == barrier;) ortq::cuda::emulation::Yield();
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 232448;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "out of memory";
}

namespace {

constexpr size_t kPage = 4096;
std::map<void*, std::pair<void*, size_t>> mappings;

}  // namespace

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  // The last byte, rounded up to 16, lies before a page that faults.
  const size_t used = (bytes + 15) / 16 * 16, pages = (used + kPage - 1) / kPage * kPage;
  void* base = mmap(nullptr, pages + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return cudaErrorMemoryAllocation;
  mprotect(static_cast<char*>(base) + pages, kPage, PROT_NONE);
  *memory = static_cast<char*>(base) + pages - used;
  std::memset(*memory, 0xFF, used);
  mappings[*memory] = {base, pages + kPage};
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (const auto found = mappings.find(memory); found != mappings.end()) {
    munmap(found->second.first, found->second.second);
    mappings.erase(found);
  }
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}

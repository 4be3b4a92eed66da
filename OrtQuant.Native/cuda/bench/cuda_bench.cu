// Speed of the CUDA kernels beside what bounds them, in one process: a kernel that only reads the same bytes, and
// cuBLAS on the float16 weights where the library is found (dlopen; nothing is linked).
//
//   ortquant_cuda_bench [--quick] [--sweep] [--json FILE]
//
// --sweep tries every regime and several splits for each M, which shows where the crossovers of api.cu's choice belong.
// Each measurement captures a graph of one launch per copy of the weights, with more copies than L2 holds, and replays
// it; the median of the replays counts.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuda/ortquant_cuda.h"

namespace {

void Cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

void Ours(int32_t code) {
  if (code == ORTQ_CUDA_OK) return;
  std::fprintf(stderr, "%s\n", ortq_cuda_last_error());
  std::exit(1);
}

class Memory {
 public:
  explicit Memory(size_t bytes) { Cuda(cudaMalloc(&data_, std::max<size_t>(bytes, 16)), "cudaMalloc"); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { cudaFree(data_); }
  template <typename T = void>
  T* get() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

__device__ uint32_t Hash(uint64_t i) {
  uint64_t x = (i + 1) * 0x9E3779B97F4A7C15ull;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9ull;
  return static_cast<uint32_t>(x >> 32);
}
__global__ void FillBits(uint32_t* p, size_t words, uint32_t mask) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < words; i += size_t{gridDim.x} * blockDim.x) {
    p[i] = Hash(i) & mask;
  }
}
__global__ void FillHalf(__half* p, size_t count, float low, float high) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += size_t{gridDim.x} * blockDim.x) {
    p[i] = __float2half(low + (high - low) * static_cast<float>(Hash(i) >> 8) * 0x1p-24f);
  }
}

/// Reads everything and writes nothing: the time to set others against. Eight 16-byte loads of a thread are under way.
__global__ void __launch_bounds__(512) ReadOnly(const uint4* p, size_t count, uint32_t* never) {
  constexpr int kAtOnce = 8;
  uint32_t sum = 0;
  const size_t stride = size_t{gridDim.x} * blockDim.x;
  size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  for (; i + (kAtOnce - 1) * stride < count; i += kAtOnce * stride) {
    uint4 v[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) v[j] = __ldg(p + i + j * stride);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < count; i += stride) sum ^= p[i].x;
  if (sum == 0x12345678u) *never = sum;  // random bits: practically never
}

struct Machine {
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
  Machine() {
    int device = 0;
    Cuda(cudaGetDevice(&device), "cudaGetDevice");
    Cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
  }
};

/// Median microseconds of one of `copies` launches, which `launch` makes for copy i.
double Time(cudaStream_t stream, int copies, const std::function<void(int)>& launch) {
  launch(0);  // what happens once (module loading, attributes) happens outside of the graph
  Cuda(cudaStreamSynchronize(stream), "first launch");
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  Cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  for (int i = 0; i < copies; ++i) launch(i);
  Cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  Cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::vector<double> times;
  for (int replay = 0; replay < 3 + 15; ++replay) {
    cudaEventRecord(begin, stream);
    Cuda(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    cudaEventRecord(end, stream);
    Cuda(cudaEventSynchronize(end), "replay");
    float ms = 0;
    cudaEventElapsedTime(&ms, begin, end);
    if (replay >= 3) times.push_back(ms * 1000.0 / copies);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

/// cuBLAS as far as one product needs it.
class Cublas {
 public:
  explicit Cublas(cudaStream_t stream) : workspace_(64 << 20) {
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      if (library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL); library_ != nullptr) break;
    }
    if (library_ == nullptr) {
      std::fprintf(stderr, "no cuBLAS: %s\n", dlerror());
      return;
    }
    const auto create = Get<int (*)(void**)>("cublasCreate_v2");
    const auto set_stream = Get<int (*)(void*, cudaStream_t)>("cublasSetStream_v2");
    const auto set_workspace = Get<int (*)(void*, void*, size_t)>("cublasSetWorkspace_v2");
    gemm_ = Get<Gemm>("cublasGemmEx");
    if (create(&handle_) != 0 || set_stream(handle_, stream) != 0 ||
        set_workspace(handle_, workspace_.get(), size_t{64} << 20) != 0) {
      std::fprintf(stderr, "cuBLAS cannot be used\n");
      gemm_ = nullptr;
    }
  }
  bool available() const { return gemm_ != nullptr; }
  /// Y [M, N] = X [M, K] . W [N, K]^T, float16, sums in float.
  void Multiply(const void* x, const void* w, void* y, int M, int N, int K) const {
    const float one = 1, zero = 0;
    constexpr int kTranspose = 1, kPlain = 0, kHalf = 2, kFloatSums = 68, kDefault = -1;
    if (gemm_(handle_, kTranspose, kPlain, N, M, K, &one, w, kHalf, K, x, kHalf, K, &zero, y, kHalf, N, kFloatSums,
              kDefault) != 0) {
      std::fprintf(stderr, "cublasGemmEx failed\n");
      std::exit(1);
    }
  }

 private:
  using Gemm = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                       const void*, void*, int, int, int, int);
  template <typename Function>
  Function Get(const char* name) {
    return reinterpret_cast<Function>(dlsym(library_, name));
  }
  void* library_ = nullptr;
  void* handle_ = nullptr;
  Gemm gemm_ = nullptr;
  Memory workspace_;
};

struct Shape {
  int64_t N, K;
};

const char* RegimeName(int regime) {
  static constexpr const char* kNames[] = {"simple", "gemv", "skinny16", "skinny64", "large"};
  return kNames[regime];
}

class Bench {
 public:
  Bench(const Machine& machine, FILE* json) : machine_(machine), json_(json) {
    Cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    cublas_ = new Cublas(stream_);
  }

  void Run(int bits, const Shape& shape, const std::vector<int64_t>& rows, bool sweep) {
    const int64_t N = shape.N, K = shape.K, block = 128;
    const size_t codes = static_cast<size_t>((N + 15) / 16 * ((K + 31) / 32) * 64 * bits);
    const size_t groups = static_cast<size_t>((K + block - 1) / block);
    const size_t scales = static_cast<size_t>((N + 15) / 16) * groups * 16 * 2;
    const size_t zero_bits = bits == 3 ? 4 : static_cast<size_t>(bits);
    const size_t zeros = static_cast<size_t>((N + 15) / 16) * ((groups * zero_bits + 7) / 8) * 16;
    const size_t each = (codes + scales + zeros + 3 * 256) / 256 * 256;
    const int copies = Copies(each);
    Memory all(each * copies);
    FillBits<<<1024, 256, 0, stream_>>>(all.get<uint32_t>(), each * copies / 4, 0xFFFFFFFFu);
    std::vector<ortq_cuda_group_weights> weights;
    for (int i = 0; i < copies; ++i) {
      auto* base = all.get<uint8_t>() + each * i;
      auto* scale = base + (codes + 255) / 256 * 256;
      auto* zero = scale + (scales + 255) / 256 * 256;
      FillHalf<<<64, 256, 0, stream_>>>(reinterpret_cast<__half*>(scale), scales / 2, 0.001f, 0.01f);
      FillBits<<<64, 256, 0, stream_>>>(reinterpret_cast<uint32_t*>(zero), zeros / 4,
                                        bits == 3 ? 0x77777777u : 0xFFFFFFFFu);
      weights.push_back({bits, 1, 10, 2, N, K, block, base, scale, zero});
    }
    Memory never(16);
    const double read_us = Time(stream_, copies, [&](int i) {
      ReadOnly<<<machine_.properties.multiProcessorCount * 4, 512, 0, stream_>>>(
          reinterpret_cast<const uint4*>(all.get<uint8_t>() + each * i), (codes + scales + zeros) / 16,
          never.get<uint32_t>());
    });
    for (const int64_t M : rows) {
      Memory x(static_cast<size_t>(M * K) * 2), y(static_cast<size_t>(M * N) * 2);
      FillHalf<<<256, 256, 0, stream_>>>(x.get<__half>(), static_cast<size_t>(M * K), -1, 1);
      const double cublas_us = CublasTime(shape, M, x.get(), y.get());
      ortq_cuda_plan chosen{};
      Ours(ortq_cuda_group_plan(&weights[0], 10, M, 0, &chosen));
      Measure(weights, copies, chosen, M, x.get(), y.get(), "own", read_us, cublas_us, codes + scales + zeros);
      if (!sweep) continue;
      for (int regime = M <= 8 ? ORTQ_CUDA_REGIME_GEMV : ORTQ_CUDA_REGIME_SKINNY16; regime <= ORTQ_CUDA_REGIME_LARGE;
           ++regime) {
        for (const int splits : {1, 2, 4, 8, 16}) {
          if (regime == ORTQ_CUDA_REGIME_LARGE && splits > 4) continue;
          ortq_cuda_plan plan{regime, splits, 0};
          Ours(ortq_cuda_group_workspace(&weights[0], M, 0, &plan));
          Measure(weights, copies, plan, M, x.get(), y.get(), "sweep", read_us, cublas_us, codes + scales + zeros);
        }
      }
    }
  }

 private:
  /// More than L2 holds, thrice, but at least 2 and at most 4 GB.
  int Copies(size_t bytes) const {
    const auto wanted = 3 * static_cast<size_t>(machine_.properties.l2CacheSize) / bytes + 1;
    return static_cast<int>(std::clamp<size_t>(wanted, 2, std::max<size_t>(2, (size_t{4} << 30) / bytes)));
  }

  double CublasTime(const Shape& shape, int64_t M, void* x, void* y) {
    if (!cublas_->available()) return 0;
    for (const auto& [N, K, rows, us] : cublas_times_) {
      if (N == shape.N && K == shape.K && rows == M) return us;
    }
    const size_t each = static_cast<size_t>(shape.N * shape.K) * 2;
    const int copies = Copies(each);
    Memory w(each * copies);
    FillHalf<<<1024, 256, 0, stream_>>>(w.get<__half>(), each * copies / 2, -0.1f, 0.1f);
    const double us = Time(stream_, copies, [&](int i) {
      cublas_->Multiply(x, w.get<uint8_t>() + each * i, y, static_cast<int>(M), static_cast<int>(shape.N),
                        static_cast<int>(shape.K));
    });
    cublas_times_.push_back({shape.N, shape.K, M, us});
    return us;
  }

  void Measure(const std::vector<ortq_cuda_group_weights>& weights, int copies, const ortq_cuda_plan& plan, int64_t M,
               void* x, void* y, const char* kind, double read_us, double cublas_us, size_t bytes) {
    Memory workspace(static_cast<size_t>(plan.workspace_bytes));
    const double us = Time(stream_, copies, [&](int i) {
      Ours(ortq_cuda_group_matmul(&weights[i], nullptr, &plan, 10, M, x, y, workspace.get(), stream_));
    });
    const auto& w = weights[0];
    std::printf("%-5s %d  %6lld x %-6lld M %-5lld %-9s %2d  %9.2f  %6.0f  %5.2f  %9.2f  %5.2f\n", kind, w.bits,
                static_cast<long long>(w.N), static_cast<long long>(w.K), static_cast<long long>(M),
                RegimeName(plan.regime), plan.splits, us, bytes / us * 1e-3, read_us / us, cublas_us, cublas_us / us);
    std::fflush(stdout);
    if (json_ == nullptr) return;
    std::fprintf(
        json_,
        "%s    {\"kind\": \"%s\", \"bits\": %d, \"N\": %lld, \"K\": %lld, \"M\": %lld, \"block\": %lld, "
        "\"regime\": \"%s\", \"splits\": %d, \"us\": %.3f, \"bytes\": %zu, \"read_us\": %.3f, \"cublas_us\": %.3f}",
        first_ ? "" : ",\n", kind, w.bits, static_cast<long long>(w.N), static_cast<long long>(w.K),
        static_cast<long long>(M), static_cast<long long>(w.block), RegimeName(plan.regime), plan.splits, us, bytes,
        read_us, cublas_us);
    first_ = false;
  }

  const Machine& machine_;
  FILE* json_;
  cudaStream_t stream_ = nullptr;
  Cublas* cublas_ = nullptr;
  struct CublasMeasurement {
    int64_t N, K, M;
    double us;
  };
  std::vector<CublasMeasurement> cublas_times_;
  bool first_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  bool quick = false, sweep = false;
  const char* json_path = nullptr;
  for (int i = 1; i < argc; ++i) {
    quick |= std::strcmp(argv[i], "--quick") == 0;
    sweep |= std::strcmp(argv[i], "--sweep") == 0;
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) json_path = argv[++i];
  }
  Ours(ortq_cuda_check_device());
  const Machine machine;
  std::printf("%s, compute capability %d.%d, %d multiprocessors, L2 %d MiB, driver %d, runtime %d\n",
              machine.properties.name, machine.properties.major, machine.properties.minor,
              machine.properties.multiProcessorCount, machine.properties.l2CacheSize >> 20, machine.driver,
              machine.runtime);
  FILE* json = json_path == nullptr ? nullptr : std::fopen(json_path, "w");
  if (json != nullptr) {
    std::fprintf(json,
                 "{\"device\": \"%s\", \"driver\": %d, \"runtime\": %d, \"multiprocessors\": %d, \"results\": [\n",
                 machine.properties.name, machine.driver, machine.runtime, machine.properties.multiProcessorCount);
  }
  std::printf("kind  bits    N x K         M     regime  splits      us    GB/s  /read  cuBLAS us  x cuBLAS\n");
  Bench bench(machine, json);
  const std::vector<Shape> shapes =
      quick ? std::vector<Shape>{{8192, 8192}}
            : std::vector<Shape>{{4096, 4096}, {8192, 8192}, {11008, 4096}, {28672, 8192}, {1024, 4096}};
  for (const Shape& shape : shapes) {
    const bool square = shape.N == 8192;
    for (const int bits : {4, 3, 2, 8}) {
      std::vector<int64_t> rows = {1, 8, 16, 64};
      if (square) rows = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048};
      if (quick) rows = {1, 16, 64, 256};
      bench.Run(bits, shape, rows, sweep && square && (bits == 4 || bits == 2));
    }
  }
  if (json != nullptr) {
    std::fprintf(json, "\n]}\n");
    std::fclose(json);
  }
  return 0;
}

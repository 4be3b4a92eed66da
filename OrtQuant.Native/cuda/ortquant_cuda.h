// The C ABI of libortquant_cuda: the CUDA kernels, without ONNX Runtime and without a C++ type in sight.
//
// libortquant owns the custom-op domain and everything that is checked; it opens this library on demand
// (cuda/library.h) and hands it pointers to device memory, shapes and a stream. Nothing here allocates device memory,
// waits for the device or touches another stream than the one given, so every call can be captured in a CUDA graph.
// Results are the same from run to run: sums have a fixed order, there are no atomics on floats.
//
// Functions that return int32_t return ORTQ_CUDA_OK or an error; ortq_cuda_last_error then has the message. Launch
// errors are reported; errors while a kernel runs surface at the caller's next synchronization, as always with CUDA.
#ifndef ORTQUANT_CUDA_H_
#define ORTQUANT_CUDA_H_

#include <stdint.h>

#define ORTQ_CUDA_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// Raised with every change of this file that a caller could notice; both libraries must come from the same build.
#define ORTQ_CUDA_ABI_VERSION 1

enum {
  ORTQ_CUDA_OK = 0,
  ORTQ_CUDA_INVALID_ARGUMENT = 1,
  ORTQ_CUDA_NO_DEVICE = 2,  // no driver, no device, or one older than compute capability 8.0
  ORTQ_CUDA_FAILED = 3,     // CUDA refused a call
};

ORTQ_CUDA_EXPORT int32_t ortq_cuda_abi_version(void);

// What was wrong in the last call on this thread that failed; empty when none has.
ORTQ_CUDA_EXPORT const char* ortq_cuda_last_error(void);

// Whether the current device can run the kernels. Asks the driver, which takes a while the first time in a process.
ORTQ_CUDA_EXPORT int32_t ortq_cuda_check_device(void);

// A weight of scheme `group`, layout n16 (OrtQuant.Ops/Schemes/Group/SPEC.md); types are ONNX's numbers: 1 float, 2
// uint8, 10 float16, 16 bfloat16. Tensors are in device memory, 16-byte aligned.
typedef struct ortq_cuda_group_weights {
  int32_t bits;             // 2, 3, 4, 8
  int32_t zero_point_kind;  // 0 none, 1 integer (uint8), 2 float
  int32_t scale_type;       // 1 or 10
  int32_t zero_point_type;  // 2 when kind is 1; 1 or 10 when it is 2
  int64_t N;
  int64_t K;
  int64_t block;  // weights per group: a power of two >= 16, or K
  const void* codes;
  const void* scales;
  const void* zero_points;
} ortq_cuda_group_weights;

// What is added to X . W^T; null where absent. Elements have the type of X and Y.
typedef struct ortq_cuda_epilogue {
  const void* bias;        // [N]
  const void* low_rank_a;  // [K, rank]
  const void* low_rank_b;  // [rank, N]
  int64_t rank;
} ortq_cuda_epilogue;

enum {
  ORTQ_CUDA_REGIME_SIMPLE = 0,    // one multiplication at a time in float: float X, and a reference on the device
  ORTQ_CUDA_REGIME_GEMV = 1,      // M <= 8: weights streamed once into tensor-core fragments
  ORTQ_CUDA_REGIME_SKINNY16 = 2,  // 16 rows a block
  ORTQ_CUDA_REGIME_SKINNY64 = 3,  // 64 rows a block
  ORTQ_CUDA_REGIME_LARGE = 4,     // 128 rows x 256 outputs a block
};

// How one product will be computed.
typedef struct ortq_cuda_plan {
  int32_t regime;
  int32_t splits;           // blocks that share the sum over K of an output; their parts are added in order
  int64_t workspace_bytes;  // device memory needed during the call
} ortq_cuda_plan;

// Chooses for X [M, K] of `type` (1, 10 or 16). The caller may change regime and splits (tests and benchmarks do) and
// then asks ortq_cuda_group_workspace again.
ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_plan(const ortq_cuda_group_weights* weights, int32_t type, int64_t M,
                                              int64_t rank, ortq_cuda_plan* plan);

// Sets plan->workspace_bytes for its regime and splits.
ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_workspace(const ortq_cuda_group_weights* weights, int64_t M, int64_t rank,
                                                   ortq_cuda_plan* plan);

// Y = X . dequant(W)^T + bias + (X . A) . B, on `stream`, a cudaStream_t. X is [M, K], Y is [M, N], both of `type`.
ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_matmul(const ortq_cuda_group_weights* weights,
                                                const ortq_cuda_epilogue* epilogue, const ortq_cuda_plan* plan,
                                                int32_t type, int64_t M, const void* x, void* y, void* workspace,
                                                void* stream);

// y[i, :] = row indices[i] of dequant(W); index_type is 6 (int32) or 7 (int64), negative indices count from the end.
// An index out of range cannot be reported from the device: its row becomes NaN.
ORTQ_CUDA_EXPORT int32_t ortq_cuda_group_gather(const ortq_cuda_group_weights* weights, int32_t type,
                                                const void* indices, int32_t index_type, int64_t count, void* y,
                                                void* stream);

#ifdef __cplusplus
}
#endif

#endif  // ORTQUANT_CUDA_H_

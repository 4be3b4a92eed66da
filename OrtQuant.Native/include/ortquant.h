// The C ABI of libortquant.
//
// In ONNX Runtime the library is used without this header: it exports RegisterCustomOps, which
// SessionOptions::RegisterCustomOpsLibrary (C++), SessionOptions.register_custom_ops_library (Python) and
// SessionOptions.RegisterOrtQuant (C#) call. These functions are what else there is to ask of it: which ops and
// instruction sets it has, and its kernels outside of ONNX Runtime.
//
// Functions that return int32_t return ORTQ_OK or an error; ortq_last_error then has the message. Every function may be
// called from any thread.
#ifndef ORTQUANT_H_
#define ORTQUANT_H_

#include <stdint.h>

#if defined(_WIN32)
#define ORTQ_EXPORT __declspec(dllexport)
#else
#define ORTQ_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ORTQ_ABI_VERSION 1

enum {
  ORTQ_OK = 0,
  ORTQ_INVALID_ARGUMENT = 1,  // the message names the actual and the permitted value
  ORTQ_NOT_SUPPORTED = 2,     // a newer format, or an instruction set that this machine lacks
  ORTQ_INTERNAL = 3,
};

// The ABI version that the library was built with: ORTQ_ABI_VERSION of its header.
ORTQ_EXPORT int32_t ortq_abi_version(void);

// The version of the library, "major.minor.patch". The string lives as long as the library.
ORTQ_EXPORT const char* ortq_version(void);

// What was wrong in the last call on this thread that failed; empty when none has. Valid until the next failing call on
// this thread.
ORTQ_EXPORT const char* ortq_last_error(void);

// What the library holds, as one JSON object:
//   {"version", "abi_version", "domain", "isas": [{"name", "available"}, ...] best first, "active_isa",
//    "schemes": [{"name", "ops": [{"name", "since_version",
//       "inputs": [{"name", "role", "types", "shape", "optional"}, ...],
//       "outputs": [{"name", "types", "shape"}, ...],
//       "attributes": [{"name", "kind", "required", "permitted"}, ...]}, ...]}, ...]}
// "permitted" is left out where the values are no short list. "active_isa" is null, and "error" says why, when the
// forced instruction set cannot be had. Valid until the next call on this thread; null on failure.
ORTQ_EXPORT const char* ortq_describe(void);

// Forces the instruction set of kernels created from now on: "reference", "avx2" or "avx512". NULL or "" goes back to
// the automatic choice (the environment variable ORTQUANT_FORCE_ISA, else the best one available).
ORTQ_EXPORT int32_t ortq_set_isa(const char* name);

// The instruction set of kernels created now; null when the one that ORTQUANT_FORCE_ISA names cannot be had. Sessions
// can differ through their configuration entry "ortquant.force_isa".
ORTQ_EXPORT const char* ortq_active_isa(void);

// An attribute of a node. kind is ONNX's AttributeProto.AttributeType: 2 for an integer in i, 3 for a string in s.
typedef struct ortq_attribute {
  const char* name;
  int32_t kind;
  int64_t i;
  const char* s;
} ortq_attribute;

// A tensor in row-major order, of any alignment. type is ONNX's TensorProto.DataType; 0 stands for an input left out.
typedef struct ortq_tensor {
  int32_t type;
  int32_t rank;
  const int64_t* shape;
  void* data;
} ortq_tensor;

// Writes the dequantized weights of an op, [N, K] row-major, to weights, which holds count = N * K floats. inputs are
// those of the op in its order; input 0 is ignored and may be left out. Bit-exact: every operation is rounded once to
// binary32.
ORTQ_EXPORT int32_t ortq_unpack(const char* op, const ortq_attribute* attributes, int32_t attribute_count,
                                const ortq_tensor* inputs, int32_t input_count, float* weights, int64_t count);

// Runs an op once: the kernel that ONNX Runtime would run, on this many threads (at least 1). output says the type and
// shape that the op gives for these inputs, and has memory for it.
ORTQ_EXPORT int32_t ortq_run(const char* op, const ortq_attribute* attributes, int32_t attribute_count,
                             const ortq_tensor* inputs, int32_t input_count, const ortq_tensor* output,
                             int32_t threads);

// What this machine can do at most, measured for about a second with the active instruction set on this many threads:
// reading memory that is in no cache, in 10^9 bytes a second; multiply-accumulates of bytes into 32 bits and of
// binary32, in 10^9 operations a second, a multiplication and an addition counting as two.
ORTQ_EXPORT int32_t ortq_roofline(int32_t threads, double* read_gbs, double* int8_gops, double* fp32_gflops);

#ifdef __cplusplus
}
#endif

#endif  // ORTQUANT_H_

// Plain types shared by the core and every scheme. Nothing here knows ONNX Runtime.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ortq {

/// Element types by their ONNX numbers.
enum class ScalarType { kFloat32 = 1, kUint8 = 2, kFloat16 = 10 };

/// How activations enter the multiplication: as they are, or as int8 with one scale per activation block.
/// The numbers are those of the attribute `accuracy_level`.
enum class AccuracyLevel { kFloat = 1, kInt8 = 4 };

/// What is subtracted from the codes of a group.
enum class ZeroPointKind { kNone, kInteger, kFloat };

/// Outputs whose weights are interleaved: one AVX-512 register of 32-bit lanes.
inline constexpr int64_t kTileOutputs = 16;

/// Runs body(arg, i) for i in [0, count), in any order and on any thread, and returns when all are done.
struct ParallelFor {
  void* context = nullptr;
  void (*run)(void* context, size_t count, void (*body)(void* arg, size_t i),
              void* arg) = nullptr;  ///< null: this thread
  int threads = 0;                   ///< a hint for the grain; 0 = unknown
};

/// Memory for the length of one call; the caller frees it afterwards. allocate throws or returns null on failure.
struct Scratch {
  void* context = nullptr;
  void* (*allocate)(void* context, size_t bytes) = nullptr;  ///< null: the core allocates by itself
};

/// What is added to X . dequant(W)^T. Each pointer may be null; elements have the type of X and Y.
struct Epilogue {
  const void* bias = nullptr;        ///< [N]
  const void* low_rank_a = nullptr;  ///< [K, rank]
  const void* low_rank_b = nullptr;  ///< [rank, N]
  int64_t rank = 0;
};

}  // namespace ortq

// What the benchmark runs beside our kernels, each peer through a library of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace ortq::bench {

struct PeerProblem {
  int bits;
  int64_t N;
  int64_t K;
  int64_t block;
  int accuracy_level;
  bool zero_points;
  int64_t M;
  int copies;  ///< matmuls per run, each with its own weights
  int threads;
};

class Peer {
 public:
  virtual ~Peer() = default;
  /// What is run, for example "ort" or "ggml q4_0 repacked".
  virtual std::string name() const = 0;
  /// One run: `copies` matmuls.
  virtual void Run() = 0;
};

/// Loads ONNX Runtime; false when it is not there.
bool LoadOrt(const std::string& path);
/// Its own MatMulNBits; null without the library, or when that has no such kernel.
std::unique_ptr<Peer> MakeOrtPeer(const PeerProblem& problem);

/// ggml's matrix product over its own format of as many bits; null in a build without ggml (ORTQUANT_BENCH_GGML), and
/// for the float level, which ggml does not have.
std::unique_ptr<Peer> MakeGgmlPeer(const PeerProblem& problem);

}  // namespace ortq::bench

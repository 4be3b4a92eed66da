// ONNX Runtime's own MatMulNBits as a peer, through a library found at run time.
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

class OrtPeer {
 public:
  virtual ~OrtPeer() = default;
  /// One run: `copies` matmuls.
  virtual void Run() = 0;
};

/// Loads the library; false when it is not there.
bool LoadOrt(const std::string& path);
std::unique_ptr<OrtPeer> MakeOrtPeer(const PeerProblem& problem);

}  // namespace ortq::bench

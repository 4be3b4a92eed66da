// The benchmark without ggml.
#include "bench/peer.h"

namespace ortq::bench {

std::unique_ptr<Peer> MakeGgmlPeer(const PeerProblem&) {
  return nullptr;
}

}  // namespace ortq::bench

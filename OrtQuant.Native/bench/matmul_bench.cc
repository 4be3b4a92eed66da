// Times MatMulNBits beside ONNX Runtime's own op, and ggml's where it is built in, in one process.
//
//   ortquant_bench [--ort libonnxruntime.so] [--bits 4,8] [--block 32,128] [--m 1,16,512] [--shape NxK,...] [--level
//   4,1]
//                  [--isa avx512,avx2] [--zp 0|1] [--threads 1] [--repeat 7]
//
// Every run walks over enough copies of the weights that they come from memory. Ours and the peer's runs alternate;
// the figure is the median time of one matmul, in microseconds.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/peer.h"
#include "core/half.h"
#include "core/roofline.h"
#include "schemes/group/matmul.h"

namespace ortq::bench {
namespace {

/// A spinning pool, like ONNX Runtime's: the calling thread takes part.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
  }
  ~Pool() {
    stop_ = true;
    for (std::thread& worker : workers_) worker.join();
  }
  ParallelFor parallel() {
    return {this,
            [](void* context, size_t count, void (*body)(void*, size_t), void* arg) {
              static_cast<Pool*>(context)->Run(count, body, arg);
            },
            static_cast<int>(workers_.size()) + 1};
  }

 private:
  void Run(size_t count, void (*body)(void*, size_t), void* arg) {
    body_ = body;
    arg_ = arg;
    count_ = count;
    next_ = 0;
    active_ = static_cast<int>(workers_.size());
    ++generation_;
    Drain();
    while (active_ != 0) {
    }
  }
  void Drain() {
    for (size_t i = next_++; i < count_; i = next_++) body_(arg_, i);
  }
  void Work() {
    for (int seen = 0;;) {
      while (generation_ == seen && !stop_) {
      }
      if (stop_) return;
      seen = generation_;
      Drain();
      --active_;
    }
  }

  std::vector<std::thread> workers_;
  std::atomic<bool> stop_{false};
  std::atomic<int> generation_{0};
  std::atomic<int> active_{0};
  std::atomic<size_t> next_{0};
  size_t count_ = 0;
  void (*body_)(void*, size_t) = nullptr;
  void* arg_ = nullptr;
};

struct Weights {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<uint8_t> zero_points;

  Weights(const GroupFormat& f, unsigned seed)
      : codes(static_cast<size_t>(f.CodeBytes())),
        scales(static_cast<size_t>(f.ScaleCount()), FloatToHalf(0.01f)),
        zero_points(static_cast<size_t>(f.ZeroPointCount()), 0x77) {
    std::mt19937 random(seed);
    for (size_t i = 0; i + 4 <= codes.size(); i += 4) {
      const uint32_t word = random();
      std::memcpy(&codes[i], &word, 4);
    }
  }
  GroupWeights View(const GroupFormat& f) const {
    return {f, codes.data(), scales.data(), zero_points.empty() ? nullptr : zero_points.data()};
  }
  size_t bytes() const { return codes.size() + 2 * scales.size() + zero_points.size(); }
};

/// With one thread its CPU time counts, which other programs on the machine disturb less than wall time.
double Microseconds(int threads, const std::function<void()>& run) {
  const auto now = [threads] {
    timespec time;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
  };
  const double start = now();
  run();
  return now() - start;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Options {
  std::map<std::string, std::string> values{
      {"ort", ""}, {"bits", "4"}, {"block", "32,128"}, {"m", "1,16,512"}, {"shape", "4096x4096"}, {"level", "4"},
      {"isa", ""}, {"zp", "0"},   {"threads", "1"},    {"repeat", "7"},   {"mb", "220"}};
  std::vector<std::string> List(const std::string& name) const {
    std::vector<std::string> items;
    std::istringstream stream(values.at(name));
    for (std::string item; std::getline(stream, item, ',');) items.push_back(item);
    return items;
  }
  int Int(const std::string& name) const { return std::stoi(values.at(name)); }
};

struct Case {
  Isa isa;
  int bits;
  int64_t N, K, block, M;
  int level;
};

void RunCase(const Case& c, const Options& options) {
  GroupFormat format;
  format.bits = c.bits;
  format.N = c.N;
  format.K = c.K;
  format.block = c.block < 0 ? c.K : c.block;
  format.zp = options.Int("zp") != 0 ? ZeroPointKind::kInteger : ZeroPointKind::kNone;
  const auto level = c.level == 4 ? AccuracyLevel::kInt8 : AccuracyLevel::kFloat;
  const MatMulNBits matmul = MatMulNBits::Create(format, level, c.isa);
  std::vector<Weights> weights;
  const double budget = options.Int("mb") * 1e6 / (c.M > 64 ? 4 : 1);
  for (size_t bytes = 0; weights.empty() || static_cast<double>(bytes) < budget; bytes += weights.back().bytes()) {
    weights.emplace_back(format, static_cast<unsigned>(weights.size()));
  }
  std::vector<float> x(static_cast<size_t>(c.M * c.K));
  std::vector<float> y(static_cast<size_t>(c.M * c.N));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float& value : x) value = normal(random);
  Pool pool(options.Int("threads"));
  const auto ours = [&] {
    for (const Weights& w : weights) {
      matmul.Run(w.View(format), {}, x.data(), y.data(), ScalarType::kFloat32, c.M, pool.parallel(), {});
    }
  };
  const int threads = options.Int("threads");
  const int copies = static_cast<int>(weights.size());
  const PeerProblem problem{c.bits, c.N, c.K, c.block, c.level, options.Int("zp") != 0, c.M, copies, threads};
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(MakeOrtPeer(problem));
  peers.push_back(MakeGgmlPeer(problem));
  std::erase(peers, nullptr);
  std::vector<double> our_times;
  std::vector<std::vector<double>> peer_times(peers.size());
  for (int i = 0; i <= options.Int("repeat"); ++i) {
    const bool warm_up = i == 0;
    const double our_time = Microseconds(threads, ours) / copies;
    if (!warm_up) our_times.push_back(our_time);
    for (size_t p = 0; p < peers.size(); ++p) {
      const double time = Microseconds(threads, [&] { peers[p]->Run(); }) / copies;
      if (!warm_up) peer_times[p].push_back(time);
    }
  }
  const double us = Median(our_times);
  const double ops = 2.0 * static_cast<double>(c.M) * static_cast<double>(c.N) * static_cast<double>(c.K);
  std::printf("%-18s %5ldx%-5ld g%-4ld M=%-4ld %9.1f us %6.1f GB/s %6.0f Gop/s", matmul.kernel_name(), c.N, c.K,
              c.block, c.M, us, static_cast<double>(weights[0].bytes()) / us / 1e3, ops / us / 1e3);
  for (size_t p = 0; p < peers.size(); ++p) {
    const double peer_us = Median(peer_times[p]);
    std::printf("   %s %9.1f us   %5.2fx", peers[p]->name().c_str(), peer_us, peer_us / us);
  }
  if (peers.empty()) std::printf("   peers not measured");
  std::printf("   spread %.2f\n", *std::max_element(our_times.begin(), our_times.end()) /
                                      *std::min_element(our_times.begin(), our_times.end()));
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i] + (std::strncmp(argv[i], "--", 2) == 0 ? 2 : 0);
    if (!options.values.contains(name)) {
      std::fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
    options.values[name] = argv[i + 1];
  }
  if (!options.values["ort"].empty() && !LoadOrt(options.values["ort"])) {
    std::fprintf(stderr, "cannot load %s\n", options.values["ort"].c_str());
    return 2;
  }
  if (options.values["isa"].empty()) options.values["isa"] = IsaName(ActiveIsa());
  const Roofline roofline = MeasureRoofline(options.Int("threads"));
  std::printf("roofline, %d thread(s): read %.1f GB/s (%d streams), int8 %.0f Gop/s, fp32 %.0f Gflop/s\n",
              options.Int("threads"), roofline.read_gbs, roofline.read_streams, roofline.int8_gops,
              roofline.fp32_gflops);
  for (const std::string& isa : options.List("isa"))
    for (const std::string& level : options.List("level"))
      for (const std::string& bits : options.List("bits"))
        for (const std::string& shape : options.List("shape"))
          for (const std::string& block : options.List("block"))
            for (const std::string& m : options.List("m")) {
              const size_t x = shape.find('x');
              RunCase({ParseIsa(isa), std::stoi(bits), std::stol(shape.substr(0, x)), std::stol(shape.substr(x + 1)),
                       std::stol(block), std::stol(m), std::stoi(level)},
                      options);
            }
  return 0;
}

}  // namespace
}  // namespace ortq::bench

int main(int argc, char** argv) {
  return ortq::bench::Main(argc, argv);
}

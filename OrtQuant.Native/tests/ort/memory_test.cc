// A session reads its weights where the file is mapped: anonymous memory does not grow with them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

/// Anonymous resident memory of this process, bytes.
int64_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssAnon:", 0) == 0) return std::stoll(line.substr(8)) * 1024;
  }
  return -1;
}

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("ortquant-memory-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path File(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

TEST(Memory, WeightsAreNotCopied) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer keeps memory of its own";
#endif
  // 8 layers of 4-bit weights, 64 MiB, in one external file.
  constexpr int64_t kSize = 4096, kLayers = 8;
  const GroupWeight shape{
      {.N = kSize, .K = kSize, .block_size = 128, .zero_points = ZeroPoints::kNone}, {}, {}, {}, {}, {}, {}, {}};
  const Folder folder;
  constexpr int64_t kCodes = kSize * kSize / 2, kScales = kSize * kSize / 128 * 2;
  std::ofstream data(folder.File("weights.bin"), std::ios::binary);
  Model model;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string suffix = std::to_string(layer);
    model.initializers.push_back(
        {"W" + suffix, 2, {kSize / 16, kSize / 32, 256}, "", {"weights.bin", data.tellp(), kCodes}});
    data << std::string(kCodes, static_cast<char>(0x79 + layer));
    model.initializers.push_back(
        {"scales" + suffix, 10, {kSize / 16, kSize / 128, 16}, "", {"weights.bin", data.tellp(), kScales}});
    data << std::string(kScales, '\x10');
    const std::string from = layer == 0 ? "X" : "Y" + std::to_string(layer - 1);
    model.nodes.push_back({"ortquant",
                           "MatMulNBits",
                           "node" + suffix,
                           {from, "W" + suffix, "scales" + suffix},
                           {"Y" + suffix},
                           shape.Attributes()});
  }
  data.close();
  model.inputs = {{"X", 1, {std::string("rows"), kSize}}};
  model.outputs = {{"Y" + std::to_string(kLayers - 1), 1, {}, false}};
  std::ofstream(folder.File("model.onnx"), std::ios::binary) << model.Serialize();

  { Load(MatMulModel(GroupWeight::Random({.N = 16, .K = 32}, 1)), Options(2)); }  // what ONNX Runtime allocates once
  const int64_t before = AnonymousBytes();
  Ort::Session session(Environment(), folder.File("model.onnx").c_str(), Options(2));
  const int64_t loaded = AnonymousBytes() - before;
  Evaluate(session, {Tensor::Random({1, kSize}, 1, 1)});
  const int64_t ran = AnonymousBytes() - before;
  constexpr int64_t kWeights = kLayers * (kCodes + kScales);
  RecordProperty("loaded_bytes", std::to_string(loaded));
  RecordProperty("ran_bytes", std::to_string(ran));
  EXPECT_LT(loaded, kWeights / 20) << "of " << kWeights << " bytes of weights";
  EXPECT_LT(ran, kWeights / 20) << "of " << kWeights << " bytes of weights";
}

}  // namespace
}  // namespace ortq::test

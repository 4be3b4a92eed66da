// The C++ of docs/using-from-cpp-and-python.md, compiled and run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The lines between two markers, without the two spaces they are indented by.
std::string Region(const std::string& text, const std::string& begin, const std::string& end) {
  std::istringstream lines(text.substr(text.find(begin) + begin.size() + 1));
  std::string region;
  for (std::string line; std::getline(lines, line) && line.find(end) == std::string::npos;) {
    region += (line.rfind("  ", 0) == 0 ? line.substr(2) : line) + "\n";
  }
  return region;
}

TEST(Documentation, TheCppExampleRuns) {
  const std::string file =
      std::filesystem::temp_directory_path() / ("ortquant-example-" + std::to_string(getpid()) + ".onnx");
  const GroupWeight weight = GroupWeight::Random({.N = 32, .K = 64}, 1);
  std::ofstream(file, std::ios::binary) << MatMulModel(weight).Serialize();
  const char* model_path = file.c_str();
  const char* library_path = ORTQUANT_LIBRARY;
  // example
  Ort::Env env;
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(4);
  options.RegisterCustomOpsLibrary(library_path);
  options.AddConfigEntry("ortquant.intra_op_threads", "4");  // optional: lets kernels cut their work for 4 threads
  Ort::Session session(env, model_path, options);
  // end of example
  std::filesystem::remove(file);
  const Tensor x = Tensor::Random({1, 2, 64}, 1, 2);
  ExpectNear(Evaluate(session, {x}), MatMul(x.ToFloats(), weight), 64);
}

TEST(Documentation, TheCppExampleIsTheOneThatRuns) {
  const std::string page = ReadText(ORTQUANT_SOURCE_DIR "/docs/using-from-cpp-and-python.md");
  const std::string example = Region(ReadText(ORTQUANT_SOURCE_DIR "/OrtQuant.Native/tests/ort/documentation_test.cc"),
                                     "  // example", "// end of example");
  ASSERT_NE(example.find("RegisterCustomOpsLibrary"), std::string::npos);
  EXPECT_EQ(Region(page, "```cpp", "```"), example);
}

}  // namespace
}  // namespace ortq::test

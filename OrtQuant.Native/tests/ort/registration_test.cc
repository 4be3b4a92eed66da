// RegisterCustomOps: once, twice, in several sessions and threads, and with an ONNX Runtime that is too old.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

GroupWeight Weight() {
  return GroupWeight::Random({.N = 48, .K = 64, .zero_points = ZeroPoints::kInteger}, 1);
}

TEST(Registration, ModelsNeedTheLibrary) {
  EXPECT_NE(LoadError(MatMulModel(Weight()), Ort::SessionOptions()), "");
  EXPECT_EQ(LoadError(MatMulModel(Weight()), Options()), "");
}

TEST(Registration, TwiceOnTheSameOptionsIsHarmless) {
  Ort::SessionOptions options = Options();
  options.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
  EXPECT_EQ(LoadError(MatMulModel(Weight()), options), "");
}

TEST(Registration, OnClonedOptionsIsHarmless) {
  const Ort::SessionOptions options = Options();
  Ort::SessionOptions clone = options.Clone();
  clone.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
  EXPECT_EQ(LoadError(MatMulModel(Weight()), clone), "");
}

TEST(Registration, OneSetOfOptionsServesSeveralSessions) {
  const Ort::SessionOptions options = Options();
  Ort::Session first = Load(MatMulModel(Weight()), options);
  Ort::Session second = Load(MatMulModel(Weight()), options);
  const Tensor x = Tensor::Random({1, 2, 64}, 1, 2);
  EXPECT_EQ(Evaluate(first, {x}).bytes, Evaluate(second, {x}).bytes);
}

TEST(Registration, SessionsInParallel) {
  const Model model = MatMulModel(Weight());
  const Tensor x = Tensor::Random({1, 3, 64}, 1, 3);
  Ort::Session session = Load(model, Options());
  const std::string expected = Evaluate(session, {x}).bytes;
  std::vector<std::string> results(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& result : results) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          Ort::Session own = Load(model, Options(2));
          result = Evaluate(own, {x}).bytes;
        }
      });
    }
  }
  for (const std::string& result : results) EXPECT_EQ(result, expected);
}

TEST(Registration, RunsOfOneSessionInParallel) {
  const GroupWeight weight = GroupWeight::Random({.N = 256, .K = 512, .zero_points = ZeroPoints::kInteger}, 4);
  Ort::Session session = Load(MatMulModel(weight, 1, 4), Options(2));
  constexpr int kThreads = 8;
  std::vector<Tensor> inputs;
  std::vector<std::string> expected;
  for (uint32_t i = 0; i < kThreads; ++i) {
    inputs.push_back(Tensor::Random({1, 1 + i, 512}, 1, i));
    expected.push_back(Evaluate(session, {inputs[i]}).bytes);
  }
  std::vector<int> wrong(kThreads);
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) wrong[t] += Evaluate(session, {inputs[t]}).bytes != expected[t];
      });
    }
  }
  EXPECT_EQ(wrong, std::vector<int>(kThreads));
}

TEST(Registration, CudaThatCannotBeHadIsNamed) {
  Ort::SessionOptions options;
  options.AddConfigEntry("ortquant.cuda", "1");
  try {
    options.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
    GTEST_SKIP() << "this machine has a GPU and the CUDA library";
  } catch (const Ort::Exception& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.find("libortquant_cuda.so) cannot be loaded") != std::string::npos ||
                message.find("no CUDA device") != std::string::npos)
        << message;
  }
}

TEST(Registration, AnOldOnnxRuntimeIsRefusedWithBothVersions) {
  void* library = dlopen(ORTQUANT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto register_ops =
      reinterpret_cast<OrtStatus* (*)(OrtSessionOptions*, const OrtApiBase*)>(dlsym(library, "RegisterCustomOps"));
  ASSERT_NE(register_ops, nullptr);
  const OrtApiBase old = {
      [](uint32_t version) noexcept { return version < 24 ? OrtGetApiBase()->GetApi(version) : nullptr; },
      []() noexcept { return "1.23.2"; }};
  Ort::SessionOptions options;
  const Ort::Status status(register_ops(options, &old));
  EXPECT_FALSE(status.IsOK());
  EXPECT_NE(status.GetErrorMessage().find("needs ONNX Runtime 1.24 or newer; this is 1.23.2"), std::string::npos)
      << status.GetErrorMessage();
  dlclose(library);
}

}  // namespace
}  // namespace ortq::test

#include "tests/ort/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace ortq::test {

Ort::Env& Environment() {
  static Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "ortquant_ort_tests");
  return env;
}

Ort::SessionOptions Options(int threads) {
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(threads);
  options.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
  return options;
}

Ort::Session Load(const Model& model, const Ort::SessionOptions& options) {
  const std::string bytes = model.Serialize();
  return Ort::Session(Environment(), bytes.data(), bytes.size(), options);
}

std::string LoadError(const Model& model, const Ort::SessionOptions& options) {
  try {
    Load(model, options);
    return "";
  } catch (const Ort::Exception& error) {
    return error.what();
  }
}

size_t Tensor::Count() const {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

Tensor Tensor::Floats(const std::vector<int64_t>& shape, const std::vector<float>& values, int type) {
  return {type, shape, Encode(values, type)};
}

Tensor Tensor::Random(const std::vector<int64_t>& shape, int type, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Tensor tensor{type, shape, ""};
  std::vector<float> values(tensor.Count());
  for (float& value : values) value = normal(random);
  return Floats(shape, values, type);
}

std::vector<float> Tensor::ToFloats() const {
  return Decode(bytes.data(), Count(), type);
}

Tensor Evaluate(Ort::Session& session, const std::vector<Tensor>& inputs) {
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
  Ort::AllocatorWithDefaultOptions allocator;
  std::vector<std::string> names;
  std::vector<Ort::Value> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    names.emplace_back(session.GetInputNameAllocated(i, allocator).get());
    const Tensor& input = inputs[i];
    values.push_back(Ort::Value::CreateTensor(memory, const_cast<char*>(input.bytes.data()), input.bytes.size(),
                                              input.shape.data(), input.shape.size(),
                                              static_cast<ONNXTensorElementDataType>(input.type)));
  }
  std::vector<const char*> input_names;
  for (const std::string& name : names) input_names.push_back(name.c_str());
  const Ort::AllocatedStringPtr output = session.GetOutputNameAllocated(0, allocator);
  const char* output_name = output.get();
  const std::vector<Ort::Value> outputs =
      session.Run(Ort::RunOptions(nullptr), input_names.data(), values.data(), values.size(), &output_name, 1);
  const auto info = outputs[0].GetTensorTypeAndShapeInfo();
  return {info.GetElementType(), info.GetShape(),
          std::string(static_cast<const char*>(outputs[0].GetTensorRawData()), outputs[0].GetTensorSizeInBytes())};
}

std::string EvaluateError(Ort::Session& session, const std::vector<Tensor>& inputs) {
  try {
    Evaluate(session, inputs);
    return "";
  } catch (const Ort::Exception& error) {
    return error.what();
  }
}

Model MatMulModel(const GroupWeight& weight, int type, int64_t accuracy_level) {
  Model model;
  Node node{"ortquant", "MatMulNBits", "node", {"X", "W", "scales"}, {"Y"}, weight.Attributes()};
  if (weight.zero_points != ZeroPoints::kNone) node.inputs.push_back("zero_points");
  node.attributes.push_back({"accuracy_level", accuracy_level});
  model.nodes = {node};
  model.inputs = {{"X", type, {std::string("batch"), std::string("rows"), weight.K}}};
  model.outputs = {{"Y", type, {}, false}};
  model.initializers = weight.Initializers();
  return model;
}

Model GatherModel(const GroupWeight& weight, int type, int index_type) {
  Model model;
  Node node{"ortquant", "GatherNBits", "node", {"indices", "W", "scales"}, {"Y"}, weight.Attributes()};
  if (weight.zero_points != ZeroPoints::kNone) node.inputs.push_back("zero_points");
  node.attributes.push_back({"dtype", static_cast<int64_t>(type)});
  model.nodes = {node};
  model.inputs = {{"indices", index_type, {std::string("count")}}};
  model.outputs = {{"Y", type, {}, false}};
  model.initializers = weight.Initializers();
  return model;
}

Expected MatMul(const std::vector<float>& x, const GroupWeight& weight, const std::vector<float>& bias) {
  const auto K = static_cast<size_t>(weight.K), N = static_cast<size_t>(weight.N);
  const size_t M = x.size() / K;
  Expected expected{std::vector<double>(M * N), std::vector<double>(M * N)};
  for (size_t m = 0; m < M; ++m) {
    for (size_t n = 0; n < N; ++n) {
      double sum = bias.empty() ? 0 : bias[n], magnitude = std::fabs(sum);
      for (size_t k = 0; k < K; ++k) {
        const double product = double{x[m * K + k]} * weight.dense[n * K + k];
        sum += product;
        magnitude += std::fabs(product);
      }
      expected.values[m * N + n] = sum;
      expected.magnitudes[m * N + n] = magnitude;
    }
  }
  return expected;
}

void ExpectNear(const Tensor& y, const Expected& expected, int64_t K) {
  const std::vector<float> actual = y.ToFloats();
  ASSERT_EQ(actual.size(), expected.values.size());
  // Sums of K products in float32, with a zero point's share taken out afterwards: (K + 16) roundings of what was
  // summed. The magnitude counts |x * (q - zp)|; the sums hold |x * q| and |x * zp|, larger by a small factor.
  const double sum_bound = 4 * static_cast<double>(K + 16) * 0x1p-24;
  const double store_bound = y.type == 10 ? 0x1p-11 : 0x1p-24;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double bound = sum_bound * expected.magnitudes[i] + store_bound * std::fabs(expected.values[i]) + 0x1p-25;
    ASSERT_LE(std::fabs(actual[i] - expected.values[i]), bound)
        << "element " << i << " is " << actual[i] << ", expected " << expected.values[i];
  }
}

}  // namespace ortq::test

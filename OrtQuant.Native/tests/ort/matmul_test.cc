// MatMulNBits in ONNX Runtime against a product in double precision.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

struct Case {
  Geometry geometry;
  int type;
  bool bias;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int64_t bits : {2, 3, 4, 8}) {
    for (const ZeroPoints zero_points : {ZeroPoints::kNone, ZeroPoints::kInteger, ZeroPoints::kFloat}) {
      for (const int type : {1, 10}) {
        for (const int scale_type : {1, 10}) {
          // Sizes that fit no vector, a last group that is short, a group of the whole row.
          const int64_t block_size = bits == 3 ? -1 : bits == 8 ? 128 : 32;
          cases.push_back({{37, 200, bits, block_size, zero_points, scale_type}, type, scale_type == 1});
        }
      }
    }
  }
  return cases;
}

class MatMulTest : public testing::TestWithParam<Case> {};

TEST_P(MatMulTest, FloatLevelEqualsTheProduct) {
  const auto& [geometry, type, with_bias] = GetParam();
  const GroupWeight weight = GroupWeight::Random(geometry, 7);
  Model model = MatMulModel(weight, type);
  std::vector<float> bias;
  if (with_bias) {
    const Tensor tensor = Tensor::Random({geometry.N}, type, 8);
    bias = tensor.ToFloats();
    model.initializers.push_back({"bias", type, {geometry.N}, tensor.bytes, {}});
    model.nodes[0].inputs.resize(4);  // "" stands for zero points left out
    model.nodes[0].inputs.push_back("bias");
  }
  Ort::Session session = Load(model, Options());
  const Tensor x = Tensor::Random({2, 3, geometry.K}, type, 9);
  const Tensor y = Evaluate(session, {x});
  EXPECT_EQ(y.type, type);
  EXPECT_EQ(y.shape, (std::vector<int64_t>{2, 3, geometry.N}));
  ExpectNear(y, MatMul(x.ToFloats(), weight, bias), geometry.K);
}

TEST_P(MatMulTest, OneFlippedCodeShows) {
  const auto& [geometry, type, with_bias] = GetParam();
  GroupWeight weight = GroupWeight::Random(geometry, 7);
  const Tensor x = Tensor::Floats({1, 1, geometry.K}, std::vector<float>(static_cast<size_t>(geometry.K), 1.0f), type);
  Ort::Session session = Load(MatMulModel(weight, type), Options());
  const std::string before = Evaluate(session, {x}).bytes;
  weight.codes[4] ^= static_cast<char>(0x80);  // the highest bit of a code of output 1
  Ort::Session changed = Load(MatMulModel(weight, type), Options());
  EXPECT_NE(Evaluate(changed, {x}).bytes, before);
}

INSTANTIATE_TEST_SUITE_P(Formats, MatMulTest, testing::ValuesIn(Cases()));

GroupWeight Weight(int64_t N = 37, int64_t K = 200) {
  return GroupWeight::Random({.N = N, .K = K, .zero_points = ZeroPoints::kInteger}, 11);
}

TEST(MatMul, Int8LevelIsClose) {
  const GroupWeight weight = Weight(48, 256);
  Ort::Session session = Load(MatMulModel(weight, 1, 4), Options());
  const Tensor x = Tensor::Random({1, 5, 256}, 1, 12);
  const std::vector<float> y = Evaluate(session, {x}).ToFloats();
  const Expected expected = MatMul(x.ToFloats(), weight);
  double error = 0, norm = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    error += (y[i] - expected.values[i]) * (y[i] - expected.values[i]);
    norm += expected.values[i] * expected.values[i];
  }
  // Rounding activations to 1/127 of their block's maximum: a step of 0.02 of a standard deviation or so, its
  // 1/sqrt(12).
  EXPECT_LT(std::sqrt(error / norm), 0.02);
  EXPECT_GT(std::sqrt(error / norm), 1e-5) << "the int8 level did not run";
}

TEST(MatMul, LowRankFactorsAreAdded) {
  const GroupWeight weight = Weight();
  constexpr int64_t kRank = 5;
  const Tensor a = Tensor::Random({200, kRank}, 1, 13), b = Tensor::Random({kRank, 37}, 1, 14);
  Model model = MatMulModel(weight);
  model.nodes[0].inputs.insert(model.nodes[0].inputs.end(), {"", "A", "B"});
  model.initializers.push_back({"A", 1, a.shape, a.bytes, {}});
  model.initializers.push_back({"B", 1, b.shape, b.bytes, {}});
  Ort::Session session = Load(model, Options());
  const Tensor x = Tensor::Random({1, 2, 200}, 1, 15);

  GroupWeight corrected = weight;
  const std::vector<float> left = a.ToFloats(), right = b.ToFloats();
  for (size_t n = 0; n < 37; ++n) {
    for (size_t k = 0; k < 200; ++k) {
      for (size_t r = 0; r < kRank; ++r) corrected.dense[n * 200 + k] += left[k * kRank + r] * right[r * 37 + n];
    }
  }
  const std::vector<float> y = Evaluate(session, {x}).ToFloats();
  const Expected expected = MatMul(x.ToFloats(), corrected);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected.values[i], 1e-5 * expected.magnitudes[i]);
}

TEST(MatMul, AnyLeadingDimensions) {
  const GroupWeight weight = Weight(32, 64);
  Model model = MatMulModel(weight);
  model.inputs[0].has_shape = false;
  Ort::Session session = Load(model, Options());
  const Tensor flat = Tensor::Random({12, 64}, 1, 16);
  const std::string expected = Evaluate(session, {flat}).bytes;
  for (const std::vector<int64_t>& leading :
       std::vector<std::vector<int64_t>>{{1, 12}, {3, 4}, {2, 1, 3, 2}, {1, 1, 2, 2, 1, 3}}) {
    Tensor x = flat;
    x.shape = leading;
    x.shape.push_back(64);
    const Tensor y = Evaluate(session, {x});
    std::vector<int64_t> shape = leading;
    shape.push_back(32);
    EXPECT_EQ(y.shape, shape);
    EXPECT_EQ(y.bytes, expected);
  }
  Tensor vector = Tensor::Random({64}, 1, 17);
  EXPECT_EQ(Evaluate(session, {vector}).shape, std::vector<int64_t>{32});
}

TEST(MatMul, NoRows) {
  Ort::Session session = Load(MatMulModel(Weight(32, 64)), Options());
  const Tensor y = Evaluate(session, {{1, {3, 0, 64}, ""}});
  EXPECT_EQ(y.shape, (std::vector<int64_t>{3, 0, 32}));
}

TEST(MatMul, ThreadsDoNotChangeAnyBit) {
  const GroupWeight weight = Weight(300, 512);
  for (const int64_t level : {1, 4}) {
    for (const int64_t rows : {1, 7, 70}) {
      const Tensor x = Tensor::Random({1, rows, 512}, 1, 18);
      Ort::Session one = Load(MatMulModel(weight, 1, level), Options(1));
      const std::string expected = Evaluate(one, {x}).bytes;
      for (const int threads : {2, 3, 8}) {
        for (const char* hint : {"", "1", "3", "64"}) {
          Ort::SessionOptions options = Options(threads);
          if (*hint != '\0') options.AddConfigEntry("ortquant.intra_op_threads", hint);
          Ort::Session session = Load(MatMulModel(weight, 1, level), options);
          EXPECT_EQ(Evaluate(session, {x}).bytes, expected)
              << threads << " threads, hint '" << hint << "', level " << level;
        }
      }
    }
  }
}

TEST(MatMul, WeightsThatAreNoConstants) {
  const GroupWeight weight = Weight(32, 64);
  Model model = MatMulModel(weight);
  const std::vector<Initializer> initializers = std::exchange(model.initializers, {});
  std::vector<Tensor> inputs = {Tensor::Random({1, 2, 64}, 1, 19)};
  for (const Initializer& initializer : initializers) {
    model.inputs.push_back({initializer.name, initializer.type, {}, false});
    inputs.push_back({initializer.type, initializer.dims, initializer.raw});
  }
  Ort::Session constant = Load(MatMulModel(weight), Options());
  Ort::Session session = Load(model, Options());
  EXPECT_EQ(Evaluate(session, inputs).bytes, Evaluate(constant, {inputs[0]}).bytes);

  inputs[1].shape = {2, 1, 512};
  EXPECT_NE(EvaluateError(session, inputs).find("input 'W' has shape [2, 1, 512]; required: [2, 2, 256]"),
            std::string::npos)
      << EvaluateError(session, inputs);
}

TEST(MatMul, TheLastDimensionIsCheckedInEachRun) {
  Model model = MatMulModel(Weight(32, 64));
  model.inputs[0].shape[2] = std::string("depth");
  Ort::Session session = Load(model, Options());
  const std::string error = EvaluateError(session, {Tensor::Random({1, 2, 65}, 1, 20)});
  EXPECT_NE(error.find("input 0 'X' has shape [1, 2, 65]; required: the last dimension is K = 64"), std::string::npos)
      << error;
  EXPECT_NE(error.find("'node'"), std::string::npos) << error;
}

TEST(MatMul, TheShapeOfTheOutputIsInferred) {
  Ort::Session session = Load(MatMulModel(Weight()), Options());
  const Ort::TypeInfo type = session.GetOutputTypeInfo(0);
  const auto info = type.GetTensorTypeAndShapeInfo();
  EXPECT_EQ(info.GetShape(), (std::vector<int64_t>{-1, -1, 37}));
  const std::vector<const char*> names = info.GetSymbolicDimensions();
  ASSERT_EQ(names.size(), 3u);
  EXPECT_STREQ(names[0], "batch");
  EXPECT_STREQ(names[1], "rows");
}

TEST(MatMul, DimensionsWithoutValueOrNameStayUnknown) {
  // Consumers that fold shapes would take a -1 for a number: here the two unknown sizes end up in a Reshape's shape.
  Model model = MatMulModel(Weight(32, 64));
  model.inputs[0].shape = {std::string(), std::string(), int64_t{64}};
  model.nodes[0].outputs = {"product"};
  model.nodes.push_back({"", "Shape", "shape", {"product"}, {"sizes"}, {}});
  model.nodes.push_back({"", "Reshape", "reshape", {"X", "sizes_of_x"}, {"reshaped"}, {}});
  model.nodes.push_back({"", "Reshape", "again", {"product", "sizes"}, {"Y"}, {}});
  model.nodes.insert(model.nodes.begin(), {"", "Shape", "shape_of_x", {"X"}, {"sizes_of_x"}, {}});
  model.outputs.push_back({"reshaped", 1, {}, false});
  Ort::Session session = Load(model, Options());
  EXPECT_EQ(Evaluate(session, {Tensor::Random({2, 3, 64}, 1, 22)}).shape, (std::vector<int64_t>{2, 3, 32}));
}

TEST(MatMul, ForcedInstructionSetsAgree) {
  const GroupWeight weight = Weight(48, 128);
  const Tensor x = Tensor::Random({1, 4, 128}, 1, 21);
  int available = 0;
  for (const char* isa : {"reference", "avx2", "avx512"}) {
    Ort::SessionOptions options = Options();
    options.AddConfigEntry("ortquant.force_isa", isa);
    const std::string error = LoadError(MatMulModel(weight), options);
    if (!error.empty()) {
      EXPECT_NE(error.find("instruction set '" + std::string(isa) + "' is not available"), std::string::npos) << error;
      continue;
    }
    ++available;
    Ort::Session session = Load(MatMulModel(weight), options);
    ExpectNear(Evaluate(session, {x}), MatMul(x.ToFloats(), weight), 128);
  }
  EXPECT_GE(available, 1);
}

}  // namespace
}  // namespace ortq::test

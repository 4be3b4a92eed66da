// What is wrong with a node is said when the session is created: the node, the actual value, the permitted one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

GroupWeight Weight(ZeroPoints zero_points = ZeroPoints::kInteger) {
  return GroupWeight::Random({.N = 37, .K = 200, .zero_points = zero_points}, 41);
}

void Set(Model& model, const char* name, decltype(Attribute::value) value) {
  for (Attribute& attribute : model.nodes[0].attributes) {
    if (attribute.name == name) attribute.value = value;
  }
}

void Remove(Model& model, const char* name) {
  std::erase_if(model.nodes[0].attributes, [&](const Attribute& attribute) { return attribute.name == name; });
}

/// Makes an initializer one of zeros.
void Replace(Model& model, const char* name, int type, const std::vector<int64_t>& dims) {
  size_t bytes = type == 1 || type == 6 ? 4 : type == 10 ? 2 : type == 11 || type == 7 ? 8 : 1;
  for (const int64_t dim : dims) bytes *= static_cast<size_t>(dim);
  for (Initializer& initializer : model.initializers) {
    if (initializer.name == name) initializer = {name, type, dims, std::string(bytes, '\0'), {}};
  }
}

/// Adds an initializer of zeros and gives it to the node as input `index`.
void Add(Model& model, size_t index, const char* name, int type, const std::vector<int64_t>& dims) {
  model.nodes[0].inputs.resize(std::max(model.nodes[0].inputs.size(), index + 1));
  model.nodes[0].inputs[index] = name;
  model.initializers.push_back({name, 1, {}, "", {}});
  Replace(model, name, type, dims);
}

struct Case {
  const char* name;
  std::function<void(Model&)> change;
  const char* message;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"AttributeMissing", [](Model& m) { Remove(m, "bits"); }, "attribute 'bits' is missing; required: an int"},
      {"AttributeKind", [](Model& m) { Set(m, "K", 200.0f); }, "attribute 'K' is a float; required: an int"},
      {"AttributeKindString", [](Model& m) { Set(m, "layout", int64_t{1}); },
       "attribute 'layout' is an int; required: a string"},
      {"AttributeKindList", [](Model& m) { Set(m, "N", std::vector<int64_t>{37}); },
       "attribute 'N' is a list of ints; required: an int"},
      {"Bits", [](Model& m) { Set(m, "bits", int64_t{5}); }, "attribute 'bits' is 5; permitted: 2, 3, 4, 8"},
      {"AccuracyLevel", [](Model& m) { Set(m, "accuracy_level", int64_t{2}); },
       "attribute 'accuracy_level' is 2; permitted: 0, 1, 4"},
      {"Layout", [](Model& m) { Set(m, "layout", std::string("row")); },
       "attribute 'layout' is 'row'; permitted: 'n16'"},
      {"NewerFormat", [](Model& m) { Set(m, "format_version", int64_t{2}); },
       "attribute 'format_version' is 2: the model is newer than this library, which reads version 1; update OrtQuant"},
      {"FormatZero", [](Model& m) { Set(m, "format_version", int64_t{0}); },
       "attribute 'format_version' is 0; permitted: 1"},
      {"BlockSize", [](Model& m) { Set(m, "block_size", int64_t{48}); },
       "block_size is 48; permitted: a power of two >= 16, or -1"},
      {"BlockSizeSmall", [](Model& m) { Set(m, "block_size", int64_t{8}); }, "block_size is 8; permitted:"},
      {"BlockSizeNegative", [](Model& m) { Set(m, "block_size", int64_t{-2}); }, "block_size is -2; permitted:"},
      {"NZero", [](Model& m) { Set(m, "N", int64_t{0}); }, "N is 0; permitted: 1 to"},
      {"NHuge", [](Model& m) { Set(m, "N", INT64_MAX); }, "N is 9223372036854775807; permitted: 1 to"},
      {"KNegative", [](Model& m) { Set(m, "K", int64_t{-5}); }, "K is -5; permitted: 1 to"},
      {"XType", [](Model& m) { m.inputs[0].type = 11, m.outputs[0].type = 11; },
       "input 0 'X' has type float64; permitted: float32, float16"},
      {"XTypeBfloat16", [](Model& m) { m.inputs[0].type = 16, m.outputs[0].type = 16; },
       "input 0 'X' has type bfloat16; permitted: float32, float16"},
      {"XTypeInt8", [](Model& m) { m.inputs[0].type = 3; }, "input 0 'X' has type int8; permitted: float32, float16"},
      {"XDepth", [](Model& m) { m.inputs[0].shape[2] = int64_t{201}; },
       "input 0 'X' has shape [?, ?, 201]; required: the last dimension is K = 200"},
      {"CodesType",
       [](Model& m) {
         Replace(m, "W", 3, {3, 7, 256});
       },
       "input 1 'W' has type int8; permitted: uint8"},
      {"CodesShape",
       [](Model& m) {
         Replace(m, "W", 2, {3, 6, 256});
       },
       "input 1 'W' has shape [3, 6, 256]; required: [3, 7, 256]"},
      {"CodesRank",
       [](Model& m) {
         Replace(m, "W", 2, {3, 7 * 256});
       },
       "input 1 'W' has shape [3, 1792]; required: [3, 7, 256]"},
      {"ScalesType",
       [](Model& m) {
         Replace(m, "scales", 11, {3, 7, 16});
       },
       "input 2 'scales' has type float64; permitted: float32, float16"},
      {"ScalesShape",
       [](Model& m) {
         Replace(m, "scales", 1, {3, 7});
       },
       "input 2 'scales' has shape [3, 7]; required: [3, 7, 16]"},
      {"ZeroPointsType",
       [](Model& m) {
         Replace(m, "zero_points", 3, {3, 4, 16});
       },
       "input 3 'zero_points' has type int8; permitted: uint8, float32, float16"},
      {"ZeroPointsShape",
       [](Model& m) {
         Replace(m, "zero_points", 2, {3, 7, 16});
       },
       "input 3 'zero_points' has shape [3, 7, 16]; required: [3, 4, 16]"},
      {"FloatZeroPointsShape",
       [](Model& m) {
         Replace(m, "zero_points", 10, {3, 7, 8});
       },
       "input 3 'zero_points' has shape [3, 7, 8]; required: [3, 7, 16]"},
      {"BiasShape", [](Model& m) { Add(m, 4, "bias", 1, {36}); }, "input 4 'bias' has shape [36]; required: [37]"},
      {"BiasType", [](Model& m) { Add(m, 4, "bias", 10, {37}); },
       "input 4 'bias' has type float16; required: float32, the type of 'X'"},
      {"BiasTypeInt", [](Model& m) { Add(m, 4, "bias", 6, {37}); },
       "input 4 'bias' has type int32; permitted: float32, float16"},
      {"LowRankAlone",
       [](Model& m) {
         Add(m, 5, "A", 1, {200, 4});
       },
       "inputs 'low_rank_a' and 'low_rank_b' must be given together"},
      {"LowRankShape",
       [](Model& m) {
         Add(m, 5, "A", 1, {4, 200}), Add(m, 6, "B", 1, {4, 37});
       },
       "input 5 'low_rank_a' has shape [4, 200]; required: [200, ?]"},
      {"LowRankRanks",
       [](Model& m) {
         Add(m, 5, "A", 1, {200, 4}), Add(m, 6, "B", 1, {3, 37});
       },
       "input 'low_rank_b' has shape [3, 37]; required: [4, 37]"},
  };
  return cases;
}

class ValidationTest : public testing::TestWithParam<Case> {};

TEST_P(ValidationTest, NamesNodeActualAndPermitted) {
  Model model = MatMulModel(Weight());
  GetParam().change(model);
  const std::string error = LoadError(model, Options());
  EXPECT_NE(error.find("MatMulNBits node 'node': "), std::string::npos) << error;
  EXPECT_NE(error.find(GetParam().message), std::string::npos) << error;
}

INSTANTIATE_TEST_SUITE_P(MatMul, ValidationTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Validation, TheUnchangedModelLoads) {
  EXPECT_EQ(LoadError(MatMulModel(Weight()), Options()), "");
}

TEST(Validation, UnknownAttributesAreIgnored) {
  Model model = MatMulModel(Weight());
  model.nodes[0].attributes.push_back({"fallback_shape", std::vector<int64_t>{1, 2, 3}});
  EXPECT_EQ(LoadError(model, Options()), "");
}

TEST(Validation, AnAbsentAccuracyLevelIsFloat) {
  Model model = MatMulModel(Weight()), explicit_level = model;
  Remove(model, "accuracy_level");
  Ort::Session session = Load(model, Options()), same = Load(explicit_level, Options());
  const Tensor x = Tensor::Random({1, 3, 200}, 1, 42);
  EXPECT_EQ(Evaluate(session, {x}).bytes, Evaluate(same, {x}).bytes);
}

TEST(Validation, GatherNamesItsNode) {
  Model model = GatherModel(Weight());
  Set(model, "dtype", int64_t{11});
  const std::string error = LoadError(model, Options());
  EXPECT_NE(error.find("GatherNBits node 'node': attribute 'dtype' is 11; permitted: 1, 10"), std::string::npos)
      << error;
  model = GatherModel(Weight());
  model.inputs[0].type = 1;
  EXPECT_NE(LoadError(model, Options()).find("input 0 'indices' has type float32; permitted: int32, int64"),
            std::string::npos)
      << LoadError(model, Options());
}

TEST(Validation, ConfigurationEntries) {
  Ort::SessionOptions isa = Options();
  isa.AddConfigEntry("ortquant.force_isa", "sse9");
  EXPECT_NE(LoadError(MatMulModel(Weight()), isa).find("'ortquant.force_isa': unknown instruction set 'sse9'"),
            std::string::npos)
      << LoadError(MatMulModel(Weight()), isa);
  for (const char* threads : {"-1", "2x", "many"}) {
    Ort::SessionOptions options = Options();
    options.AddConfigEntry("ortquant.intra_op_threads", threads);
    EXPECT_NE(
        LoadError(MatMulModel(Weight()), options).find("'ortquant.intra_op_threads' is '" + std::string(threads) + "'"),
        std::string::npos);
  }
}

TEST(Validation, TheEnvironmentForcesAnInstructionSet) {
  const char* before = std::getenv("ORTQUANT_FORCE_ISA");
  const std::string restored = before == nullptr ? "" : before;
  setenv("ORTQUANT_FORCE_ISA", "sse9", 1);
  const std::string error = LoadError(MatMulModel(Weight()), Options());
  setenv("ORTQUANT_FORCE_ISA", restored.c_str(), 1);  // an empty one forces nothing
  EXPECT_NE(error.find("ORTQUANT_FORCE_ISA: unknown instruction set 'sse9'"), std::string::npos) << error;
}

}  // namespace
}  // namespace ortq::test

// GatherNBits in ONNX Runtime: rows of the dense matrix, every element rounded once.
#include <gtest/gtest.h>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

GroupWeight Weight() {
  return GroupWeight::Random({.N = 37, .K = 72, .bits = 8, .block_size = 32, .zero_points = ZeroPoints::kInteger}, 31);
}

/// The rows as the op must give them, bit for bit.
std::string Rows(const GroupWeight& weight, const std::vector<int64_t>& rows, int type) {
  std::vector<float> values;
  for (const int64_t row : rows)
    values.insert(values.end(), weight.dense.begin() + row * weight.K, weight.dense.begin() + (row + 1) * weight.K);
  return Encode(values, type);
}

Tensor Indices(const std::vector<int64_t>& shape, const std::vector<int64_t>& values, int type) {
  if (type == 7) return {type, shape, Raw(values)};
  return {type, shape, Raw(std::vector<int32_t>(values.begin(), values.end()))};
}

TEST(Gather, RowsOfEveryFormat) {
  for (const int64_t bits : {2, 3, 4, 8}) {
    for (const ZeroPoints zero_points : {ZeroPoints::kNone, ZeroPoints::kInteger, ZeroPoints::kFloat}) {
      const GroupWeight weight =
          GroupWeight::Random({.N = 37, .K = 72, .bits = bits, .block_size = 16, .zero_points = zero_points}, 32);
      Ort::Session session = Load(GatherModel(weight), Options());
      EXPECT_EQ(Evaluate(session, {Indices({3}, {36, 0, 17}, 7)}).bytes, Rows(weight, {36, 0, 17}, 1)) << bits;
    }
  }
}

TEST(Gather, TypesOfIndicesAndOutput) {
  const GroupWeight weight = Weight();
  for (const int index_type : {6, 7}) {
    for (const int type : {1, 10}) {
      Model model = GatherModel(weight, type, index_type);
      // A consumer that takes only this type: the op's type must be known while the model is loaded.
      model.nodes[0].outputs = {"rows"};
      model.nodes.push_back({"", "Mul", "double", {"rows", "two"}, {"Y"}, {}});
      model.initializers.push_back({"two", type, {}, Encode({1.0f}, type), {}});
      Ort::Session session = Load(model, Options());
      const Tensor y = Evaluate(session, {Indices({2}, {5, 30}, index_type)});
      EXPECT_EQ(y.type, type);
      EXPECT_EQ(y.bytes, Rows(weight, {5, 30}, type));
    }
  }
}

TEST(Gather, ShapesOfIndices) {
  const GroupWeight weight = Weight();
  Model model = GatherModel(weight);
  model.inputs[0].has_shape = false;
  Ort::Session session = Load(model, Options(2));
  EXPECT_EQ(Evaluate(session, {Indices({}, {4}, 7)}).shape, std::vector<int64_t>{72});
  EXPECT_EQ(Evaluate(session, {Indices({2, 0, 3}, {}, 7)}).shape, (std::vector<int64_t>{2, 0, 3, 72}));
  const Tensor y = Evaluate(session, {Indices({2, 2}, {1, 2, 3, 1}, 7)});
  EXPECT_EQ(y.shape, (std::vector<int64_t>{2, 2, 72}));
  EXPECT_EQ(y.bytes, Rows(weight, {1, 2, 3, 1}, 1));
}

TEST(Gather, TheShapeOfTheOutputIsInferred) {
  Ort::Session session = Load(GatherModel(Weight(), 10), Options());
  const Ort::TypeInfo type = session.GetOutputTypeInfo(0);
  EXPECT_EQ(type.GetTensorTypeAndShapeInfo().GetShape(), (std::vector<int64_t>{-1, 72}));
  EXPECT_STREQ(type.GetTensorTypeAndShapeInfo().GetSymbolicDimensions()[0], "count");
}

TEST(Gather, ScalarIndicesGiveFloat16Too) {
  Model model = GatherModel(Weight(), 10);
  model.inputs[0].shape = {};
  Ort::Session session = Load(model, Options());
  EXPECT_EQ(Evaluate(session, {Indices({}, {3}, 7)}).bytes, Rows(Weight(), {3}, 10));
}

TEST(Gather, AnUnknownRankIsRefusedForFloat16) {
  Model model = GatherModel(Weight(), 10);
  model.inputs[0].has_shape = false;
  const std::string error = LoadError(model, Options());
  EXPECT_NE(error.find("input 0 'indices' has an unknown rank; required with dtype 10"), std::string::npos) << error;
}

TEST(Gather, NegativeIndicesCountFromTheEnd) {
  const GroupWeight weight = Weight();
  Ort::Session session = Load(GatherModel(weight), Options());
  EXPECT_EQ(Evaluate(session, {Indices({2}, {-1, -37}, 7)}).bytes, Rows(weight, {36, 0}, 1));
}

TEST(Gather, IndicesOutOfRange) {
  Ort::Session session = Load(GatherModel(Weight()), Options());
  for (const int64_t index : {int64_t{37}, int64_t{-38}, INT64_MAX, INT64_MIN}) {
    const std::string error = EvaluateError(session, {Indices({2}, {0, index}, 7)});
    EXPECT_NE(error.find("indices[1] is " + std::to_string(index) + "; permitted: -37 to 36"), std::string::npos)
        << error;
  }
}

TEST(Gather, SharesItsInitializersWithAHead) {
  const GroupWeight weight = Weight();
  Model model = GatherModel(weight);
  Node head{"ortquant", "MatMulNBits", "head", {"rows", "W", "scales", "zero_points"}, {"Y"}, weight.Attributes()};
  model.nodes[0].outputs = {"rows"};
  model.nodes.push_back(head);
  Ort::Session session = Load(model, Options());
  const Tensor y = Evaluate(session, {Indices({2}, {8, 9}, 7)});
  const std::string rows = Rows(weight, {8, 9}, 1);
  ExpectNear(y, MatMul(Decode(rows.data(), 2 * 72, 1), weight), 72);
}

}  // namespace
}  // namespace ortq::test

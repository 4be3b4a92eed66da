// Sessions of the real ONNX Runtime with libortquant registered, for the tests.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>
#include <vector>

#include "tests/ort/group_weight.h"
#include "tests/ort/onnx_writer.h"

namespace ortq::test {

Ort::Env& Environment();

/// Options with the library registered by its path.
Ort::SessionOptions Options(int threads = 1);

/// Throws Ort::Exception when ONNX Runtime refuses the model.
Ort::Session Load(const Model& model, const Ort::SessionOptions& options);

/// The message that ONNX Runtime refuses the model with; empty when it accepts.
std::string LoadError(const Model& model, const Ort::SessionOptions& options);

/// A tensor with its own memory.
struct Tensor {
  int type = 1;
  std::vector<int64_t> shape;
  std::string bytes;

  static Tensor Floats(const std::vector<int64_t>& shape, const std::vector<float>& values, int type);
  static Tensor Random(const std::vector<int64_t>& shape, int type, uint32_t seed);
  std::vector<float> ToFloats() const;
  size_t Count() const;
};

/// Runs the model with the inputs in the order the model lists them; returns its first output.
Tensor Evaluate(Ort::Session& session, const std::vector<Tensor>& inputs);

/// The message of a run that fails; empty when it does not.
std::string EvaluateError(Ort::Session& session, const std::vector<Tensor>& inputs);

/// A model of one MatMulNBits node named "node": X [batch, rows, K] -> Y, both of `type`, weights as initializers.
Model MatMulModel(const GroupWeight& weight, int type = 1, int64_t accuracy_level = 1);

/// A model of one GatherNBits node named "node": indices [count] of `index_type` -> Y of `type`.
Model GatherModel(const GroupWeight& weight, int type = 1, int index_type = 7);

/// Y = X . W^T + bias in double precision, with sum |x w| + |bias| per element for a bound.
struct Expected {
  std::vector<double> values;
  std::vector<double> magnitudes;
};
Expected MatMul(const std::vector<float>& x, const GroupWeight& weight, const std::vector<float>& bias = {});

/// Checks Y against the reference within the rounding of float32 sums and of Y's type.
void ExpectNear(const Tensor& y, const Expected& expected, int64_t K);

}  // namespace ortq::test

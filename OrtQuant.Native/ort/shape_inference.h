// Type and shape of an op's output while a model is loaded.
#pragma once

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

/// The output's type for a type of input 0, permitted or not: a model of double or bfloat16 declares its outputs so.
ElementType OutputTypeFor(const OpSpec& spec, ElementType input_type);

/// Sets the output's type and shape by the op's rule; symbolic dimensions of input 0 keep their names. Does nothing
/// where input 0's shape or an attribute is not known. Throws Error when ONNX Runtime refuses.
void InferOutput(const OrtApi& api, const OpSpec& spec, OrtShapeInferContext* context);

}  // namespace ortq::ort

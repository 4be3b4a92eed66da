// What a scheme gives to the front ends, and the list of all schemes.
#pragma once

#include <span>
#include <string_view>

#include "core/op.h"

namespace ortq {

struct Scheme {
  const char* name;
  std::span<const OpSpec* const> ops;
  /// The same ops on ONNX Runtime's CUDA provider, where they may permit more types; their kernels see device memory.
  std::span<const OpSpec* const> cuda_ops = {};
};

/// In the order of schemes.inc.
std::span<const Scheme* const> Schemes();

/// Ops that hold no weights.
std::span<const OpSpec* const> OtherOps();

/// The ops of all schemes, and the others.
std::span<const OpSpec* const> AllOps();

/// The op of that name; null when there is none.
const OpSpec* FindOp(std::string_view name);

}  // namespace ortq

#include "schemes/schemes.h"

#include <vector>

#include "attention/op.h"

namespace ortq {

#define ORTQ_SCHEME(name)      \
  namespace name {             \
  extern const Scheme kScheme; \
  }
#include "schemes/schemes.inc"
#undef ORTQ_SCHEME

namespace {

constexpr const Scheme* kSchemes[] = {
#define ORTQ_SCHEME(name) &name::kScheme,
#include "schemes/schemes.inc"
#undef ORTQ_SCHEME
};

}  // namespace

std::span<const Scheme* const> Schemes() {
  return kSchemes;
}

std::span<const OpSpec* const> OtherOps() {
  return attention::Ops();
}

std::span<const OpSpec* const> AllOps() {
  static const std::vector<const OpSpec*> all = [] {
    std::vector<const OpSpec*> ops;
    for (const Scheme* scheme : kSchemes) ops.insert(ops.end(), scheme->ops.begin(), scheme->ops.end());
    ops.insert(ops.end(), OtherOps().begin(), OtherOps().end());
    return ops;
  }();
  return all;
}

const OpSpec* FindOp(std::string_view name) {
  for (const OpSpec* op : AllOps()) {
    if (name == op->name) return op;
  }
  return nullptr;
}

}  // namespace ortq

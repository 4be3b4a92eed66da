#include "schemes/schemes.h"

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

const OpSpec* FindOp(std::string_view name) {
  for (const Scheme* scheme : kSchemes) {
    for (const OpSpec* op : scheme->ops) {
      if (name == op->name) return op;
    }
  }
  return nullptr;
}

}  // namespace ortq

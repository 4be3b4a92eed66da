#include "core/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace ortq {
namespace {

constexpr int kAutomatic = -1;
std::atomic<int> forced_isa{kAutomatic};

#if defined(ORTQUANT_X86_KERNELS)
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

std::vector<Isa> DetectIsas() {
  std::vector<Isa> isas;
#if defined(ORTQUANT_X86_KERNELS)
  __builtin_cpu_init();
  if (HasAvx512()) isas.push_back(Isa::kAvx512);
  if (HasAvx2()) isas.push_back(Isa::kAvx2);
#endif
  isas.push_back(Isa::kReference);
  return isas;
}

std::string SupportedNames() {
  std::string names;
  for (const Isa isa : SupportedIsas()) names += (names.empty() ? "" : ", ") + std::string(IsaName(isa));
  return names;
}

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

const std::vector<Isa>& SupportedIsas() {
  static const std::vector<Isa> isas = DetectIsas();
  return isas;
}

Isa ParseIsa(std::string_view name) {
  for (const Isa isa : SupportedIsas()) {
    if (name == IsaName(isa)) return isa;
  }
  for (const Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
    if (name == IsaName(isa)) {
      throw Error(ErrorCode::kNotSupported, "instruction set '" + std::string(name) +
                                                "' is not available on this machine; available: " + SupportedNames());
    }
  }
  ThrowInvalid("unknown instruction set '", name, "'; available on this machine: ", SupportedNames());
}

void ForceIsa(std::optional<Isa> isa) {
  if (isa) ParseIsa(IsaName(*isa));
  forced_isa.store(isa ? static_cast<int>(*isa) : kAutomatic, std::memory_order_relaxed);
}

Isa ActiveIsa() {
  const int forced = forced_isa.load(std::memory_order_relaxed);
  if (forced != kAutomatic) return static_cast<Isa>(forced);
  if (const char* name = std::getenv("ORTQUANT_FORCE_ISA"); name != nullptr && *name != '\0') {
    try {
      return ParseIsa(name);
    } catch (const Error& error) {
      throw Error(error.code(), std::string("ORTQUANT_FORCE_ISA: ") + error.what());
    }
  }
  return SupportedIsas().front();
}

}  // namespace ortq

// Instruction sets: which exist here, which is used, and how that is forced.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace ortq {

/// In rising order. kAvx2 = AVX2 + FMA + F16C; kAvx512 = F, BW, VL, DQ, VNNI on top of that.
enum class Isa { kReference = 0, kAvx2 = 1, kAvx512 = 2 };

/// "reference", "avx2", "avx512".
const char* IsaName(Isa isa);

/// What this processor and operating system can run, best first; kReference is always the last.
const std::vector<Isa>& SupportedIsas();

/// The instruction set of that name. Throws Error when the name is unknown or the machine lacks it: a forced
/// instruction set is never replaced silently.
Isa ParseIsa(std::string_view name);

/// Forces an instruction set for the whole process; nullopt goes back to the automatic choice.
void ForceIsa(std::optional<Isa> isa);

/// What a new kernel uses: the forced one, else the one that the environment variable ORTQUANT_FORCE_ISA names (throws
/// Error when it cannot be honoured), else the best supported.
Isa ActiveIsa();

}  // namespace ortq

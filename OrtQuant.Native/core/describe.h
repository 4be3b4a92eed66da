// The library's description of itself.
#pragma once

#include <string>

namespace ortq {

/// The JSON of ortq_describe.
std::string Describe();

}  // namespace ortq

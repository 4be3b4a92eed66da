// The one exception type of the native core. It never crosses the C ABI or the ONNX Runtime boundary: those edges turn
// it into a status.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace ortq {

enum class ErrorCode { kInvalidArgument = 1, kNotSupported = 2, kInternal = 3 };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Throws Error(kInvalidArgument) with the parts streamed together; a message names the actual and the permitted value.
template <typename... Parts>
[[noreturn]] void ThrowInvalid(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(ErrorCode::kInvalidArgument, message.str());
}

}  // namespace ortq

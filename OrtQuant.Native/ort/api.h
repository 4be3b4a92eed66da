// ONNX Runtime's C API as the adapter uses it. This folder is the only one that sees ONNX Runtime's headers.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>

#include "core/error.h"

namespace ortq::ort {

/// The API version the library asks for and declares: the first one with KernelInfo_GetConfigEntries and
/// GetTensorElementTypeAndShapeDataReference. No member of OrtApi newer than that may be used.
inline constexpr uint32_t kApiVersion = 24;

/// Throws Error when a call failed.
inline void Check(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) [[likely]]
    return;
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw Error(ErrorCode::kInternal, message);
}

/// Releases a status and says whether the call succeeded.
inline bool Succeeded(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return true;
  api.ReleaseStatus(status);
  return false;
}

/// Runs `body`; an exception becomes a status, since none may cross the C boundary.
template <typename Body>
OrtStatus* Guarded(const OrtApi& api, const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Error& error) {
    const OrtErrorCode code = error.code() == ErrorCode::kInvalidArgument ? ORT_INVALID_ARGUMENT
                              : error.code() == ErrorCode::kNotSupported  ? ORT_NOT_IMPLEMENTED
                                                                          : ORT_RUNTIME_EXCEPTION;
    return api.CreateStatus(code, error.what());
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_RUNTIME_EXCEPTION, error.what());
  } catch (...) {
    return api.CreateStatus(ORT_RUNTIME_EXCEPTION, "unknown error");
  }
}

}  // namespace ortq::ort

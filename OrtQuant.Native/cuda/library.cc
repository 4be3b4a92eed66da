#include "cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "core/error.h"

namespace ortq::cuda {
namespace {

struct Attempt {
  Library library{};
  bool usable = false;
  std::string why;
};

/// The folder that this very code was loaded from, with a slash; empty where the loader does not know.
std::string OwnFolder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&OwnFolder), &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

template <typename Function>
bool Get(void* handle, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(handle, name));
  return *function != nullptr;
}

Attempt Open() {
  Attempt attempt;
  const char* named = std::getenv("ORTQUANT_CUDA_LIBRARY");
  const std::string path = named != nullptr && *named != '\0' ? named : OwnFolder() + "libortquant_cuda.so";
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    attempt.why = "the CUDA kernels (libortquant_cuda.so) cannot be loaded: " + std::string(dlerror());
    return attempt;
  }
  Library& library = attempt.library;
  if (!Get(handle, "ortq_cuda_abi_version", &library.abi_version)) {
    attempt.why = "'" + path + "' is not OrtQuant's CUDA library: it does not export ortq_cuda_abi_version";
  } else if (library.abi_version() != ORTQ_CUDA_ABI_VERSION) {
    attempt.why = "'" + path + "' has ABI version " + std::to_string(library.abi_version()) +
                  "; required: " + std::to_string(ORTQ_CUDA_ABI_VERSION) + ". Use both libraries from the same release";
  } else if (!Get(handle, "ortq_cuda_last_error", &library.last_error) ||
             !Get(handle, "ortq_cuda_check_device", &library.check_device) ||
             !Get(handle, "ortq_cuda_group_plan", &library.group_plan) ||
             !Get(handle, "ortq_cuda_group_matmul", &library.group_matmul) ||
             !Get(handle, "ortq_cuda_group_gather", &library.group_gather)) {
    attempt.why = "'" + path + "' lacks a function of its ABI version";
  } else {
    attempt.usable = true;
  }
  if (!attempt.usable) dlclose(handle);
  return attempt;
}

}  // namespace

void Library::Check(int32_t code) const {
  if (code == ORTQ_CUDA_OK) return;
  const ErrorCode kind = code == ORTQ_CUDA_INVALID_ARGUMENT ? ErrorCode::kInvalidArgument
                         : code == ORTQ_CUDA_NO_DEVICE      ? ErrorCode::kNotSupported
                                                            : ErrorCode::kInternal;
  throw Error(kind, last_error());
}

const Library* FindLibrary(std::string* why) {
  static const Attempt attempt = Open();
  if (attempt.usable) return &attempt.library;
  if (why != nullptr) *why = attempt.why;
  return nullptr;
}

const Library& RequireDevice() {
  std::string why;
  const Library* library = FindLibrary(&why);
  if (library == nullptr) throw Error(ErrorCode::kNotSupported, why);
  library->Check(library->check_device());
  return *library;
}

}  // namespace ortq::cuda

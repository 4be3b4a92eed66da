// libortquant_cuda as libortquant sees it: opened on demand, never linked.
#pragma once

#include <string>

#include "cuda/ortquant_cuda.h"

namespace ortq::cuda {

/// The functions of ortquant_cuda.h in a loaded library. It stays loaded: kernels of live sessions are code in it.
struct Library {
  decltype(&ortq_cuda_abi_version) abi_version;
  decltype(&ortq_cuda_last_error) last_error;
  decltype(&ortq_cuda_check_device) check_device;
  decltype(&ortq_cuda_group_plan) group_plan;
  decltype(&ortq_cuda_group_matmul) group_matmul;
  decltype(&ortq_cuda_group_gather) group_gather;

  /// Throws Error with the library's message unless `code` is ORTQ_CUDA_OK.
  void Check(int32_t code) const;
};

/// The library that the environment variable ORTQUANT_CUDA_LIBRARY names, else the libortquant_cuda.so beside
/// libortquant; null where there is none that fits, and then `why`, if given, says so in one line. Opening it does not
/// touch a device. The first answer is the answer from then on.
const Library* FindLibrary(std::string* why = nullptr);

/// The library, with a device to run on. Throws Error naming what is missing.
const Library& RequireDevice();

}  // namespace ortq::cuda

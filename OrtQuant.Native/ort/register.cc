// The entry point by which ONNX Runtime takes the ops: SessionOptions::RegisterCustomOpsLibrary and its kin call it.
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/library.h"
#include "include/ortquant.h"
#include "ort/custom_op.h"
#include "schemes/schemes.h"

namespace ortq::ort {
namespace {

/// Marks session options that have the domain already. ONNX Runtime refuses a session whose options hold a domain
/// twice; the entry travels with the options when they are cloned, and is seen by a second copy of the library too.
constexpr const char* kRegisteredEntry = "ortquant.registered";
/// Ends the entry's value, a version, where the ops of the CUDA provider are among them.
constexpr const char* kWithCuda = "+cuda";

/// Whether sessions get the ops of the CUDA provider as well: "0" never, "1" always, and it is an error where there is
/// no CUDA library or no device; without the entry, where the library is there. A session without that provider never
/// notices them.
constexpr const char* kCudaEntry = "ortquant.cuda";

enum class CudaOps { kNever, kIfThere, kAlways };

/// Value of a session configuration entry; empty where there is none.
std::string ConfigEntry(const OrtApi& api, OrtSessionOptions* options, const char* key) {
  int present = 0;
  Check(api, api.HasSessionConfigEntry(options, key, &present));
  if (present == 0) return "";
  size_t size = 0;
  Check(api, api.GetSessionConfigEntry(options, key, nullptr, &size));
  std::string value(size, '\0');
  Check(api, api.GetSessionConfigEntry(options, key, value.data(), &size));
  value.resize(size - 1);  // without the terminator
  return value;
}

CudaOps WantedCudaOps(const OrtApi& api, OrtSessionOptions* options) {
  const std::string wanted = ConfigEntry(api, options, kCudaEntry);
  if (wanted.empty()) return CudaOps::kIfThere;
  if (wanted == "0") return CudaOps::kNever;
  if (wanted == "1") return CudaOps::kAlways;
  ThrowInvalid("session config entry '", kCudaEntry, "' is '", wanted, "'; permitted: 0, 1");
}

/// Whether to register them; throws Error where they are wanted and cannot be had.
bool UseCuda(CudaOps wanted) {
  if (wanted == CudaOps::kAlways) cuda::RequireDevice();
  return wanted != CudaOps::kNever && cuda::FindLibrary() != nullptr;
}

/// The ops as one ONNX Runtime in this process sees them. ONNX Runtime keeps pointers to them in session options and
/// sessions, so they live as long as the library.
class Registration {
 public:
  Registration(const OrtApi& api, bool with_cuda) : api_(api), with_cuda_(with_cuda) {
    for (const OpSpec* spec : AllOps()) overloads_.push_back(Overloads(api, *spec));
    for (const Scheme* scheme : Schemes()) {
      if (!with_cuda) break;
      for (const OpSpec* spec : scheme->cuda_ops) overloads_.push_back(CudaOverloads(api, *spec));
    }
    Check(api_, api_.CreateCustomOpDomain("ortquant", &domain_));
    for (const std::vector<CustomOp>& overloads : overloads_) {
      for (const CustomOp& op : overloads) Check(api_, api_.CustomOpDomain_Add(domain_, &op));
    }
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() { api_.ReleaseCustomOpDomain(domain_); }

  bool Serves(const OrtApi& api, bool with_cuda) const { return &api == &api_ && with_cuda == with_cuda_; }

  void AddTo(OrtSessionOptions* options) const {
    Check(api_, api_.AddCustomOpDomain(options, domain_));
    const std::string registered = std::string(ortq_version()) + (with_cuda_ ? kWithCuda : "");
    Check(api_, api_.AddSessionConfigEntry(options, kRegisteredEntry, registered.c_str()));
  }

 private:
  const OrtApi& api_;
  bool with_cuda_;
  std::vector<std::vector<CustomOp>> overloads_;
  OrtCustomOpDomain* domain_ = nullptr;
};

/// A process may hold several ONNX Runtimes (one of C#, one of Python, say); a domain belongs to the one that made it.
const Registration& RegistrationFor(const OrtApi& api, bool with_cuda) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<Registration>> registrations;
  const std::lock_guard lock(mutex);
  for (const auto& registration : registrations) {
    if (registration->Serves(api, with_cuda)) return *registration;
  }
  return *registrations.emplace_back(std::make_unique<Registration>(api, with_cuda));
}

void Register(const OrtApi& api, OrtSessionOptions* options) {
  const CudaOps wanted = WantedCudaOps(api, options);
  const std::string registered = ConfigEntry(api, options, kRegisteredEntry);
  if (registered.empty()) {
    RegistrationFor(api, UseCuda(wanted)).AddTo(options);
  } else if (wanted == CudaOps::kAlways && !registered.ends_with(kWithCuda)) {
    ThrowInvalid("these session options have OrtQuant's ops without CUDA already; register with CUDA first");
  }
}

OrtStatus* TooOld(const OrtApiBase* base) {
  const OrtApi* oldest = base->GetApi(1);
  const std::string message = "OrtQuant " + std::string(ortq_version()) + " needs ONNX Runtime 1." +
                              std::to_string(kApiVersion) + " or newer; this is " + base->GetVersionString();
  return oldest->CreateStatus(ORT_NOT_IMPLEMENTED, message.c_str());
}

}  // namespace
}  // namespace ortq::ort

extern "C" ORTQ_EXPORT OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ortq::ort::kApiVersion);
  if (api == nullptr) return ortq::ort::TooOld(base);
  return ortq::ort::Guarded(*api, [&] { ortq::ort::Register(*api, options); });
}

// The entry point by which ONNX Runtime takes the ops: SessionOptions::RegisterCustomOpsLibrary and its kin call it.
#include <memory>
#include <mutex>
#include <vector>

#include "include/ortquant.h"
#include "ort/custom_op.h"
#include "schemes/schemes.h"

namespace ortq::ort {
namespace {

/// Marks session options that have the domain already. ONNX Runtime refuses a session whose options hold a domain
/// twice; the entry travels with the options when they are cloned, and is seen by a second copy of the library too.
constexpr const char* kRegisteredEntry = "ortquant.registered";

/// The ops as one ONNX Runtime in this process sees them. ONNX Runtime keeps pointers to them in session options and
/// sessions, so they live as long as the library.
class Registration {
 public:
  explicit Registration(const OrtApi& api) : api_(api) {
    for (const Scheme* scheme : Schemes()) {
      for (const OpSpec* spec : scheme->ops) overloads_.push_back(Overloads(api, *spec));
    }
    Check(api_, api_.CreateCustomOpDomain("ortquant", &domain_));
    for (const std::vector<CustomOp>& overloads : overloads_) {
      for (const CustomOp& op : overloads) Check(api_, api_.CustomOpDomain_Add(domain_, &op));
    }
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() { api_.ReleaseCustomOpDomain(domain_); }

  const OrtApi& api() const { return api_; }

  void AddTo(OrtSessionOptions* options) const {
    int registered = 0;
    Check(api_, api_.HasSessionConfigEntry(options, kRegisteredEntry, &registered));
    if (registered != 0) return;
    Check(api_, api_.AddCustomOpDomain(options, domain_));
    Check(api_, api_.AddSessionConfigEntry(options, kRegisteredEntry, ortq_version()));
  }

 private:
  const OrtApi& api_;
  std::vector<std::vector<CustomOp>> overloads_;
  OrtCustomOpDomain* domain_ = nullptr;
};

/// A process may hold several ONNX Runtimes (one of C#, one of Python, say); a domain belongs to the one that made it.
const Registration& RegistrationFor(const OrtApi& api) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<Registration>> registrations;
  const std::lock_guard lock(mutex);
  for (const auto& registration : registrations) {
    if (&registration->api() == &api) return *registration;
  }
  return *registrations.emplace_back(std::make_unique<Registration>(api));
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
  return ortq::ort::Guarded(*api, [&] { ortq::ort::RegistrationFor(*api).AddTo(options); });
}

// What the library takes from ONNX Runtime it gives back, on every path: its calls are counted on the way.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/ort/session.h"

namespace ortq::test {
namespace {

const OrtApi& Real() {
  static const OrtApi& api = *OrtGetApiBase()->GetApi(24);
  return api;
}

/// Objects the library holds now.
struct Held {
  std::atomic<int> type_infos = 0, configurations = 0, allocators = 0, shapes = 0, statuses = 0;
  std::atomic<int> taken = 0;  ///< of all kinds, ever

  std::string Text() const {
    return "type infos " + std::to_string(type_infos) + ", configurations " + std::to_string(configurations) +
           ", allocators " + std::to_string(allocators) + ", shapes " + std::to_string(shapes) + ", statuses " +
           std::to_string(statuses);
  }
};

Held held;

OrtStatus* Count(OrtStatus* status, std::atomic<int>& kind) {
  ++(status == nullptr ? kind : held.statuses);
  ++held.taken;
  return status;
}

OrtStatus* CountError(OrtStatus* status) {
  if (status != nullptr) ++held.statuses;
  return status;
}

/// ONNX Runtime's API with the calls that hand out objects replaced by counting ones.
const OrtApi& CountingApi() {
  static const OrtApi api = [] {
    OrtApi counting = Real();
    counting.KernelInfo_GetInputTypeInfo = [](const OrtKernelInfo* info, size_t index, OrtTypeInfo** out) noexcept {
      return Count(Real().KernelInfo_GetInputTypeInfo(info, index, out), held.type_infos);
    };
    counting.KernelInfo_GetOutputTypeInfo = [](const OrtKernelInfo* info, size_t index, OrtTypeInfo** out) noexcept {
      return Count(Real().KernelInfo_GetOutputTypeInfo(info, index, out), held.type_infos);
    };
    counting.ReleaseTypeInfo = [](OrtTypeInfo* info) noexcept {
      held.type_infos -= info != nullptr;
      Real().ReleaseTypeInfo(info);
    };
    counting.KernelInfo_GetConfigEntries = [](const OrtKernelInfo* info, OrtKeyValuePairs** out) noexcept {
      return Count(Real().KernelInfo_GetConfigEntries(info, out), held.configurations);
    };
    counting.ReleaseKeyValuePairs = [](OrtKeyValuePairs* pairs) noexcept {
      held.configurations -= pairs != nullptr;
      Real().ReleaseKeyValuePairs(pairs);
    };
    counting.KernelInfoGetAllocator = [](const OrtKernelInfo* info, OrtMemType type, OrtAllocator** out) noexcept {
      return Count(Real().KernelInfoGetAllocator(info, type, out), held.allocators);
    };
    counting.ReleaseAllocator = [](OrtAllocator* allocator) noexcept {
      held.allocators -= allocator != nullptr;
      Real().ReleaseAllocator(allocator);
    };
    counting.CreateTensorTypeAndShapeInfo = [](OrtTensorTypeAndShapeInfo** out) noexcept {
      return Count(Real().CreateTensorTypeAndShapeInfo(out), held.shapes);
    };
    counting.ReleaseTensorTypeAndShapeInfo = [](OrtTensorTypeAndShapeInfo* info) noexcept {
      held.shapes -= info != nullptr;
      Real().ReleaseTensorTypeAndShapeInfo(info);
    };
    counting.KernelInfoGetAttribute_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out) noexcept {
      return CountError(Real().KernelInfoGetAttribute_int64(info, name, out));
    };
    counting.KernelInfoGetAttribute_string = [](const OrtKernelInfo* info, const char* name, char* out,
                                                size_t* size) noexcept {
      return CountError(Real().KernelInfoGetAttribute_string(info, name, out, size));
    };
    counting.KernelInfoGetAttribute_float = [](const OrtKernelInfo* info, const char* name, float* out) noexcept {
      return CountError(Real().KernelInfoGetAttribute_float(info, name, out));
    };
    counting.KernelInfoGetAttributeArray_int64 = [](const OrtKernelInfo* info, const char* name, int64_t* out,
                                                    size_t* size) noexcept {
      return CountError(Real().KernelInfoGetAttributeArray_int64(info, name, out, size));
    };
    counting.ShapeInferContext_GetAttribute = [](const OrtShapeInferContext* context, const char* name,
                                                 const OrtOpAttr** out) noexcept {
      return CountError(Real().ShapeInferContext_GetAttribute(context, name, out));
    };
    counting.ReadOpAttr = [](const OrtOpAttr* attribute, OrtOpAttrType type, void* data, size_t length,
                             size_t* out) noexcept {
      return CountError(Real().ReadOpAttr(attribute, type, data, length, out));
    };
    counting.ReleaseStatus = [](OrtStatus* status) noexcept {
      held.statuses -= status != nullptr;
      Real().ReleaseStatus(status);
    };
    return counting;
  }();
  return api;
}

class Ownership : public testing::Test {
 protected:
  void SetUp() override {
    library_ = dlopen(ORTQUANT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << dlerror();
    const auto register_ops =
        reinterpret_cast<OrtStatus* (*)(OrtSessionOptions*, const OrtApiBase*)>(dlsym(library_, "RegisterCustomOps"));
    ASSERT_NE(register_ops, nullptr);
    static const OrtApiBase base = {[](uint32_t) noexcept { return &CountingApi(); },
                                    OrtGetApiBase()->GetVersionString};
    ASSERT_EQ(register_ops(options_, &base), nullptr);
    held.taken = 0;
  }

  void TearDown() override {
    EXPECT_GT(held.taken, 0) << "nothing was counted";
    for (const std::atomic<int>* kind :
         {&held.type_infos, &held.configurations, &held.allocators, &held.shapes, &held.statuses}) {
      EXPECT_EQ(*kind, 0) << held.Text();
    }
    options_ = Ort::SessionOptions(nullptr);
    dlclose(library_);
  }

  Ort::SessionOptions options_;
  void* library_ = nullptr;
};

GroupWeight Weight() {
  return GroupWeight::Random({.N = 37, .K = 64, .zero_points = ZeroPoints::kInteger}, 51);
}

TEST_F(Ownership, OfASession) {
  Model model = MatMulModel(Weight());
  model.nodes[0].inputs[3] = "";  // an input left out in the middle
  model.nodes[0].inputs.push_back("bias");
  model.initializers.push_back({"bias", 1, {37}, Raw(std::vector<float>(37)), {}});
  Ort::Session session = Load(model, options_);
  EXPECT_EQ(held.allocators, 1) << "of the kernel that lives";
  Evaluate(session, {Tensor::Random({1, 2, 64}, 1, 52)});
  EXPECT_NE(EvaluateError(session, {Tensor::Random({1, 2, 63}, 1, 53)}), "");
  session = Ort::Session(nullptr);
}

TEST_F(Ownership, OfSessionsThatFail) {
  for (size_t attribute = 0; attribute < 6; ++attribute) {
    Model model = MatMulModel(Weight());
    model.nodes[0].attributes[attribute].value = 0.5f;
    EXPECT_NE(LoadError(model, options_), "");
    model.nodes[0].attributes.erase(model.nodes[0].attributes.begin() + static_cast<int64_t>(attribute));
    EXPECT_NE(LoadError(model, options_), "");
  }
  Model model = MatMulModel(Weight());
  model.initializers[0].dims.push_back(1);
  EXPECT_NE(LoadError(model, options_), "");
  options_.AddConfigEntry("ortquant.intra_op_threads", "many");  // fails after the kernel was created
  EXPECT_NE(LoadError(MatMulModel(Weight()), options_), "");
}

TEST_F(Ownership, OfGather) {
  Ort::Session session = Load(GatherModel(Weight(), 10), options_);
  Evaluate(session, {{7, {2}, Raw(std::vector<int64_t>{1, 2})}});
  EXPECT_NE(EvaluateError(session, {{7, {1}, Raw(std::vector<int64_t>{99})}}), "");
  session = Ort::Session(nullptr);
}

}  // namespace
}  // namespace ortq::test

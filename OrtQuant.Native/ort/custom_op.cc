#include "ort/custom_op.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "ort/cuda_invocation.h"
#include "ort/invocation.h"
#include "ort/node_reader.h"
#include "ort/shape_inference.h"

namespace ortq::ort {
namespace {

constexpr ElementType kAnyType = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;

const CustomOp& Self(const OrtCustomOp* op) {
  return *static_cast<const CustomOp*>(op);
}

/// How many threads the session has, as far as the caller says; a kernel cannot ask ONNX Runtime. 0: unknown.
int ThreadHint(const NodeReader& node) {
  const std::string text = node.Config("ortquant.intra_op_threads");
  if (text.empty()) return 0;
  int threads = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  if (error != std::errc() || end != text.data() + text.size() || threads < 0) {
    ThrowInvalid("session config entry 'ortquant.intra_op_threads' is '", text,
                 "'; permitted: a number of threads, 0 where it is unknown");
  }
  return threads;
}

/// What ONNX Runtime holds for a node: the kernel, and the session's allocator for scratch memory.
class NodeKernel {
 public:
  NodeKernel(const OrtApi& api, const OpSpec& spec, const OrtKernelInfo* info, bool cuda) : api_(api), cuda_(cuda) {
    const OrtNodeReader reader(api, info, !cuda);
    kernel_ = CreateKernel(spec, reader);
    threads_ = ThreadHint(reader);
    Log(spec, reader, info);
    Check(api_, api_.KernelInfoGetAllocator(info, OrtMemTypeDefault, &allocator_));  // last: the destructor releases it
  }
  NodeKernel(const NodeKernel&) = delete;
  NodeKernel& operator=(const NodeKernel&) = delete;
  ~NodeKernel() { api_.ReleaseAllocator(allocator_); }

  OrtStatus* Compute(OrtKernelContext* context) const {
    return Guarded(api_, [&] {
      if (cuda_) {
        OrtCudaInvocation call(api_, context, allocator_);
        kernel_->Compute(call);
      } else {
        OrtInvocation call(api_, context, allocator_, threads_);
        kernel_->Compute(call);
      }
    });
  }

 private:
  void Log(const OpSpec& spec, const NodeReader& reader, const OrtKernelInfo* info) const {
    const OrtLogger* logger = nullptr;
    OrtLoggingLevel level{};
    if (!Succeeded(api_, api_.KernelInfo_GetLogger(info, &logger)) ||
        !Succeeded(api_, api_.Logger_GetLoggingSeverityLevel(logger, &level)) || level > ORT_LOGGING_LEVEL_VERBOSE) {
      return;
    }
    const std::string message =
        std::string("ortquant: ") + spec.name + " node '" + reader.Name() + "' runs on " + kernel_->Name();
    Succeeded(api_,
              api_.Logger_LogMessage(logger, ORT_LOGGING_LEVEL_VERBOSE, message.c_str(), ORT_FILE, __LINE__, __func__));
  }

  const OrtApi& api_;
  std::unique_ptr<Kernel> kernel_;
  OrtAllocator* allocator_ = nullptr;
  int threads_ = 0;
  bool cuda_;
};

OrtStatus* ORT_API_CALL Create(const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info, void** kernel) {
  const CustomOp& self = Self(op);
  return Guarded(self.api(), [&] { *kernel = new NodeKernel(self.api(), self.spec(), info, self.cuda()); });
}

OrtStatus* ORT_API_CALL Compute(void* kernel, OrtKernelContext* context) {
  return static_cast<const NodeKernel*>(kernel)->Compute(context);
}

OrtStatus* ORT_API_CALL InferShape(const OrtCustomOp* op, OrtShapeInferContext* context) {
  const CustomOp& self = Self(op);
  // ONNX Runtime ignores (and never releases) a status of this function: a shape that cannot be inferred stays unknown,
  // and whatever is wrong with the node is said when its kernel is created.
  Succeeded(self.api(), Guarded(self.api(), [&] { InferOutput(self.api(), self.spec(), context); }));
  return nullptr;
}

}  // namespace

CustomOp::CustomOp(const OrtApi& api, const OpSpec& spec, ElementType input_type, ElementType output_type, bool cuda,
                   ElementType state_type)
    : OrtCustomOp{},
      api_(api),
      spec_(spec),
      input_type_(input_type),
      output_type_(output_type),
      cuda_(cuda),
      state_type_(state_type) {
  version = kApiVersion;
  GetName = [](const OrtCustomOp* op) { return Self(op).spec().name; };
  GetExecutionProviderType = [](const OrtCustomOp* op) -> const char* {
    return Self(op).cuda() ? "CUDAExecutionProvider" : nullptr;  // null: the CPU provider
  };
  GetInputTypeCount = [](const OrtCustomOp* op) { return Self(op).spec().inputs.size(); };
  GetInputType = [](const OrtCustomOp* op, size_t index) {
    return static_cast<ONNXTensorElementDataType>(index == 0 ? Self(op).input_type() : kAnyType);
  };
  GetInputCharacteristic = [](const OrtCustomOp* op, size_t index) {
    return Self(op).spec().inputs[index].optional ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
  };
  GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  GetOutputTypeCount = [](const OrtCustomOp* op) { return 1 + Self(op).spec().states.size(); };
  GetOutputType = [](const OrtCustomOp* op, size_t index) {
    return static_cast<ONNXTensorElementDataType>(Self(op).output_type(index));
  };
  GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
  GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
  GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
  GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
  GetStartVersion = [](const OrtCustomOp* op) { return Self(op).spec().since_version; };
  CreateKernelV2 = Create;
  KernelComputeV2 = Compute;
  KernelDestroy = [](void* kernel) { delete static_cast<NodeKernel*>(kernel); };
  InferOutputShapeFn = InferShape;
}

std::vector<CustomOp> Overloads(const OrtApi& api, const OpSpec& spec) {
  std::vector<CustomOp> overloads;
  if (spec.rule.type_attribute != nullptr) {
    // The output's type is chosen in shape inference; ONNX Runtime then takes the overload with that output.
    for (const ElementType type : spec.output.types) overloads.emplace_back(api, spec, kAnyType, type, false);
    return overloads;
  }
  const auto permitted = spec.inputs[0].types;
  if (!spec.states.empty()) {
    for (const ElementType type : permitted) {
      for (const ElementType state : spec.states[0].output.types) {
        overloads.emplace_back(api, spec, type, type, false, state);
      }
    }
    return overloads;
  }
  for (const ElementType type : permitted) overloads.emplace_back(api, spec, type, type, false);
  for (ElementType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; type <= ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16; ++type) {
    const bool complex =
        type == ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64 || type == ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128;
    if (complex || std::ranges::find(permitted, type) != permitted.end()) continue;
    overloads.emplace_back(api, spec, type, OutputTypeFor(spec, type), false);
  }
  return overloads;
}

std::vector<CustomOp> CudaOverloads(const OrtApi& api, const OpSpec& spec) {
  std::vector<CustomOp> overloads;
  const bool by_output = spec.rule.type_attribute != nullptr;
  for (const ElementType type : by_output ? spec.output.types : spec.inputs[0].types) {
    overloads.emplace_back(api, spec, by_output ? kAnyType : type, type, true);
  }
  return overloads;
}

}  // namespace ortq::ort

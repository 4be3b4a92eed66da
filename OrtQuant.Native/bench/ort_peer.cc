// ONNX Runtime's own MatMulNBits, through a library found at run time.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "bench/peer.h"

namespace ortq::bench {
namespace {

const OrtApi* g_api = nullptr;
const OrtModelEditorApi* g_editor = nullptr;
OrtEnv* g_env = nullptr;

void Check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = g_api->GetErrorMessage(status);
  g_api->ReleaseStatus(status);
  throw std::runtime_error("ONNX Runtime: " + message);
}

class Session : public Peer {
 public:
  explicit Session(const PeerProblem& p) : problem_(p) {
    Check(g_api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_));
    BuildModel();
    x_.resize(static_cast<size_t>(p.M * p.K));
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
    y_.resize(static_cast<size_t>(p.M * p.N));
    input_ = Tensor(x_.data(), x_.size() * 4, {p.M, p.K}, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    for (int i = 0; i < p.copies; ++i) {
      outputs_.push_back(Tensor(y_.data(), y_.size() * 4, {p.M, p.N}, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
    }
  }

  ~Session() override {
    g_api->ReleaseSession(session_);
    g_api->ReleaseValue(input_);
    for (OrtValue* value : outputs_) g_api->ReleaseValue(value);
    g_api->ReleaseMemoryInfo(memory_);
  }

  std::string name() const override { return "ort"; }

  void Run() override {
    const char* input_name = "X";
    std::vector<const char*> names;
    for (const std::string& name : output_names_) names.push_back(name.c_str());
    const OrtValue* inputs[] = {input_};
    Check(g_api->Run(session_, nullptr, &input_name, inputs, 1, names.data(), names.size(), outputs_.data()));
  }

 private:
  OrtValue* Tensor(void* data, size_t bytes, std::vector<int64_t> shape, ONNXTensorElementDataType type) {
    OrtValue* value = nullptr;
    Check(g_api->CreateTensorWithDataAsOrtValue(memory_, data, bytes, shape.data(), shape.size(), type, &value));
    return value;
  }

  OrtValueInfo* ValueInfo(const char* name, std::vector<int64_t> shape) {
    OrtTensorTypeAndShapeInfo* tensor = nullptr;
    Check(g_api->CreateTensorTypeAndShapeInfo(&tensor));
    Check(g_api->SetTensorElementType(tensor, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
    Check(g_api->SetDimensions(tensor, shape.data(), shape.size()));
    OrtTypeInfo* type = nullptr;
    Check(g_editor->CreateTensorTypeInfo(tensor, &type));
    OrtValueInfo* info = nullptr;
    Check(g_editor->CreateValueInfo(name, type, &info));
    g_api->ReleaseTypeInfo(type);
    g_api->ReleaseTensorTypeAndShapeInfo(tensor);
    return info;
  }

  void AddMatMul(OrtGraph* graph, int index) {
    const PeerProblem& p = problem_;
    const int64_t groups = (p.K + p.block - 1) / p.block;
    const int64_t group_bytes = p.block * p.bits / 8;
    const int64_t zero_point_bytes = p.N * ((groups * p.bits + 7) / 8);
    std::mt19937 random(static_cast<unsigned>(index));
    auto& codes = bytes_.emplace_back(static_cast<size_t>(p.N * groups * group_bytes));
    for (size_t i = 0; i + 4 <= codes.size(); i += 4) {
      const uint32_t word = random();
      __builtin_memcpy(&codes[i], &word, 4);
    }
    auto& scales = floats_.emplace_back(static_cast<size_t>(p.N * groups), 0.01f);
    const std::string n = std::to_string(index);
    const auto add = [&](const std::string& name, OrtValue* value) {
      Check(g_editor->AddInitializerToGraph(graph, name.c_str(), value, /*data_is_external=*/true));
    };
    add("W" + n, Tensor(codes.data(), codes.size(), {p.N, groups, group_bytes}, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8));
    add("S" + n, Tensor(scales.data(), scales.size() * 4, {p.N, groups}, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
    if (p.zero_points) {
      auto& zero_points = bytes_.emplace_back(static_cast<size_t>(zero_point_bytes), uint8_t{0x77});
      add("Z" + n,
          Tensor(zero_points.data(), zero_points.size(), {zero_point_bytes}, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8));
    }
    const std::string names[] = {"W" + n, "S" + n, "Z" + n};
    const char* inputs[] = {"X", names[0].c_str(), names[1].c_str(), names[2].c_str()};
    output_names_.push_back("Y" + n);
    const char* outputs[] = {output_names_.back().c_str()};
    std::vector<OrtOpAttr*> attributes;
    for (const auto& [name, value] : {std::pair<const char*, int64_t>{"K", p.K},
                                      {"N", p.N},
                                      {"bits", p.bits},
                                      {"block_size", p.block},
                                      {"accuracy_level", p.accuracy_level}}) {
      OrtOpAttr* attribute = nullptr;
      Check(g_api->CreateOpAttr(name, &value, 1, ORT_OP_ATTR_INT, &attribute));
      attributes.push_back(attribute);
    }
    OrtNode* node = nullptr;
    Check(g_editor->CreateNode("MatMulNBits", "com.microsoft", ("M" + n).c_str(), inputs, p.zero_points ? 4 : 3,
                               outputs, 1, attributes.data(), attributes.size(), &node));
    Check(g_editor->AddNodeToGraph(graph, node));
  }

  void BuildModel() {
    OrtGraph* graph = nullptr;
    Check(g_editor->CreateGraph(&graph));
    output_names_.reserve(static_cast<size_t>(problem_.copies));
    bytes_.reserve(2 * static_cast<size_t>(problem_.copies));
    floats_.reserve(static_cast<size_t>(problem_.copies));
    OrtValueInfo* inputs[] = {ValueInfo("X", {problem_.M, problem_.K})};
    std::vector<OrtValueInfo*> outputs;
    for (int i = 0; i < problem_.copies; ++i) {
      outputs.push_back(ValueInfo(("Y" + std::to_string(i)).c_str(), {problem_.M, problem_.N}));
    }
    Check(g_editor->SetGraphInputs(graph, inputs, 1));
    Check(g_editor->SetGraphOutputs(graph, outputs.data(), outputs.size()));
    for (int i = 0; i < problem_.copies; ++i) AddMatMul(graph, i);
    const char* domains[] = {"", "com.microsoft"};
    const int versions[] = {18, 1};
    OrtModel* model = nullptr;
    Check(g_editor->CreateModel(domains, versions, 2, &model));
    Check(g_editor->AddGraphToModel(model, graph));
    OrtSessionOptions* options = nullptr;
    Check(g_api->CreateSessionOptions(&options));
    Check(g_api->SetIntraOpNumThreads(options, problem_.threads));
    Check(g_editor->CreateSessionFromModel(g_env, model, options, &session_));
    g_api->ReleaseSessionOptions(options);
    g_api->ReleaseModel(model);
  }

  PeerProblem problem_;
  OrtMemoryInfo* memory_ = nullptr;
  OrtSession* session_ = nullptr;
  OrtValue* input_ = nullptr;
  std::vector<OrtValue*> outputs_;
  std::vector<std::string> output_names_;
  std::vector<std::vector<uint8_t>> bytes_;
  std::vector<std::vector<float>> floats_;
  std::vector<float> x_;
  std::vector<float> y_;
};

}  // namespace

bool LoadOrt(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  using GetBase = const OrtApiBase* (*)();
  const auto get_base = reinterpret_cast<GetBase>(dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) return false;
  g_api = get_base()->GetApi(ORT_API_VERSION);
  if (g_api == nullptr) return false;
  g_editor = g_api->GetModelEditorApi();
  Check(g_api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bench", &g_env));
  return true;
}

std::unique_ptr<Peer> MakeOrtPeer(const PeerProblem& problem) {
  return g_api == nullptr || problem.bits == 3 || problem.block < 0 ? nullptr : std::make_unique<Session>(problem);
}

}  // namespace ortq::bench

// A node of an ONNX Runtime graph, read through OrtKernelInfo.
#pragma once

#include "core/op.h"
#include "ort/api.h"

namespace ortq::ort {

class OrtNodeReader final : public NodeReader {
 public:
  /// constants: whether the data of constant inputs can be read; not where it is in a device's memory.
  OrtNodeReader(const OrtApi& api, const OrtKernelInfo* info, bool constants = true);
  OrtNodeReader(const OrtNodeReader&) = delete;
  OrtNodeReader& operator=(const OrtNodeReader&) = delete;
  ~OrtNodeReader() override;

  std::string Name() const override;
  InputInfo Input(size_t index) const override;
  ElementType OutputType() const override;
  std::optional<int64_t> Int(const char* attribute) const override;
  std::optional<std::string> Text(const char* attribute) const override;
  std::optional<float> Float(const char* attribute) const override;
  std::optional<AttributeKind> Kind(const char* attribute) const override;
  std::string Config(const char* key) const override;

 private:
  const OrtApi& api_;
  const OrtKernelInfo* info_;
  OrtKeyValuePairs* config_ = nullptr;
  size_t input_count_ = 0;
  bool constants_;
};

}  // namespace ortq::ort

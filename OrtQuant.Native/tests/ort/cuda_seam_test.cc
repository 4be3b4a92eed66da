// The way from a node to the CUDA library, without a GPU: libortquant_cuda_emulated stands in for libortquant_cuda.
// What ONNX Runtime's CUDA provider does with the ops cannot be seen here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cuda/library.h"
#include "schemes/schemes.h"
#include "tests/ort/session.h"

namespace ortq::test {
namespace {

/// Before anything asks for the library.
const bool kLibraryNamed = setenv("ORTQUANT_CUDA_LIBRARY", ORTQUANT_CUDA_EMULATED_LIBRARY, 1) == 0;

GroupWeight Weight() {
  return GroupWeight::Random({.N = 48, .K = 64, .zero_points = ZeroPoints::kInteger}, 1);
}

Ort::SessionOptions OptionsWith(const char* cuda) {
  Environment();  // ONNX Runtime logs an entry that is set again, which takes a logger
  Ort::SessionOptions options;
  options.AddConfigEntry("ortquant.cuda", cuda);
  options.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
  return options;
}

std::string RegistrationError(const char* cuda) {
  try {
    OptionsWith(cuda);
    return "";
  } catch (const Ort::Exception& error) {
    return error.what();
  }
}

TEST(CudaSeam, ASessionOnTheCpuDoesNotNoticeTheCudaOps) {
  ASSERT_TRUE(kLibraryNamed);
  for (const int type : {1, 10}) {
    const Tensor x = Tensor::Random({1, 3, 64}, type, 2);
    const Model model = MatMulModel(Weight(), type);
    Ort::Session without = Load(model, OptionsWith("0"));
    Ort::Session with = Load(model, OptionsWith("1"));
    Ort::Session by_default = Load(model, Options());
    const std::string expected = Evaluate(without, {x}).bytes;
    EXPECT_EQ(Evaluate(with, {x}).bytes, expected);
    EXPECT_EQ(Evaluate(by_default, {x}).bytes, expected);
  }
  const Tensor rows{7, {2}, std::string("\x05\0\0\0\0\0\0\0\x2F\0\0\0\0\0\0\0", 16)};
  Ort::Session without = Load(GatherModel(Weight(), 10), OptionsWith("0"));
  Ort::Session with = Load(GatherModel(Weight(), 10), OptionsWith("1"));
  EXPECT_EQ(Evaluate(with, {rows}).bytes, Evaluate(without, {rows}).bytes);
}

TEST(CudaSeam, AnotherValueOfTheEntryIsRefused) {
  EXPECT_NE(RegistrationError("yes").find("'ortquant.cuda' is 'yes'; permitted: 0, 1"), std::string::npos)
      << RegistrationError("yes");
}

TEST(CudaSeam, OptionsThatHaveTheOpsWithoutCudaSaySo) {
  Ort::SessionOptions options = OptionsWith("0");
  options.AddConfigEntry("ortquant.cuda", "1");
  try {
    options.RegisterCustomOpsLibrary(ORTQUANT_LIBRARY);
    FAIL() << "registered";
  } catch (const Ort::Exception& error) {
    EXPECT_NE(std::string(error.what()).find("without CUDA already"), std::string::npos) << error.what();
  }
}

/// Aligned as device memory is.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(const std::string& bytes)
      : size_(bytes.size()), data_(std::aligned_alloc(256, (bytes.size() / 256 + 1) * 256), &std::free) {
    std::memcpy(data_.get(), bytes.data(), size_);
  }
  void* get() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
  std::unique_ptr<void, decltype(&std::free)> data_{nullptr, &std::free};
};

struct Argument {
  ElementType type = 0;
  std::vector<int64_t> shape;
  Bytes bytes;
};

/// A node of scheme `group` whose constants cannot be read, as on a device, and one call of it.
class DeviceNode final : public NodeReader, public Invocation {
 public:
  DeviceNode(const GroupWeight& weight, ElementType output_type) : weight_(weight), output_type_(output_type) {
    arguments_.resize(7);
    Set(1, 2, weight.code_shape, weight.codes);
    Set(2, weight.scale_type, weight.scale_shape, weight.scales);
    if (weight.zero_points != ZeroPoints::kNone) {
      Set(3, weight.zero_point_type(), weight.zero_point_shape, weight.zero_point_bytes);
    }
  }
  void Set(size_t index, ElementType type, const std::vector<int64_t>& shape, const std::string& bytes) {
    arguments_[index] = {type, shape, Bytes(bytes)};
  }

  std::string Name() const override { return "node"; }
  InputInfo Input(size_t index) const override {
    const Argument& argument = arguments_[index];
    return {argument.type != 0, argument.type, true, argument.shape, nullptr};
  }
  ElementType OutputType() const override { return output_type_; }
  std::optional<int64_t> Int(const char* name) const override {
    for (const Attribute& attribute : weight_.Attributes()) {
      if (attribute.name == name && std::holds_alternative<int64_t>(attribute.value)) {
        return std::get<int64_t>(attribute.value);
      }
    }
    if (std::string(name) == "dtype") return output_type_;
    return std::nullopt;
  }
  std::optional<std::string> Text(const char* name) const override {
    for (const Attribute& attribute : weight_.Attributes()) {
      if (attribute.name == name && std::holds_alternative<std::string>(attribute.value)) {
        return std::get<std::string>(attribute.value);
      }
    }
    return std::nullopt;
  }
  std::optional<AttributeKind> Kind(const char* name) const override {
    if (Int(name)) return AttributeKind::kInt;
    if (Text(name)) return AttributeKind::kString;
    return std::nullopt;
  }
  std::string Config(const char*) const override { return ""; }

  TensorView Input(size_t index) override {
    const Argument& argument = arguments_[index];
    return {argument.type, argument.shape, argument.bytes.get()};
  }
  void* Output(std::span<const int64_t> shape) override {
    size_t count = output_type_ == 1 ? 4 : 2;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    output_ = Bytes(std::string(count, '\xFF'));
    output_shape_.assign(shape.begin(), shape.end());
    return output_.get();
  }
  ParallelFor Parallel() override { return {}; }
  Scratch ScratchMemory() override {
    return {this, [](void* self, size_t bytes) -> void* {
              auto& blocks = static_cast<DeviceNode*>(self)->scratch_;
              blocks.emplace_back(std::string(bytes, '\xFF'));
              return blocks.back().get();
            }};
  }

  Tensor Result() const {
    return {output_type_, output_shape_, std::string(static_cast<const char*>(output_.get()), output_.size())};
  }

 private:
  const GroupWeight& weight_;
  ElementType output_type_;
  std::vector<Argument> arguments_;
  Bytes output_;
  std::vector<int64_t> output_shape_;
  std::vector<Bytes> scratch_;
};

const OpSpec& CudaOp(const char* name) {
  for (const Scheme* scheme : Schemes()) {
    for (const OpSpec* op : scheme->cuda_ops) {
      if (std::string(name) == op->name) return *op;
    }
  }
  throw std::runtime_error(name);
}

TEST(CudaSeam, MatMulTakesTensorsShapesAndEpilogue) {
  const GroupWeight weight = GroupWeight::Random({.N = 40, .K = 96, .zero_points = ZeroPoints::kInteger}, 3);
  const Tensor x = Tensor::Random({2, 5, 96}, 10, 4), bias = Tensor::Random({40}, 10, 5);
  DeviceNode node(weight, 10);
  node.Set(0, 10, x.shape, x.bytes);
  node.Set(4, 10, bias.shape, bias.bytes);
  const auto kernel = CreateKernel(CudaOp("MatMulNBits"), node);
  EXPECT_STREQ(kernel->Name(), "cuda float 4-bit");
  kernel->Compute(node);
  EXPECT_EQ(node.Result().shape, (std::vector<int64_t>{2, 5, 40}));
  const Expected expected = MatMul(x.ToFloats(), weight, bias.ToFloats());
  const std::vector<float> y = node.Result().ToFloats();
  for (size_t i = 0; i < y.size(); ++i) {
    // 10 rows: weights are rounded to float16, and so is Y.
    ASSERT_NEAR(y[i], expected.values[i], 3 * 0x1p-11 * expected.magnitudes[i] + 0x1p-11) << i;
  }
}

TEST(CudaSeam, LowRankFactorsAreAdded) {
  const GroupWeight weight = GroupWeight::Random({.N = 16, .K = 32}, 6);
  const Tensor x = Tensor::Random({1, 32}, 10, 7), a = Tensor::Random({32, 2}, 10, 8),
               b = Tensor::Random({2, 16}, 10, 9);
  DeviceNode plain(weight, 10), corrected(weight, 10);
  for (DeviceNode* node : {&plain, &corrected}) node->Set(0, 10, x.shape, x.bytes);
  corrected.Set(5, 10, a.shape, a.bytes);
  corrected.Set(6, 10, b.shape, b.bytes);
  CreateKernel(CudaOp("MatMulNBits"), plain)->Compute(plain);
  CreateKernel(CudaOp("MatMulNBits"), corrected)->Compute(corrected);
  const std::vector<float> before = plain.Result().ToFloats(), after = corrected.Result().ToFloats();
  const std::vector<float> xs = x.ToFloats(), as = a.ToFloats(), bs = b.ToFloats();
  for (size_t n = 0; n < 16; ++n) {
    double added = 0, size = std::fabs(before[n]);
    for (size_t r = 0; r < 2; ++r) {
      for (size_t k = 0; k < 32; ++k) {
        added += double{xs[k]} * as[2 * k + r] * bs[16 * r + n];
        size += std::fabs(double{xs[k]} * as[2 * k + r] * bs[16 * r + n]);
      }
    }
    ASSERT_NEAR(after[n] - before[n], added, 2 * 0x1p-11 * size) << n;
  }
}

TEST(CudaSeam, GatherTakesRows) {
  const GroupWeight weight = Weight();
  DeviceNode node(weight, 1);
  node.Set(0, 7, {2}, std::string("\x05\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16));
  CreateKernel(CudaOp("GatherNBits"), node)->Compute(node);
  const std::vector<float> rows = node.Result().ToFloats();
  ASSERT_EQ(rows.size(), 2u * 64);
  EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 64, weight.dense.begin() + 5 * 64));
  EXPECT_TRUE(std::equal(rows.begin() + 64, rows.end(), weight.dense.end() - 64));
}

TEST(CudaSeam, ANodeWithWhatNoKernelTakesIsRefused) {
  const GroupWeight weight = Weight();
  DeviceNode node(weight, 11);
  node.Set(0, 11, {1, 64}, std::string(512, '\0'));
  try {
    CreateKernel(CudaOp("MatMulNBits"), node);
    FAIL() << "created";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("permitted: float32, float16, bfloat16"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ortq::test

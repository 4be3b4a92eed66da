// The CUDA kernels against the weights that the CPU decodes and products in double precision: every format, regime and
// kind of zero point, over awkward shapes; negative controls; the same bytes from run to run. Plain C++ without a test
// framework, so that it builds wherever nvcc is.
//
//   ortquant_cuda_test             everything
//   ortquant_cuda_test --small     small shapes only, as the emulation on the host runs them
//   ortquant_cuda_test --tiny      every third of those, for compute-sanitizer
//
// The last line is "N passed, N failed". Bounds are derived (Bound below), never tuned.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/half.h"
#include "cuda/ortquant_cuda.h"
#include "schemes/group/format.h"

namespace {

using ortq::FloatToHalf;
using ortq::GroupFormat;
using ortq::GroupWeights;
using ortq::HalfToFloat;
using ortq::ScalarType;
using ortq::ZeroPointKind;

constexpr int kFloat = 1, kHalf = 10, kBfloat = 16;

int passed = 0, failed = 0;

void Report(bool ok, const std::string& what) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("FAILED: %s\n", what.c_str());
}

void Cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n0 passed, 1 failed\n", what, cudaGetErrorString(error));
  std::exit(1);
}

float RoundTo(float value, int type) {
  if (type == kHalf) return HalfToFloat(FloatToHalf(value));
  if (type != kBfloat) return value;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u;
  std::memcpy(&value, &bits, 4);
  return value;
}

size_t SizeOf(int type) {
  return type == kFloat ? 4 : 2;
}

/// Values as a tensor of `type`; each must be representable.
std::vector<uint8_t> Encode(const std::vector<float>& values, int type) {
  std::vector<uint8_t> bytes(values.size() * SizeOf(type));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, &values[i], 4);
    if (type == kHalf) bits = FloatToHalf(values[i]);
    if (type == kBfloat) bits >>= 16;
    std::memcpy(bytes.data() + i * SizeOf(type), &bits, SizeOf(type));
  }
  return bytes;
}

std::vector<float> Decode(const std::vector<uint8_t>& bytes, int type) {
  std::vector<float> values(bytes.size() / SizeOf(type));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * SizeOf(type), SizeOf(type));
    if (type == kHalf) {
      values[i] = HalfToFloat(static_cast<uint16_t>(bits));
    } else {
      if (type == kBfloat) bits <<= 16;
      std::memcpy(&values[i], &bits, 4);
    }
  }
  return values;
}

/// Device memory with the bytes of a host vector.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(const std::vector<uint8_t>& bytes) : size_(bytes.size()) {
    if (size_ == 0) return;
    Cuda(cudaMalloc(&data_, size_), "cudaMalloc");
    Cuda(cudaMemcpy(data_, bytes.data(), size_, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  explicit DeviceBuffer(size_t size) : DeviceBuffer(std::vector<uint8_t>(size, 0xFF)) {}
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    if (data_ != nullptr) cudaFree(data_);
  }
  void* get() const { return data_; }
  std::vector<uint8_t> Bytes() const {
    std::vector<uint8_t> bytes(size_);
    if (size_ > 0) Cuda(cudaMemcpy(bytes.data(), data_, size_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return bytes;
  }

 private:
  void* data_ = nullptr;
  size_t size_;
};

struct Case {
  int bits = 4;
  int64_t N = 48, K = 96, block = 32, M = 1;
  ZeroPointKind zp = ZeroPointKind::kInteger;
  int scale_type = kHalf;
  int type = kHalf;
  bool bias = false;
  int64_t rank = 0;

  std::string Text() const {
    static constexpr const char* kKinds[] = {"none", "integer", "float"};
    return std::to_string(bits) + " bits, N " + std::to_string(N) + ", K " + std::to_string(K) + ", block " +
           std::to_string(block) + ", M " + std::to_string(M) + ", zero points " + kKinds[static_cast<int>(zp)] +
           ", scales " + std::to_string(scale_type) + ", type " + std::to_string(type) + ", bias " +
           std::to_string(bias) + ", rank " + std::to_string(rank);
  }
};

/// One random problem: tensors on host and device, the exact result and how far a kernel may be from it.
class Problem {
 public:
  explicit Problem(const Case& c) : c_(c), random_(static_cast<uint32_t>(c.N * 31 + c.K * 7 + c.bits + c.M)) {
    format_.bits = c.bits, format_.N = c.N, format_.K = c.K, format_.block = c.block;
    format_.zp = c.zp;
    format_.scale_type = static_cast<ScalarType>(c.scale_type);
    if (c.zp != ZeroPointKind::kNone) {
      format_.zp_type = c.zp == ZeroPointKind::kInteger ? ScalarType::kUint8 : static_cast<ScalarType>(c.scale_type);
    }
    format_.Validate();
    codes_ = RandomBytes(format_.CodeBytes(), 0xFF);
    scales_ = Encode(RandomFloats(format_.ScaleCount(), 0.02f, 0.1f, c.scale_type), c.scale_type);
    if (c.zp == ZeroPointKind::kInteger)
      zero_points_ = RandomBytes(format_.ZeroPointCount(), c.bits == 3 ? 0x77 : 0xFF);
    if (c.zp == ZeroPointKind::kFloat) {
      const float top = static_cast<float>((1 << c.bits) - 1);
      zero_points_ = Encode(RandomFloats(format_.ZeroPointCount(), 0, top, c.scale_type), c.scale_type);
    }
    weights_.resize(static_cast<size_t>(c.N * c.K));
    Unpack();
    x_ = RandomFloats(c.M * c.K, -2, 2, c.type);
    if (c.bias) bias_ = RandomFloats(c.N, -2, 2, c.type);
    a_ = RandomFloats(c.K * c.rank, -0.1f, 0.1f, c.type);
    b_ = RandomFloats(c.rank * c.N, -0.1f, 0.1f, c.type);
    Multiply();
  }

  const Case& c() const { return c_; }

  /// The kernels read another code than the result was computed from: the highest bit of (n, k) = (0, 0) is flipped.
  void FlipTopBit() {
    if (c_.bits == 3) {
      codes_[128] ^= 1;
    } else {
      codes_[0] ^= static_cast<uint8_t>(1 << (c_.bits - 1));
    }
  }

  /// Y of a regime; empty when the library refuses.
  std::vector<uint8_t> Run(int regime, int splits) const {
    const DeviceBuffer codes(codes_), scales(scales_), zero_points(zero_points_), x(Encode(x_, c_.type)),
        bias(Encode(bias_, c_.type)), a(Encode(a_, c_.type)), b(Encode(b_, c_.type)),
        y(static_cast<size_t>(c_.M * c_.N) * SizeOf(c_.type));
    const ortq_cuda_group_weights weights = Weights(codes, scales, zero_points);
    const ortq_cuda_epilogue epilogue = {bias.get(), a.get(), b.get(), c_.rank};
    ortq_cuda_plan plan{};
    if (!Ok(ortq_cuda_group_plan(&weights, c_.type, c_.M, c_.rank, &plan))) return {};
    if (regime >= 0) {
      plan.regime = regime, plan.splits = splits;
      if (!Ok(ortq_cuda_group_workspace(&weights, c_.M, c_.rank, &plan))) return {};
    }
    const DeviceBuffer workspace(static_cast<size_t>(plan.workspace_bytes));
    if (!Ok(ortq_cuda_group_matmul(&weights, &epilogue, &plan, c_.type, c_.M, x.get(), y.get(), workspace.get(),
                                   nullptr))) {
      return {};
    }
    Cuda(cudaDeviceSynchronize(), "after the product");
    return y.Bytes();
  }

  /// Elements further from the exact result than the bound.
  int64_t CountErrors(const std::vector<uint8_t>& bytes) const {
    const std::vector<float> y = Decode(bytes, c_.type);
    if (y.size() != exact_.size()) return static_cast<int64_t>(exact_.size());
    int64_t errors = 0;
    for (size_t i = 0; i < y.size(); ++i) errors += !(std::fabs(y[i] - exact_[i]) <= bounds_[i]);
    return errors;
  }

  /// Rows of dequant(W), and what the gather op makes of them.
  bool CheckGather() const {
    std::vector<int64_t> indices = {0, c_.N - 1, -1, -c_.N, c_.N / 2, c_.N, -c_.N - 1};
    std::vector<uint8_t> index_bytes(indices.size() * 8);
    std::memcpy(index_bytes.data(), indices.data(), index_bytes.size());
    const DeviceBuffer codes(codes_), scales(scales_), zero_points(zero_points_), rows(index_bytes),
        y(indices.size() * static_cast<size_t>(c_.K) * SizeOf(c_.type));
    const ortq_cuda_group_weights weights = Weights(codes, scales, zero_points);
    if (!Ok(ortq_cuda_group_gather(&weights, c_.type, rows.get(), 7, static_cast<int64_t>(indices.size()), y.get(),
                                   nullptr))) {
      return false;
    }
    Cuda(cudaDeviceSynchronize(), "after the gather");
    const std::vector<float> actual = Decode(y.Bytes(), c_.type);
    for (size_t i = 0; i < indices.size(); ++i) {
      const bool inside = indices[i] >= -c_.N && indices[i] < c_.N;
      const int64_t row = indices[i] < 0 ? indices[i] + c_.N : indices[i];
      for (int64_t k = 0; k < c_.K; ++k) {
        const float value = actual[i * static_cast<size_t>(c_.K) + static_cast<size_t>(k)];
        if (!inside) {
          if (!std::isnan(value)) return false;
        } else if (value != RoundTo(weights_[static_cast<size_t>(row * c_.K + k)], c_.type)) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  static bool Ok(int32_t code) {
    if (code == ORTQ_CUDA_OK) return true;
    std::printf("%s\n", ortq_cuda_last_error());
    return false;
  }

  ortq_cuda_group_weights Weights(const DeviceBuffer& codes, const DeviceBuffer& scales,
                                  const DeviceBuffer& zero_points) const {
    return {c_.bits,       static_cast<int32_t>(c_.zp),
            c_.scale_type, static_cast<int32_t>(format_.zp_type),
            c_.N,          c_.K,
            c_.block,      codes.get(),
            scales.get(),  zero_points.get()};
  }

  std::vector<uint8_t> RandomBytes(int64_t count, int mask) {
    std::vector<uint8_t> bytes(static_cast<size_t>(count));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_() & static_cast<uint32_t>(mask));
    return bytes;
  }

  std::vector<float> RandomFloats(int64_t count, float low, float high, int type) {
    std::uniform_real_distribution<float> uniform(low, high);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = RoundTo(uniform(random_), type);
    return values;
  }

  void Unpack() {
    GroupWeights stored;
    stored.format = format_;
    stored.codes = codes_.data();
    stored.scales = scales_.data();
    stored.zero_points = zero_points_.empty() ? nullptr : zero_points_.data();
    ortq::Unpack(stored, weights_.data());
  }

  /// The exact result, and a bound on what a kernel may make of it.
  ///
  /// u = 2^-24; u_T = 2^-11 (float16), 2^-8 (bfloat16): the unit roundoff of T. The tensor cores add in float,
  /// truncating: 2 u for each of the K + 64 additions at most, over the absolute products |x| |s| (|q - h| + |h - zp|),
  /// h = 2^(bits - 1). Where weights are scaled in T the scale, the offset of a float zero point and the result are
  /// each rounded once: 3 u_T, and a subnormal's spacing. Y is rounded to T.
  void Multiply() {
    const double u = 0x1p-24, u_type = c_.type == kFloat ? u : c_.type == kHalf ? 0x1p-11 : 0x1p-8;
    const auto M = static_cast<size_t>(c_.M), N = static_cast<size_t>(c_.N), K = static_cast<size_t>(c_.K),
               R = static_cast<size_t>(c_.rank);
    exact_.assign(M * N, 0);
    bounds_.assign(M * N, 0);
    std::vector<double> low_rank(M * R), low_rank_size(M * R);
    for (size_t m = 0; m < M; ++m) {
      for (size_t k = 0; k < K; ++k) {
        for (size_t r = 0; r < R; ++r) {
          const double product = static_cast<double>(x_[m * K + k]) * a_[k * R + r];
          low_rank[m * R + r] += product;
          low_rank_size[m * R + r] += std::fabs(product);
        }
      }
    }
    const double half = 1 << (c_.bits - 1);
    const double widest = 0.1 * 2 * half;  // largest scale times |q - h| + |h - zp|
    for (size_t m = 0; m < M; ++m) {
      for (size_t n = 0; n < N; ++n) {
        double sum = c_.bias ? bias_[n] : 0, size = std::fabs(sum), x_size = 0;
        for (size_t k = 0; k < K; ++k) {
          sum += static_cast<double>(x_[m * K + k]) * weights_[n * K + k];
          x_size += std::fabs(x_[m * K + k]);
        }
        size += x_size * widest;
        for (size_t r = 0; r < R; ++r) {
          sum += low_rank[m * R + r] * b_[r * N + n];
          size += low_rank_size[m * R + r] * std::fabs(b_[r * N + n]);
        }
        exact_[m * N + n] = sum;
        const double rounded_weights = c_.type == kFloat ? 0 : 3 * u_type * x_size * widest + x_size * 0x1p-24;
        bounds_[m * N + n] = 2 * (static_cast<double>(c_.K + c_.rank) + 64) * u * size + rounded_weights +
                             u_type * std::fabs(sum) + 0x1p-24;
      }
    }
  }

  Case c_;
  std::mt19937 random_;
  GroupFormat format_;
  std::vector<uint8_t> codes_, scales_, zero_points_;
  std::vector<float> weights_, x_, bias_, a_, b_;
  std::vector<double> exact_, bounds_;
};

const char* const kRegimes[] = {"simple", "gemv", "skinny16", "skinny64", "large"};

/// Regimes that can run a case; -1 is the library's own choice.
std::vector<std::pair<int, int>> RunsOf(const Case& c) {
  if (c.type == kFloat) return {{-1, 1}};
  std::vector<std::pair<int, int>> runs = {{-1, 1}, {ORTQ_CUDA_REGIME_SIMPLE, 1}};
  if (c.M <= 8) runs.insert(runs.end(), {{ORTQ_CUDA_REGIME_GEMV, 1}, {ORTQ_CUDA_REGIME_GEMV, 3}});
  for (int regime = ORTQ_CUDA_REGIME_SKINNY16; regime <= ORTQ_CUDA_REGIME_LARGE; ++regime) {
    runs.insert(runs.end(), {{regime, 1}, {regime, 2}});
  }
  return runs;
}

void Check(const Case& c) {
  Problem problem(c);
  for (const auto& [regime, splits] : RunsOf(c)) {
    const std::string where = std::string(regime < 0 ? "own choice" : kRegimes[regime]) + ", splits " +
                              std::to_string(splits) + ": " + c.Text();
    const std::vector<uint8_t> y = problem.Run(regime, splits);
    const int64_t errors = problem.CountErrors(y);
    Report(errors == 0, where + ": " + std::to_string(errors) + " wrong elements");
    Report(problem.Run(regime, splits) == y, where + ": a second run gives other bytes");
  }
}

/// A code off by its highest bit must be seen in every regime, or the comparison sees nothing. K is small, so that the
/// change is far above the bound even of weights rounded to bfloat16.
void CheckNegativeControl(int bits, int type) {
  Case c;
  c.bits = bits, c.K = 8, c.block = 16, c.type = type, c.M = 8, c.zp = ZeroPointKind::kNone;
  Problem problem(c);
  problem.FlipTopBit();
  for (const auto& [regime, splits] : RunsOf(c)) {
    Report(problem.CountErrors(problem.Run(regime, splits)) > 0,
           "negative control: a flipped bit is not seen, regime " + std::to_string(regime) + ": " + c.Text());
  }
}

void CheckGather(const Case& c) {
  Report(Problem(c).CheckGather(), "gather: " + c.Text());
}

void SmallShapes(bool all) {
  const ZeroPointKind kinds[] = {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat};
  struct Shape {
    int64_t N, K, block, M;
  };
  // Not whole tiles, chunks, groups, words; groups of less than a unit and of a whole row; rows that start anywhere.
  const Shape shapes[] = {{16, 32, 32, 1},   {1, 1, 1, 1},      {17, 18, 16, 3},    {48, 96, 16, 8},
                          {40, 160, 64, 2},  {33, 100, 32, 9},  {20, 264, 128, 17}, {300, 72, 72, 5},
                          {64, 320, 32, 33}, {24, 200, 256, 70}};
  int turn = 0;
  for (const int bits : {2, 3, 4, 8}) {
    for (const int type : {kHalf, kBfloat, kFloat}) {
      for (const Shape& shape : shapes) {
        Case c;
        c.bits = bits, c.type = type;
        c.N = shape.N, c.K = shape.K, c.block = shape.block, c.M = shape.M;
        c.zp = kinds[turn % 3];
        c.scale_type = turn / 3 % 2 == 0 ? kHalf : kFloat;
        c.bias = turn % 2 == 0;
        c.rank = turn % 5 == 4 ? 3 : 0;
        ++turn;
        if (!all && turn % 3 != 0) continue;
        Check(c);
        CheckGather(c);
      }
      if (type != kFloat) CheckNegativeControl(bits, type);
    }
  }
}

void LargeShapes() {
  for (const int bits : {2, 3, 4, 8}) {
    for (const int type : {kHalf, kBfloat}) {
      for (const int64_t M : {1, 4, 16, 64, 200}) {
        Case c;
        c.bits = bits, c.type = type, c.M = M;
        c.N = 1040, c.K = 2048, c.block = bits == 3 ? 64 : 128;
        Check(c);
      }
    }
  }
}

void CheckArguments() {
  ortq_cuda_plan plan{};
  ortq_cuda_group_weights weights = {5, 0, kHalf, 2, 16, 32, 32, nullptr, nullptr, nullptr};
  Report(ortq_cuda_group_plan(&weights, kHalf, 1, 0, &plan) == ORTQ_CUDA_INVALID_ARGUMENT &&
             std::string(ortq_cuda_last_error()).find("bits is 5; permitted: 2, 3, 4, 8") == 0,
         "5 bits are refused by name");
  weights.bits = 4;
  Report(ortq_cuda_group_plan(&weights, 7, 1, 0, &plan) == ORTQ_CUDA_INVALID_ARGUMENT, "int64 activations are refused");
  Report(ortq_cuda_group_plan(&weights, kHalf, 1, 0, &plan) == ORTQ_CUDA_OK, "a plan without tensors");
  Report(ortq_cuda_group_matmul(&weights, nullptr, &plan, kHalf, 1, nullptr, nullptr, nullptr, nullptr) ==
             ORTQ_CUDA_INVALID_ARGUMENT,
         "a product without tensors is refused");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string option = argc > 1 ? argv[1] : "";
  if (!option.empty() && option != "--small" && option != "--tiny") {
    std::fprintf(stderr, "unknown option: %s; permitted: --small, --tiny\n", option.c_str());
    return 2;
  }
  if (ortq_cuda_check_device() != ORTQ_CUDA_OK) {
    std::printf("%s\n0 passed, 1 failed\n", ortq_cuda_last_error());
    return 1;
  }
  CheckArguments();
  SmallShapes(option != "--tiny");
  if (option.empty()) LargeShapes();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

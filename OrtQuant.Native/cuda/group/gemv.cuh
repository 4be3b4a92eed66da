// M <= 8: every weight is read once, straight from memory into the registers of the thread that multiplies it.
//
// A warp streams its part of K of two tiles (32 outputs), a unit at a time, with a ring of units in flight; 8 or 16
// warps of a block share K and add up in order. Rows of X are the 8 columns of the tensor-core product, so 8 rows cost
// what one does, and sums are float throughout. With EXACT the product is of the integers q - zp and groups are scaled
// in float (groups that fill whole units); otherwise weights are scaled first, in T.
#pragma once

#include "cuda/group/decode.cuh"
#include "cuda/group/epilogue.cuh"

namespace ortq::cuda {

inline constexpr int kGemvRows = 8;
inline constexpr int kGemvOutputs = 2 * kTile;
inline constexpr int kMaxGemvWarps = 16;

template <int BITS, typename T, bool EXACT>
class Gemv {
 public:
  static __device__ __forceinline__ void Run(const GroupArgs& args) {
    Gemv self(args);
    self.Stream();
    self.Finish();
  }

 private:
  using L = Layout<BITS>;
  /// Units in flight, as many as registers hold: a unit of 8 bits is 16 k, one of 2 or 3 bits 64.
  static constexpr int kRing = BITS == 3 ? 2 : BITS == 2 ? 3 : 4;

  struct Unit {
    Words words;
    Operand<BITS> x;
    Raw4 scales;
    Raw4 float_zero_points;
    uint32_t zero_points;
  };

  __device__ __forceinline__ explicit Gemv(const GroupArgs& args)
      : a_(args), warp_(threadIdx.x / 32), g_(threadIdx.x % 32 / 4), t_(threadIdx.x % 4) {
    const int quad = 4 * (g_ % 4);
    const int pair_tile = 2 * static_cast<int>(blockIdx.x) + g_ / 4;
    const int64_t tile = pair_tile < a_.tiles ? pair_tile : a_.tiles - 1;
    K_ = static_cast<int>(a_.K);
    vectors_ = static_cast<int>(L::Vectors(a_.K));
    groups_ = static_cast<int>(a_.groups);
    // Everything that does not change with the unit is added up here: the loop is short of instructions, not of
    // registers.
    codes_ = a_.codes + tile * a_.tile_bytes + 4 * quad + L::VectorOffset(t_);
    if (BITS == 3) high_ = a_.codes + tile * a_.tile_bytes + 4 * quad + L::HighOffset(t_);
    x_ = static_cast<const T*>(a_.x) + (g_ < a_.M ? g_ : a_.M - 1) * a_.K + t_ * L::kWordDepth;
    const int last = K_ - (t_ + 1) * L::kWordDepth;
    fast_units_ = a_.vector_x && last >= 0 ? last / L::kUnitDepth + 1 : 0;
    group_shift_ = a_.group_shift > 31 ? 31 : a_.group_shift;
    scale_stride_ = kTile * (a_.half_scales ? 2 : 4);
    scale_data_ = a_.scales + tile * a_.groups * scale_stride_ + quad * scale_stride_ / kTile;
    if (a_.zero_point_kind == ZeroPoints::kInteger) {
      zero_points_ = a_.zero_points + tile * a_.zero_point_rows * kTile + quad;
    } else if (a_.zero_point_kind == ZeroPoints::kFloat) {
      zero_point_stride_ = kTile * (a_.half_zero_points ? 2 : 4);
      zero_points_ = a_.zero_points + tile * a_.groups * zero_point_stride_ + quad * zero_point_stride_ / kTile;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) total_[0][i] = total_[1][i] = part_[0][i] = part_[1][i] = 0;
  }

  __device__ __forceinline__ void Stream() {
    const int units = static_cast<int>(L::Units(a_.K));
    const int warps = static_cast<int>(blockDim.x / 32), slices = warps * a_.splits;
    const int per_slice = (units + slices - 1) / slices;
    const int begin = (static_cast<int>(blockIdx.y) * warps + warp_) * per_slice;
    const int end = begin + per_slice < units ? begin + per_slice : units;
    int fetched = -1;  ///< group whose parameters were fetched last
    Unit ring[kRing];
#pragma unroll
    for (int i = 0; i < kRing; ++i) Fetch(ring[i], begin + i, end, fetched);
    for (int unit = begin; unit < end; unit += kRing) {
#pragma unroll
      for (int i = 0; i < kRing; ++i) {
        if (unit + i < end) Multiply(ring[i], unit + i);
        Fetch(ring[i], unit + i + kRing, end, fetched);
      }
    }
    if (EXACT) AddPart();
  }

  __device__ __forceinline__ void Fetch(Unit& u, int unit, int end, int& fetched) const {
    if (unit >= end) return;
    const int64_t offset = static_cast<int64_t>(unit) * L::kUnitBytes;
    if (unit * kUnitVectors + t_ < vectors_) {
      u.words.low = LoadStream(codes_ + offset);
      if (BITS == 3) u.words.high = LoadStream(high_ + offset);
    } else {
      u.words.low = u.words.high = make_uint4(0, 0, 0, 0);
    }
    FetchX(u.x, unit);
    const int group = GroupAt(unit);
    if (group == fetched) return;  // Multiply uses the parameters of the first unit of a group
    fetched = group;
    const uint8_t* scales = scale_data_ + static_cast<int64_t>(group) * scale_stride_;
    u.scales = Raw4::Get(scales, 0, a_.half_scales);
    if (a_.zero_point_kind == ZeroPoints::kInteger) {
      const int row = group * ZeroPointBits(BITS) / 8;
      u.zero_points = Load<uint32_t>(zero_points_ + static_cast<int64_t>(row) * kTile);
    }
    if (!EXACT && a_.zero_point_kind == ZeroPoints::kFloat) {
      const uint8_t* zero_points = zero_points_ + static_cast<int64_t>(group) * zero_point_stride_;
      u.float_zero_points = Raw4::Get(zero_points, 0, a_.half_zero_points);
    }
  }

  /// The group of this thread's words; that of every thread with EXACT.
  __device__ __forceinline__ int GroupAt(int unit) const {
    const int k = unit * L::kUnitDepth + (EXACT ? 0 : t_ * L::kWordDepth);
    const int group = k >> group_shift_;
    return group < groups_ ? group : groups_ - 1;
  }

  __device__ __forceinline__ void FetchX(Operand<BITS>& out, int unit) const {
    const T* x = x_ + static_cast<int64_t>(unit) * L::kUnitDepth;
    if (unit < fast_units_) {
      if constexpr (L::kWordDepth == 4) {
        const uint2 v = Load<uint2>(x);
        out.x[0] = v.x, out.x[1] = v.y;
      } else {
#pragma unroll
        for (int i = 0; i < L::kWordDepth / 8; ++i) {
          const uint4 v = Load<uint4>(x + 8 * i);
          out.x[4 * i] = v.x, out.x[4 * i + 1] = v.y, out.x[4 * i + 2] = v.z, out.x[4 * i + 3] = v.w;
        }
      }
      return;
    }
    const auto* bits = reinterpret_cast<const uint16_t*>(x);
    const int left = K_ - unit * L::kUnitDepth - t_ * L::kWordDepth;
#pragma unroll
    for (int i = 0; i < Operand<BITS>::kRegisters; ++i) {
      const uint32_t low = 2 * i < left ? bits[2 * i] : 0;
      const uint32_t high = 2 * i + 1 < left ? bits[2 * i + 1] : 0;
      out.x[i] = low | high << 16;
    }
  }

  __device__ __forceinline__ void Multiply(const Unit& u, int unit) {
    if (const int group = GroupAt(unit); group != group_) {
      if (EXACT) AddPart();
      group_ = group;
      Prepare(u, group);
    }
    const int high_shift = L::HighShift(t_);
#pragma unroll
    for (int s = 0; s < L::kSteps; ++s) {
      uint32_t b[2];
      u.x.Step(s, b);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t a[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int output = 2 * half + i % 2;
          a[i] = zeros_[output].Subtract(u.words.Low(output), u.words.High(output) >> high_shift, 2 * s + i / 2);
          if (!EXACT) a[i] = scales16_[output].Apply(a[i]);
        }
        Mma<T>(EXACT ? part_[half] : total_[half], a, b);
      }
    }
  }

  __device__ __forceinline__ void Prepare(const Unit& u, int group) {
    SetZeros<BITS, T>(zeros_, u.zero_points, group, a_.zero_point_kind == ZeroPoints::kInteger);
    u.scales.ToFloats(scales_, a_.half_scales);
    if (EXACT) return;
    float zero_points[4];
    u.float_zero_points.ToFloats(zero_points, a_.half_zero_points);
    SetScales<BITS, T>(scales16_, scales_, zero_points, a_.zero_point_kind == ZeroPoints::kFloat);
  }

  /// total += scale * the sum of integers of the group that ends.
  __device__ __forceinline__ void AddPart() {
    if (group_ < 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        total_[half][c] = fmaf(scales_[2 * half + c / 2], part_[half][c], total_[half][c]);
        part_[half][c] = 0;
      }
    }
  }

  /// Adds the warps' sums in their order and stores them. Thread (g, t) holds outputs 4 g .. 4 g + 3 of the block's 32,
  /// for rows 2 t and 2 t + 1 of X.
  __device__ __forceinline__ void Finish() {
    __shared__ float4 sums[kMaxGemvWarps][kGemvRows][kGemvOutputs / 4];
#pragma unroll
    for (int column = 0; column < 2; ++column) {
      sums[warp_][2 * t_ + column][g_] =
          make_float4(total_[0][column], total_[0][column + 2], total_[1][column], total_[1][column + 2]);
    }
    __syncthreads();
    if (threadIdx.x >= kGemvRows * kGemvOutputs) return;
    const int row = threadIdx.x / kGemvOutputs, output = threadIdx.x % kGemvOutputs;
    float sum = 0;
    for (int w = 0; w < static_cast<int>(blockDim.x / 32); ++w) {
      sum += reinterpret_cast<const float*>(sums[w][row])[output];
    }
    Store<T>(a_, sum, row, static_cast<int64_t>(blockIdx.x) * kGemvOutputs + output, blockIdx.y);
  }

  const GroupArgs& a_;
  const int warp_;
  const int g_;
  const int t_;
  int K_;
  int vectors_;
  int groups_;
  int fast_units_;  ///< before this unit X can be read 16 bytes at a time
  int group_shift_;
  int scale_stride_;           ///< bytes from group to group
  int zero_point_stride_ = 0;  ///< of float zero points
  const uint8_t* codes_;
  const uint8_t* high_ = nullptr;  ///< the plane of high bits of 3-bit codes
  const uint8_t* scale_data_;
  const uint8_t* zero_points_ = nullptr;
  const T* x_;
  int group_ = -1;
  Zero<BITS, T> zeros_[4];
  float scales_[4];
  Scale16<BITS, T> scales16_[4];
  float total_[2][4];
  float part_[2][4];
};

template <int BITS, typename T, bool EXACT>
__global__ void __launch_bounds__(32 * kMaxGemvWarps) GroupGemv(const __grid_constant__ GroupArgs args) {
  Gemv<BITS, T, EXACT>::Run(args);
}

}  // namespace ortq::cuda

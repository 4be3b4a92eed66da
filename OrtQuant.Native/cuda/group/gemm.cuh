// M > 8: rows of X in shared memory, weights streamed past them.
//
// A block computes OUTPUTS = 32 * WARPS outputs of ROWS rows over its share of K, 64 k a stage. cp.async fills a ring
// of stages: X, swizzled so that the fragments of the tensor cores are read without bank conflicts; words of weights,
// each 16 bytes written for the one thread that reads them; scales and zero points. Every warp decodes the words of 32
// outputs once per stage and multiplies them with all rows of the block. Weights are scaled in T; sums are float.
#pragma once

#include "cuda/group/decode.cuh"
#include "cuda/group/epilogue.cuh"

namespace ortq::cuda {

inline constexpr int kStageDepth = 64;

template <int BITS, typename T, int WARPS, int COLUMNS, int STAGES>
class Gemm {
 public:
  using L = Layout<BITS>;
  static constexpr int kThreads = 32 * WARPS;
  static constexpr int kOutputs = 32 * WARPS;
  static constexpr int kTiles = kOutputs / kTile;
  static constexpr int kRows = 8 * COLUMNS;
  static constexpr int kUnits = kStageDepth / L::kUnitDepth;
  static constexpr int kPlanes = BITS == 3 ? 2 : 1;
  static constexpr int kMaxGroups = kStageDepth / 16;

  static constexpr int kXBytes = kRows * kStageDepth * 2;
  static constexpr int kCodeBytes = kThreads * kUnits * kPlanes * 16;
  static constexpr int kParameterBytes = kOutputs * kMaxGroups * 4;  // at most: float, groups of 16
  static constexpr int kStageBytes = kXBytes + kCodeBytes + 2 * kParameterBytes;
  static constexpr int kSharedBytes = STAGES * kStageBytes;

  static __device__ __forceinline__ void Run(const GroupArgs& args) {
    Gemm self(args, DynamicShared());
    self.Stream();
    self.Finish();
  }

 private:
  __device__ __forceinline__ Gemm(const GroupArgs& args, uint8_t* shared)
      : a_(args),
        shared_(shared),
        warp_(threadIdx.x / 32),
        g_(threadIdx.x % 32 / 4),
        t_(threadIdx.x % 4),
        first_row_(static_cast<int64_t>(blockIdx.y) * kRows),
        K_(static_cast<int>(args.K)),
        vectors_(static_cast<int>(L::Vectors(args.K))),
        group_shift_(args.group_shift > 31 ? 31 : args.group_shift),
        group_count_(args.group_shift >= 6 ? 1 : kStageDepth >> args.group_shift),
        zero_point_rows_(args.zero_point_kind == ZeroPoints::kInteger ? (group_count_ * ZeroPointBits(BITS) + 7) / 8
                                                                      : group_count_),
        scale_piece_(args.scales, args.groups, ScaleRowBytes(), group_count_, static_cast<int>(blockIdx.x) * kTiles,
                     args.tiles),
        zero_point_piece_(args.zero_points, args.zero_point_rows, ZeroPointRowBytes(), zero_point_rows_,
                          static_cast<int>(blockIdx.x) * kTiles, args.tiles) {
    const int tile = static_cast<int>(blockIdx.x) * kTiles + 2 * warp_ + g_ / 4;
    codes_ = a_.codes + static_cast<int64_t>(tile < a_.tiles ? tile : a_.tiles - 1) * a_.tile_bytes + 16 * (g_ % 4);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < COLUMNS; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) total_[half][n][c] = 0;
      }
    }
  }

  __device__ __forceinline__ void Stream() {
    const int stages = (K_ + kStageDepth - 1) / kStageDepth;
    const int per_split = (stages + a_.splits - 1) / a_.splits;
    const int begin = static_cast<int>(blockIdx.z) * per_split;
    const int end = begin + per_split < stages ? begin + per_split : stages;
#pragma unroll
    for (int i = 0; i < STAGES - 1; ++i) {
      if (begin + i < end) Fetch(i, begin + i);
      CommitCopies();
    }
    int slot = 0;
    for (int stage = begin; stage < end; ++stage) {
      WaitCopies<STAGES - 2>();
      __syncthreads();  // everyone's copies of this stage have landed, and the slot before it has been read by all
      if (stage + STAGES - 1 < end) Fetch((slot + STAGES - 1) % STAGES, stage + STAGES - 1);
      CommitCopies();
      Multiply(slot, stage);
      slot = (slot + 1) % STAGES;
    }
    WaitCopies<0>();
  }

  __device__ __forceinline__ void Fetch(int slot, int stage) const {
    uint8_t* base = shared_ + slot * kStageBytes;
    FetchX(base, stage);
    FetchCodes(base + kXBytes, stage);
    FetchParameters(base + kXBytes + kCodeBytes, stage);
  }

  static __device__ __forceinline__ int Swizzle(int row) {
    return SwizzleOf(L::kWordDepth, row);
  }

  __device__ __forceinline__ void FetchX(uint8_t* to, int stage) const {
    constexpr int kPieces = kStageDepth / 8;
    static_assert(kRows * kPieces % kThreads == 0);
#pragma unroll
    for (int i = 0; i < kRows * kPieces / kThreads; ++i) {
      const int index = i * kThreads + threadIdx.x;
      const int row = index / kPieces, piece = index % kPieces;
      const int64_t m = first_row_ + row;
      const int k = stage * kStageDepth + 8 * piece;
      int count = m < a_.M ? K_ - k : 0;
      count = count < 0 ? 0 : count > 8 ? 8 : count;
      const T* from = static_cast<const T*>(a_.x) + (count > 0 ? m * a_.K + k : 0);
      uint8_t* place = to + row * (kStageDepth * 2) + 16 * (piece ^ Swizzle(row));
      if (a_.vector_x) {
        CopyAsync(place, from, count * 2);
      } else {
        CopySlowly(place, from, count);
      }
    }
  }

  static __device__ __forceinline__ void CopySlowly(uint8_t* place, const T* from, int count) {
    const auto* bits = reinterpret_cast<const uint16_t*>(from);
    auto* out = reinterpret_cast<uint16_t*>(place);
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] = i < count ? bits[i] : 0;
  }

  __device__ __forceinline__ uint8_t* CodePlace(uint8_t* codes, int unit, int plane) const {
    return codes + ((unit * kPlanes + plane) * kThreads + static_cast<int>(threadIdx.x)) * 16;
  }

  __device__ __forceinline__ void FetchCodes(uint8_t* to, int stage) const {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      const int vector = (stage * kUnits + unit) * kUnitVectors + t_;
      const int safe = vector < vectors_ ? vector : 0;
      const int bytes = vector < vectors_ ? 16 : 0;
      CopyAsync(CodePlace(to, unit, 0), codes_ + L::VectorOffset(safe), bytes);
      if (BITS == 3) CopyAsync(CodePlace(to, unit, 1), codes_ + L::HighOffset(safe), bytes);
    }
  }

  /// The 16 bytes of scales or zero points that this thread copies for each stage, out of the rows of 16 values, one
  /// for each tile and group (or row of packed zero points), that the stage touches. There are never more pieces than
  /// threads.
  struct Piece {
    const uint8_t* from;  ///< in row 0 of the tile
    int row;              ///< counted from the stage's first; -1: none for this thread

    __device__ __forceinline__ Piece(const uint8_t* data, int64_t rows, int row_bytes, int count, int first_tile,
                                     int tiles) {
      const int pieces = row_bytes / 16, index = static_cast<int>(threadIdx.x);
      const int tile = first_tile + index / (pieces * count);
      row = data != nullptr && index < kTiles * count * pieces ? index / pieces % count : -1;
      from = data + (tile < tiles ? tile : tiles - 1) * rows * row_bytes + index % pieces * 16;
    }
    __device__ __forceinline__ void Fetch(uint8_t* to, int first, int rows, int row_bytes) const {
      if (row < 0) return;
      const int wanted = first + row < rows ? first + row : rows - 1;
      CopyAsync(to + threadIdx.x * 16, from + static_cast<int64_t>(wanted) * row_bytes, 16);
    }
  };

  __device__ __forceinline__ int ScaleRowBytes() const {
    return a_.half_scales ? 32 : 64;
  }
  __device__ __forceinline__ int ZeroPointRowBytes() const {
    return a_.zero_point_kind == ZeroPoints::kInteger ? 16 : a_.half_zero_points ? 32 : 64;
  }

  __device__ __forceinline__ void FetchParameters(uint8_t* to, int stage) const {
    const int group = stage * kStageDepth >> group_shift_;
    const bool integer = a_.zero_point_kind == ZeroPoints::kInteger;
    scale_piece_.Fetch(to, group, static_cast<int>(a_.groups), ScaleRowBytes());
    zero_point_piece_.Fetch(to + kParameterBytes, integer ? group * ZeroPointBits(BITS) / 8 : group,
                            static_cast<int>(a_.zero_point_rows), ZeroPointRowBytes());
  }

  __device__ __forceinline__ void Multiply(int slot, int stage) {
    const uint8_t* base = shared_ + slot * kStageBytes;
    const int first = stage * kStageDepth >> group_shift_;
#pragma unroll 1
    for (int unit = 0; unit < kUnits; ++unit) {
      const int group = (stage * kStageDepth + unit * L::kUnitDepth + t_ * L::kWordDepth) >> group_shift_;
      if (group != group_) {
        group_ = group;
        Prepare(base + kXBytes + kCodeBytes, group, group - first, first);
      }
      Words words;
      uint8_t* codes = const_cast<uint8_t*>(base) + kXBytes;
      words.low = *reinterpret_cast<const uint4*>(CodePlace(codes, unit, 0));
      if (BITS == 3) words.high = *reinterpret_cast<const uint4*>(CodePlace(codes, unit, 1));
      MultiplyUnit(words, base, unit);
    }
  }

  __device__ __forceinline__ void MultiplyUnit(const Words& words, const uint8_t* x, int unit) {
    uint32_t a[L::kSteps][2][4];
    const int high_shift = L::HighShift(t_);
#pragma unroll
    for (int s = 0; s < L::kSteps; ++s) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int output = 2 * (i / 4) + i % 2;
        a[s][i / 4][i % 4] = scales16_[output].Apply(
            zeros_[output].Subtract(words.Low(output), words.High(output) >> high_shift, 2 * s + i % 4 / 2));
      }
    }
#pragma unroll
    for (int n = 0; n < COLUMNS; ++n) {
      const Operand<BITS> operand = ReadX(x, 8 * n + g_, unit);
#pragma unroll
      for (int s = 0; s < L::kSteps; ++s) {
        uint32_t b[2];
        operand.Step(s, b);
        Mma<T>(total_[0][n], a[s][0], b);
        Mma<T>(total_[1][n], a[s][1], b);
      }
    }
  }

  __device__ __forceinline__ Operand<BITS> ReadX(const uint8_t* x, int row, int unit) const {
    Operand<BITS> out;
    const int offset = (unit * L::kUnitDepth + t_ * L::kWordDepth) * 2;
    const uint8_t* line = x + row * (kStageDepth * 2);
    if constexpr (L::kWordDepth == 4) {
      const uint2 v = *reinterpret_cast<const uint2*>(line + 16 * (offset / 16 ^ Swizzle(row)) + offset % 16);
      out.x[0] = v.x, out.x[1] = v.y;
    } else {
#pragma unroll
      for (int i = 0; i < L::kWordDepth / 8; ++i) {
        const uint4 v = *reinterpret_cast<const uint4*>(line + 16 * ((offset / 16 + i) ^ Swizzle(row)));
        out.x[4 * i] = v.x, out.x[4 * i + 1] = v.y, out.x[4 * i + 2] = v.z, out.x[4 * i + 3] = v.w;
      }
    }
    return out;
  }

  /// parameters: scales, then zero points of the stage; `local`: the group counted from the stage's first.
  __device__ __forceinline__ void Prepare(const uint8_t* parameters, int group, int local, int first) {
    const int tile = 2 * warp_ + g_ / 4;
    const int lane = 4 * (g_ % 4);
    const int row = tile * group_count_ + local;
    float scales[4], zero_points[4] = {};
    ReadFour(scales, parameters, row * kTile + lane, a_.half_scales);
    const uint8_t* stored = parameters + kParameterBytes;
    uint32_t integers = 0;
    if (a_.zero_point_kind == ZeroPoints::kInteger) {
      constexpr int kBits = ZeroPointBits(BITS);
      const int packed = group * kBits / 8 - first * kBits / 8;
      integers = *reinterpret_cast<const uint32_t*>(stored + (tile * zero_point_rows_ + packed) * kTile + lane);
    } else if (a_.zero_point_kind == ZeroPoints::kFloat) {
      ReadFour(zero_points, stored, row * kTile + lane, a_.half_zero_points);
    }
    SetZeros<BITS, T>(zeros_, integers, group, a_.zero_point_kind == ZeroPoints::kInteger);
    SetScales<BITS, T>(scales16_, scales, zero_points, a_.zero_point_kind == ZeroPoints::kFloat);
  }

  static __device__ __forceinline__ void ReadFour(float (&out)[4], const uint8_t* p, int index, bool half) {
    Raw4 raw;
    if (half) {
      const uint2 v = *reinterpret_cast<const uint2*>(p + 2 * index);
      raw.bits = make_uint4(v.x, v.y, 0, 0);
    } else {
      raw.bits = *reinterpret_cast<const uint4*>(p + 4 * index);
    }
    raw.ToFloats(out, half);
  }

  /// Thread (g, t) holds outputs 4 g .. 4 g + 3 of its warp's 32, for rows 2 t and 2 t + 1 of each 8.
  __device__ __forceinline__ void Finish() {
    const int64_t n = static_cast<int64_t>(blockIdx.x) * kOutputs + 32 * warp_ + 4 * g_;
    if (blockIdx.z == 0) AddToTotals(n);
#pragma unroll
    for (int column = 0; column < COLUMNS; ++column) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float sums[4] = {total_[0][column][i], total_[0][column][i + 2], total_[1][column][i],
                               total_[1][column][i + 2]};
        StoreFour<T>(a_, sums, first_row_ + 8 * column + 2 * t_ + i, n, blockIdx.z);
      }
    }
  }

  /// Bias, and the low-rank product a rank at a time.
  __device__ __forceinline__ void AddToTotals(int64_t n) {
    if (a_.bias != nullptr) AddRow(static_cast<const T*>(a_.bias), n, [](int64_t) { return 1.0f; });
#pragma unroll 1
    for (int r = 0; r < a_.rank; ++r) {
      AddRow(static_cast<const T*>(a_.low_rank_b) + r * a_.N, n,
             [&](int64_t m) { return m < a_.M ? a_.low_rank[m * a_.rank + r] : 0.0f; });
    }
  }

  /// total[m, n] += factor(m) * values[n].
  template <typename Factor>
  __device__ __forceinline__ void AddRow(const T* values, int64_t n, const Factor& factor) {
    float value[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = n + i < a_.N ? ToFloat(values[n + i]) : 0.0f;
#pragma unroll
    for (int column = 0; column < COLUMNS; ++column) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float f = factor(first_row_ + 8 * column + 2 * t_ + i);
#pragma unroll
        for (int output = 0; output < 4; ++output) {
          float& sum = total_[output / 2][column][output % 2 * 2 + i];
          sum = fmaf(f, value[output], sum);
        }
      }
    }
  }

  const GroupArgs& a_;
  uint8_t* shared_;
  const int warp_;
  const int g_;
  const int t_;
  const int64_t first_row_;
  const int K_;
  const int vectors_;
  const int group_shift_;
  const int group_count_;      ///< groups that a stage touches
  const int zero_point_rows_;  ///< rows of 16 stored zero points that it touches
  const Piece scale_piece_;
  const Piece zero_point_piece_;
  const uint8_t* codes_;
  int group_ = -1;
  Zero<BITS, T> zeros_[4];
  Scale16<BITS, T> scales16_[4];
  float total_[2][COLUMNS][4];
};

template <int BITS, typename T, int WARPS, int COLUMNS, int STAGES>
__global__ void __launch_bounds__(32 * WARPS, 1) GroupGemm(const __grid_constant__ GroupArgs args) {
  Gemm<BITS, T, WARPS, COLUMNS, STAGES>::Run(args);
}

}  // namespace ortq::cuda

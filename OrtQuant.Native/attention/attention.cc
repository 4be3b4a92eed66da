#include "attention/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/buffer.h"
#include "core/half.h"
#include "core/parallel.h"

namespace ortq::attention {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

const void* Offset(const void* data, bool half, int64_t elements) {
  return static_cast<const std::byte*>(data) + elements * (half ? 2 : 4);
}

void* Offset(void* data, bool half, int64_t elements) {
  return static_cast<std::byte*>(data) + elements * (half ? 2 : 4);
}

/// Keys [begin, end) that a row attends to; others in between may be masked.
struct KeyRange {
  int64_t begin, end;
};

class Call {
 public:
  Call(const KernelSet& kernels, const Problem& p, const Scratch& scratch)
      : kernels_(kernels), p_(p), buffers_(scratch) {
    group_ = p.heads / p.kv_heads;
    head_rows_ = group_ * p.tokens;
    stride_ = (p.present_rows + kLanes - 1) / kLanes * kLanes;
  }

  void Run(const ParallelFor& parallel) {
    const int64_t cached_heads = p_.batch * p_.kv_heads;
    const TaskRunner runner(parallel);
    queries_ = buffers_.Allocate<float>(p_.batch * p_.heads * p_.tokens * p_.head_size);
    PrepareRotary();

    // 10 bytes a nanosecond to copy the cache, 2 flops for each element of each row, twice, at 20 a nanosecond.
    const int64_t cache_elements = p_.present_rows * p_.head_size;
    const bool copies = p_.past_key != p_.present_key;
    const double append_time =
        static_cast<double>(cached_heads) * (copies ? 0.4 * cache_elements : 2.0 * p_.tokens * p_.head_size);
    const int64_t appends = runner.TaskCount(append_time, cached_heads);
    float* rows = buffers_.Allocate<float>(appends * p_.head_size * 2);
    runner.Run(appends, [&](int64_t task) {
      const Range share = Share(cached_heads, appends, task);
      for (int64_t i = share.begin; i < share.end; ++i) Append(i, rows + task * p_.head_size * 2);
    });

    const double attend_time = 0.2 * static_cast<double>(cached_heads) * head_rows_ * cache_elements;
    const int64_t all_rows = cached_heads * head_rows_;
    const int64_t most = runner.TaskCount(attend_time, all_rows);
    // Rows of one head share their reads of the cache, unless that leaves threads without work.
    const int64_t block = std::clamp<int64_t>((all_rows + most - 1) / most, 1, std::min(kRows, head_rows_));
    const int64_t head_blocks = (head_rows_ + block - 1) / block;
    const int64_t tasks = std::min(most, cached_heads * head_blocks);
    float* scores = buffers_.Allocate<float>(tasks * block * (stride_ + p_.head_size));
    runner.Run(tasks, [&](int64_t task) {
      const Range share = Share(cached_heads * head_blocks, tasks, task);
      for (int64_t i = share.begin; i < share.end; ++i) {
        const int64_t first = i % head_blocks * block;
        Attend(i / head_blocks, first, std::min(block, head_rows_ - first),
               scores + task * block * (stride_ + p_.head_size));
      }
    });
  }

 private:
  /// The tables of the rotary embedding as float32.
  void PrepareRotary() {
    const Rotary& rotary = p_.rotary;
    if (rotary.size == 0 || !rotary.half) return;
    const int64_t width = rotary.both_halves ? rotary.size : rotary.size / 2;
    int64_t last = 0;
    first_angle_ = std::numeric_limits<int64_t>::max();
    for (int64_t b = 0; b < p_.batch; ++b) {
      first_angle_ = std::min(first_angle_, AngleRow(b, 0));
      last = std::max(last, AngleRow(b, p_.tokens - 1));
    }
    const int64_t count = (last - first_angle_ + 1) * width;
    for (const auto& [from, to] : {std::pair(rotary.cos, &cos_), std::pair(rotary.sin, &sin_)}) {
      float* converted = buffers_.Allocate<float>(count);
      kernels_.to_float(static_cast<const uint16_t*>(from) + first_angle_ * width, converted, count);
      *to = converted;
    }
  }

  int64_t AngleRow(int64_t b, int64_t s) const {
    return b * p_.rotary.batch_rows + s * p_.rotary.token_rows + (p_.rotary.after_past ? p_.PastLength(b) : 0);
  }

  void Read(const void* from, int64_t offset, float* to) const {
    const void* row = Offset(from, p_.half, offset);
    if (p_.half)
      kernels_.to_float(static_cast<const uint16_t*>(row), to, p_.head_size);
    else
      std::memcpy(to, row, static_cast<size_t>(p_.head_size) * sizeof(float));
  }

  /// x turned by the angles of a token.
  void Turn(int64_t b, int64_t s, float* x) const {
    const Rotary& rotary = p_.rotary;
    if (rotary.size == 0) return;
    const int64_t half = rotary.size / 2;
    const int64_t width = rotary.both_halves ? rotary.size : half;
    const int64_t row = (AngleRow(b, s) - first_angle_) * width;
    const float* cos = (rotary.half ? cos_ : static_cast<const float*>(rotary.cos)) + row;
    const float* sin = (rotary.half ? sin_ : static_cast<const float*>(rotary.sin)) + row;
    const int64_t second = rotary.both_halves ? half : 0;
    const int64_t step = rotary.interleaved ? 2 : 1;
    const int64_t apart = rotary.interleaved ? 1 : half;
    for (int64_t i = 0; i < half; ++i) {
      float& a = x[i * step];
      float& c = x[i * step + apart];
      const float turned = a * cos[i] - c * sin[i];
      c = c * cos[second + i] + a * sin[second + i];
      a = turned;
    }
  }

  /// Brings the cache of one head up to date, and the queries that read it into order.
  void Append(int64_t cached_head, float* row) const {
    const int64_t b = cached_head / p_.kv_heads;
    const int64_t h = cached_head % p_.kv_heads;
    const int64_t past = p_.PastLength(b);
    Grow(cached_head, past, p_.past_key, p_.present_key);
    Grow(cached_head, past, p_.past_value, p_.present_value);
    for (int64_t s = 0; s < p_.tokens; ++s) {
      const int64_t token = b * p_.tokens + s;
      const int64_t to = (cached_head * p_.present_rows + past + s) * p_.head_size;
      Read(p_.key, token * p_.key_stride + h * p_.head_size, row);
      Turn(b, s, row);
      Write(row, p_.half_cache, Offset(p_.present_key, p_.half_cache, to));
      Read(p_.value, token * p_.value_stride + h * p_.head_size, row);
      Write(row, p_.half_cache, Offset(p_.present_value, p_.half_cache, to));
      for (int64_t g = 0; g < group_; ++g) {
        const int64_t head = h * group_ + g;
        float* query = queries_ + ((b * p_.heads + head) * p_.tokens + s) * p_.head_size;
        Read(p_.query, token * p_.query_stride + head * p_.head_size, query);
        Turn(b, s, query);
        for (int64_t d = 0; d < p_.head_size; ++d) query[d] *= p_.scale;
      }
    }
  }

  /// Copies the past of one head, unless it is in place. What lies behind the new tokens is zero, or stays where it is
  /// in place.
  void Grow(int64_t cached_head, int64_t past, const void* from, void* to) const {
    if (from == to) return;
    const int64_t width = p_.head_size;
    const size_t size = p_.half_cache ? 2 : 4;
    void* present = Offset(to, p_.half_cache, cached_head * p_.present_rows * width);
    if (past > 0) {
      std::memcpy(present, Offset(from, p_.half_cache, cached_head * p_.past_rows * width),
                  static_cast<size_t>(past * width) * size);
    }
    const int64_t used = past + p_.tokens;
    if (used < p_.present_rows) {
      std::memset(Offset(present, p_.half_cache, used * width), 0,
                  static_cast<size_t>((p_.present_rows - used) * width) * size);
    }
  }

  void Write(const float* row, bool half, void* to) const {
    if (half)
      kernels_.to_half(row, static_cast<uint16_t*>(to), p_.head_size);
    else
      std::memcpy(to, row, static_cast<size_t>(p_.head_size) * sizeof(float));
  }

  /// Rows [first, first + count) of the queries that read one head of the cache: head by head, and token by token in
  /// each.
  void Attend(int64_t cached_head, int64_t first, int64_t count, float* scratch) const {
    const int64_t b = cached_head / p_.kv_heads;
    const int64_t h = cached_head % p_.kv_heads;
    const float* queries = queries_ + ((b * p_.heads + h * group_) * p_.tokens + first) * p_.head_size;
    KeyRange ranges[kRows];
    KeyRange all = {p_.present_rows, 0};
    for (int64_t r = 0; r < count; ++r) {
      ranges[r] = RangeOf(b, h * group_ + (first + r) / p_.tokens, (first + r) % p_.tokens);
      all = {std::min(all.begin, ranges[r].begin), std::max(all.end, ranges[r].end)};
    }
    float* const mixed = scratch + count * stride_;
    if (all.begin >= all.end) {
      std::fill_n(mixed, count * p_.head_size, 0.0f);
    } else {
      const int64_t begin = all.begin / kLanes * kLanes;
      const int64_t end = (all.end + kLanes - 1) / kLanes * kLanes;
      const CacheRows keys = Cached(p_.present_key, cached_head);
      kernels_.score(queries, count, p_.head_size, keys, begin, all.end, scratch, stride_);
      for (int64_t r = 0; r < count; ++r) {
        float* row = scratch + r * stride_;
        if (ranges[r].begin >= ranges[r].end) {
          std::fill(row + begin, row + end, 0.0f);  // attends to nothing
          continue;
        }
        std::fill(row + begin, row + ranges[r].begin, kNever);
        std::fill(row + ranges[r].end, row + end, kNever);
        ApplyMask(b, h * group_ + (first + r) / p_.tokens, (first + r) % p_.tokens, ranges[r], row);
        kernels_.softmax(row + begin, end - begin);
      }
      kernels_.mix(scratch, stride_, count, p_.head_size, Cached(p_.present_value, cached_head), begin, all.end, mixed);
    }
    for (int64_t r = 0; r < count; ++r) {
      const int64_t head = h * group_ + (first + r) / p_.tokens;
      const int64_t token = b * p_.tokens + (first + r) % p_.tokens;
      Write(mixed + r * p_.head_size, p_.half, Offset(p_.output, p_.half, (token * p_.heads + head) * p_.head_size));
    }
  }

  CacheRows Cached(const void* cache, int64_t cached_head) const {
    return {Offset(cache, p_.half_cache, cached_head * p_.present_rows * p_.head_size), p_.half_cache};
  }

  const void* MaskRow(int64_t b, int64_t head, int64_t s) const {
    const int64_t offset = b * p_.mask.batch_stride + head * p_.mask.head_stride + s * p_.mask.token_stride;
    if (p_.mask.kind == MaskKind::kBoolean) return static_cast<const uint8_t*>(p_.mask.data) + offset;
    return Offset(p_.mask.data, p_.mask.half, offset);
  }

  KeyRange RangeOf(int64_t b, int64_t head, int64_t s) const {
    if (p_.mask.kind == MaskKind::kAdditive) return {0, p_.present_rows};
    if (p_.mask.kind == MaskKind::kCausal) {
      const int64_t end = p_.PastLength(b) + s + 1;
      return {p_.mask.window > 0 ? std::max<int64_t>(0, end - p_.mask.window) : 0, end};
    }
    const auto* row = static_cast<const uint8_t*>(MaskRow(b, head, s));
    KeyRange range = {0, p_.present_rows};
    const int64_t stride = p_.mask.key_stride;
    while (range.begin < range.end && row[(range.end - 1) * stride] == 0) --range.end;
    while (range.begin < range.end && row[range.begin * stride] == 0) ++range.begin;
    return range;
  }

  void ApplyMask(int64_t b, int64_t head, int64_t s, KeyRange range, float* scores) const {
    const int64_t stride = p_.mask.key_stride;
    if (p_.mask.kind == MaskKind::kCausal) return;
    if (p_.mask.kind == MaskKind::kBoolean) {
      const auto* row = static_cast<const uint8_t*>(MaskRow(b, head, s));
      for (int64_t t = range.begin; t < range.end; ++t) scores[t] = row[t * stride] != 0 ? scores[t] : kNever;
    } else if (p_.mask.half) {
      const auto* row = static_cast<const uint16_t*>(MaskRow(b, head, s));
      for (int64_t t = range.begin; t < range.end; ++t) scores[t] += HalfToFloat(row[t * stride]);
    } else {
      const auto* row = static_cast<const float*>(MaskRow(b, head, s));
      for (int64_t t = range.begin; t < range.end; ++t) scores[t] += row[t * stride];
    }
  }

  const KernelSet& kernels_;
  const Problem& p_;
  CallBuffers buffers_;
  int64_t group_;
  int64_t head_rows_;  ///< rows of queries for one head of the cache
  int64_t stride_;
  float* queries_ = nullptr;  ///< [batch, heads, tokens, head_size], turned and scaled
  const float* cos_ = nullptr;
  const float* sin_ = nullptr;
  int64_t first_angle_ = 0;
};

}  // namespace

void Run(const KernelSet& kernels, const Problem& problem, const ParallelFor& parallel, const Scratch& scratch) {
  if (problem.batch * problem.tokens == 0) return;
  Call(kernels, problem, scratch).Run(parallel);
}

}  // namespace ortq::attention

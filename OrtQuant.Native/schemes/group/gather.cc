// Rows of a packed weight as numbers: embedding lookup, and the whole matrix for checks.
#include <cstring>

#include "schemes/group/decode.h"
#include "schemes/group/kernels.h"

namespace ortq {
namespace {

/// Calls store(k, values, count) for the row's weights, a chunk at a time: no memory is needed, so nothing can fail on
/// a thread that is not ours.
template <typename Store>
void DecodeRow(const GroupWeights& w, int64_t n, const Store& store) {
  const GroupFormat& f = w.format;
  const int64_t tile = n / kTileOutputs;
  const int lane = static_cast<int>(n % kTileOutputs);
  const uint8_t* chunk = w.codes + tile * f.Chunks() * 64 * f.bits;
  const bool one_group = f.Groups() == 1;
  int64_t loaded_group = -1;
  float scale = 0;
  float zero_point = 0;
  for (int64_t k0 = 0; k0 < f.K; k0 += kChunkDepth, chunk += 64 * f.bits) {
    uint8_t codes[kChunkDepth];
    float values[kChunkDepth];
    group::DecodeChunk(chunk, f.bits, lane, codes);
    const int64_t count = f.K - k0 < kChunkDepth ? f.K - k0 : kChunkDepth;
    for (int64_t i = 0; i < count; ++i) {
      if (const int64_t g = one_group ? 0 : (k0 + i) / f.block; g != loaded_group) {
        scale = group::DecodeScale(w, tile, g, lane);
        zero_point = group::DecodeZeroPoint(w, tile, g, lane);
        loaded_group = g;
      }
      values[i] = scale * (static_cast<float>(codes[i]) - zero_point);
    }
    store(k0, values, count);
  }
}

struct GatherTask {
  const GroupWeights* weights;
  const int64_t* rows;
  size_t count;
  size_t rows_per_task;
  void* out;
  ScalarType type;
};

void GatherSome(void* arg, size_t task_index) {
  const auto& task = *static_cast<const GatherTask*>(arg);
  const int64_t K = task.weights->format.K;
  auto* out = static_cast<uint8_t*>(task.out);
  const size_t begin = task_index * task.rows_per_task;
  const size_t end = begin + task.rows_per_task < task.count ? begin + task.rows_per_task : task.count;
  for (size_t i = begin; i < end; ++i) {
    const int64_t first = static_cast<int64_t>(i) * K;
    DecodeRow(*task.weights, task.rows[i], [&](int64_t k, const float* values, int64_t count) {
      if (task.type == ScalarType::kFloat16) {
        uint16_t halves[kChunkDepth];
        for (int64_t j = 0; j < count; ++j) halves[j] = FloatToHalf(values[j]);
        std::memcpy(out + 2 * (first + k), halves, static_cast<size_t>(count) * 2);
      } else {
        std::memcpy(out + 4 * (first + k), values, static_cast<size_t>(count) * 4);
      }
    });
  }
}

}  // namespace

void GatherRows(const GroupWeights& weights, const int64_t* rows, size_t count, void* out, ScalarType type,
                const ParallelFor& parallel) {
  if (count == 0) return;
  constexpr size_t kWeightsPerTask = 1 << 16;  // about 50 us: below that another thread costs more than it brings
  const size_t rows_per_task = 1 + kWeightsPerTask / static_cast<size_t>(weights.format.K);
  GatherTask task{&weights, rows, count, rows_per_task, out, type};
  const size_t tasks = (count + rows_per_task - 1) / rows_per_task;
  if (tasks == 1 || parallel.run == nullptr || parallel.threads == 1) {
    for (size_t i = 0; i < tasks; ++i) GatherSome(&task, i);
  } else {
    parallel.run(parallel.context, tasks, GatherSome, &task);
  }
}

void Unpack(const GroupWeights& weights, float* w) {
  for (int64_t n = 0; n < weights.format.N; ++n, w += weights.format.K) {
    DecodeRow(weights, n, [w](int64_t k, const float* values, int64_t count) {
      std::memcpy(w + k, values, static_cast<size_t>(count) * 4);
    });
  }
}

}  // namespace ortq

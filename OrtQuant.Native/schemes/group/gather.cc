// Rows of a packed weight as numbers: embedding lookup, and the whole matrix for checks.
#include <cstring>
#include <vector>

#include "schemes/group/decode.h"
#include "schemes/group/kernels.h"

namespace ortq {
namespace {

using group::DecodeCode;

void DecodeRow(const GroupWeights& w, int64_t n, float* out) {
  const GroupFormat& f = w.format;
  const int64_t tile = n / kTileOutputs;
  const int lane = static_cast<int>(n % kTileOutputs);
  const uint8_t* codes = w.codes + tile * f.Chunks() * 64 * f.bits;
  for (int64_t g = 0; g < f.Groups(); ++g) {
    const float scale = group::DecodeScale(w, tile, g, lane);
    const float zero_point = group::DecodeZeroPoint(w, tile, g, lane);
    const int64_t end = f.K - g * f.block < f.block ? f.K : (g + 1) * f.block;
    for (int64_t k = g * f.block; k < end; ++k) {
      out[k] = scale * (static_cast<float>(DecodeCode(codes, f.bits, k, lane)) - zero_point);
    }
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
  std::vector<float> row(static_cast<size_t>(K));
  std::vector<uint16_t> half(task.type == ScalarType::kFloat16 ? row.size() : 0);
  const size_t begin = task_index * task.rows_per_task;
  const size_t end = begin + task.rows_per_task < task.count ? begin + task.rows_per_task : task.count;
  for (size_t i = begin; i < end; ++i) {
    DecodeRow(*task.weights, task.rows[i], row.data());
    if (task.type == ScalarType::kFloat16) {
      for (size_t k = 0; k < row.size(); ++k) half[k] = FloatToHalf(row[k]);
      std::memcpy(static_cast<uint8_t*>(task.out) + 2 * i * row.size(), half.data(), 2 * row.size());
    } else {
      std::memcpy(static_cast<uint8_t*>(task.out) + 4 * i * row.size(), row.data(), 4 * row.size());
    }
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
  for (int64_t n = 0; n < weights.format.N; ++n) DecodeRow(weights, n, w + n * weights.format.K);
}

}  // namespace ortq

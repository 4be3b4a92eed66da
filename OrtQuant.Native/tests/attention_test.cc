// Attention: every instruction set against double precision, on guard pages, over awkward shapes.
#include "attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <vector>

#include "core/half.h"
#include "core/isa.h"
#include "tests/guarded_buffer.h"
#include "tests/thread_pool.h"

namespace ortq::testing {
namespace {

using attention::MaskKind;
using Placement = GuardedBuffer::Placement;

struct Spec {
  int64_t batch = 1, tokens = 1, past = 0, heads = 1, kv_heads = 1, head_size = 8;
  int64_t rotary = 0;
  bool half = false, half_cache = false;
  MaskKind mask = MaskKind::kBoolean;
  int64_t window = 0;
  bool mask_per_head = false;
  bool shared_cache = false;  ///< past and present are one buffer, with room to spare
  bool interleaved = false;   ///< tables of half the size, for all positions, as a decoder's are
  int64_t hidden_rows = 0;    ///< the first rows of queries attend to nothing

  std::string Describe() const {
    std::ostringstream text;
    text << "batch " << batch << " tokens " << tokens << " past " << past << " heads " << heads << "/" << kv_heads
         << " of " << head_size << " rotary " << rotary << " half " << half << half_cache << " mask "
         << static_cast<int>(mask);
    return text.str();
  }
};

/// A tensor of float32 or float16 against a guard page, and its values as stored.
class Tensor {
 public:
  Tensor(int64_t count, bool half)
      : half_(half), buffer_(static_cast<size_t>(count) * (half ? 2 : 4), Placement::kEnd), count_(count) {}
  void Set(int64_t i, float value) {
    if (half_) {
      const uint16_t bits = FloatToHalf(value);
      std::memcpy(buffer_.data() + i * 2, &bits, 2);
    } else {
      std::memcpy(buffer_.data() + i * 4, &value, 4);
    }
  }
  float Get(int64_t i) const {
    if (!half_) {
      float value;
      std::memcpy(&value, buffer_.data() + i * 4, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, buffer_.data() + i * 2, 2);
    return HalfToFloat(bits);
  }
  void* data() { return buffer_.data(); }
  int64_t count() const { return count_; }
  std::vector<uint8_t> bytes() const { return {buffer_.data(), buffer_.data() + buffer_.size()}; }

 private:
  bool half_;
  GuardedBuffer buffer_;
  int64_t count_;
};

class Case {
 public:
  explicit Case(const Spec& spec)
      : s(spec),
        rows(spec.past + spec.tokens + (spec.shared_cache ? 3 : 0)),
        query(Random(s.batch * s.tokens * s.heads * s.head_size, s.half)),
        key(Random(s.batch * s.tokens * s.kv_heads * s.head_size, s.half)),
        value(Random(s.batch * s.tokens * s.kv_heads * s.head_size, s.half)),
        past_key(Random(s.batch * s.kv_heads * PastRows() * s.head_size, s.half_cache)),
        past_value(Random(s.batch * s.kv_heads * PastRows() * s.head_size, s.half_cache)),
        cos(Random(AngleRows() * AngleWidth(), false)),
        sin(Random(AngleRows() * AngleWidth(), false)),
        additive(Random(s.batch * MaskHeads() * s.tokens * Keys(), s.half)),
        boolean(static_cast<size_t>(s.batch * MaskHeads() * s.tokens * Keys()), Placement::kEnd) {
    for (int64_t row = 0; row < s.batch * MaskHeads() * s.tokens; ++row) {
      for (int64_t t = 0; t < Keys(); ++t) {
        boolean.data()[row * Keys() + t] =
            row % s.tokens >= s.hidden_rows && (random_() % 3 != 0 || t == row % Keys()) ? 1 : 0;
      }
    }
  }

  int64_t Keys() const { return s.past + s.tokens; }
  int64_t PastRows() const { return s.shared_cache ? rows : s.past; }
  int64_t MaskHeads() const { return s.mask_per_head ? s.heads : 1; }
  int64_t AngleRows() const { return s.interleaved ? Keys() : s.batch * s.tokens; }
  int64_t AngleWidth() const { return s.interleaved ? s.rotary / 2 : s.rotary; }

  struct Result {
    std::vector<uint8_t> output, key, value;
    std::vector<float> numbers;
  };

  Result Run(Isa isa, const ParallelFor& parallel) {
    Tensor output(s.batch * s.tokens * s.heads * s.head_size, s.half);
    Tensor present_key(s.batch * s.kv_heads * rows * s.head_size, s.half_cache);
    Tensor present_value(s.batch * s.kv_heads * rows * s.head_size, s.half_cache);
    if (s.shared_cache) {
      std::memcpy(present_key.data(), past_key.data(), past_key.bytes().size());
      std::memcpy(present_value.data(), past_value.data(), past_value.bytes().size());
    }
    const std::vector<int64_t> lengths(static_cast<size_t>(s.batch), s.past);
    attention::Problem p = {};
    p.batch = s.batch;
    p.tokens = s.tokens;
    p.heads = s.heads;
    p.kv_heads = s.kv_heads;
    p.head_size = s.head_size;
    p.scale = 0.3f;
    p.half = s.half;
    p.query = query.data();
    p.key = key.data();
    p.value = value.data();
    p.query_stride = s.heads * s.head_size;
    p.key_stride = p.value_stride = s.kv_heads * s.head_size;
    p.half_cache = s.half_cache;
    p.past_key = s.shared_cache ? present_key.data() : past_key.data();
    p.past_value = s.shared_cache ? present_value.data() : past_value.data();
    p.present_key = present_key.data();
    p.present_value = present_value.data();
    p.past_rows = PastRows();
    p.present_rows = rows;
    p.past_lengths = s.shared_cache ? lengths.data() : nullptr;
    const int64_t row = Keys();
    p.mask.kind = s.mask;
    p.mask.window = s.window;
    p.mask.half = s.half;
    p.mask.data = s.mask == MaskKind::kBoolean ? static_cast<void*>(boolean.data()) : additive.data();
    p.mask.batch_stride = MaskHeads() * s.tokens * row;
    p.mask.head_stride = s.mask_per_head ? s.tokens * row : 0;
    p.mask.token_stride = row;
    p.mask.key_stride = 1;
    if (s.rotary > 0) {
      p.rotary = {.size = s.rotary,
                  .cos = cos.data(),
                  .sin = sin.data(),
                  .both_halves = !s.interleaved,
                  .interleaved = s.interleaved,
                  .after_past = s.interleaved,
                  .batch_rows = s.interleaved ? 0 : s.tokens};
    }
    p.output = output.data();
    attention::Run(attention::KernelsFor(isa, s.head_size), p, parallel, {});
    Result result{output.bytes(), present_key.bytes(), present_value.bytes(), {}};
    for (int64_t i = 0; i < output.count(); ++i) result.numbers.push_back(output.Get(i));
    return result;
  }

  double Turned(Tensor& x, int64_t offset, int64_t b, int64_t token, int64_t d) {
    const double own = x.Get(offset + d);
    if (d >= s.rotary) return own;
    const int64_t half = s.rotary / 2;
    const bool first = s.interleaved ? d % 2 == 0 : d < half;
    const double other = x.Get(offset + (s.interleaved ? d ^ 1 : first ? d + half : d - half));
    const int64_t at = s.interleaved ? (s.past + token) * half + d / 2 : (b * s.tokens + token) * s.rotary + d;
    return own * cos.Get(at) + (first ? -other : other) * sin.Get(at);
  }

  /// The definition, in double precision; keys and values are rounded to what the cache holds.
  std::vector<double> Expected() {
    std::vector<double> expected;
    const auto stored = [&](double x) {
      return s.half_cache ? HalfToFloat(FloatToHalf(static_cast<float>(x))) : static_cast<float>(x);
    };
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t token = 0; token < s.tokens; ++token) {
        for (int64_t head = 0; head < s.heads; ++head) {
          const int64_t h = head / (s.heads / s.kv_heads);
          std::vector<double> p;
          for (int64_t t = 0; t < Keys(); ++t) {
            double score = 0;
            for (int64_t d = 0; d < s.head_size; ++d) {
              const double k = t < s.past
                                   ? past_key.Get(((b * s.kv_heads + h) * PastRows() + t) * s.head_size + d)
                                   : stored(Turned(key, ((b * s.tokens + t - s.past) * s.kv_heads + h) * s.head_size, b,
                                                   t - s.past, d));
              score += Turned(query, ((b * s.tokens + token) * s.heads + head) * s.head_size, b, token, d) * k;
            }
            p.push_back(Masked(score * 0.3f, b, head, token, t));
          }
          const double largest = *std::max_element(p.begin(), p.end());
          double sum = 0;
          for (double& x : p)
            sum += x = largest == -std::numeric_limits<double>::infinity() ? 0 : std::exp(x - largest);
          for (int64_t d = 0; d < s.head_size; ++d) {
            double y = 0;
            for (int64_t t = 0; t < Keys(); ++t) {
              const double v =
                  t < s.past ? past_value.Get(((b * s.kv_heads + h) * PastRows() + t) * s.head_size + d)
                             : stored(value.Get(((b * s.tokens + t - s.past) * s.kv_heads + h) * s.head_size + d));
              y += p[static_cast<size_t>(t)] * v;
            }
            expected.push_back(sum == 0 ? 0 : y / sum);
          }
        }
      }
    }
    return expected;
  }

  const Spec s;
  const int64_t rows;

 private:
  std::mt19937 random_{7};

 public:
  Tensor query, key, value, past_key, past_value, cos, sin, additive;
  GuardedBuffer boolean;

 private:
  Tensor Random(int64_t count, bool half) {
    Tensor tensor(count, half);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; ++i) tensor.Set(i, normal(random_));
    return tensor;
  }

  double Masked(double score, int64_t b, int64_t head, int64_t token, int64_t t) {
    const int64_t at = ((b * MaskHeads() + (s.mask_per_head ? head : 0)) * s.tokens + token) * Keys() + t;
    const int64_t own = s.past + token;
    bool seen = true;
    if (s.mask == MaskKind::kBoolean) seen = boolean.data()[at] != 0;
    if (s.mask == MaskKind::kCausal) seen = t <= own && (s.window == 0 || t > own - s.window);
    if (!seen) return -std::numeric_limits<double>::infinity();
    return s.mask == MaskKind::kAdditive ? score + additive.Get(at) : score;
  }
};

std::vector<Spec> Specs() {
  std::vector<Spec> specs;
  int64_t n = 0;
  for (const int64_t head_size : {8, 12, 16, 24, 64, 80, 128}) {
    for (const auto& [tokens, past] : {std::pair<int64_t, int64_t>{1, 0}, {1, 1}, {1, 37}, {3, 5}, {17, 0}, {9, 40}}) {
      for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{1, 1}, {3, 1}, {10, 2}}) {
        ++n;
        specs.push_back({.batch = 1 + n % 3,
                         .tokens = tokens,
                         .past = past,
                         .heads = heads,
                         .kv_heads = kv_heads,
                         .head_size = head_size,
                         .rotary = n % 4 == 0   ? 0
                                   : n % 4 == 1 ? head_size / 4 * 2
                                                : head_size,
                         .half = n % 5 == 0,
                         .half_cache = n % 2 == 0,
                         .mask = n % 3 == 0   ? MaskKind::kCausal
                                 : n % 3 == 1 ? MaskKind::kBoolean
                                              : MaskKind::kAdditive,
                         .window = n % 6 == 0 ? 4 : 0,
                         .mask_per_head = n % 7 == 0,
                         .shared_cache = n % 6 == 3,
                         .interleaved = n % 11 == 3,
                         .hidden_rows = n % 9 == 1 ? 1 : 0});
      }
    }
  }
  return specs;
}

// The rounding of float32 sums over 128 products and 60 keys; float16 outputs are within half a unit in the last place
// of 4.
double Limit(const Spec& spec) {
  return spec.half ? 2.5e-3 : 1e-5 + (spec.half_cache ? 2e-3 : 0);
}

double Worst(const std::vector<float>& actual, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]);
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  return worst;
}

TEST(Attention, ComputesTheDefinition) {
  for (const Spec& spec : Specs()) {
    Case test(spec);
    const std::vector<double> expected = test.Expected();
    for (const Isa isa : SupportedIsas()) {
      EXPECT_LE(Worst(test.Run(isa, {}).numbers, expected), Limit(spec)) << IsaName(isa) << " " << spec.Describe();
    }
  }
}

TEST(Attention, CachesAreTheSameBitsWithoutRotaryEmbedding) {
  for (Spec spec : Specs()) {
    spec.rotary = 0;
    Case test(spec);
    const Case::Result reference = test.Run(Isa::kReference, {});
    for (const Isa isa : SupportedIsas()) {
      const Case::Result result = test.Run(isa, {});
      EXPECT_EQ(result.key, reference.key) << spec.Describe();
      EXPECT_EQ(result.value, reference.value) << spec.Describe();
    }
  }
}

TEST(Attention, ThreadsDoNotChangeABit) {
  Spec spec{.batch = 2,
            .tokens = 33,
            .past = 65,
            .heads = 10,
            .kv_heads = 2,
            .head_size = 64,
            .rotary = 64,
            .half_cache = true};
  for (const int64_t tokens : {1, 33}) {
    spec.tokens = tokens;
    Case test(spec);
    for (const Isa isa : SupportedIsas()) {
      const Case::Result one = test.Run(isa, {});
      for (const int threads : {2, 3, 8}) {
        ThreadPool pool(threads, threads);
        const Case::Result many = test.Run(isa, pool.parallel());
        EXPECT_GT(pool.largest_count(), 1u);
        EXPECT_EQ(many.output, one.output) << IsaName(isa);
        EXPECT_EQ(many.key, one.key) << IsaName(isa);
      }
    }
  }
}

TEST(Attention, AKeyThatIsHiddenDoesNotCount) {
  Case test({.tokens = 2, .past = 30, .heads = 2, .head_size = 16});
  std::fill_n(test.boolean.data(), test.boolean.size(), uint8_t{1});
  for (int64_t row = 0; row < 2; ++row) test.boolean.data()[row * 32 + 7] = 0;
  for (const Isa isa : SupportedIsas()) {
    const Case::Result before = test.Run(isa, {});
    test.past_key.Set(7 * 16, 1000);
    test.past_value.Set(7 * 16, 1000);
    EXPECT_EQ(test.Run(isa, {}).output, before.output) << IsaName(isa);
    test.past_key.Set(8 * 16, test.past_key.Get(8 * 16) + 1);
    EXPECT_NE(test.Run(isa, {}).output, before.output) << "a key that is seen does count";
    test.past_key.Set(8 * 16, test.past_key.Get(8 * 16) - 1);
  }
}

}  // namespace
}  // namespace ortq::testing

// Instruction sets, half precision, the roofline.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/half.h"
#include "core/isa.h"
#include "core/roofline.h"
#include "schemes/group/kernels.h"

namespace ortq::testing {
namespace {

TEST(Isa, UnknownNamesAreErrors) {
  EXPECT_THROW(ParseIsa("sse9"), Error);
  EXPECT_THROW(ParseIsa(""), Error);
  EXPECT_EQ(ParseIsa("reference"), Isa::kReference);
}

TEST(Isa, TheEnvironmentForcesAndBadValuesAreErrors) {
  setenv("ORTQUANT_FORCE_ISA", "reference", 1);
  EXPECT_EQ(ActiveIsa(), Isa::kReference);
  setenv("ORTQUANT_FORCE_ISA", "nonsense", 1);
  EXPECT_THROW(ActiveIsa(), Error);
  ForceIsa(Isa::kReference);  // the program's choice goes before the environment's
  EXPECT_EQ(ActiveIsa(), Isa::kReference);
  ForceIsa(std::nullopt);
  unsetenv("ORTQUANT_FORCE_ISA");
  EXPECT_EQ(ActiveIsa(), SupportedIsas().front());
}

TEST(Half, EveryHalfSurvivesTheRoundTripInEveryKernelSet) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (const Isa isa : SupportedIsas()) {
    const KernelSet& kernels = group::KernelsFor(isa);
    std::vector<float> floats(halves.size());
    std::vector<uint16_t> back(halves.size());
    const auto count = static_cast<int64_t>(halves.size());
    kernels.half_to_float(halves.data(), floats.data(), count);
    kernels.float_to_half(floats.data(), back.data(), count);
    for (size_t i = 0; i < halves.size(); ++i) {
      const bool nan = (i & 0x7FFF) > 0x7C00;
      EXPECT_EQ(std::isnan(floats[i]), nan);
      EXPECT_EQ(back[i], nan ? (i | 0x0200) : i) << IsaName(isa);
    }
  }
}

TEST(Half, RoundsToNearestEvenLikeTheHardware) {
  std::vector<float> values{0.0f,         -0.0f,           1.0f + 0x1p-11f, 1.0f + 0x1.8p-10f,
                            65504.0f,     65519.99f,       65520.0f,        0x1p-24f,
                            0x1p-25f,     0x1.000002p-25f, 0x1.8p-24f,      1e-30f,
                            0x1.ffcp-15f, 0x1.ffep-15f,    1e30f,           std::numeric_limits<float>::infinity()};
  for (uint32_t i = 0; i < 20000; ++i)
    values.push_back(
        std::ldexp(1.0f + static_cast<float>(i * 4099u % 65536u) / 65536.0f, static_cast<int>(i % 60) - 35));
  std::vector<uint16_t> expected(values.size());
  group::ReferenceKernels().float_to_half(values.data(), expected.data(), static_cast<int64_t>(values.size()));
  EXPECT_EQ(expected[2], 0x3C00);  // halfway, to the even side below
  EXPECT_EQ(expected[3], 0x3C02);  // halfway, to the even side above
  EXPECT_EQ(expected[6], 0x7C00);  // overflow
  EXPECT_EQ(expected[8], 0x0000);  // half of the smallest subnormal, to even
  EXPECT_EQ(expected[9], 0x0001);
  for (const Isa isa : SupportedIsas()) {
    std::vector<uint16_t> halves(values.size());
    group::KernelsFor(isa).float_to_half(values.data(), halves.data(), static_cast<int64_t>(values.size()));
    EXPECT_EQ(halves, expected) << IsaName(isa);
  }
}

TEST(Roofline, GivesPlausibleNumbers) {
  const Roofline roofline = MeasureRoofline(1);
  EXPECT_GT(roofline.read_gbs, 0.5);
  EXPECT_LT(roofline.read_gbs, 1000);
  EXPECT_GT(roofline.fp32_gflops, 0.1);
  EXPECT_LT(roofline.fp32_gflops, 1000);
  EXPECT_GT(roofline.int8_gops, 0.1);
  EXPECT_LT(roofline.int8_gops, 10000);
  EXPECT_THROW(MeasureRoofline(0), Error);
}

}  // namespace
}  // namespace ortq::testing

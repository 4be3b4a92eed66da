// Tests that run on each instruction set that the processor has.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/isa.h"

namespace ortq::testing {

class IsaTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    const auto& isas = SupportedIsas();
    if (std::ranges::find(isas, GetParam()) == isas.end()) {
      GTEST_SKIP() << "this processor has no " << IsaName(GetParam());
    }
  }
};

/// Instantiates a suite derived from IsaTest.
#define ORTQ_FOR_EACH_ISA(Suite)                                                                     \
  INSTANTIATE_TEST_SUITE_P(Isa, Suite, ::testing::Values(Isa::kReference, Isa::kAvx2, Isa::kAvx512), \
                           [](const auto& info) { return std::string(IsaName(info.param)); })

}  // namespace ortq::testing

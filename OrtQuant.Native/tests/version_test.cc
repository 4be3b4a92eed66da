#include <gtest/gtest.h>

#include <regex>

#include "ortquant.h"

TEST(Version, AbiVersionIsTheHeadersOwn) {
  EXPECT_EQ(ortq_abi_version(), ORTQ_ABI_VERSION);
}

TEST(Version, VersionHasThreeParts) {
  EXPECT_TRUE(std::regex_match(ortq_version(), std::regex(R"(\d+\.\d+\.\d+)"))) << ortq_version();
}

#include <gtest/gtest.h>

#include <cstdio>

#include "ortquant.h"

TEST(Version, AbiVersionIsTheHeadersOwn) {
  EXPECT_EQ(ortq_abi_version(), ORTQ_ABI_VERSION);
}

TEST(Version, VersionHasThreeParts) {
  int major = -1, minor = -1, patch = -1;
  char rest = 0;
  EXPECT_EQ(std::sscanf(ortq_version(), "%d.%d.%d%c", &major, &minor, &patch, &rest), 3) << ortq_version();
}

#include "ortquant.h"

int32_t ortq_abi_version(void) {
  return ORTQ_ABI_VERSION;
}

const char* ortq_version(void) {
  return ORTQUANT_VERSION;
}

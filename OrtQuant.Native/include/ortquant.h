// The C ABI of libortquant.
#ifndef ORTQUANT_H_
#define ORTQUANT_H_

#include <stdint.h>

#if defined(_WIN32)
#define ORTQ_EXPORT __declspec(dllexport)
#else
#define ORTQ_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ORTQ_ABI_VERSION 1

// The ABI version that the library was built with: ORTQ_ABI_VERSION of its header.
ORTQ_EXPORT int32_t ortq_abi_version(void);

// The version of the library, "major.minor.patch". The string lives as long as the library.
ORTQ_EXPORT const char* ortq_version(void);

#ifdef __cplusplus
}
#endif

#endif  // ORTQUANT_H_

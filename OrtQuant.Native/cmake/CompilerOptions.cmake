# Compiler options that every native target shares, and the instruction sets of single files.

set(ORTQUANT_COMPILE_OPTIONS
    -Wall
    -Wextra
    -Werror
    -ffp-contract=off # a*b+c is fused only where a kernel says so: the same bits with every compiler
    -fvisibility=hidden
    -fvisibility-inlines-hidden)
set(ORTQUANT_LINK_OPTIONS)

if(ORTQUANT_SANITIZE)
  # GCC 12 takes std::function inside std::regex for uninitialized once it is instrumented.
  list(APPEND ORTQUANT_COMPILE_OPTIONS -Wno-maybe-uninitialized)
endif()
foreach(sanitizer IN LISTS ORTQUANT_SANITIZE)
  list(APPEND ORTQUANT_COMPILE_OPTIONS -fsanitize=${sanitizer} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  list(APPEND ORTQUANT_LINK_OPTIONS -fsanitize=${sanitizer})
endforeach()
if(ORTQUANT_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND ORTQUANT_COMPILE_OPTIONS -Wno-maybe-uninitialized) # false alarms of instrumented standard headers
endif()

# ortquant_target_options(TARGET): the shared options, -O2 for the optimized build types.
function(ortquant_target_options target)
  target_compile_options(${target} PRIVATE ${ORTQUANT_COMPILE_OPTIONS} $<$<CONFIG:Release>:-O2>)
  target_link_options(${target} PRIVATE ${ORTQUANT_LINK_OPTIONS})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# ortquant_isa_flags(SOURCE...): a file named avx2.cc or *_avx2.cc, avx512.cc or *_avx512.cc is compiled for that
# instruction set; nothing else is, so that no code outside the kernels needs it.
function(ortquant_isa_flags)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    return()
  endif()
  foreach(source IN LISTS ARGN)
    if(source MATCHES "avx2\\.cc$")
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -mavx2 -mfma -mf16c)
      if(ORTQUANT_SANITIZE)
        # GCC 12 with both sanitizers at -O2 computes half of a tile wrong, without a report from either. It is right at -O1 and with
        # AddressSanitizer alone, as is clang 14 with both at -O2, so the instrumentation is suspected and not the source.
        set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -O1)
      endif()
    elseif(source MATCHES "avx512\\.cc$")
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2
                                                    -mfma -mf16c)
    endif()
  endforeach()
endfunction()

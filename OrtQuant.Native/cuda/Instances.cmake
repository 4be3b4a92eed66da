# ortquant_cuda_instances(VARIABLE EXTENSION): a source for each bit width and type of X, compiled side by side.
function(ortquant_cuda_instances variable extension)
  set(instances)
  foreach(bits IN ITEMS 2 3 4 8)
    foreach(type IN ITEMS __half __nv_bfloat16)
      set(source ${CMAKE_CURRENT_BINARY_DIR}/group_${bits}${type}.${extension})
      file(CONFIGURE OUTPUT ${source} CONTENT "#include \"cuda/group/matmul.cuh\"
namespace ortq::cuda {
ORTQ_INSTANTIATE_GROUP(${bits}, ${type})
}
")
      list(APPEND instances ${source})
    endforeach()
  endforeach()
  set(${variable} ${instances} PARENT_SCOPE)
endfunction()

# The test and what it takes from the CPU library: the decoder that is the judge.
get_filename_component(native ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)
set(ORTQUANT_CUDA_TEST_SOURCES
    ${native}/cuda/tests/cuda_test.cc
    ${native}/schemes/group/format.cc
    ${native}/schemes/group/gather.cc)

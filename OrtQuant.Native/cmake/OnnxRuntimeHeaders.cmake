# ONNXRUNTIME_INCLUDE_DIR: the folder of onnxruntime_c_api.h. Given by the user, or found by the set-up, which gets the
# ONNX Runtime packages first when they are not there yet.
if(NOT ONNXRUNTIME_INCLUDE_DIR OR NOT EXISTS ${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_c_api.h)
  execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/eng/setup.sh include-dir
    OUTPUT_VARIABLE directory
    OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "eng/setup.sh include-dir failed; set ONNXRUNTIME_INCLUDE_DIR to the folder of onnxruntime_c_api.h")
  endif()
  set(ONNXRUNTIME_INCLUDE_DIR ${directory} CACHE PATH "Folder of onnxruntime_c_api.h" FORCE)
endif()

add_library(onnxruntime_headers INTERFACE)
target_include_directories(onnxruntime_headers SYSTEM INTERFACE ${ONNXRUNTIME_INCLUDE_DIR})

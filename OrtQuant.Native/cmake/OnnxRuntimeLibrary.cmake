# Target onnxruntime: the shared library that the native tests link, next to the headers in either kind of package. Its soname
# is libonnxruntime.so.1 while packages carry it as libonnxruntime.so, hence the link in the build folder.
find_library(ONNXRUNTIME_LIBRARY NAMES onnxruntime
    HINTS ${ONNXRUNTIME_INCLUDE_DIR}/../native ${ONNXRUNTIME_INCLUDE_DIR}/../../../runtimes/linux-x64/native ${ONNXRUNTIME_INCLUDE_DIR}/../lib
    NO_DEFAULT_PATH)
if(ONNXRUNTIME_LIBRARY)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  file(CREATE_LINK ${ONNXRUNTIME_LIBRARY} ${CMAKE_BINARY_DIR}/bin/libonnxruntime.so.1 SYMBOLIC)
  add_library(onnxruntime SHARED IMPORTED)
  set_target_properties(onnxruntime PROPERTIES IMPORTED_LOCATION ${ONNXRUNTIME_LIBRARY} IMPORTED_SONAME libonnxruntime.so.1)
  target_link_libraries(onnxruntime INTERFACE onnxruntime_headers)
endif()

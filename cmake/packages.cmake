# SPDX-License-Identifier: Apache-2.0
# Libraries of the system, and Wasmtime from the user's cache.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq>=14)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)

# The C library's allocator serves sanitizer builds, so that they see every block.
add_library(viv_malloc INTERFACE)
if(NOT VIV_SANITIZE)
  find_library(MIMALLOC_LIBRARY NAMES mimalloc REQUIRED)
  find_path(MIMALLOC_INCLUDE mimalloc.h PATH_SUFFIXES mimalloc-2.0 REQUIRED)
  target_link_libraries(viv_malloc INTERFACE ${MIMALLOC_LIBRARY})
  target_include_directories(viv_malloc SYSTEM INTERFACE ${MIMALLOC_INCLUDE})
endif()

# tools/wasmtime builds at the first configuration of a machine (about 4 minutes) and prints the folder.
if(VIV_WASMTIME)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
      ${CMAKE_SOURCE_DIR}/third_party/wasmtime/Cargo.toml
      ${CMAKE_SOURCE_DIR}/third_party/wasmtime/Cargo.lock)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/wasmtime
      OUTPUT_VARIABLE VIV_WASMTIME_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE
      RESULT_VARIABLE viv_wasmtime_status)
  if(NOT viv_wasmtime_status EQUAL 0)
    message(FATAL_ERROR "tools/wasmtime failed (see above)")
  endif()
  message(STATUS "Wasmtime: ${VIV_WASMTIME_PREFIX}")
  add_library(viv_wasmtime STATIC IMPORTED GLOBAL)
  set_target_properties(viv_wasmtime PROPERTIES
      IMPORTED_LOCATION ${VIV_WASMTIME_PREFIX}/lib/libwasmtime.a
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${VIV_WASMTIME_PREFIX}/include
      INTERFACE_INCLUDE_DIRECTORIES ${VIV_WASMTIME_PREFIX}/include
      INTERFACE_LINK_LIBRARIES "m;dl;Threads::Threads")
endif()

# SPDX-License-Identifier: Apache-2.0
# `viv-holder`: a small static program of base, os, native/holder and native/care alone, without the libraries and sanitizers of the
# rest, so that it starts fast and costs little memory. The kernel and it are of one build, which both check.
include(GNUInstallDirs)
file(GLOB viv_holder_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/native/holder/*.c)
file(GLOB viv_holder_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/native/holder/*.h)
# What `hold` does as the kernel does it.
file(GLOB viv_holder_care CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/native/care/*.[ch])
set(viv_holder_native init_link readiness ring ring_index ring_memory stdin)
foreach(name IN LISTS viv_holder_native)
  list(APPEND viv_holder_care ${CMAKE_SOURCE_DIR}/src/native/${name}.c ${CMAKE_SOURCE_DIR}/src/native/${name}.h)
endforeach()
list(FILTER viv_holder_care EXCLUDE REGEX "/ring_index\\.h$")
foreach(file IN LISTS viv_holder_care)
  if(file MATCHES "\\.c$")
    list(APPEND viv_holder_sources ${file})
  else()
    list(APPEND viv_holder_headers ${file})
  endif()
endforeach()
set(viv_holder_digests)
foreach(file IN LISTS viv_holder_sources viv_holder_headers)
  file(SHA256 ${file} digest)
  list(APPEND viv_holder_digests ${digest})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
endforeach()
string(SHA256 viv_holder_build "${PROJECT_VERSION};${viv_holder_digests}")
string(SUBSTRING ${viv_holder_build} 0 16 viv_holder_build)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/gen/holder_build.h CONTENT
"// SPDX-License-Identifier: Apache-2.0
// Written by cmake/holder.cmake: what the kernel and viv-holder must agree on.
#ifndef VIV_GEN_HOLDER_BUILD_H
#define VIV_GEN_HOLDER_BUILD_H
#define VIV_HOLDER_BUILD 0x@viv_holder_build@u
#define VIV_HOLDER_PATH \"${CMAKE_INSTALL_FULL_LIBEXECDIR}/viv/viv-holder\" // where it is installed
#endif
" @ONLY)

file(GLOB viv_holder_os CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/os/*.c)
set(viv_holder_base alloc assert buf err log siphash spin text)
list(TRANSFORM viv_holder_base REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/src/base/\\1.c")
set(viv_holder_gen errors alloc_tags locks)
list(TRANSFORM viv_holder_gen REPLACE "(.+)" "${CMAKE_BINARY_DIR}/gen/\\1.c")

add_library(viv_holder_objects OBJECT ${viv_holder_os} ${viv_holder_base} ${viv_holder_gen})
add_dependencies(viv_holder_objects viv_gen)
add_library(viv_holder_flags INTERFACE)
# Not for size: counting the newlines of all output took ten times as long, for 3 % less of a program.
target_compile_options(viv_holder_flags INTERFACE ${VIV_WARNINGS} -O2 -ffunction-sections -fdata-sections
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
# VIV_SANITIZE=1 here means: the C library's allocator.
target_compile_definitions(viv_holder_flags INTERFACE
    _GNU_SOURCE= VIV_DEBUG=0 VIV_STRESS=0 VIV_SIM=0 VIV_SANITIZE=1)
target_include_directories(viv_holder_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR})
target_link_options(viv_holder_flags INTERFACE -static -Wl,--gc-sections)
if(VIV_LLD)
  target_link_options(viv_holder_flags INTERFACE --ld-path=${VIV_LLD})
endif()
target_link_libraries(viv_holder_objects PUBLIC viv_holder_flags)

# A program like viv-holder: the real one, and those of tests.
function(viv_holder_program name)
  add_executable(${name} ${ARGN})
  add_dependencies(${name} viv_gen)
  target_link_libraries(${name} PRIVATE viv_holder_flags $<TARGET_OBJECTS:viv_holder_objects>)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
endfunction()
viv_holder_program(viv-holder ${viv_holder_sources})

# SPDX-License-Identifier: Apache-2.0
# Options of a build (the presets set them), flags and the configuration macros that are always 0 or 1.

set(VIV_SANITIZER "none" CACHE STRING "none, address (with undefined and leak), thread or fuzz")
set_property(CACHE VIV_SANITIZER PROPERTY STRINGS none address thread fuzz)
option(VIV_DEBUG "debug assertions and lock rank checks" ON)
option(VIV_SIM "seeded simulation: points where the simulator may switch workers" OFF)
option(VIV_STRESS "small limits and forced rare paths" OFF)
option(VIV_COVERAGE "instrument for coverage" OFF)
option(VIV_WERROR "warnings are errors" ON)
option(VIV_WASMTIME "build room wasm (needs tools/wasmtime)" ON)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Programs lie at the top of the build folder: build/release/viv.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# A build without a preset is what `dev` is.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_C_FLAGS)
  set(CMAKE_C_FLAGS "-O1 -g")
endif()

set(VIV_WARNINGS
    -Wall -Wextra -Wshadow -Wundef -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum -Wcast-qual
    -Wwrite-strings -Wnull-dereference)
if(VIV_WERROR)
  list(APPEND VIV_WARNINGS -Werror)
endif()

set(VIV_SANITIZE 1)
if(VIV_SANITIZER STREQUAL "none")
  set(VIV_SANITIZE 0)
  set(VIV_SANITIZER_FLAGS)
elseif(VIV_SANITIZER STREQUAL "address")
  # Host functions run on the stacks of guests, which the fake frames of use-after-return do not survive.
  set(VIV_SANITIZER_FLAGS -fsanitize=address,undefined -fsanitize-address-use-after-return=never)
elseif(VIV_SANITIZER STREQUAL "fuzz")
  set(VIV_SANITIZER_FLAGS -fsanitize=address,undefined,fuzzer-no-link -fsanitize-address-use-after-return=never)
elseif(VIV_SANITIZER STREQUAL "thread")
  set(VIV_SANITIZER_FLAGS -fsanitize=thread)
else()
  message(FATAL_ERROR "VIV_SANITIZER=${VIV_SANITIZER} is not one of none, address, thread, fuzz")
endif()
if(VIV_SANITIZE)
  list(APPEND VIV_SANITIZER_FLAGS -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()

# What every C file of the project is compiled with.
add_library(viv_flags INTERFACE)
target_compile_options(viv_flags INTERFACE ${VIV_WARNINGS} ${VIV_SANITIZER_FLAGS})
target_compile_definitions(viv_flags INTERFACE
    _GNU_SOURCE=
    VIV_DEBUG=$<BOOL:${VIV_DEBUG}> VIV_STRESS=$<BOOL:${VIV_STRESS}>
    VIV_SIM=$<OR:$<BOOL:${VIV_SIM}>,$<BOOL:$<TARGET_PROPERTY:VIV_SIM_BUILD>>> # see viv_kernel_sim
    VIV_SANITIZE=${VIV_SANITIZE})
target_include_directories(viv_flags INTERFACE
    ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/include)
target_link_options(viv_flags INTERFACE ${VIV_SANITIZER_FLAGS} -Wl,--as-needed)
# __FILE__ is relative to the tree, in messages and tests alike.
target_compile_options(viv_flags INTERFACE -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)

if(VIV_COVERAGE)
  target_compile_options(viv_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(viv_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
endif()

find_program(VIV_LLD NAMES ld.lld-19 ld.lld)
if(VIV_LLD)
  target_link_options(viv_flags INTERFACE --ld-path=${VIV_LLD})
endif()

# SPDX-License-Identifier: Apache-2.0
# Guest programs: C (or the text format) to WebAssembly, at <build>/guests/NAME.wasm; target `guests` builds all.
# The first lines of a source may hold `guest-flags: ...`, which are added to the compiler's command line.
find_program(VIV_WAT2WASM NAMES wat2wasm)
set_property(GLOBAL PROPERTY VIV_GUESTS "")

function(viv_guest_flags source out_flags)
  file(STRINGS ${source} lines LIMIT_COUNT 10 REGEX "guest-flags:")
  set(flags)
  if(lines MATCHES "guest-flags: *([^\n;]*)")
    separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_1}")
  endif()
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  set(${out_flags} ${flags} PARENT_SCOPE)
endfunction()

# viv_guest(name sources...): all sources .c, or one .wat.
function(viv_guest name)
  set(sources ${ARGN})
  list(GET sources 0 first)
  get_property(known GLOBAL PROPERTY VIV_GUESTS)
  set(wasm ${CMAKE_BINARY_DIR}/guests/${name}.wasm)
  if(wasm IN_LIST known)
    message(FATAL_ERROR "two guest programs are called ${name}: ${first}")
  endif()
  viv_guest_flags(${first} flags)
  if(first MATCHES "\\.wat$")
    if(NOT VIV_WAT2WASM)
      message(FATAL_ERROR "wat2wasm is missing; run tools/setup")
    endif()
    set(command ${VIV_WAT2WASM} ${flags} -o ${wasm} ${first})
  else()
    set(command ${CMAKE_C_COMPILER} --target=wasm32-wasi -O2 -g0 -std=gnu17 -Wall -Wextra -Werror
        -I${CMAKE_SOURCE_DIR}/include -o ${wasm} ${sources} ${flags})
  endif()
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/*.h)
  get_filename_component(folder ${first} DIRECTORY)
  file(GLOB near CONFIGURE_DEPENDS ${folder}/*.h)
  add_custom_command(OUTPUT ${wasm}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/guests
      COMMAND ${command}
      DEPENDS ${sources} ${headers} ${near}
      COMMENT "Guest ${name}.wasm" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY VIV_GUESTS ${wasm})
endfunction()

file(GLOB viv_guest_sources CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/examples/*.c ${CMAKE_SOURCE_DIR}/examples/*.wat
    ${CMAKE_SOURCE_DIR}/examples/*/guest/*.c ${CMAKE_SOURCE_DIR}/examples/*/guest/*.wat)
file(GLOB_RECURSE viv_guest_more CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/test/*.c ${CMAKE_SOURCE_DIR}/test/*.wat)
list(FILTER viv_guest_more INCLUDE REGEX "/guest/[^/]*$")
foreach(source IN LISTS viv_guest_sources viv_guest_more)
  get_filename_component(name ${source} NAME_WE)
  viv_guest(${name} ${source})
endforeach()
get_property(viv_guests GLOBAL PROPERTY VIV_GUESTS)
add_custom_target(guests ALL DEPENDS ${viv_guests})

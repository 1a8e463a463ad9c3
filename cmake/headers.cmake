# SPDX-License-Identifier: Apache-2.0
# Target `lone-headers`: every header compiles alone, twice in a row, without a warning. Built by `make lint`.
# Headers for guests (include/viv, all but viv.h) are compiled for WebAssembly.
file(GLOB_RECURSE viv_headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}
    ${CMAKE_SOURCE_DIR}/src/*.h ${CMAKE_SOURCE_DIR}/test/harness/*.h ${CMAKE_SOURCE_DIR}/include/*.h)
set(viv_lone)
set(viv_lone_guest)
foreach(header IN LISTS viv_headers)
  string(REGEX REPLACE "^(src|test|include)/" "" name ${header})
  string(REPLACE "/" "_" flat ${header})
  set(unit ${CMAKE_BINARY_DIR}/lone/${flat}.c)
  set(text "#include \"${name}\"\n#include \"${name}\" // the guard holds\ntypedef int viv_lone_unit;\n")
  file(CONFIGURE OUTPUT ${unit} CONTENT "${text}" @ONLY)
  if(header MATCHES "^include/" AND NOT header STREQUAL "include/viv/viv.h")
    add_custom_command(OUTPUT ${unit}.stamp
        COMMAND ${CMAKE_C_COMPILER} --target=wasm32-wasi -std=gnu17 -Wall -Wextra -Werror -fsyntax-only
            -I${CMAKE_SOURCE_DIR}/include ${unit}
        COMMAND ${CMAKE_COMMAND} -E touch ${unit}.stamp
        DEPENDS ${unit} ${CMAKE_SOURCE_DIR}/${header} VERBATIM)
    list(APPEND viv_lone_guest ${unit}.stamp)
  elseif(VIV_WASMTIME OR NOT header MATCHES "^src/(wasm|cli)/")
    list(APPEND viv_lone ${unit})
  endif()
endforeach()
add_library(viv_lone OBJECT EXCLUDE_FROM_ALL ${viv_lone})
add_dependencies(viv_lone viv_gen)
target_include_directories(viv_lone PRIVATE ${CMAKE_SOURCE_DIR}/test)
target_link_libraries(viv_lone PRIVATE ${VIV_TOP_ROOM})
add_custom_target(lone-headers DEPENDS ${viv_lone_guest})
add_dependencies(lone-headers viv_lone)

# SPDX-License-Identifier: Apache-2.0
# Code from tables, at build time, into <build>/gen. Contract of a generator:
#   gen/NAME.py --tables <source>/gen --out <build>/gen
# It writes exactly the outputs listed here, leaves an unchanged file's time alone, and fails with
# file:line on a bad table. Sources among the outputs are compiled into the room.
set(VIV_GEN_STAMPS)

function(viv_generator script)
  cmake_parse_arguments(ARG "" "ROOM" "TABLES;OUTPUTS" ${ARGN})
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/gen/${script})
    return()
  endif()
  set(stamp ${CMAKE_BINARY_DIR}/gen/${script}.stamp)
  list(TRANSFORM ARG_TABLES PREPEND ${CMAKE_SOURCE_DIR}/gen/)
  list(TRANSFORM ARG_OUTPUTS PREPEND ${CMAKE_BINARY_DIR}/gen/)
  add_custom_command(OUTPUT ${stamp} BYPRODUCTS ${ARG_OUTPUTS}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/gen/${script}
          --tables ${CMAKE_SOURCE_DIR}/gen --out ${CMAKE_BINARY_DIR}/gen
      COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
      DEPENDS ${CMAKE_SOURCE_DIR}/gen/${script} ${ARG_TABLES}
      COMMENT "Generating from tables: ${script}" VERBATIM)
  list(FILTER ARG_OUTPUTS INCLUDE REGEX "\\.c$")
  set(VIV_GEN_SOURCES_${ARG_ROOM} ${VIV_GEN_SOURCES_${ARG_ROOM}} ${ARG_OUTPUTS} PARENT_SCOPE)
  set(VIV_GEN_STAMPS ${VIV_GEN_STAMPS} ${stamp} PARENT_SCOPE)
endfunction()

# One line a generator; a script that does not exist yet is passed over.
viv_generator(generate.py ROOM base TABLES errors.tab alloc_tags.tab locks.tab caps.tab OUTPUTS errors.h errors.c alloc_tags.h alloc_tags.c locks.h locks.c caps.h caps.c)
viv_generator(kinds.py ROOM cap TABLES kinds.tab OUTPUTS kinds.h kinds.c)
viv_generator(guestops.py ROOM cap TABLES guestops.tab OUTPUTS guestops.h)
viv_generator(seccomp.py ROOM native TABLES seccomp.tab OUTPUTS seccomp.h seccomp.c)
viv_generator(native.py ROOM native TABLES native.tab OUTPUTS native.h native.c)
viv_generator(native_layouts.py ROOM native TABLES native_layouts.tab OUTPUTS native_layouts.h)
viv_generator(wasm_imports.py ROOM wasm TABLES wasm_imports.tab OUTPUTS wasm_imports.h wasm_imports.c)

add_custom_target(viv_gen ALL DEPENDS ${VIV_GEN_STAMPS})

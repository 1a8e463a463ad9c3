# SPDX-License-Identifier: Apache-2.0
# The rooms of src/, lowest first; each becomes a static library, all of them libviv.a, and src/cli the command.
# A room without sources is an empty target, so that what links it need not know.
set(VIV_ROOM_OBJECTS)

function(viv_room room)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${room}/*.c)
  # Of viv-holder (cmake/holder.cmake) the rooms have only what they share with it.
  list(FILTER sources EXCLUDE REGEX "/holder/(hold|hold_conn|hold_open|hold_order|hold_state|init|leader|main|setup|view|warden)\\.c$")
  if(NOT VIV_WASMTIME)
    list(FILTER sources EXCLUDE REGEX "/ctl/(launch_wasm|durable).*\\.c$")
  endif()
  if(NOT sources)
    add_library(viv_${room} INTERFACE)
    target_link_libraries(viv_${room} INTERFACE ${ARG_LINKS} viv_flags)
    add_dependencies(viv_${room} viv_gen)
    return()
  endif()
  list(APPEND sources ${VIV_GEN_SOURCES_${room}})
  set(VIV_SOURCES_${room} ${sources} PARENT_SCOPE)
  add_library(viv_${room}_objects OBJECT ${sources})
  add_dependencies(viv_${room}_objects viv_gen)
  target_link_libraries(viv_${room}_objects PUBLIC viv_flags ${ARG_LINKS})
  add_library(viv_${room} STATIC $<TARGET_OBJECTS:viv_${room}_objects>)
  target_link_libraries(viv_${room} PUBLIC viv_flags ${ARG_LINKS})
  set(VIV_ROOM_OBJECTS ${VIV_ROOM_OBJECTS} $<TARGET_OBJECTS:viv_${room}_objects> PARENT_SCOPE)
endfunction()

viv_room(base LINKS viv_malloc OpenSSL::Crypto PkgConfig::JANSSON Threads::Threads)
viv_room(os LINKS viv_base)
viv_room(sched LINKS viv_os)
viv_room(proc LINKS viv_sched)
viv_room(cap LINKS viv_proc)
viv_room(native LINKS viv_cap PkgConfig::ZSTD)
viv_room(store LINKS viv_proc PkgConfig::SQLITE PkgConfig::LIBPQ)
if(VIV_WASMTIME)
  viv_room(wasm LINKS viv_cap viv_wasmtime)
  viv_room(ctl LINKS viv_native viv_store viv_wasm)
else()
  viv_room(ctl LINKS viv_native viv_store)
endif()
set(VIV_TOP_ROOM viv_ctl)

if(VIV_ROOM_OBJECTS)
  add_library(libviv STATIC ${VIV_ROOM_OBJECTS})
  set_target_properties(libviv PROPERTIES OUTPUT_NAME viv LINKER_LANGUAGE C)
endif()

# The kernel compiled once more with VIV_SIM=1, for the tests of test/sim in builds that are not the preset sim.
set(VIV_KERNEL_SOURCES ${VIV_SOURCES_base} ${VIV_SOURCES_os} ${VIV_SOURCES_sched} ${VIV_SOURCES_proc}
    ${VIV_SOURCES_cap} ${VIV_SOURCES_native})
if(VIV_SIM OR NOT VIV_KERNEL_SOURCES)
  set(VIV_SIM_KERNEL ${VIV_TOP_ROOM})
else()
  add_library(viv_kernel_sim STATIC EXCLUDE_FROM_ALL ${VIV_KERNEL_SOURCES})
  set_target_properties(viv_kernel_sim PROPERTIES VIV_SIM_BUILD ON)
  add_dependencies(viv_kernel_sim viv_gen)
  target_link_libraries(viv_kernel_sim PUBLIC viv_flags viv_malloc OpenSSL::Crypto PkgConfig::JANSSON PkgConfig::ZSTD
      Threads::Threads)
  set(VIV_SIM_KERNEL viv_kernel_sim)
endif()

# A program of the project: viv_program(name sources...), linked with every room.
function(viv_program name)
  add_executable(${name} ${ARGN})
  add_dependencies(${name} viv_gen)
  target_link_libraries(${name} PRIVATE ${VIV_TOP_ROOM})
endfunction()

file(GLOB_RECURSE viv_cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.c)
if(viv_cli_sources)
  viv_program(viv ${viv_cli_sources})
endif()


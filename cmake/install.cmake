# SPDX-License-Identifier: Apache-2.0
# What `make install` copies: the command, the libraries, headers, pkg-config file, man page, completion.
# libviv.a needs Wasmtime, which no distribution has: it is installed beside as libviv-wasmtime.a.
include(GNUInstallDirs)

if(TARGET viv)
  install(TARGETS viv RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS viv-holder RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/viv)
if(TARGET libviv)
  install(TARGETS libviv ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
set(VIV_PC_PRIVATE "-lmimalloc -lm -ldl -lpthread")
if(VIV_WASMTIME)
  install(FILES ${VIV_WASMTIME_PREFIX}/lib/libwasmtime.a
      DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME libviv-wasmtime.a)
  set(VIV_PC_PRIVATE "-lviv-wasmtime ${VIV_PC_PRIVATE}")
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/include/viv)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/viv
      DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endif()
file(RELATIVE_PATH VIV_PC_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(${CMAKE_SOURCE_DIR}/tools/viv.pc.in ${CMAKE_BINARY_DIR}/viv.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/viv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_SOURCE_DIR}/tools/viv.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/tools/viv.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME viv)

# SPDX-License-Identifier: Apache-2.0
# Rules of cmake --install: header, both libraries, vq.pc, vqConfig.cmake, program, man pages,
# completion.
include(CMakePackageConfigHelpers)
set(vq_cmakedir ${CMAKE_INSTALL_LIBDIR}/cmake/vq)

install(FILES include/vq/vq.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vq)
install(TARGETS vq_shared EXPORT vqTargets)
install(TARGETS vq_static EXPORT vqStaticTargets)
install(EXPORT vqTargets NAMESPACE vq:: DESTINATION ${vq_cmakedir})
install(EXPORT vqStaticTargets NAMESPACE vq:: DESTINATION ${vq_cmakedir})

configure_package_config_file(cmake/vqConfig.cmake.in ${PROJECT_BINARY_DIR}/vqConfig.cmake
  INSTALL_DESTINATION ${vq_cmakedir})
# Before 1.0 a new minor version may break its callers.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vqConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vqConfig.cmake ${PROJECT_BINARY_DIR}/vqConfigVersion.cmake
  DESTINATION ${vq_cmakedir})

# vq.pc finds the prefix from where it lies, so that cmake --install --prefix works.
file(RELATIVE_PATH vq_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" vq_pc_prefix "${vq_pc_prefix}")
# What a static link needs is listed, not required by name: openblas.pc would ask for gfortran, and a
# user of the shared library for every .pc file.
list(TRANSFORM OpenMP_C_LIB_NAMES PREPEND -l OUTPUT_VARIABLE vq_pc_private)
list(JOIN VQ_DEPS_LDFLAGS " " vq_pc_deps)
list(JOIN vq_pc_private " " vq_pc_private)
string(PREPEND vq_pc_private "${vq_pc_deps} ")
string(APPEND vq_pc_private " -lm")
configure_file(cmake/vq.pc.in ${PROJECT_BINARY_DIR}/vq.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/vq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET vq)
  install(TARGETS vq)
endif()
file(GLOB vq_man_pages CONFIGURE_DEPENDS docs/man/*.1)
install(FILES ${vq_man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
if(EXISTS ${PROJECT_SOURCE_DIR}/cli/vq.bash)
  install(FILES cli/vq.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME vq)
endif()

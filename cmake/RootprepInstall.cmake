# SPDX-License-Identifier: Apache-2.0
# What other projects find: headers, libraries, the CMake package "rootprep", the pkg-config modules "rootprep" and "rootprep-testing".

include(CMakePackageConfigHelpers)

# The clause FILE_SET is not implied by the set that the target has.
install(TARGETS rootprep rootprep_testing EXPORT rootprepTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

set(rootprep_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/rootprep")
install(EXPORT rootprepTargets NAMESPACE rootprep:: DESTINATION "${rootprep_package_dir}")
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/rootprepConfig.cmake.in" "${PROJECT_BINARY_DIR}/rootprepConfig.cmake"
  INSTALL_DESTINATION "${rootprep_package_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 every minor version may break what the one before had.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/rootprepConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/rootprepConfig.cmake" "${PROJECT_BINARY_DIR}/rootprepConfigVersion.cmake"
  DESTINATION "${rootprep_package_dir}")

# pkg-config finds its own place (pcfiledir), so that an installed tree can be moved.
file(RELATIVE_PATH rootprep_pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
set(rootprep_pc_cflags "")
if(NOT BUILD_SHARED_LIBS)
  set(rootprep_pc_cflags "-DROOTPREP_STATIC_DEFINE")
endif()
foreach(module IN ITEMS rootprep rootprep-testing)
  configure_file("${CMAKE_CURRENT_LIST_DIR}/${module}.pc.in" "${PROJECT_BINARY_DIR}/${module}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${module}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()

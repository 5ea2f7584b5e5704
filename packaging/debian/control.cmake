# Run by cpack before it creates the packages: writes the control files that dpkg-shlibdeps reads for other packages,
# and determines the dependencies of the shared library. CPack could do both (CPACK_DEBIAN_PACKAGE_SHLIBDEPS,
# CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS), but it adds scripts that call ldconfig, and dpkg keeps a package that has a
# postrm in its database after the removal.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
    return()
endif()
set(threading_control "${CPACK_TEMPORARY_DIRECTORY}/control")
file(WRITE "${threading_control}/debian/control"
    "Source: libthreading\n\nPackage: ${CPACK_THREADING_RUNTIME}\nArchitecture: any\n")
file(WRITE "${threading_control}/triggers" "activate-noawait ldconfig\n")
# A program needs a library at least as new as the one that it was linked with.
file(WRITE "${threading_control}/shlibs"
    "libthreading ${CPACK_PACKAGE_VERSION_MAJOR} ${CPACK_THREADING_RUNTIME} (>= ${CPACK_PACKAGE_VERSION})\n")
execute_process(
    COMMAND dpkg-gensymbols -q "-p${CPACK_THREADING_RUNTIME}" "-v${CPACK_PACKAGE_VERSION}"
        "-e${CPACK_THREADING_LIBRARY}" -Osymbols
    COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${threading_control}")
execute_process(
    COMMAND dpkg-shlibdeps -O "-e${CPACK_THREADING_LIBRARY}"
    OUTPUT_VARIABLE threading_needs ERROR_VARIABLE threading_warnings
    COMMAND_ERROR_IS_FATAL ANY WORKING_DIRECTORY "${threading_control}")
string(REGEX REPLACE "^shlibs:Depends=([^\n]*).*$" "\\1" CPACK_DEBIAN_PACKAGE-LIBRARY_PACKAGE_DEPENDS "${threading_needs}")
set(CPACK_DEBIAN_PACKAGE-LIBRARY_PACKAGE_CONTROL_EXTRA
    "${threading_control}/triggers" "${threading_control}/shlibs" "${threading_control}/symbols")

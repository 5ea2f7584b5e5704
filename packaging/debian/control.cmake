# cpack reads this before it writes Debian's packages: what they say of the shared library to dpkg-shlibdeps, and what
# it says of them. CPack could do that too (CPACK_DEBIAN_PACKAGE_SHLIBDEPS, _GENERATE_SHLIBS), but adds scripts that
# call ldconfig, and a package with a postrm is not gone when it has been removed.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
    return()
endif()
set(threading_control "${CPACK_TEMPORARY_DIRECTORY}/control")
file(WRITE "${threading_control}/debian/control"
    "Source: libthreading\n\nPackage: ${CPACK_THREADING_RUNTIME}\nArchitecture: any\n")
file(WRITE "${threading_control}/triggers" "activate-noawait ldconfig\n")
# Programs need a library at least as new as the one that they were linked with.
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

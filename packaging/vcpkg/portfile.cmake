# The vcpkg port. It builds the library of this repository; cargo must be in the PATH:
#
#   vcpkg install libthreading --overlay-ports=packaging/vcpkg
#
# Not run by the tests, because no package registry has vcpkg.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../.." ABSOLUTE)

# cargo selects the optimization, so a debug build would be the same library.
set(VCPKG_BUILD_TYPE release)

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS -DTHREADING_BUILD_TESTS=OFF -DTHREADING_BUILD_EXAMPLES=OFF -DTHREADING_BUILD_MANUAL=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME Threading CONFIG_PATH lib/cmake/Threading)
vcpkg_fixup_pkgconfig()

# The CMake package defines the targets whose files exist.
if(VCPKG_LIBRARY_LINKAGE STREQUAL "static")
    file(GLOB unused "${CURRENT_PACKAGES_DIR}/lib/libthreading.so*")
else()
    set(unused "${CURRENT_PACKAGES_DIR}/lib/libthreading.a")
endif()
file(REMOVE ${unused})
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
file(WRITE "${CURRENT_PACKAGES_DIR}/share/${PORT}/usage" "libthreading provides CMake targets:

    find_package(Threading CONFIG REQUIRED)
    target_link_libraries(main PRIVATE Threading::threading)    # or, in a static build, Threading::threading-static
")

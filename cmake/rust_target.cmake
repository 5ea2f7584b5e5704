# threading_rust_target(RESULT HOST): sets RESULT to the Rust target that corresponds to the target of the C compiler,
# which a toolchain file, CMAKE_C_FLAGS or the compiler itself determines. HOST is the Rust target of this machine, and
# the result if the C compiler builds for this machine.
#
# It runs the preprocessor. The name of the compiler and CMAKE_SYSTEM_PROCESSOR do not determine the C library and the
# ABI: the target of musl-gcc is x86_64-linux-gnu, and -m32 is a flag.
function(threading_rust_target result host)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/threading-rust-target.c")
    file(WRITE "${source}" [[
#include <limits.h>
#if defined(__x86_64__) && defined(__ILP32__)
threading-arch="x86_64" threading-abi="x32"
#elif defined(__x86_64__)
threading-arch="x86_64"
#elif defined(__i386__)
threading-arch="i686"
#elif defined(__aarch64__) && defined(__AARCH64EL__) && !defined(__ILP32__)
threading-arch="aarch64"
#elif defined(__arm__) && defined(__ARMEL__) && __ARM_ARCH >= 7
threading-arch="armv7"
#elif defined(__arm__) && defined(__ARMEL__)
threading-arch="arm"
#elif defined(__riscv) && __riscv_xlen == 64
threading-arch="riscv64gc"
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
threading-arch="powerpc64le"
#elif defined(__powerpc64__)
threading-arch="powerpc64"
#elif defined(__s390x__)
threading-arch="s390x"
#elif defined(__loongarch64)
threading-arch="loongarch64"
#endif
#if defined(__arm__) && defined(__ARM_PCS_VFP)
threading-abi="eabihf"
#elif defined(__arm__)
threading-abi="eabi"
#endif
#if defined(__ANDROID__)
threading-system="linux-android"
#elif defined(__linux__) && defined(__UCLIBC__)
threading-system="linux-uclibc"
#elif defined(__linux__) && defined(__GLIBC__)
threading-system="linux-gnu"
#elif defined(__linux__)
threading-system="linux-musl"
#elif defined(__FreeBSD__)
threading-system="freebsd"
#elif defined(__NetBSD__)
threading-system="netbsd"
#elif defined(__OpenBSD__)
threading-system="openbsd"
#endif
]])
    separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
    if(CMAKE_C_COMPILER_TARGET AND CMAKE_C_COMPILER_ID MATCHES "Clang")
        list(APPEND flags "--target=${CMAKE_C_COMPILER_TARGET}")
    endif()
    if(CMAKE_SYSROOT)
        list(APPEND flags "--sysroot=${CMAKE_SYSROOT}")
    endif()
    separate_arguments(first UNIX_COMMAND "${CMAKE_C_COMPILER_ARG1}")
    execute_process(COMMAND "${CMAKE_C_COMPILER}" ${first} ${flags} -E -P "${source}"
        OUTPUT_VARIABLE text ERROR_VARIABLE output RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "libthreading: ${CMAKE_C_COMPILER} cannot preprocess a C file:\n${output}")
    endif()
    foreach(what IN ITEMS arch abi system)
        set(${what} "")
        if(text MATCHES "threading-${what}=\"([a-z0-9_-]+)\"")
            set(${what} "${CMAKE_MATCH_1}")
        endif()
    endforeach()
    if(NOT arch OR NOT system)
        message(FATAL_ERROR "libthreading: cannot determine the Rust target for ${CMAKE_C_COMPILER} "
            "(${CMAKE_SYSTEM_NAME}, ${CMAKE_SYSTEM_PROCESSOR}). Set THREADING_CARGO_TARGET to one of the targets that "
            "`rustc --print target-list` prints")
    endif()
    # If a toolchain file sets a processor but no compiler, CMake uses the compiler of this machine.
    string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
    string(REGEX REPLACE "^(amd64|x64|i[3-6]86|x86)$" "x86_64" processor "${processor}")
    string(REGEX REPLACE "^arm64$" "aarch64" processor "${processor}")
    string(REGEX REPLACE "^arm(v[0-9].*|hf|el)$" "arm" processor "${processor}")
    string(REGEX REPLACE "^ppc" "powerpc" processor "${processor}")
    set(family "${arch}")
    string(REGEX REPLACE "^i686$" "x86_64" family "${family}")
    string(REGEX REPLACE "^armv7$" "arm" family "${family}")
    string(REGEX REPLACE "^riscv64gc$" "riscv64" family "${family}")
    set(known x86_64 aarch64 arm riscv64 powerpc64 powerpc64le s390x loongarch64)
    if(CMAKE_CROSSCOMPILING AND processor IN_LIST known AND NOT processor STREQUAL family)
        message(FATAL_ERROR "libthreading: CMAKE_SYSTEM_PROCESSOR is ${CMAKE_SYSTEM_PROCESSOR}, but "
            "${CMAKE_C_COMPILER} builds for ${arch}. Set CMAKE_C_COMPILER in the toolchain file to a compiler for "
            "${CMAKE_SYSTEM_PROCESSOR}, or THREADING_CARGO_TARGET to the Rust target to build for")
    endif()
    # The Rust of a distribution may have its own target, such as x86_64-alpine-linux-musl.
    string(REGEX REPLACE "-.*$" "" host_arch "${host}")
    string(REGEX REPLACE "^i[3-6]86$" "i686" host_arch "${host_arch}")
    if(host_arch STREQUAL arch AND host MATCHES "${system}${abi}$")
        set(${result} "${host}" PARENT_SCOPE)
    else()
        set(${result} "${arch}-unknown-${system}${abi}" PARENT_SCOPE)
    endif()
endfunction()

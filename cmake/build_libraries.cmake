# Runs cargo, checks the shared library, and creates the static library for C programs. CMakeLists.txt runs this script
# with a file of settings that it has written:
#
#   cmake -DSETTINGS=threading-settings.cmake -P build_libraries.cmake
#
# In the static library that cargo creates, Rust's own functions are global symbols. Other static libraries written in
# Rust define some of the same names (rust_eh_personality), so that both could not be linked into one program, and a
# shared library that a user links with it would export them. This script links its objects into one, and makes all
# symbols local except those that the shared library exports.
cmake_minimum_required(VERSION 3.20)
include("${SETTINGS}")

function(fail)
    string(JOIN "" text ${ARGV})
    message(FATAL_ERROR "libthreading: ${text}")
endfunction()

# ---- cargo ----

# The C compiler links the library, unless the user has set another linker for cargo.
if("$ENV{${VARIABLE}_LINKER}" STREQUAL "")
    set(ENV{${VARIABLE}_LINKER} "${CC}")
endif()
# RUSTFLAGS of the user, if set, replaces the variable of the target.
if(RUSTFLAGS)
    if("$ENV{RUSTFLAGS}" STREQUAL "")
        set(ENV{${VARIABLE}_RUSTFLAGS} "$ENV{${VARIABLE}_RUSTFLAGS} ${RUSTFLAGS}")
    else()
        set(ENV{RUSTFLAGS} "$ENV{RUSTFLAGS} ${RUSTFLAGS}")
    endif()
endif()
foreach(setting IN LISTS ENVIRONMENT)
    string(REGEX MATCH "^([^=]+)=(.*)$" setting "${setting}")
    set(ENV{${CMAKE_MATCH_1}} "${CMAKE_MATCH_2}")
endforeach()
execute_process(COMMAND ${CARGO} WORKING_DIRECTORY "${SOURCE_DIR}" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    fail("cargo could not build the library. Its errors are above")
endif()

# The old file is removed first, because a running program may have mapped it.
file(REMOVE "${SHARED_OUTPUT}" "${OUTPUT}")
execute_process(COMMAND "${CMAKE_COMMAND}" -E copy "${SHARED}" "${SHARED_OUTPUT}" COMMAND_ERROR_IS_FATAL ANY)

# ---- the shared library: its exported symbols and their versions ----

execute_process(COMMAND "${NM}" --dynamic --defined-only "${SHARED}"
    OUTPUT_VARIABLE listing ERROR_VARIABLE output RESULT_VARIABLE status)
string(REGEX MATCHALL "[A-Z] threading_[a-z0-9_]+[^\n]*" lines "${listing}")
if(NOT status EQUAL 0 OR NOT lines)
    fail("${NM} finds no functions in ${SHARED}: ${output}")
endif()
set(symbols "")
set(unversioned "")
foreach(line IN LISTS lines)
    string(REGEX MATCH "threading_[a-z0-9_]+" symbol "${line}")
    list(APPEND symbols "${symbol}")
    if(NOT line MATCHES "@@?THREADING_${VERSION}$")
        list(APPEND unversioned "${symbol}")
    endif()
endforeach()
if(VERSIONS AND unversioned)
    # Some versions of nm do not print symbol versions. Then the library must at least contain the name of the version.
    file(STRINGS "${SHARED}" found LIMIT_COUNT 1 REGEX "^THREADING_${VERSION}$")
    if(listing MATCHES "@" OR NOT found)
        list(JOIN unversioned ", " unversioned)
        fail("symbols of ${SHARED} have no version (${unversioned}), although lld was found before. Remove the build "
            "directory and build again, or use -DTHREADING_SYMBOL_VERSIONS=OFF to build a library without versions")
    endif()
endif()

# ---- the static library ----

set(work "${OUTPUT}.dir")
file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
list(JOIN symbols "\n" keep)
file(WRITE "${work}/keep.txt" "${keep}\n")
list(JOIN symbols "\n-u\n" wanted)
file(WRITE "${work}/wanted.txt" "-u\n${wanted}\n")

# Section groups are dissolved. Of several groups with the same name, a linker keeps only one, and it would discard
# those of this library, with the local symbols in them, if another library has them too.
set(tried "")
foreach(linker IN LISTS LINKERS)
    execute_process(
        COMMAND "${linker}" -r --force-group-allocation -o "${work}/all.o" "@${work}/wanted.txt" "${STATIC}" ${UNWINDER}
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
    if(status EQUAL 0)
        break()
    endif()
    string(APPEND tried "\n${linker}: ${status}: ${output}")
endforeach()
if(NOT status EQUAL 0)
    fail("no linker can combine the objects of ${STATIC}. Install GNU ld (Debian package: binutils) or lld 19 or "
        "newer. Tried:${tried}")
endif()

# The unused bitcode is removed: with it, nm could not read the object if the LLVM plugin of binutils is older. So are the
# notes of the probes, which gold does not accept if --gc-sections discards the code to which they refer.
set(tried "")
foreach(objcopy IN LISTS OBJCOPIES)
    set(environment "")
    if(objcopy MATCHES "^(.*/lib)/rustlib/") # Rust's objcopy needs a library from that directory
        set(environment "${CMAKE_COMMAND}" -E env "LD_LIBRARY_PATH=${CMAKE_MATCH_1}")
    endif()
    execute_process(
        COMMAND ${environment} "${objcopy}" "--keep-global-symbols=${work}/keep.txt"
            --remove-section=.llvmbc --remove-section=.llvmcmd
            --remove-section=.note.stapsdt --remove-section=.rel.note.stapsdt --remove-section=.rela.note.stapsdt
            "${work}/all.o" "${work}/threading.o"
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
    if(status EQUAL 0)
        break()
    endif()
    string(APPEND tried "\n${objcopy}: ${status}: ${output}")
endforeach()
if(NOT status EQUAL 0)
    fail("no objcopy can make the symbols of ${STATIC} local. Install one (Debian package: binutils). Tried:${tried}")
endif()

execute_process(COMMAND "${AR}" rcs "${OUTPUT}" "${work}/threading.o"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    fail("${AR} cannot create ${OUTPUT}: ${output}")
endif()
execute_process(COMMAND "${NM}" --extern-only --defined-only "${OUTPUT}"
    OUTPUT_VARIABLE listing ERROR_VARIABLE output RESULT_VARIABLE status)
string(REGEX MATCHALL "[A-Z] [^ \n]+" found "${listing}")
list(TRANSFORM found REPLACE "^[A-Z] " "")
list(SORT found)
list(SORT symbols)
if(NOT status EQUAL 0 OR NOT found STREQUAL symbols)
    file(REMOVE "${OUTPUT}")
    fail("the global symbols of ${OUTPUT} differ from the exports of the shared library: ${output}")
endif()
file(REMOVE_RECURSE "${work}")

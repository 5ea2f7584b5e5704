# Run by CMakeLists.txt, with the file of settings that it has written: runs cargo, looks at the shared library, and
# makes the static library that C programs link.
#
#   cmake -DSETTINGS=threading-settings.cmake -P build_libraries.cmake
#
# The static library that cargo makes has Rust's own functions as global symbols. Every other static library written
# in Rust has some of the same names (rust_eh_personality), so that the two do not link into one program, and a shared
# library that a user links with it exports them. This script links its objects into one, and makes all symbols local
# that the shared library does not export.
cmake_minimum_required(VERSION 3.20)
include("${SETTINGS}")

function(fail)
    string(JOIN "" text ${ARGV})
    message(FATAL_ERROR "libthreading: ${text}")
endfunction()

# ---- cargo ----

# The C compiler links, unless the user has set another linker for cargo.
if("$ENV{${LINKER_VARIABLE}}" STREQUAL "")
    set(ENV{${LINKER_VARIABLE}} "${CC}")
endif()
foreach(setting IN LISTS ENVIRONMENT)
    string(REGEX MATCH "^([^=]+)=(.*)$" setting "${setting}")
    set(ENV{${CMAKE_MATCH_1}} "${CMAKE_MATCH_2}")
endforeach()
execute_process(COMMAND ${CARGO} WORKING_DIRECTORY "${SOURCE_DIR}" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    fail("cargo could not build the library; see above")
endif()

# The old file goes first, since a running program may have it mapped.
file(REMOVE "${SHARED_OUTPUT}" "${OUTPUT}")
execute_process(COMMAND "${CMAKE_COMMAND}" -E copy "${SHARED}" "${SHARED_OUTPUT}" COMMAND_ERROR_IS_FATAL ANY)

# ---- the shared library: what it exports, and by which versions ----

execute_process(COMMAND "${NM}" --dynamic --defined-only "${SHARED}"
    OUTPUT_VARIABLE listing ERROR_VARIABLE said RESULT_VARIABLE status)
string(REGEX MATCHALL "[A-Z] threading_[a-z0-9_]+[^\n]*" lines "${listing}")
if(NOT status EQUAL 0 OR NOT lines)
    fail("${NM} finds no functions in ${SHARED}: ${said}")
endif()
set(symbols "")
set(without "")
foreach(line IN LISTS lines)
    string(REGEX MATCH "threading_[a-z0-9_]+" symbol "${line}")
    list(APPEND symbols "${symbol}")
    if(NOT line MATCHES "@@?THREADING_${VERSION}$")
        list(APPEND without "${symbol}")
    endif()
endforeach()
if(VERSIONS AND without)
    # Some nm do not show versions. Then the library has to contain the version's name at least.
    file(STRINGS "${SHARED}" found LIMIT_COUNT 1 REGEX "^THREADING_${VERSION}$")
    if(listing MATCHES "@" OR NOT found)
        list(JOIN without ", " without)
        fail("symbols of ${SHARED} have no version (${without}), though lld was found when the build began. Remove the "
            "build directory and build again; -DTHREADING_SYMBOL_VERSIONS=OFF builds a library without versions")
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

# Without groups of sections: the linker keeps one of several groups with the same name, and would drop ours, with the
# local symbols in it, if another library has that group too.
set(tried "")
foreach(linker IN LISTS LINKERS)
    execute_process(
        COMMAND "${linker}" -r --force-group-allocation -o "${work}/all.o" "@${work}/wanted.txt" "${STATIC}"
        OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE status)
    if(status EQUAL 0)
        break()
    endif()
    string(APPEND tried "\n${linker}: ${status}: ${said}")
endforeach()
if(NOT status EQUAL 0)
    fail("no linker can make one object of ${STATIC}. Install GNU ld (in Debian the package binutils) or lld 19 or newer; "
        "tried were:${tried}")
endif()

# Without bitcode, which is of no use there: nm cannot read the object if the LLVM plugin of binutils is older.
set(tried "")
foreach(objcopy IN LISTS OBJCOPIES)
    set(environment "")
    if(objcopy MATCHES "^(.*/lib)/rustlib/") # Rust's own needs a library that lies there
        set(environment "${CMAKE_COMMAND}" -E env "LD_LIBRARY_PATH=${CMAKE_MATCH_1}")
    endif()
    execute_process(
        COMMAND ${environment} "${objcopy}" "--keep-global-symbols=${work}/keep.txt"
            --remove-section=.llvmbc --remove-section=.llvmcmd "${work}/all.o" "${work}/threading.o"
        OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE status)
    if(status EQUAL 0)
        break()
    endif()
    string(APPEND tried "\n${objcopy}: ${status}: ${said}")
endforeach()
if(NOT status EQUAL 0)
    fail("no objcopy can make symbols of ${STATIC} local. Install one (in Debian the package binutils); tried were:${tried}")
endif()

execute_process(COMMAND "${AR}" rcs "${OUTPUT}" "${work}/threading.o"
    OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    fail("${AR} cannot make ${OUTPUT}: ${said}")
endif()
execute_process(COMMAND "${NM}" --extern-only --defined-only "${OUTPUT}"
    OUTPUT_VARIABLE listing ERROR_VARIABLE said RESULT_VARIABLE status)
string(REGEX MATCHALL "[A-Z] [^ \n]+" found "${listing}")
list(TRANSFORM found REPLACE "^[A-Z] " "")
list(SORT found)
list(SORT symbols)
if(NOT status EQUAL 0 OR NOT found STREQUAL symbols)
    file(REMOVE "${OUTPUT}")
    fail("the global symbols of ${OUTPUT} are not those that the shared library exports: ${said}")
endif()
file(REMOVE_RECURSE "${work}")

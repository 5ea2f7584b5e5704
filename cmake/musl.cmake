# threading_musl(RUSTFLAGS LINK_ARGUMENTS UNWINDER CC DIRECTORY): determines what a library for musl requires. Sets
# RUSTFLAGS to flags for rustc, appends to LINK_ARGUMENTS what the C compiler CC needs to link the shared library, and
# sets UNWINDER to a library that the static one must contain, if any. DIRECTORY is that of Rust's standard library.
function(threading_musl rustflags link_arguments unwinder cc directory)
    # By default, rustc links everything statically for musl, and then creates no shared library.
    set(${rustflags} "-C target-feature=-crt-static" PARENT_SCOPE)
    set(${unwinder} "" PARENT_SCOPE)

    # Rust's standard library needs the unwinder of libgcc_s. A compiler for musl has it. musl-gcc, which is GCC for glibc
    # with the headers and the libraries of musl, has none that works with musl. Rust contains one for static programs,
    # which a linker script provides under the name libgcc_s.
    set(work "${CMAKE_CURRENT_BINARY_DIR}/threading-musl")
    file(WRITE "${work}/probe.c" "void _Unwind_Resume(void *);\nvoid probe(void *p) { _Unwind_Resume(p); }\n")
    set(command "${cc}" ${${link_arguments}} -fPIC -shared -o "${work}/probe.so" "${work}/probe.c" -Wl,-z,defs)
    execute_process(COMMAND ${command} -lgcc_s RESULT_VARIABLE status ERROR_VARIABLE first OUTPUT_QUIET)
    if(status EQUAL 0)
        return()
    endif()
    set(library "${directory}/self-contained/libunwind.a")
    if(EXISTS "${library}")
        file(WRITE "${work}/lib/libgcc_s.so" "INPUT(\"${library}\")\n")
        execute_process(COMMAND ${command} "-L${work}/lib" -lgcc_s -lc
            RESULT_VARIABLE status ERROR_VARIABLE second OUTPUT_QUIET)
    else()
        set(second "${library} does not exist")
    endif()
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "libthreading: ${cc} builds for musl, but cannot link a shared library with an unwinder, "
            "neither with libgcc_s nor with Rust's libunwind. Use a compiler whose own target is musl:\n"
            "${first}${second}")
    endif()
    set(${link_arguments} ${${link_arguments}} "-L${work}/lib" PARENT_SCOPE)
    set(${unwinder} "${library}" PARENT_SCOPE)
endfunction()

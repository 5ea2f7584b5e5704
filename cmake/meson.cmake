# Builds the library in the CMake build directory BUILD, and copies it to the directory OUTPUT, where Meson expects it.
cmake_minimum_required(VERSION 3.20)

execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" COMMAND_ERROR_IS_FATAL ANY)
file(GLOB libraries "${BUILD}/libthreading.*")
foreach(library IN LISTS libraries)
    # A symbolic link is copied as such. An unchanged file keeps its time, so that Meson does not link programs again.
    cmake_path(GET library FILENAME name)
    if(IS_SYMLINK "${library}")
        file(COPY "${library}" DESTINATION "${OUTPUT}")
    else()
        execute_process(COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${library}" "${OUTPUT}/${name}"
            COMMAND_ERROR_IS_FATAL ANY)
    endif()
endforeach()

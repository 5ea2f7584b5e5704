/*
 * load LIBRARY VERSION: loads the library by dlopen and prints the duration in microseconds. Checks that a function is
 * found with and without its symbol version, and that dlclose does not unload the library.
 */
#define _GNU_SOURCE /* dlvsym */
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (library == NULL) {
        fprintf(stderr, "load: %s\n", dlerror());
        return 1;
    }
    void *symbol = dlsym(library, "threading_lock_new");
    if (symbol == NULL || symbol != dlvsym(library, "threading_lock_new", argv[2])) {
        fprintf(stderr, "load: threading_lock_new does not have version %s\n", argv[2]);
        return 1;
    }
    dlclose(library);
    if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) == NULL) {
        fprintf(stderr, "load: dlclose has unloaded the library\n");
        return 1;
    }
    printf("%ld\n", (long)((end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000));
    return 0;
}

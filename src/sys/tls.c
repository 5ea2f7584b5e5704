/*
 * The per-thread block of the library. Its fields are declared in tls.rs.
 *
 * With the initial-exec model, its address is an offset from the thread pointer, not the result of a function call. The
 * block is small enough for the space that libc reserves for such variables of libraries loaded by dlopen(). It begins
 * as zeros.
 */
#include <limits.h>

#define HIDDEN __attribute__((visibility("hidden")))
#if defined(__linux__) && !defined(__GLIBC__) /* musl cannot load libraries with initial-exec variables by dlopen(). */
#define TLS_MODEL
#else
#define TLS_MODEL __attribute__((tls_model("initial-exec")))
#endif

#if defined(__x86_64__)
#define ALIGNMENT 64
#else
#define ALIGNMENT 16
#endif
HIDDEN TLS_MODEL _Thread_local _Alignas(ALIGNMENT) unsigned char threading_per_thread[192];

HIDDEN void *threading_per_thread_block(void);
void *threading_per_thread_block(void)
{
    return threading_per_thread;
}

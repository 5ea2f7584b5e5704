/*
 * The block that the library keeps for each system thread (its fields are in per_thread.rs).
 *
 * Initial-exec, so that reading it is one instruction and not a call: the block is small enough for the
 * space that libc sets aside for libraries loaded by dlopen. Zero is its right initial value.
 */
#include <stddef.h>

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN __attribute__((tls_model("initial-exec"))) _Thread_local _Alignas(64) unsigned char threading_per_thread[128];

HIDDEN void *threading_per_thread_block(void);
void *threading_per_thread_block(void)
{
    return threading_per_thread;
}

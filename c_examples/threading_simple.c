/* Shows: five threads that run the same function.
 *
 * The function of a thread, its target, takes a pointer and returns a pointer, like the start routine of a
 * pthread. The threads need not be joined: when main() returns, process exit waits for all non-daemon
 * threads. The handle is freed after the start; a running thread keeps itself alive.
 *
 * The original Python program appends the Thread objects to a list that it never reads, so there is no
 * list here. Python's print may mix two lines; printf writes each line as a whole.
 */
#include "check.h"

#include <stdio.h>

#include <threading.h>

static void *worker(void *arg)
{
    (void)arg;
    printf("Worker\n");
    return NULL;
}

int main(void)
{
    for (int i = 0; i < 5; i++) {
        threading_thread *thread = check(threading_thread_new(worker, NULL));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    return 0;
}

/* Shows: five threads that run the same function.
 *
 * A thread's function, its target, takes one pointer and returns one, like the start routine of a pthread.
 * Nobody joins the threads, and nobody has to: returning from main() waits for all threads that are no
 * daemons. The handle is given back as soon as the thread is started; a running thread keeps itself alive.
 *
 * Python's original puts the Thread objects into a list that it never reads, so there is none here. Its
 * print may tear two lines into one another; printf writes each line whole.
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

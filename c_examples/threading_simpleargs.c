/* Shows: an argument for each thread, which tells it what to work on.
 *
 * A target has one argument, a pointer. A number travels inside it by way of intptr_t. What must not be
 * passed is &i: all threads would share that one variable, which changes while they read it and is gone
 * when main() returns. For more than fits into a pointer see threading_subclass_args.c.
 *
 * Python's original passes the tuple args=(i,), which keeps the number alive as long as the thread needs
 * it.
 */
#include "check.h"

#include <stdint.h>
#include <stdio.h>

#include <threading.h>

static void *worker(void *arg)
{
    int number = (int)(intptr_t)arg;
    printf("Worker: %d\n", number);
    return NULL;
}

int main(void)
{
    for (int i = 0; i < 5; i++) {
        threading_thread *thread = check(threading_thread_new(worker, (void *)(intptr_t)i));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    return 0;
}

/* Shows: an argument for each thread.
 *
 * A target has one argument, a pointer. An integer is passed in it through intptr_t. Do not pass &i: all
 * threads would share this variable, which changes while they read it and no longer exists after main()
 * has returned. For arguments that do not fit into a pointer, see threading_subclass_args.c.
 *
 * The original Python program passes the tuple args=(i,), which keeps the number alive as long as the
 * thread needs it.
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

/* Shows: thread names, and the name of the calling thread.
 *
 * The handle returned by threading_current_thread() is borrowed: it must not be freed, and it is valid as
 * long as the thread runs. Only the thread without an explicit name is numbered, so it is Thread-1
 * although it is created last.
 *
 * The original Python program prints the name and a word separately, so the lines of two threads can mix.
 * Here each line is printed by one call of printf. stdout is line-buffered, even if it is a pipe, as with
 * python -u.
 */
#include "check.h"

#include <stdio.h>

#include <threading.h>

static const char *my_name(void)
{
    return check(threading_thread_name(check(threading_current_thread())));
}

static void *worker(void *arg)
{
    (void)arg;
    printf("%s Starting\n", my_name());
    check(threading_sleep(2));
    printf("%s Exiting\n", my_name());
    return NULL;
}

static void *my_service(void *arg)
{
    (void)arg;
    printf("%s Starting\n", my_name());
    check(threading_sleep(3));
    printf("%s Exiting\n", my_name());
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);

    threading_thread *t = check(threading_thread_new(my_service, NULL));
    check(threading_thread_set_name(t, "my_service"));
    threading_thread *w = check(threading_thread_new(worker, NULL));
    check(threading_thread_set_name(w, "worker"));
    threading_thread *w2 = check(threading_thread_new(worker, NULL)); /* keeps its default name */

    check(threading_thread_start(w));
    check(threading_thread_start(w2));
    check(threading_thread_start(t));

    check(threading_thread_free(w));
    check(threading_thread_free(w2));
    check(threading_thread_free(t));
    return 0;
}

/* Shows: naming threads, and asking for the name of the thread that runs.
 *
 * threading_current_thread() lends its handle: it is not given back, and holds as long as the thread runs.
 * Only the thread without a name of its own takes a number, therefore it is Thread-1 although it is made
 * last.
 *
 * Python's original prints a name and a word in two steps, so that lines of two threads mix; here a line is
 * one printf. stdout is set to hand out each line at once, also where it leads into a pipe (python -u).
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

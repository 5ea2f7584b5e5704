/* Shows: a thread of one's own kind that takes several arguments and owns them.
 *
 * The arguments are a struct on the heap, one for each thread, and the thread owns it: the destructor set
 * by threading_thread_set_arg_destructor() is called exactly once, after run, or, if the thread is never
 * started, by the last free. So nobody has to remember who frees what. An initializer names the fields, as
 * keyword arguments do.
 *
 * Python's original redefines __init__ to keep args and kwargs, which Thread hides; here arg is handed to
 * run.
 */
#include "logging.h"

#include "check.h"

#include <stdlib.h>

#include <threading.h>

struct arguments {
    int number;
    const char *a;
    const char *b;
};

static void *my_thread_with_args_run(threading_thread *self, void *arg)
{
    (void)self;
    const struct arguments *args = arg;
    logging_debug("running with (%d,) and {'a': '%s', 'b': '%s'}", args->number, args->a, args->b);
    return NULL;
}

static threading_thread *my_thread_with_args_new(struct arguments args)
{
    struct arguments *own = malloc(sizeof *own);
    if (own == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    *own = args;

    threading_thread *self = check(threading_thread_new(NULL, own));
    check(threading_thread_set_arg_destructor(self, free));
    check(threading_thread_set_run(self, my_thread_with_args_run));
    return self;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    for (int i = 0; i < 5; i++) {
        struct arguments args = {.number = i, .a = "A", .b = "B"};
        threading_thread *thread = my_thread_with_args_new(args);
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    return 0;
}

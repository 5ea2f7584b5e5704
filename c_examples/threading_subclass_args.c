/* Shows: a thread that overrides its run function and owns several arguments.
 *
 * The arguments are a heap-allocated struct for each thread, which the thread owns: the destructor that is
 * set by threading_thread_set_arg_destructor() is called exactly once, after run or, if the thread is
 * never started, by the last free. No other code has to free it. An initializer names the fields, like
 * keyword arguments.
 *
 * The original Python program overrides __init__ to store args and kwargs, which Thread keeps private;
 * here run gets arg.
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
    struct arguments *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        perror("malloc");
        exit(EXIT_FAILURE);
    }
    *copy = args;

    threading_thread *self = check(threading_thread_new(NULL, copy));
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

/* Shows: a variable of which each thread has a value of its own, with the same value to begin with.
 *
 * The init function runs once in each thread, at the thread's first use of the local, and what it returns
 * is the value there. So the lookup finds a value in every thread. The address in the log is that of the
 * handle: one local, three threads.
 *
 * Python's original is a subclass of local whose __init__ gets the object and the value; here both travel
 * in the argument of the init function. It must last as long as the local, hence static: main() ends before
 * the threads.
 */
#include "logging.h"

#include "check.h"
#include "random.h"

#include <stdint.h>

#include <threading.h>

struct my_local {
    threading_local *data;
    int value;
};

static void *my_local_init(void *arg)
{
    const struct my_local *self = arg;
    logging_debug("Initializing <MyLocal object at %p>", (void *)self->data);
    return (void *)(intptr_t)self->value;
}

static void show_value(threading_local *data)
{
    void *value;
    if (check(threading_local_lookup(data, &value)) == THREADING_NO_VALUE) {
        logging_debug("No value yet");
    } else {
        logging_debug("value=%d", (int)(intptr_t)value);
    }
}

static void *worker(void *arg)
{
    threading_local *data = arg;
    show_value(data);
    check(threading_local_set(data, (void *)(intptr_t)random_randint(1, 100)));
    show_value(data);
    check(threading_local_free(data));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    static struct my_local local_data = {.value = 1000};
    local_data.data = check(threading_local_new_with_init(my_local_init, &local_data, NULL));
    show_value(local_data.data);

    for (int i = 0; i < 2; i++) {
        threading_local *data = check(threading_local_ref(local_data.data));
        threading_thread *thread = check(threading_thread_new(worker, data));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    check(threading_local_free(local_data.data));
    return 0;
}

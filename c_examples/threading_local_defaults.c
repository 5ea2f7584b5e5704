/* Shows: a variable that has a separate value in each thread, with a common initial value.
 *
 * The init function is called once in each thread, when the thread first uses the local, and returns the
 * initial value for that thread. So the lookup finds a value in every thread. The address in the log is
 * the handle: three threads use one local.
 *
 * The original Python program derives from local, with an __init__ that gets the object and the value.
 * Here the argument of the init function holds both. It must live as long as the local, so it is static:
 * main() returns before the threads have finished.
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

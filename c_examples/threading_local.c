/* Shows: a variable of which each thread has a value of its own.
 *
 * The local is one object that all threads share, the value in it is not: what main() sets the workers do
 * not see. A thread that has set nothing gets THREADING_NO_VALUE, an answer and no error. The value is a
 * pointer, in which a small number finds room; a destructor given to threading_local_new() would free
 * bigger ones at their thread's end. A local can hold further values by name, see
 * threading_local_set_attr().
 *
 * Python's original finds an attribute missing (AttributeError) where this program is told so by a status.
 * As there, main() ends first, so each thread has a reference to the local and gives it back.
 */
#include "logging.h"

#include "check.h"
#include "random.h"

#include <stdint.h>

#include <threading.h>

static void show_value(threading_local *data)
{
    void *value;
    if (check(threading_local_lookup(data, &value)) == THREADING_NO_VALUE) {
        logging_debug("No value yet");
    } else {
        logging_debug("value=%d", (int)(intptr_t)value);
    }
}

static void set_value(threading_local *data, int value)
{
    check(threading_local_set(data, (void *)(intptr_t)value));
}

static void *worker(void *arg)
{
    threading_local *data = arg;
    show_value(data);
    set_value(data, random_randint(1, 100));
    show_value(data);
    check(threading_local_free(data));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_local *local_data = check(threading_local_new(NULL));
    show_value(local_data);
    set_value(local_data, 1000);
    show_value(local_data);

    for (int i = 0; i < 2; i++) {
        threading_local *data = check(threading_local_ref(local_data));
        threading_thread *thread = check(threading_thread_new(worker, data));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    check(threading_local_free(local_data));
    return 0;
}

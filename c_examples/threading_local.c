/* Shows: a variable that has a separate value in each thread.
 *
 * All threads share one local, but not its value: the workers do not see what main() sets. In a thread
 * that has set no value, the lookup returns THREADING_NO_VALUE, which is not an error. The value is a
 * pointer, which can hold a small integer. For values on the heap, pass threading_local_new() a destructor,
 * which frees each value when its thread exits. A local can also hold named values, see
 * threading_local_set_attr().
 *
 * In the original Python program, a missing value raises AttributeError. As there, main() returns first,
 * so each thread holds a reference to the local and releases it.
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

/* Shows: finding all threads that are alive, in order to join them without having kept their handles.
 *
 * threading_enumerate() takes a snapshot: main first, then the others in the order of their start. The list
 * holds a reference to each thread and lends its handles; freeing the list gives them back. The calling
 * thread is in the list and must be skipped: joining oneself is THREADING_ERR_DEADLOCK. A thread has one
 * handle, so two handles can be compared with ==.
 *
 * Python's original is the same, but the order of its enumerate() is left open.
 */
#include "logging.h"

#include "check.h"
#include "random.h"

#include <threading.h>

static void *worker(void *arg)
{
    (void)arg;
    int pause = random_randint(1, 5);
    logging_debug("sleeping %d", pause);
    check(threading_sleep(pause));
    logging_debug("ending");
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    for (int i = 0; i < 3; i++) {
        threading_thread *thread = check(threading_thread_new(worker, NULL));
        check(threading_thread_set_daemon(thread, true));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }

    threading_thread *main_thread = check(threading_current_thread());
    threading_thread_list *threads = check(threading_enumerate());
    for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
        threading_thread *thread = check(threading_thread_list_get(threads, i));
        if (thread == main_thread) {
            continue;
        }
        logging_debug("joining %s", check(threading_thread_name(thread)));
        check(threading_thread_join(thread));
    }
    check(threading_thread_list_free(threads));
    return 0;
}

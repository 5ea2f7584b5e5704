/* Shows: listing all threads that are alive, to join them without keeping their handles.
 *
 * threading_enumerate() takes a snapshot: the main thread first, then the others in the order in which
 * they were started. The list holds a reference to each thread, and its handles are borrowed. Freeing the
 * list releases the references. The calling thread is in the list and must be skipped, because a join of
 * the calling thread fails with THREADING_ERR_DEADLOCK. A thread has one handle, so handles can be
 * compared with ==.
 *
 * The original Python program does the same, but Python does not specify the order of enumerate().
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

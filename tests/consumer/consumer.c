/*
 * A minimal program that detects a broken installation: it starts a thread that acquires a lock, and compares the
 * version of the header with that of the library.
 */
#include <stdio.h>
#include <string.h>

#include <threading.h>

struct counter {
    threading_lock *lock;
    int value;
};

static void *count(void *arg)
{
    struct counter *counter = arg;
    if (threading_lock_acquire(counter->lock) != THREADING_OK)
        return NULL;
    counter->value++;
    return threading_lock_release(counter->lock) == THREADING_OK ? counter : NULL;
}

int main(void)
{
    if (strcmp(threading_version(), THREADING_VERSION) != 0) {
        fprintf(stderr, "threading.h has version %s, the library %s\n", THREADING_VERSION, threading_version());
        return 1;
    }
    struct counter counter = {threading_lock_new(), 0};
    threading_thread *thread = threading_thread_new(count, &counter);
    if (threading_thread_start(thread) != THREADING_OK || threading_thread_join(thread) != THREADING_OK) {
        fprintf(stderr, "threading: %s\n", threading_last_error_message());
        return 1;
    }
    int correct = threading_thread_result(thread) == &counter && counter.value == 1;
    threading_thread_free(thread);
    threading_lock_free(counter.lock);
    printf("libthreading %s: %s\n", threading_version(), correct ? "works" : "the thread did not count");
    return correct ? 0 : 1;
}

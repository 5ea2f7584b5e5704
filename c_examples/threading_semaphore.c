/* Shows: a semaphore that limits a pool to two of four threads at a time.
 *
 * The semaphore limits how many threads are active. The pool's own lock protects its list, which the
 * threads change. A worker is active for the duration of its THREADING_WITH block.
 *
 * main() returns before the workers have finished, so the semaphore and the pool are static. They are
 * freed by a function that is registered with atexit before the first thread is started: such a function
 * is called after the last thread has finished.
 *
 * The original Python program has a class for the pool and passes both objects as arguments; the garbage
 * collector frees them.
 */
#include "logging.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <threading.h>

enum { WORKERS = 4, MAX_ACTIVE = 2 };

struct active_pool {
    threading_lock *lock; /* protects the other fields */
    const char *active[WORKERS];
    size_t count;
};

static threading_semaphore *semaphore;
static struct active_pool pool;

/* The caller must hold the lock. */
static void active_pool_log(const struct active_pool *self)
{
    char names[WORKERS * sizeof "'Thread-1234', "] = "";
    size_t length = 0;
    for (size_t i = 0; i < self->count && length < sizeof names; i++) {
        const char *comma = i == 0 ? "" : ", ";
        length += (size_t)snprintf(names + length, sizeof names - length, "%s'%s'", comma, self->active[i]);
    }
    logging_debug("Running: [%s]", names);
}

static void active_pool_make_active(struct active_pool *self, const char *name)
{
    THREADING_WITH(self->lock) {
        self->active[self->count++] = name;
        active_pool_log(self);
    }
    check(threading_last_error()); /* fails if the lock could not be acquired */
}

static void active_pool_make_inactive(struct active_pool *self, const char *name)
{
    THREADING_WITH(self->lock) {
        size_t index = 0;
        while (index < self->count && strcmp(self->active[index], name) != 0) {
            index++;
        }
        if (index < self->count) {
            self->count--;
            memmove(&self->active[index], &self->active[index + 1], (self->count - index) * sizeof *self->active);
        }
        active_pool_log(self);
    }
    check(threading_last_error());
}

static void *worker(void *arg)
{
    (void)arg;
    logging_debug("Waiting to join the pool");
    THREADING_WITH(semaphore) {
        const char *name = check(threading_thread_name(check(threading_current_thread())));
        active_pool_make_active(&pool, name);
        check(threading_sleep(0.1));
        active_pool_make_inactive(&pool, name);
    }
    check(threading_last_error());
    return NULL;
}

static void free_all(void)
{
    check(threading_semaphore_free(semaphore));
    check(threading_lock_free(pool.lock));
}

int main(void)
{
    logging_basic_config("%(asctime)s (%(threadName)-2s) %(message)s");

    semaphore = check(threading_semaphore_new(MAX_ACTIVE));
    pool.lock = check(threading_lock_new());
    if (atexit(free_all) != 0) {
        fprintf(stderr, "atexit: no room for another function\n");
        return EXIT_FAILURE;
    }

    for (int i = 0; i < WORKERS; i++) {
        char name[sizeof "1234"];
        (void)snprintf(name, sizeof name, "%d", i);
        threading_thread *thread = check(threading_thread_new(worker, NULL));
        check(threading_thread_set_name(thread, name)); /* copies the name */
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    return 0;
}

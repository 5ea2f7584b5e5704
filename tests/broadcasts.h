/* Lets a condition expect broadcasts, so that its waiters park together (src/sync/broadcast_word.rs).
 *
 * The including file first defines CHECK(condition). */
#ifndef TESTS_BROADCASTS_H
#define TESTS_BROADCASTS_H

#include <threading.h>

#include "clock.h"

/* Protected by the condition's lock. */
struct broadcasts {
    threading_condition *condition;
    int waiting, count;
};

static inline void *wait_for_broadcasts(void *arg)
{
    struct broadcasts *broadcasts = arg;
    CHECK(threading_condition_acquire(broadcasts->condition) == THREADING_OK);
    for (int i = 1; i <= 4; i++) {
        broadcasts->waiting++;
        while (broadcasts->count < i)
            CHECK(threading_condition_wait(broadcasts->condition) == THREADING_OK);
    }
    CHECK(threading_condition_release(broadcasts->condition) == THREADING_OK);
    return NULL;
}

static inline void expect_broadcasts(threading_condition *condition)
{
    struct broadcasts broadcasts = {.condition = condition};
    threading_thread *waiters[2];
    for (int i = 0; i < 2; i++) {
        waiters[i] = threading_thread_new(wait_for_broadcasts, &broadcasts);
        CHECK(waiters[i] != NULL && threading_thread_start(waiters[i]) == THREADING_OK);
    }
    for (int count = 1; count <= 4;) {
        CHECK(threading_condition_acquire(condition) == THREADING_OK);
        if (broadcasts.waiting == 2 * count) {
            broadcasts.count = count++;
            CHECK(threading_condition_notify_all(condition) == THREADING_OK);
        }
        CHECK(threading_condition_release(condition) == THREADING_OK);
        sleep_for(0.0001);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(threading_thread_join(waiters[i]) == THREADING_OK);
        CHECK(threading_thread_free(waiters[i]) == THREADING_OK);
    }
}

#endif

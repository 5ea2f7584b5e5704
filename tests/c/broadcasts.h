/* Lets a condition expect broadcasts, so that its waiters park together: src/sync/broadcast_word.rs. */
#ifndef TESTS_BROADCASTS_H
#define TESTS_BROADCASTS_H

#include "test.h"

/* Protected by the condition's lock. */
struct broadcasts {
    threading_condition *condition;
    int waiting, count;
};

static inline void *wait_for_broadcasts(void *arg)
{
    struct broadcasts *broadcasts = arg;
    CHECK_STATUS(threading_condition_acquire(broadcasts->condition), THREADING_OK);
    for (int i = 1; i <= 4; i++) {
        broadcasts->waiting++;
        while (broadcasts->count < i)
            CHECK_STATUS(threading_condition_wait(broadcasts->condition), THREADING_OK);
    }
    CHECK_STATUS(threading_condition_release(broadcasts->condition), THREADING_OK);
    return NULL;
}

static inline void expect_broadcasts(threading_condition *condition)
{
    struct broadcasts broadcasts = {.condition = condition};
    threading_thread *waiters[] = {spawn(wait_for_broadcasts, &broadcasts), spawn(wait_for_broadcasts, &broadcasts)};
    while (broadcasts.count < 4) {
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
        if (broadcasts.waiting == 2 * (broadcasts.count + 1)) {
            broadcasts.count++;
            CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
        }
        CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
        sleep_for(0.0001);
    }
    for (size_t i = 0; i < TEST_COUNT(waiters); i++)
        join(waiters[i]);
}

#endif

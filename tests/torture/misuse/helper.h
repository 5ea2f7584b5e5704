/* Helper threads. Before an actor makes a call that would block, it starts a timer whose function performs the
 * action that ends the wait. */
#ifndef MISUSE_HELPER_H
#define MISUSE_HELPER_H

#include "handles.h"

struct helper {
    void (*action)(struct helper *helper);
    void *handle;
    atomic_bool done; /* the actor's call has returned */
    threading_timer *timer;
};

static void *run_helper(void *arg)
{
    struct helper *helper = arg;
    helper->action(helper);
    return arg;
}

static inline void start_helper(struct helper *helper, void (*action)(struct helper *), void *handle)
{
    helper->action = action;
    helper->handle = handle;
    atomic_init(&helper->done, false);
    helper->timer = threading_timer_new(0, run_helper, helper);
    ASSERT(helper->timer != NULL);
    ASSERT(threading_timer_start(helper->timer) == THREADING_OK);
}

/* Waits for the helper; until then the object must not be freed. */
static inline void finish_helper(struct helper *helper)
{
    atomic_store(&helper->done, true);
    ASSERT(threading_thread_join(threading_timer_thread(helper->timer)) == THREADING_OK);
    ASSERT(threading_thread_result(threading_timer_thread(helper->timer)) == helper);
    ASSERT(threading_timer_free(helper->timer) == THREADING_OK);
}

/* A blocking call takes as long as hundreds of other calls, so it is made rarely. After the shutdown no timer can be
 * started. */
static inline bool may_start_helper(struct actor *a)
{
    return !a->world->is_shut_down && one_in(&a->bytes, 8);
}

#endif

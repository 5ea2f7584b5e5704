/* What others do for an actor: a timer's function that does something after all to an object of the actor's, while
 * the actor makes a call that blocks until then. */
#ifndef MISUSE_HELPER_H
#define MISUSE_HELPER_H

#include "handles.h"

struct favour {
    void (*deed)(struct favour *favour);
    void *handle;
    atomic_bool enough; /* what the actor waited for has come */
    threading_timer *timer;
};

static void *do_favour(void *arg)
{
    struct favour *favour = arg;
    favour->deed(favour);
    return arg;
}

static inline void ask_favour(struct favour *favour, void (*deed)(struct favour *), void *handle)
{
    favour->deed = deed;
    favour->handle = handle;
    atomic_init(&favour->enough, false);
    favour->timer = threading_timer_new(0, do_favour, favour);
    HOLDS(favour->timer != NULL);
    HOLDS(threading_timer_start(favour->timer) == THREADING_OK);
}

/* Not before the favour has been done: the object may go then. */
static inline void thank(struct favour *favour)
{
    atomic_store(&favour->enough, true);
    HOLDS(threading_thread_join(threading_timer_thread(favour->timer)) == THREADING_OK);
    HOLDS(threading_thread_result(threading_timer_thread(favour->timer)) == favour);
    HOLDS(threading_timer_free(favour->timer) == THREADING_OK);
}

/* Blocking is rare: it takes as long as hundreds of other calls. After the shutdown there is nobody to ask. */
static inline bool may_ask_favour(struct actor *a)
{
    return !a->world->closed && one_in(&a->bytes, 8);
}

#endif

/* Calls on timers and on lists of threads. */
#ifndef MISUSE_TIMERS_H
#define MISUSE_TIMERS_H

#include "threads.h"

DEFINE_FREE_WHEN_NOT_BUSY(timer)
REF_CALL(TIMER, timer)

static bool call_timer_new(struct actor *a)
{
    static const double intervals[] = {INFINITY, 0,    -1, -INFINITY, 1e-5,          86400,  THREADING_TIMEOUT_MAX,
                                       NAN,      1e10, 0,  INFINITY,  -DBL_TRUE_MIN, DBL_MAX};
    struct object *slot = free_slot(a, TIMER), *thread = free_slot(a, THREAD);
    if (slot == NULL || thread == NULL)
        return false;
    double interval = intervals[next_byte(&a->bytes) % COUNT(intervals)];
    statuses errors = isnan(interval)                                            ? ONE(THREADING_ERR_VALUE)
                      : interval > THREADING_TIMEOUT_MAX && interval != INFINITY ? ONE(THREADING_ERR_OVERFLOW)
                                                                                 : NONE;
    struct task *task = new_task(a);
    bool has_target = !one_in(&a->bytes, 4);
    threading_timer *timer = threading_timer_new(interval, has_target ? run_task : NULL, task);
    a->choice = (struct choice){timer, NULL, OWN};
    if (!check_getter(a, timer == NULL, errors)) {
        sem_destroy(&task->gate);
        free(task);
        return true;
    }
    EXPECT(a, timer != NULL);
    *slot = (struct object){.handle = timer, .refs = 1, .interval = interval, .partner = thread};
    *thread = (struct object){.handle = threading_timer_thread(timer),
                              .internal_refs = 1,
                              .is_timer = true,
                              .interval = interval < 1e-3 ? 0 : interval,
                              .has_target = has_target,
                              .task = task,
                              .partner = slot};
    EXPECT(a, thread->handle != NULL);
    return true;
}

static bool call_timer_free(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    if (choice.origin == CHURNED)
        return false;
    statuses expected = ONE(own && o->refs == 0 ? THREADING_ERR_HANDLE : THREADING_OK);
    if (check_call(a, threading_timer_free(h), NONE, expected, expected)) {
        o->refs--;
        forget_thread_if_freed(a, o->partner);
    }
    return true;
}

static bool call_timer_thread(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    threading_thread *thread = threading_timer_thread(h);
    if (check_getter(a, thread == NULL, NONE))
        EXPECT(a, own ? thread == o->partner->handle : thread != NULL);
    return true;
}

static bool call_timer_interval(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    double interval = threading_timer_interval(h);
    if (check_getter(a, interval == 0, NONE))
        EXPECT(a, interval == (own ? o->interval : INFINITY));
    return true;
}

static bool call_timer_start(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    statuses expected = expected_start(a, t);
    /* it may finish before its ident has been read */
    if (own && o->refs == 0 && t->refs == 0)
        return false;
    if (check_call(a, threading_timer_start(h), NONE, expected, expected) && own)
        record_start(a, t);
    return true;
}

static bool call_timer_cancel(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    bool may_have_started = t == NULL || t->stage == FINISHING || t->stage == RUNNING;
    statuses expected = EITHER(THREADING_OK, THREADING_TOO_LATE);
    /* its interval is too long to expire */
    if (choice.origin == CHURNED)
        expected = ONE(THREADING_OK);
    else if (t != NULL && t->stage == RUNNING && atomic_load(&t->task->started))
        expected = ONE(THREADING_TOO_LATE);
    else if (!may_have_started)
        expected = ONE(t->stage == FINISHED && !t->cancelled ? THREADING_TOO_LATE : THREADING_OK);
    if (!check_call(a, threading_timer_cancel(h), NONE, expected, expected) || t == NULL || t->cancelled)
        return true;
    t->cancelled = true;
    record_destructor(t);
    if (t->stage != NOT_STARTED)
        record_finished(a, t);
    forget_thread_if_freed(a, t);
    return true;
}

/* --------------------------------------------------------------------------------------------------------- lists */

static bool call_enumerate(struct actor *a)
{
    struct object *slot = free_slot(a, LIST);
    if (slot == NULL)
        return false;
    record_new(a, slot, threading_enumerate());
    slot->length = threading_thread_list_len(slot->handle);
    EXPECT(a, a->world->is_shut_down || slot->length > 0);
    EXPECT(a, a->world->is_shut_down || threading_thread_list_get(slot->handle, 0) == threading_main_thread());
    /* Each running thread of the actor is listed once, and no other one. */
    for (unsigned i = 0; i < SLOTS; i++) {
        struct object *t = &a->own[THREAD][i];
        unsigned found = 0;
        if (t->handle == NULL || t->stage == FINISHING)
            continue;
        for (size_t k = 0; k < slot->length; k++)
            found += threading_thread_list_get(slot->handle, k) == t->handle;
        EXPECT(a, found == (t->stage == PENDING || t->stage == RUNNING));
    }
    return true;
}

static bool call_thread_list_len(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t length = threading_thread_list_len(h);
    if (check_getter(a, length == 0, NONE))
        EXPECT(a, own ? length == o->length : length > 0);
    return true;
}

static bool call_thread_list_get(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t i = next_size(&a->bytes);
    bool is_out_of_range = own && i >= o->length;
    if (choice.origin == CHURNED)
        i = 0;
    threading_thread *thread = threading_thread_list_get(h, i);
    if (check_getter(a, thread == NULL, is_out_of_range ? ONE(THREADING_ERR_VALUE) : NONE) && own)
        EXPECT(a, thread != NULL);
    return true;
}

static bool call_thread_list_free(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    if (choice.origin == CHURNED)
        return false;
    if (check_call(a, threading_thread_list_free(h), NONE, ONE(THREADING_OK), NONE)) {
        o->refs = 0;
        forget_if_freed(a, LIST, o);
    }
    return true;
}

#endif

/* The calls on timers, and on lists of threads. */
#ifndef MISUSE_TIMERS_H
#define MISUSE_TIMERS_H

#include "threads.h"

FREE_AT_LAST(timer)
REF_CALL(TIMER, timer)

static bool call_timer_new(struct actor *a)
{
    static const double intervals[] = {INFINITY, 0,    -1, -INFINITY, 1e-5,          86400, THREADING_TIMEOUT_MAX,
                                       NAN,      1e10, 0,  INFINITY,  -DBL_TRUE_MIN, DBL_MAX};
    struct object *place = empty_place(a, TIMER), *thread = empty_place(a, THREAD);
    if (place == NULL || thread == NULL)
        return false;
    double interval = intervals[next_byte(&a->bytes) % COUNT(intervals)];
    statuses errors = isnan(interval)                                            ? ONE(THREADING_ERR_VALUE)
                      : interval > THREADING_TIMEOUT_MAX && interval != INFINITY ? ONE(THREADING_ERR_OVERFLOW)
                                                                                 : NONE;
    struct errand *errand = new_errand(a);
    bool has_target = !one_in(&a->bytes, 4);
    threading_timer *made = threading_timer_new(interval, has_target ? run_errand : NULL, errand);
    a->choice = (struct choice){made, NULL, OWN};
    if (!expect_answer(a, made == NULL, errors)) {
        sem_destroy(&errand->gate);
        free(errand);
        return true;
    }
    EXPECT(a, made != NULL);
    *place = (struct object){.handle = made, .refs = 1, .interval = interval, .partner = thread};
    *thread = (struct object){.handle = threading_timer_thread(made),
                              .kept = 1,
                              .is_timer = true,
                              .interval = interval < 1e-3 ? 0 : interval,
                              .has_target = has_target,
                              .errand = errand,
                              .partner = place};
    EXPECT(a, thread->handle != NULL);
    return true;
}

static bool call_timer_free(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    if (choice.whose == CHURNED)
        return false;
    statuses known = ONE(own && o->refs == 0 ? THREADING_ERR_HANDLE : THREADING_OK);
    if (expect(a, threading_timer_free(h), NONE, known, known)) {
        o->refs--;
        review_thread(a, o->partner);
    }
    return true;
}

static bool call_timer_thread(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    threading_thread *thread = threading_timer_thread(h);
    if (expect_answer(a, thread == NULL, NONE))
        EXPECT(a, own ? thread == o->partner->handle : thread != NULL);
    return true;
}

static bool call_timer_interval(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    double interval = threading_timer_interval(h);
    if (expect_answer(a, interval == 0, NONE))
        EXPECT(a, interval == (own ? o->interval : INFINITY));
    return true;
}

static bool call_timer_start(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    statuses known = starts(a, t);
    if (own && o->refs == 0 && t->refs == 0)
        return false; /* it may be over before its ident is asked for */
    if (expect(a, threading_timer_start(h), NONE, known, known) && own)
        see_start(a, t);
    return true;
}

static bool call_timer_cancel(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    bool may_have_begun = t == NULL || t->stage == LEAVING || t->stage == GATED;
    statuses known = EITHER(THREADING_OK, THREADING_TOO_LATE);
    if (choice.whose == CHURNED)
        known = ONE(THREADING_OK); /* its moment never comes */
    else if (t != NULL && t->stage == GATED && atomic_load(&t->errand->begun))
        known = ONE(THREADING_TOO_LATE);
    else if (!may_have_begun)
        known = ONE(t->stage == OVER && !t->cancelled ? THREADING_TOO_LATE : THREADING_OK);
    if (!expect(a, threading_timer_cancel(h), NONE, known, known) || t == NULL || t->cancelled)
        return true;
    t->cancelled = true;
    destroy_argument(t);
    if (t->stage != FRESH)
        see_end(a, t);
    review_thread(a, t);
    return true;
}

/* --------------------------------------------------------------------------------------------------------- lists */

static bool call_enumerate(struct actor *a)
{
    struct object *place = empty_place(a, LIST);
    if (place == NULL)
        return false;
    begin_life(a, place, threading_enumerate());
    place->length = threading_thread_list_len(place->handle);
    EXPECT(a, a->world->closed || place->length > 0);
    EXPECT(a, a->world->closed || threading_thread_list_get(place->handle, 0) == threading_main_thread());
    /* Each of the actor's that runs is there once, and none that does not. */
    for (unsigned i = 0; i < PLACES; i++) {
        struct object *t = &a->own[THREAD][i];
        unsigned found = 0;
        if (t->handle == NULL || t->stage == LEAVING)
            continue;
        for (size_t k = 0; k < place->length; k++)
            found += threading_thread_list_get(place->handle, k) == t->handle;
        EXPECT(a, found == (t->stage == PENDING || t->stage == GATED));
    }
    return true;
}

static bool call_thread_list_len(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t length = threading_thread_list_len(h);
    if (expect_answer(a, length == 0, NONE))
        EXPECT(a, own ? length == o->length : length > 0);
    return true;
}

static bool call_thread_list_get(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t i = next_size(&a->bytes);
    bool is_over = own && i >= o->length;
    if (choice.whose == CHURNED)
        i = 0;
    threading_thread *thread = threading_thread_list_get(h, i);
    if (expect_answer(a, thread == NULL, is_over ? ONE(THREADING_ERR_VALUE) : NONE) && own)
        EXPECT(a, thread != NULL);
    return true;
}

static bool call_thread_list_free(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    if (choice.whose == CHURNED)
        return false;
    if (expect(a, threading_thread_list_free(h), NONE, ONE(THREADING_OK), NONE)) {
        o->refs = 0;
        review(a, LIST, o);
    }
    return true;
}

#endif

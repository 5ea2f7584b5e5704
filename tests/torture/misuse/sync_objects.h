/* The calls on semaphores, events and barriers. */
#ifndef MISUSE_SYNC_OBJECTS_H
#define MISUSE_SYNC_OBJECTS_H

#include "helper.h"

FREE_AT_LAST(semaphore)
FREE_AT_LAST(event)
FREE_AT_LAST(barrier)
REF_CALL(SEMAPHORE, semaphore)
FREE_CALL(SEMAPHORE, semaphore)
REF_CALL(EVENT, event)
FREE_CALL(EVENT, event)
REF_CALL(BARRIER, barrier)
FREE_CALL(BARRIER, barrier)

/* --------------------------------------------------------------------------------------------------- semaphores */

static inline bool new_semaphore(struct actor *a, bool bounded)
{
    struct object *place = empty_place(a, SEMAPHORE);
    if (place == NULL)
        return false;
    int64_t value = next_count(&a->bytes);
    statuses error = value < 0                          ? ONE(THREADING_ERR_VALUE)
                     : value > THREADING_SEMAPHORE_MAX ? ONE(THREADING_ERR_OVERFLOW)
                                                        : NONE;
    threading_semaphore *made = bounded ? threading_semaphore_new_bounded(value) : threading_semaphore_new(value);
    a->choice = (struct choice){made, NULL, OWN};
    if (!expect_answer(a, made == NULL, error))
        return true;
    EXPECT(a, made != NULL);
    *place = (struct object){.handle = made,
                             .refs = 1,
                             .value = value,
                             .bounded = bounded,
                             .limit = bounded ? value : THREADING_SEMAPHORE_MAX};
    return true;
}

static bool call_semaphore_new(struct actor *a)
{
    return new_semaphore(a, false);
}

static bool call_semaphore_new_bounded(struct actor *a)
{
    return new_semaphore(a, true);
}

static void release_semaphore_for(struct favour *favour)
{
    HOLDS(threading_semaphore_release(favour->handle) == THREADING_OK);
}

static inline statuses takes(const struct actor *a, threading_status failure)
{
    if (a->choice.whose == OWN)
        return ONE(a->choice.object->value > 0 ? THREADING_OK : failure);
    return EITHER(THREADING_OK, failure);
}

static bool call_semaphore_acquire(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    struct favour favour = {.timer = NULL};
    if (choice.whose != BAD && !own)
        return false;
    if (own && o->value == 0) {
        if (o->limit == 0 || !may_ask_favour(a))
            return false;
        ask_favour(&favour, release_semaphore_for, h);
        o->value = 1;
    }
    if (expect(a, threading_semaphore_acquire(h), NONE, ONE(THREADING_OK), NONE))
        o->value--;
    if (favour.timer != NULL)
        thank(&favour);
    return true;
}

static bool call_semaphore_try_acquire(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses known = takes(a, THREADING_WOULD_BLOCK);
    if (expect(a, threading_semaphore_try_acquire(h), NONE, known, known) && own)
        o->value--;
    return true;
}

static bool call_semaphore_acquire_timeout(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses known = takes(a, THREADING_TIMED_OUT);
    struct seconds seconds = next_seconds(&a->bytes, choice.whose == BAD || known == ONE(THREADING_OK));
    if (expect(a, threading_semaphore_acquire_timeout(h, seconds.value), seconds.error, known, known) && own)
        o->value--;
    return true;
}

static inline statuses gives_back(const struct actor *a, int64_t n)
{
    const struct object *o = a->choice.object;
    if (a->choice.whose == OWN && n <= o->limit - o->value)
        return ONE(THREADING_OK);
    if (a->choice.whose == OWN)
        return ONE(o->bounded ? THREADING_ERR_OVER_RELEASED : THREADING_ERR_OVERFLOW);
    return ONE(THREADING_OK) | EITHER(THREADING_ERR_OVER_RELEASED, THREADING_ERR_OVERFLOW);
}

static bool call_semaphore_release(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses known = gives_back(a, 1);
    if (expect(a, threading_semaphore_release(h), NONE, known, known) && own)
        o->value++;
    return true;
}

static bool call_semaphore_release_n(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    int64_t n = next_count(&a->bytes);
    statuses known = gives_back(a, n);
    statuses error = n < 1 ? ONE(THREADING_ERR_VALUE) : NONE;
    if (expect(a, threading_semaphore_release_n(h, n), error, known, known) && own)
        o->value += n;
    return true;
}

static bool call_semaphore_value(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    int64_t value = threading_semaphore_value(h);
    if (expect_answer(a, value == 0, NONE))
        EXPECT(a, own ? value == o->value : value >= 0 && value <= THREADING_SEMAPHORE_MAX);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- events */

static bool call_event_new(struct actor *a)
{
    struct object *place = empty_place(a, EVENT);
    return place != NULL && begin_life(a, place, threading_event_new()) != NULL;
}

static bool call_event_is_set(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    bool is_set = threading_event_is_set(h);
    if (expect_answer(a, !is_set, NONE) && own)
        EXPECT(a, is_set == (o->value != 0));
    return true;
}

#define EVENT_CHANGE(verb, after)                                                                            \
    static bool call_event_##verb(struct actor *a)                                                           \
    {                                                                                                        \
        CHOOSE(a, EVENT, event);                                                                             \
        if (expect(a, threading_event_##verb(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && own)         \
            o->value = after;                                                                                \
        return true;                                                                                         \
    }

EVENT_CHANGE(set, 1)
EVENT_CHANGE(clear, 0)
EVENT_CHANGE(at_fork_reinit, 0)

static void set_event_for(struct favour *favour)
{
    HOLDS(threading_event_set(favour->handle) == THREADING_OK);
}

static bool call_event_wait(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    struct favour favour = {.timer = NULL};
    if (choice.whose != BAD && !own)
        return false;
    if (own && o->value == 0) {
        if (!may_ask_favour(a))
            return false;
        ask_favour(&favour, set_event_for, h);
        o->value = 1;
    }
    expect(a, threading_event_wait(h), NONE, ONE(THREADING_OK), NONE);
    if (favour.timer != NULL)
        thank(&favour);
    return true;
}

static bool call_event_wait_timeout(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    struct seconds seconds = next_seconds(&a->bytes, choice.whose == BAD || (own && o->value != 0));
    statuses known = own ? ONE(o->value != 0 ? THREADING_OK : THREADING_TIMED_OUT)
                         : EITHER(THREADING_OK, THREADING_TIMED_OUT);
    expect(a, threading_event_wait_timeout(h, seconds.value), seconds.error, known, known);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ barriers */

/* What an own barrier's action does. */
enum deed { DO_NOTHING, FAIL, ABORT, RESET, ABORT_AND_FAIL, WAIT, FREE, DEEDS };

static int act(void *arg)
{
    struct object *o = arg;
    struct actor *a = o->actor;
    HOLDS(here == a && o->acting);
    EXPECT(a, threading_barrier_n_waiting(o->handle) == o->parties);
    (void)nested(a);
    switch ((enum deed)o->deed) {
    case FAIL:
        return -1;
    case ABORT:
        EXPECT(a, threading_barrier_abort(o->handle) == THREADING_OK);
        break;
    case RESET:
        EXPECT(a, threading_barrier_reset(o->handle) == THREADING_OK);
        break;
    case ABORT_AND_FAIL:
        EXPECT(a, threading_barrier_abort(o->handle) == THREADING_OK);
        return 1;
    case WAIT:
        expect_status(a, threading_barrier_wait(o->handle, NULL), ONE(THREADING_ERR_DEADLOCK));
        break;
    case FREE:
        EXPECT(a, threading_barrier_free(o->handle) == THREADING_OK);
        break;
    default:
        break;
    }
    return 0;
}

/* The action's argument is the place in which the barrier is described. */
static bool call_barrier_new(struct actor *a)
{
    struct object *place = empty_place(a, BARRIER);
    if (place == NULL)
        return false;
    size_t parties = next_byte(&a->bytes) % 2 ? 1 : next_size(&a->bytes);
    bool has_action = one_in(&a->bytes, 2) && parties == 1;
    threading_barrier *made = threading_barrier_new(parties, has_action ? act : NULL, place);
    a->choice = (struct choice){made, NULL, OWN};
    if (!expect_answer(a, made == NULL, parties == 0 ? ONE(THREADING_ERR_VALUE) : NONE))
        return true;
    EXPECT(a, made != NULL);
    *place = (struct object){.handle = made,
                             .refs = 1,
                             .parties = parties,
                             .patience = THREADING_FOREVER,
                             .has_action = has_action,
                             .actor = a};
    return true;
}

static bool call_barrier_set_timeout(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    struct seconds seconds = next_seconds(&a->bytes, own || choice.whose == BAD);
    if (expect(a, threading_barrier_set_timeout(h, seconds.value), seconds.error, ONE(THREADING_OK),
               ONE(THREADING_OK)) &&
        own)
        o->patience = seconds.value;
    return true;
}

#define UNTOUCHED ((size_t)0x5ca1ab1e)

/* What a wait that is over at once must come to, and what it leaves. */
static inline statuses passes(struct object *o)
{
    if (o->broken)
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    if (o->parties > 1) {
        o->broken = true;
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    }
    if (!o->has_action)
        return ONE(THREADING_OK);
    switch ((enum deed)o->deed) {
    case FAIL:
    case ABORT_AND_FAIL:
        o->broken = true;
        return ONE(THREADING_ERR_CALLBACK);
    case ABORT:
        o->broken = true;
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    case RESET:
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    default:
        return ONE(THREADING_OK);
    }
}

static void wait_at_barrier_for(struct favour *favour)
{
    size_t index = UNTOUCHED;
    HOLDS(threading_barrier_wait(favour->handle, &index) == THREADING_OK);
    HOLDS(index < 2);
}

/* The default timeout of common and churned ones is short. */
static inline bool wait_at_barrier(struct actor *a, bool has_timeout)
{
    CHOOSE(a, BARRIER, barrier);
    size_t index = UNTOUCHED, *to = one_in(&a->bytes, 4) ? NULL : &index;
    bool at_once = own && (o->parties == 1 || o->broken);
    struct seconds seconds = {0, NONE};
    struct favour favour = {.timer = NULL};
    if (has_timeout)
        seconds = next_seconds(&a->bytes, at_once || choice.whose == BAD);
    if (own && seconds.error == NONE) {
        o->deed = (uint8_t)(next_byte(&a->bytes) % DEEDS);
        if (o->deed == FREE && (o->refs > 1 || o->broken || !o->has_action))
            o->deed = DO_NOTHING;
        o->acting = true;
    }
    bool forever = !has_timeout && own && !(o->patience >= 0 && o->patience < 1e-3);
    if (!at_once && forever) {
        if (o->parties != 2 || !may_ask_favour(a))
            return false;
        ask_favour(&favour, wait_at_barrier_for, h);
    }
    statuses known = EITHER(THREADING_OK, THREADING_ERR_BROKEN_BARRIER);
    if (favour.timer != NULL)
        known = ONE(THREADING_OK);
    else if (own && seconds.error == NONE)
        known = passes(o);
    threading_status got = has_timeout ? threading_barrier_wait_timeout(h, seconds.value, to)
                                       : threading_barrier_wait(h, to);
    bool passed = expect(a, got, seconds.error, known, EITHER(THREADING_OK, THREADING_ERR_BROKEN_BARRIER));
    if (!passed || to == NULL)
        EXPECT(a, index == UNTOUCHED);
    else
        EXPECT(a, index < (own ? o->parties : 2));
    if (favour.timer != NULL)
        thank(&favour);
    if (own) {
        o->acting = false;
        if (passed && o->deed == FREE) {
            o->refs = 0;
            review(a, BARRIER, o);
        }
    }
    return true;
}

static bool call_barrier_wait(struct actor *a)
{
    return wait_at_barrier(a, false);
}

static bool call_barrier_wait_timeout(struct actor *a)
{
    return wait_at_barrier(a, true);
}

#define BARRIER_CHANGE(verb, after)                                                                          \
    static bool call_barrier_##verb(struct actor *a)                                                         \
    {                                                                                                        \
        CHOOSE(a, BARRIER, barrier);                                                                         \
        if (expect(a, threading_barrier_##verb(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && own)       \
            o->broken = after;                                                                               \
        return true;                                                                                         \
    }

BARRIER_CHANGE(reset, false)
BARRIER_CHANGE(abort, true)

static bool call_barrier_parties(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    size_t parties = threading_barrier_parties(h);
    if (expect_answer(a, parties == 0, NONE))
        EXPECT(a, own ? parties == o->parties : parties == 2);
    return true;
}

static bool call_barrier_n_waiting(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    size_t waiting = threading_barrier_n_waiting(h);
    if (expect_answer(a, waiting == 0, NONE))
        EXPECT(a, own ? waiting == 0 : waiting < 2);
    return true;
}

static bool call_barrier_broken(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    bool broken = threading_barrier_broken(h);
    if (expect_answer(a, !broken, NONE) && own)
        EXPECT(a, broken == o->broken);
    return true;
}

#endif

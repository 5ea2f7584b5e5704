/* Calls on semaphores, events and barriers. */
#ifndef MISUSE_SYNC_OBJECTS_H
#define MISUSE_SYNC_OBJECTS_H

#include "helper.h"

DEFINE_FREE_WHEN_NOT_BUSY(semaphore)
DEFINE_FREE_WHEN_NOT_BUSY(event)
DEFINE_FREE_WHEN_NOT_BUSY(barrier)
REF_CALL(SEMAPHORE, semaphore)
SET_NAME_CALL(SEMAPHORE, semaphore)
FREE_CALL(SEMAPHORE, semaphore)
REF_CALL(EVENT, event)
SET_NAME_CALL(EVENT, event)
FREE_CALL(EVENT, event)
REF_CALL(BARRIER, barrier)
SET_NAME_CALL(BARRIER, barrier)
FREE_CALL(BARRIER, barrier)

/* --------------------------------------------------------------------------------------------------- semaphores */

static inline bool new_semaphore(struct actor *a, bool bounded)
{
    struct object *slot = free_slot(a, SEMAPHORE);
    if (slot == NULL)
        return false;
    int64_t value = next_count(&a->bytes);
    statuses error = value < 0                         ? ONE(THREADING_ERR_VALUE)
                     : value > THREADING_SEMAPHORE_MAX ? ONE(THREADING_ERR_OVERFLOW)
                                                       : NONE;
    threading_semaphore *made = bounded ? threading_semaphore_new_bounded(value) : threading_semaphore_new(value);
    a->choice = (struct choice){made, NULL, OWN};
    if (!check_getter(a, made == NULL, error))
        return true;
    EXPECT(a, made != NULL);
    *slot = (struct object){.handle = made,
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

static void helper_release_semaphore(struct helper *helper)
{
    ASSERT(threading_semaphore_release(helper->handle) == THREADING_OK);
}

static inline statuses expected_semaphore_acquire(const struct actor *a, threading_status failure)
{
    if (a->choice.origin == OWN)
        return ONE(a->choice.object->value > 0 ? THREADING_OK : failure);
    return EITHER(THREADING_OK, failure);
}

static bool call_semaphore_acquire(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    struct helper helper = {.timer = NULL};
    if (choice.origin != INVALID && !own)
        return false;
    if (own && o->value == 0) {
        if (o->limit == 0 || !may_start_helper(a))
            return false;
        start_helper(&helper, helper_release_semaphore, h);
        o->value = 1;
    }
    if (check_call(a, threading_semaphore_acquire(h), NONE, ONE(THREADING_OK), NONE))
        o->value--;
    if (helper.timer != NULL)
        finish_helper(&helper);
    return true;
}

static bool call_semaphore_try_acquire(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses expected = expected_semaphore_acquire(a, THREADING_WOULD_BLOCK);
    if (check_call(a, threading_semaphore_try_acquire(h), NONE, expected, expected) && own)
        o->value--;
    return true;
}

static bool call_semaphore_acquire_timeout(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses expected = expected_semaphore_acquire(a, THREADING_TIMED_OUT);
    struct seconds seconds = next_seconds(&a->bytes, choice.origin == INVALID || expected == ONE(THREADING_OK));
    if (check_call(a, threading_semaphore_acquire_timeout(h, seconds.value), seconds.error, expected, expected) && own)
        o->value--;
    return true;
}

static inline statuses expected_semaphore_release(const struct actor *a, int64_t n)
{
    const struct object *o = a->choice.object;
    if (a->choice.origin == OWN && n <= o->limit - o->value)
        return ONE(THREADING_OK);
    if (a->choice.origin == OWN)
        return ONE(o->bounded ? THREADING_ERR_OVER_RELEASED : THREADING_ERR_OVERFLOW);
    return ONE(THREADING_OK) | EITHER(THREADING_ERR_OVER_RELEASED, THREADING_ERR_OVERFLOW);
}

static bool call_semaphore_release(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    statuses expected = expected_semaphore_release(a, 1);
    if (check_call(a, threading_semaphore_release(h), NONE, expected, expected) && own)
        o->value++;
    return true;
}

static bool call_semaphore_release_n(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    int64_t n = next_count(&a->bytes);
    statuses expected = expected_semaphore_release(a, n);
    statuses error = n < 1 ? ONE(THREADING_ERR_VALUE) : NONE;
    if (check_call(a, threading_semaphore_release_n(h, n), error, expected, expected) && own)
        o->value += n;
    return true;
}

static bool call_semaphore_value(struct actor *a)
{
    CHOOSE(a, SEMAPHORE, semaphore);
    int64_t value = threading_semaphore_value(h);
    if (check_getter(a, value == 0, NONE))
        EXPECT(a, own ? value == o->value : value >= 0 && value <= THREADING_SEMAPHORE_MAX);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- events */

static bool call_event_new(struct actor *a)
{
    struct object *slot = free_slot(a, EVENT);
    return slot != NULL && record_new(a, slot, threading_event_new()) != NULL;
}

static bool call_event_is_set(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    bool is_set = threading_event_is_set(h);
    if (check_getter(a, !is_set, NONE) && own)
        EXPECT(a, is_set == (o->value != 0));
    return true;
}

#define EVENT_CHANGE(verb, after)                                                                                      \
    static bool call_event_##verb(struct actor *a)                                                                     \
    {                                                                                                                  \
        CHOOSE(a, EVENT, event);                                                                                       \
        if (check_call(a, threading_event_##verb(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && own)               \
            o->value = after;                                                                                          \
        return true;                                                                                                   \
    }

EVENT_CHANGE(set, 1)
EVENT_CHANGE(clear, 0)
EVENT_CHANGE(at_fork_reinit, 0)

static void helper_set_event(struct helper *helper)
{
    ASSERT(threading_event_set(helper->handle) == THREADING_OK);
}

static bool call_event_wait(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    struct helper helper = {.timer = NULL};
    if (choice.origin != INVALID && !own)
        return false;
    if (own && o->value == 0) {
        if (!may_start_helper(a))
            return false;
        start_helper(&helper, helper_set_event, h);
        o->value = 1;
    }
    check_call(a, threading_event_wait(h), NONE, ONE(THREADING_OK), NONE);
    if (helper.timer != NULL)
        finish_helper(&helper);
    return true;
}

static bool call_event_wait_timeout(struct actor *a)
{
    CHOOSE(a, EVENT, event);
    struct seconds seconds = next_seconds(&a->bytes, choice.origin == INVALID || (own && o->value != 0));
    statuses expected =
        own ? ONE(o->value != 0 ? THREADING_OK : THREADING_TIMED_OUT) : EITHER(THREADING_OK, THREADING_TIMED_OUT);
    check_call(a, threading_event_wait_timeout(h, seconds.value), seconds.error, expected, expected);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ barriers */

/* What the action of an actor's own barrier does. */
enum action { DO_NOTHING, FAIL, ABORT, RESET, ABORT_AND_FAIL, WAIT, FREE, ACTIONS };

static int barrier_action(void *arg)
{
    struct object *o = arg;
    struct actor *a = o->actor;
    ASSERT(current_actor == a && o->action_may_run);
    EXPECT(a, threading_barrier_n_waiting(o->handle) == o->parties);
    (void)nested_call(a);
    switch ((enum action)o->action) {
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
        check_status(a, threading_barrier_wait(o->handle, NULL), ONE(THREADING_ERR_DEADLOCK));
        break;
    case FREE:
        EXPECT(a, threading_barrier_free(o->handle) == THREADING_OK);
        break;
    default:
        break;
    }
    return 0;
}

/* The action's argument is the record of the barrier. */
static bool call_barrier_new(struct actor *a)
{
    struct object *slot = free_slot(a, BARRIER);
    if (slot == NULL)
        return false;
    size_t parties = next_byte(&a->bytes) % 2 ? 1 : next_size(&a->bytes);
    bool has_action = one_in(&a->bytes, 2) && parties == 1;
    threading_barrier *made = threading_barrier_new(parties, has_action ? barrier_action : NULL, slot);
    a->choice = (struct choice){made, NULL, OWN};
    if (!check_getter(a, made == NULL, parties == 0 ? ONE(THREADING_ERR_VALUE) : NONE))
        return true;
    EXPECT(a, made != NULL);
    *slot = (struct object){.handle = made,
                            .refs = 1,
                            .parties = parties,
                            .default_timeout = THREADING_FOREVER,
                            .has_action = has_action,
                            .actor = a};
    return true;
}

static bool call_barrier_set_timeout(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    struct seconds seconds = next_seconds(&a->bytes, own || choice.origin == INVALID);
    if (check_call(a, threading_barrier_set_timeout(h, seconds.value), seconds.error, ONE(THREADING_OK),
                   ONE(THREADING_OK)) &&
        own)
        o->default_timeout = seconds.value;
    return true;
}

#define UNTOUCHED ((size_t)0x5ca1ab1e)

/* Returns the expected statuses of a wait that does not block, and updates the record. */
static inline statuses predict_barrier_wait(struct object *o)
{
    if (o->broken)
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    if (o->parties > 1) {
        o->broken = true;
        return ONE(THREADING_ERR_BROKEN_BARRIER);
    }
    if (!o->has_action)
        return ONE(THREADING_OK);
    switch ((enum action)o->action) {
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

static void helper_wait_at_barrier(struct helper *helper)
{
    size_t index = UNTOUCHED;
    ASSERT(threading_barrier_wait(helper->handle, &index) == THREADING_OK);
    ASSERT(index < 2);
}

/* The default timeout of shared and churned barriers is short. */
static inline bool wait_at_barrier(struct actor *a, bool has_timeout)
{
    CHOOSE(a, BARRIER, barrier);
    size_t index = UNTOUCHED, *to = one_in(&a->bytes, 4) ? NULL : &index;
    bool does_not_block = own && (o->parties == 1 || o->broken);
    struct seconds seconds = {0, NONE};
    struct helper helper = {.timer = NULL};
    if (has_timeout)
        seconds = next_seconds(&a->bytes, does_not_block || choice.origin == INVALID);
    if (own && seconds.error == NONE) {
        o->action = (uint8_t)(next_byte(&a->bytes) % ACTIONS);
        if (o->action == FREE && (o->refs > 1 || o->broken || !o->has_action))
            o->action = DO_NOTHING;
        o->action_may_run = true;
    }
    bool no_timeout = !has_timeout && own && !(o->default_timeout >= 0 && o->default_timeout < 1e-3);
    if (!does_not_block && no_timeout) {
        if (o->parties != 2 || !may_start_helper(a))
            return false;
        start_helper(&helper, helper_wait_at_barrier, h);
    }
    statuses expected = EITHER(THREADING_OK, THREADING_ERR_BROKEN_BARRIER);
    if (helper.timer != NULL)
        expected = ONE(THREADING_OK);
    else if (own && seconds.error == NONE)
        expected = predict_barrier_wait(o);
    threading_status got =
        has_timeout ? threading_barrier_wait_timeout(h, seconds.value, to) : threading_barrier_wait(h, to);
    bool passed = check_call(a, got, seconds.error, expected, EITHER(THREADING_OK, THREADING_ERR_BROKEN_BARRIER));
    if (!passed || to == NULL)
        EXPECT(a, index == UNTOUCHED);
    else
        EXPECT(a, index < (own ? o->parties : 2));
    if (helper.timer != NULL)
        finish_helper(&helper);
    if (own) {
        o->action_may_run = false;
        if (passed && o->action == FREE) {
            o->refs = 0;
            forget_if_freed(a, BARRIER, o);
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

#define BARRIER_CHANGE(verb, after)                                                                                    \
    static bool call_barrier_##verb(struct actor *a)                                                                   \
    {                                                                                                                  \
        CHOOSE(a, BARRIER, barrier);                                                                                   \
        if (check_call(a, threading_barrier_##verb(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && own)             \
            o->broken = after;                                                                                         \
        return true;                                                                                                   \
    }

BARRIER_CHANGE(reset, false)
BARRIER_CHANGE(abort, true)

static bool call_barrier_parties(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    size_t parties = threading_barrier_parties(h);
    if (check_getter(a, parties == 0, NONE))
        EXPECT(a, own ? parties == o->parties : parties == 2);
    return true;
}

static bool call_barrier_n_waiting(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    size_t waiting = threading_barrier_n_waiting(h);
    if (check_getter(a, waiting == 0, NONE))
        EXPECT(a, own ? waiting == 0 : waiting < 2);
    return true;
}

static bool call_barrier_broken(struct actor *a)
{
    CHOOSE(a, BARRIER, barrier);
    bool broken = threading_barrier_broken(h);
    if (check_getter(a, !broken, NONE) && own)
        EXPECT(a, broken == o->broken);
    return true;
}

#endif

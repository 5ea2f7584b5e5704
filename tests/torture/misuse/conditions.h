/* Calls on conditions. */
#ifndef MISUSE_CONDITIONS_H
#define MISUSE_CONDITIONS_H

#include "locks.h"

DEFINE_FREE_WHEN_NOT_BUSY(condition)
REF_CALL(CONDITION, condition)
SET_NAME_CALL(CONDITION, condition)
LOCK_CALLS(CONDITION, condition)

static bool call_condition_new(struct actor *a)
{
    struct object *slot = free_slot(a, CONDITION), *implicit_lock;
    if (slot == NULL)
        return false;
    record_new(a, slot, threading_condition_new());
    implicit_lock = calloc(1, sizeof *implicit_lock);
    EXPECT(a, implicit_lock != NULL);
    slot->lock = slot->implicit_lock = implicit_lock;
    slot->lock_is_rlock = true;
    return true;
}

/* A new condition with a lock of the actor. One with a churned lock is freed immediately. */
#define CONDITION_WITH(KIND, type)                                                                                     \
    static bool call_condition_new_with_##type(struct actor *a)                                                        \
    {                                                                                                                  \
        struct object *slot = free_slot(a, CONDITION);                                                                 \
        if (slot == NULL)                                                                                              \
            return false;                                                                                              \
        CHOOSE(a, KIND, type);                                                                                         \
        threading_condition *condition = threading_condition_new_with_##type(h);                                       \
        if (!check_getter(a, condition == NULL, NONE))                                                                 \
            return true;                                                                                               \
        EXPECT(a, condition != NULL);                                                                                  \
        if (!own) {                                                                                                    \
            free_condition(condition);                                                                                 \
            return true;                                                                                               \
        }                                                                                                              \
        *slot = (struct object){.handle = condition, .refs = 1, .lock = o, .lock_is_rlock = KIND == RLOCK};            \
        o->internal_refs++;                                                                                            \
        return true;                                                                                                   \
    }

CONDITION_WITH(LOCK, lock)
CONDITION_WITH(RLOCK, rlock)

static bool call_condition_free(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    if (choice.origin == CHURNED || (choice.origin == SHARED && o->refs == 0))
        return false;
    if (!check_call(a, threading_condition_free(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)))
        return true;
    if (--o->refs == 0 && own) {
        struct object *lock = o->lock, *implicit_lock = o->implicit_lock;
        enum kind kind = o->lock_is_rlock ? RLOCK : LOCK;
        forget_if_freed(a, CONDITION, o);
        free(implicit_lock);
        if (implicit_lock == NULL) {
            lock->internal_refs--;
            forget_if_freed(a, kind, lock);
        }
    }
    return true;
}

static bool call_condition_is_owned(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    bool owned = threading_condition_is_owned(h);
    if (check_getter(a, !owned, NONE) && o != NULL)
        EXPECT(a, owned == (o->lock->recursion > 0));
    return true;
}

/* Returns the expected statuses of a wait or a notify; `held` are those if the caller owns the lock. */
static inline statuses expected_if_owned(const struct actor *a, statuses held)
{
    if (a->choice.object == NULL)
        return held | ONE(THREADING_ERR_NOT_OWNER);
    return a->choice.object->lock->recursion > 0 ? held : ONE(THREADING_ERR_NOT_OWNER);
}

static bool call_condition_notify(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    statuses expected = expected_if_owned(a, ONE(THREADING_OK));
    int64_t n = next_count(&a->bytes);
    check_call(a, threading_condition_notify(h, n), NONE, expected, expected);
    return true;
}

static bool call_condition_notify_all(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    statuses expected = expected_if_owned(a, ONE(THREADING_OK));
    check_call(a, threading_condition_notify_all(h), NONE, expected, expected);
    return true;
}

static void helper_notify(struct helper *helper)
{
    do {
        ASSERT(threading_condition_acquire(helper->handle) == THREADING_OK);
        ASSERT(threading_condition_notify(helper->handle, 1) == THREADING_OK);
        ASSERT(threading_condition_release(helper->handle) == THREADING_OK);
    } while (!atomic_load(&helper->done));
}

/* Starts a helper that notifies, if a wait would block. Returns false if no helper can be started. */
static inline bool start_notifier_if_needed(struct actor *a, struct helper *helper)
{
    if (a->choice.origin == INVALID || (a->choice.object != NULL && a->choice.object->lock->recursion == 0))
        return true;
    if (a->choice.origin != OWN || !may_start_helper(a))
        return false;
    start_helper(helper, helper_notify, a->choice.handle);
    return true;
}

/* Releases the lock after the wait, because the helper may be blocked in its acquire, and acquires it again
 * afterwards. */
static inline void finish_notifier(struct actor *a, struct helper *helper)
{
    size_t recursion = a->choice.object->lock->recursion;
    atomic_store(&helper->done, true);
    for (size_t i = 0; i < recursion; i++)
        EXPECT(a, threading_condition_release(a->choice.handle) == THREADING_OK);
    finish_helper(helper);
    for (size_t i = 0; i < recursion; i++)
        EXPECT(a, threading_condition_acquire(a->choice.handle) == THREADING_OK);
}

static bool call_condition_wait(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct helper helper = {.timer = NULL};
    if (!start_notifier_if_needed(a, &helper))
        return false;
    statuses expected = expected_if_owned(a, ONE(THREADING_OK));
    check_call(a, threading_condition_wait(h), NONE, expected, expected);
    if (helper.timer != NULL)
        finish_notifier(a, &helper);
    return true;
}

/* No thread notifies an actor's own condition; other actors may notify a shared one. */
static bool call_condition_wait_timeout(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    bool waits = choice.origin != INVALID && (o == NULL || o->lock->recursion > 0);
    bool was_acquired = choice.origin == CHURNED && threading_condition_try_acquire(h) == THREADING_OK;
    struct seconds seconds = next_seconds(&a->bytes, !waits);
    if (choice.origin == CHURNED)
        clear_error(a);
    check_call(a, threading_condition_wait_timeout(h, seconds.value), seconds.error,
               expected_if_owned(a, ONE(THREADING_TIMED_OUT)),
               expected_if_owned(a, EITHER(THREADING_OK, THREADING_TIMED_OUT)));
    if (was_acquired)
        release_churned(CONDITION, h);
    return true;
}

/* A predicate with given results. */
struct predicate {
    struct actor *actor;
    int results[2]; /* of the first call, and of all later ones */
    unsigned calls;
};

static int call_predicate(void *arg)
{
    struct predicate *predicate = arg;
    (void)nested_call(predicate->actor);
    return predicate->results[predicate->calls++ == 0 ? 0 : 1];
}

static inline int next_predicate_result(struct actor *a)
{
    static const int results[] = {0, 1, -1, INT32_MAX, INT32_MIN, 0};
    return results[next_byte(&a->bytes) % COUNT(results)];
}

static inline statuses expected_after_predicate(int result)
{
    return ONE(result > 0 ? THREADING_OK : result < 0 ? THREADING_ERR_CALLBACK : THREADING_TIMED_OUT);
}

static inline void check_predicate_calls(struct actor *a, const struct predicate *predicate, statuses errors)
{
    struct object *o = a->choice.object;
    bool is_called = errors == NONE && o != NULL && o->lock->recursion > 0;
    if (a->choice.origin == INVALID || (o != NULL && !is_called))
        EXPECT(a, predicate->calls == 0);
    if (is_called)
        EXPECT(a, predicate->results[0] != 0 ? predicate->calls == 1 : predicate->calls >= 2);
}

static bool call_condition_wait_for(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct predicate predicate = {a, {next_predicate_result(a), next_predicate_result(a)}, 0};
    bool is_null = one_in(&a->bytes, 8);
    struct helper helper = {.timer = NULL};
    if (predicate.results[0] == 0 && !is_null) {
        if (predicate.results[1] == 0)
            predicate.results[1] = 1;
        if (!start_notifier_if_needed(a, &helper))
            return false;
    }
    statuses expected_if_owner = expected_after_predicate(predicate.results[predicate.results[0] == 0]);
    statuses errors = is_null ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses expected = expected_if_owned(a, expected_if_owner);
    check_call(a, threading_condition_wait_for(h, is_null ? NULL : call_predicate, &predicate), errors, expected,
               expected);
    check_predicate_calls(a, &predicate, errors);
    if (helper.timer != NULL)
        finish_notifier(a, &helper);
    return true;
}

static bool call_condition_wait_for_timeout(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct predicate predicate = {a, {next_predicate_result(a), next_predicate_result(a)}, 0};
    bool is_null = one_in(&a->bytes, 8);
    bool waits = predicate.results[0] == 0 && choice.origin != INVALID && (o == NULL || o->lock->recursion > 0);
    struct seconds seconds = next_seconds(&a->bytes, !waits);
    /* Which error is returned if both arguments are invalid is not specified. */
    statuses errors = seconds.error | (is_null ? ONE(THREADING_ERR_VALUE) : NONE);
    statuses expected = expected_if_owned(a, expected_after_predicate(predicate.results[predicate.results[0] == 0]));
    check_call(a, threading_condition_wait_for_timeout(h, is_null ? NULL : call_predicate, &predicate, seconds.value),
               errors, expected, expected);
    check_predicate_calls(a, &predicate, errors);
    return true;
}

#endif

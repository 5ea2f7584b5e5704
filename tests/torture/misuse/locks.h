/* Calls on locks and rlocks, and the calls that a condition forwards to its lock. */
#ifndef MISUSE_LOCKS_H
#define MISUSE_LOCKS_H

#include "helper.h"

DEFINE_FREE_WHEN_NOT_BUSY(lock)
DEFINE_FREE_WHEN_NOT_BUSY(rlock)
REF_CALL(LOCK, lock)
SET_NAME_CALL(LOCK, lock)
FREE_CALL(LOCK, lock)
REF_CALL(RLOCK, rlock)
SET_NAME_CALL(RLOCK, rlock)
FREE_CALL(RLOCK, rlock)

static bool call_lock_new(struct actor *a)
{
    struct object *slot = free_slot(a, LOCK);
    return slot != NULL && record_new(a, slot, threading_lock_new()) != NULL;
}

static bool call_rlock_new(struct actor *a)
{
    struct object *slot = free_slot(a, RLOCK);
    return slot != NULL && record_new(a, slot, threading_rlock_new()) != NULL;
}

/* Returns the lock that a call on this object uses: the object itself, or the lock of the condition. */
static inline struct object *lock_of(struct object *object)
{
    return object != NULL && object->lock != NULL ? object->lock : object;
}

/* Returns true if the owner can acquire the lock again. The lock of a churned condition is unknown. */
static inline bool is_reentrant(enum kind kind, const struct object *object)
{
    return kind == RLOCK || (kind == CONDITION && object != NULL && object->lock_is_rlock);
}

/* Returns the expected statuses of an attempt to acquire; `failure` is the status if the lock is not available. */
static inline statuses expected_acquire(const struct actor *a, enum kind kind, threading_status failure)
{
    const struct object *lock = lock_of(a->choice.object);
    bool reentrant = is_reentrant(kind, a->choice.object);
    if (a->choice.origin == OWN)
        return ONE(reentrant || lock->recursion == 0 ? THREADING_OK : failure);
    if (a->choice.origin == SHARED && reentrant && lock->recursion > 0)
        return ONE(THREADING_OK);
    return EITHER(THREADING_OK, failure);
}

static inline statuses expected_release(const struct actor *a, enum kind kind)
{
    const struct object *lock = lock_of(a->choice.object);
    bool reentrant = is_reentrant(kind, a->choice.object);
    threading_status failure = reentrant ? THREADING_ERR_NOT_OWNER : THREADING_ERR_NOT_ACQUIRED;
    if (a->choice.origin == OWN || (a->choice.origin == SHARED && reentrant))
        return ONE(lock->recursion > 0 ? THREADING_OK : failure);
    return EITHER(THREADING_OK, failure) | (kind == CONDITION ? ONE(THREADING_ERR_NOT_OWNER) : NONE);
}

/* Releases a churned lock immediately, because waiters on a condition need its lock to return. The lock may have
 * been freed, or released by another thread. */
static void release_churned(enum kind kind, void *handle)
{
    threading_status status = kind == LOCK    ? threading_lock_release(handle)
                              : kind == RLOCK ? threading_rlock_release(handle)
                                              : threading_condition_release(handle);
    ASSERT(status == THREADING_OK || status == THREADING_ERR_HANDLE ||
           (kind == LOCK && status == THREADING_ERR_NOT_ACQUIRED));
    if (status != THREADING_OK)
        clear_error(current_actor);
}

/* Updates the recursion count after a successful call. The state of a shared lock is known only while this actor
 * owns it. */
static inline void update_recursion(const struct actor *a, enum kind kind, int change)
{
    struct object *object = a->choice.object;
    if (change > 0 && a->choice.origin == CHURNED)
        release_churned(kind, a->choice.handle);
    if (a->choice.origin == OWN || (a->choice.origin == SHARED && is_reentrant(kind, object)))
        lock_of(object)->recursion += (size_t)change;
}

#define LOCK_CALLS(KIND, type)                                                                                         \
    static void helper_release_##type(struct helper *helper)                                                           \
    {                                                                                                                  \
        ASSERT(threading_##type##_release(helper->handle) == THREADING_OK);                                            \
    }                                                                                                                  \
    static bool call_##type##_acquire(struct actor *a)                                                                 \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        statuses expected = expected_acquire(a, KIND, THREADING_TIMED_OUT);                                            \
        struct helper helper = {.timer = NULL};                                                                        \
        if (choice.origin != INVALID && expected != ONE(THREADING_OK)) {                                               \
            if (!own || !may_start_helper(a))                                                                          \
                return false;                                                                                          \
            start_helper(&helper, helper_release_##type, h);                                                           \
            lock_of(o)->recursion = 0;                                                                                 \
            expected = ONE(THREADING_OK);                                                                              \
        }                                                                                                              \
        if (check_call(a, threading_##type##_acquire(h), NONE, expected, expected))                                    \
            update_recursion(a, KIND, 1);                                                                              \
        if (helper.timer != NULL)                                                                                      \
            finish_helper(&helper);                                                                                    \
        return true;                                                                                                   \
    }                                                                                                                  \
    static bool call_##type##_try_acquire(struct actor *a)                                                             \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        statuses expected = expected_acquire(a, KIND, THREADING_WOULD_BLOCK);                                          \
        if (check_call(a, threading_##type##_try_acquire(h), NONE, expected, expected))                                \
            update_recursion(a, KIND, 1);                                                                              \
        return true;                                                                                                   \
    }                                                                                                                  \
    static bool call_##type##_acquire_timeout(struct actor *a)                                                         \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        statuses expected = expected_acquire(a, KIND, THREADING_TIMED_OUT);                                            \
        struct seconds seconds = next_seconds(&a->bytes, choice.origin == INVALID || expected == ONE(THREADING_OK));   \
        if (check_call(a, threading_##type##_acquire_timeout(h, seconds.value), seconds.error, expected, expected))    \
            update_recursion(a, KIND, 1);                                                                              \
        return true;                                                                                                   \
    }                                                                                                                  \
    static bool call_##type##_release(struct actor *a)                                                                 \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        statuses expected = expected_release(a, KIND);                                                                 \
        if (check_call(a, threading_##type##_release(h), NONE, expected, expected))                                    \
            update_recursion(a, KIND, -1);                                                                             \
        return true;                                                                                                   \
    }                                                                                                                  \
    static bool call_##type##_locked(struct actor *a)                                                                  \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        bool locked = threading_##type##_locked(h);                                                                    \
        if (!check_getter(a, !locked, NONE))                                                                           \
            return true;                                                                                               \
        if (own || (o != NULL && is_reentrant(KIND, o) && lock_of(o)->recursion > 0))                                  \
            EXPECT(a, locked == (lock_of(o)->recursion > 0));                                                          \
        return true;                                                                                                   \
    }                                                                                                                  \
    static bool call_##type##_at_fork_reinit(struct actor *a)                                                          \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        if (o == NULL ? choice.origin == CHURNED : !own)                                                               \
            return false; /* another thread may hold it */                                                             \
        if (check_call(a, threading_##type##_at_fork_reinit(h), NONE, ONE(THREADING_OK), NONE))                        \
            lock_of(o)->recursion = 0;                                                                                 \
        return true;                                                                                                   \
    }

LOCK_CALLS(LOCK, lock)
LOCK_CALLS(RLOCK, rlock)

/* A lock that this actor has acquired is its own, also if it has acquired the lock as that of a condition. */
#define OWNER_CALL(KIND, type)                                                                                         \
    static bool call_##type##_owner(struct actor *a)                                                                   \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        uint64_t owner = threading_##type##_owner(h);                                                                  \
        if (!check_getter(a, owner == 0, NONE))                                                                        \
            return true;                                                                                               \
        if (own)                                                                                                       \
            EXPECT(a, owner == (o->recursion > 0 ? threading_get_ident() : 0));                                        \
        else if (o != NULL && is_reentrant(KIND, o))                                                                   \
            EXPECT(a, (owner == threading_get_ident()) == (o->recursion > 0));                                         \
        return true;                                                                                                   \
    }

OWNER_CALL(LOCK, lock)
OWNER_CALL(RLOCK, rlock)

static bool call_rlock_is_owned(struct actor *a)
{
    CHOOSE(a, RLOCK, rlock);
    bool owned = threading_rlock_is_owned(h);
    if (check_getter(a, !owned, NONE) && o != NULL)
        EXPECT(a, owned == (o->recursion > 0));
    return true;
}

static bool call_rlock_recursion_count(struct actor *a)
{
    CHOOSE(a, RLOCK, rlock);
    size_t recursion = threading_rlock_recursion_count(h);
    if (check_getter(a, recursion == 0, NONE) && o != NULL)
        EXPECT(a, recursion == o->recursion);
    return true;
}

#endif

/* The calls on locks and rlocks, and those that a condition passes on to its own. */
#ifndef MISUSE_LOCKS_H
#define MISUSE_LOCKS_H

#include "helper.h"

FREE_AT_LAST(lock)
FREE_AT_LAST(rlock)
REF_CALL(LOCK, lock)
FREE_CALL(LOCK, lock)
REF_CALL(RLOCK, rlock)
FREE_CALL(RLOCK, rlock)

static bool call_lock_new(struct actor *a)
{
    struct object *place = empty_place(a, LOCK);
    return place != NULL && begin_life(a, place, threading_lock_new()) != NULL;
}

static bool call_rlock_new(struct actor *a)
{
    struct object *place = empty_place(a, RLOCK);
    return place != NULL && begin_life(a, place, threading_rlock_new()) != NULL;
}

/* The lock that a call on this object is about: it itself, or the condition's. */
static inline struct object *lock_of(struct object *object)
{
    return object != NULL && object->over != NULL ? object->over : object;
}

/* May the one who holds it take it again? That of a churned condition is not known. */
static inline bool is_reentrant(enum kind kind, const struct object *object)
{
    return kind == RLOCK || (kind == CONDITION && object != NULL && object->over_rlock);
}

/* What a try to take it must come to, if what it is when it fails is `failure`. */
static inline statuses acquires(const struct actor *a, enum kind kind, threading_status failure)
{
    const struct object *lock = lock_of(a->choice.object);
    bool reentrant = is_reentrant(kind, a->choice.object);
    if (a->choice.whose == OWN)
        return ONE(reentrant || lock->levels == 0 ? THREADING_OK : failure);
    if (a->choice.whose == COMMON && reentrant && lock->levels > 0)
        return ONE(THREADING_OK);
    return EITHER(THREADING_OK, failure);
}

static inline statuses releases(const struct actor *a, enum kind kind)
{
    const struct object *lock = lock_of(a->choice.object);
    bool reentrant = is_reentrant(kind, a->choice.object);
    threading_status failure = reentrant ? THREADING_ERR_NOT_OWNER : THREADING_ERR_NOT_ACQUIRED;
    if (a->choice.whose == OWN || (a->choice.whose == COMMON && reentrant))
        return ONE(lock->levels > 0 ? THREADING_OK : failure);
    return EITHER(THREADING_OK, failure) | (kind == CONDITION ? ONE(THREADING_ERR_NOT_OWNER) : NONE);
}

/* At once, since whoever waits on a condition would wait for its lock for ever. It may be gone, or it was released by
 * somebody else. */
static void release_churned(enum kind kind, void *handle)
{
    threading_status status = kind == LOCK    ? threading_lock_release(handle)
                              : kind == RLOCK ? threading_rlock_release(handle)
                                              : threading_condition_release(handle);
    HOLDS(status == THREADING_OK || status == THREADING_ERR_HANDLE ||
          (kind == LOCK && status == THREADING_ERR_NOT_ACQUIRED));
    if (status != THREADING_OK)
        forget_error(here);
}

/* After a success: a common lock's state is known only where it is the actor's. */
static inline void count_levels(const struct actor *a, enum kind kind, int change)
{
    struct object *object = a->choice.object;
    if (change > 0 && a->choice.whose == CHURNED)
        release_churned(kind, a->choice.handle);
    if (a->choice.whose == OWN || (a->choice.whose == COMMON && is_reentrant(kind, object)))
        lock_of(object)->levels += (size_t)change;
}

#define LOCK_CALLS(KIND, type)                                                                               \
    static void release_##type##_for(struct favour *favour)                                                  \
    {                                                                                                        \
        HOLDS(threading_##type##_release(favour->handle) == THREADING_OK);                                   \
    }                                                                                                        \
    static bool call_##type##_acquire(struct actor *a)                                                       \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        statuses known = acquires(a, KIND, THREADING_TIMED_OUT);                                             \
        struct favour favour = {.timer = NULL};                                                              \
        if (choice.whose != BAD && known != ONE(THREADING_OK)) {                                             \
            if (!own || !may_ask_favour(a))                                                                  \
                return false;                                                                                \
            ask_favour(&favour, release_##type##_for, h);                                                    \
            lock_of(o)->levels = 0;                                                                          \
            known = ONE(THREADING_OK);                                                                       \
        }                                                                                                    \
        if (expect(a, threading_##type##_acquire(h), NONE, known, known))                                    \
            count_levels(a, KIND, 1);                                                                        \
        if (favour.timer != NULL)                                                                            \
            thank(&favour);                                                                                  \
        return true;                                                                                         \
    }                                                                                                        \
    static bool call_##type##_try_acquire(struct actor *a)                                                   \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        statuses known = acquires(a, KIND, THREADING_WOULD_BLOCK);                                           \
        if (expect(a, threading_##type##_try_acquire(h), NONE, known, known))                                \
            count_levels(a, KIND, 1);                                                                        \
        return true;                                                                                         \
    }                                                                                                        \
    static bool call_##type##_acquire_timeout(struct actor *a)                                               \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        statuses known = acquires(a, KIND, THREADING_TIMED_OUT);                                             \
        struct seconds seconds = next_seconds(&a->bytes, choice.whose == BAD || known == ONE(THREADING_OK)); \
        if (expect(a, threading_##type##_acquire_timeout(h, seconds.value), seconds.error, known, known))    \
            count_levels(a, KIND, 1);                                                                        \
        return true;                                                                                         \
    }                                                                                                        \
    static bool call_##type##_release(struct actor *a)                                                       \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        statuses known = releases(a, KIND);                                                                  \
        if (expect(a, threading_##type##_release(h), NONE, known, known))                                    \
            count_levels(a, KIND, -1);                                                                       \
        return true;                                                                                         \
    }                                                                                                        \
    static bool call_##type##_locked(struct actor *a)                                                        \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        bool locked = threading_##type##_locked(h);                                                          \
        if (!expect_answer(a, !locked, NONE))                                                                \
            return true;                                                                                     \
        if (own || (o != NULL && is_reentrant(KIND, o) && lock_of(o)->levels > 0))                           \
            EXPECT(a, locked == (lock_of(o)->levels > 0));                                                   \
        return true;                                                                                         \
    }                                                                                                        \
    static bool call_##type##_at_fork_reinit(struct actor *a)                                                \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        if (o == NULL ? choice.whose == CHURNED : !own)                                                      \
            return false; /* others may hold it */                                                           \
        if (expect(a, threading_##type##_at_fork_reinit(h), NONE, ONE(THREADING_OK), NONE))                  \
            lock_of(o)->levels = 0;                                                                          \
        return true;                                                                                         \
    }

LOCK_CALLS(LOCK, lock)
LOCK_CALLS(RLOCK, rlock)

static bool call_rlock_is_owned(struct actor *a)
{
    CHOOSE(a, RLOCK, rlock);
    bool owned = threading_rlock_is_owned(h);
    if (expect_answer(a, !owned, NONE) && o != NULL)
        EXPECT(a, owned == (o->levels > 0));
    return true;
}

static bool call_rlock_recursion_count(struct actor *a)
{
    CHOOSE(a, RLOCK, rlock);
    size_t levels = threading_rlock_recursion_count(h);
    if (expect_answer(a, levels == 0, NONE) && o != NULL)
        EXPECT(a, levels == o->levels);
    return true;
}

#endif

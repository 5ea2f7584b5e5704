/* The calls on locks, rlocks and conditions. */
#ifndef MISUSE_LOCKS_H
#define MISUSE_LOCKS_H

#include "favours.h"

static bool nested(struct actor *a);

FREE_AT_LAST(lock)
FREE_AT_LAST(rlock)
FREE_AT_LAST(condition)
REF_CALL(LOCK, lock)
FREE_CALL(LOCK, lock)
REF_CALL(RLOCK, rlock)
FREE_CALL(RLOCK, rlock)
REF_CALL(CONDITION, condition)

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
LOCK_CALLS(CONDITION, condition)

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

/* --------------------------------------------------------------------------------------------------- conditions */

static bool call_condition_new(struct actor *a)
{
    struct object *place = empty_place(a, CONDITION), *hidden;
    if (place == NULL)
        return false;
    begin_life(a, place, threading_condition_new());
    hidden = calloc(1, sizeof *hidden);
    EXPECT(a, hidden != NULL);
    place->over = place->hidden = hidden;
    place->over_rlock = true;
    return true;
}

/* Over a lock of the actor's; over a churned one it is given back at once. */
#define CONDITION_WITH(KIND, type)                                                                           \
    static bool call_condition_new_with_##type(struct actor *a)                                              \
    {                                                                                                        \
        struct object *place = empty_place(a, CONDITION);                                                    \
        if (place == NULL)                                                                                   \
            return false;                                                                                    \
        CHOOSE(a, KIND, type);                                                                               \
        threading_condition *made = threading_condition_new_with_##type(h);                                  \
        if (!expect_answer(a, made == NULL, NONE))                                                           \
            return true;                                                                                     \
        EXPECT(a, made != NULL);                                                                             \
        if (!own) {                                                                                          \
            free_condition(made);                                                                            \
            return true;                                                                                     \
        }                                                                                                    \
        *place = (struct object){.handle = made, .refs = 1, .over = o, .over_rlock = KIND == RLOCK};         \
        o->kept++;                                                                                           \
        return true;                                                                                         \
    }

CONDITION_WITH(LOCK, lock)
CONDITION_WITH(RLOCK, rlock)

static bool call_condition_free(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    if (choice.whose == CHURNED || (choice.whose == COMMON && o->refs == 0))
        return false;
    if (!expect(a, threading_condition_free(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)))
        return true;
    if (--o->refs == 0 && own) {
        struct object *over = o->over, *hidden = o->hidden;
        enum kind kind = o->over_rlock ? RLOCK : LOCK;
        review(a, CONDITION, o);
        free(hidden);
        if (hidden == NULL) {
            over->kept--;
            review(a, kind, over);
        }
    }
    return true;
}

static bool call_condition_is_owned(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    bool owned = threading_condition_is_owned(h);
    if (expect_answer(a, !owned, NONE) && o != NULL)
        EXPECT(a, owned == (o->over->levels > 0));
    return true;
}

/* What a wait or a notify must answer; `held` if the lock is held as it should. */
static inline statuses if_held(const struct actor *a, statuses held)
{
    if (a->choice.object == NULL)
        return held | ONE(THREADING_ERR_NOT_OWNER);
    return a->choice.object->over->levels > 0 ? held : ONE(THREADING_ERR_NOT_OWNER);
}

static bool call_condition_notify(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    statuses known = if_held(a, ONE(THREADING_OK));
    int64_t n = next_count(&a->bytes);
    expect(a, threading_condition_notify(h, n), NONE, known, known);
    return true;
}

static bool call_condition_notify_all(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    statuses known = if_held(a, ONE(THREADING_OK));
    expect(a, threading_condition_notify_all(h), NONE, known, known);
    return true;
}

static void notify_for(struct favour *favour)
{
    do {
        HOLDS(threading_condition_acquire(favour->handle) == THREADING_OK);
        HOLDS(threading_condition_notify(favour->handle, 1) == THREADING_OK);
        HOLDS(threading_condition_release(favour->handle) == THREADING_OK);
    } while (!atomic_load(&favour->enough));
}

/* Would a wait on it wait? Then somebody has to be asked to notify; false if nobody can be. */
static inline bool notified(struct actor *a, struct favour *favour)
{
    if (a->choice.whose == BAD || (a->choice.object != NULL && a->choice.object->over->levels == 0))
        return true;
    if (a->choice.whose != OWN || !may_ask_favour(a))
        return false;
    ask_favour(favour, notify_for, a->choice.handle);
    return true;
}

/* Once the wait is over, the lock is given up for the notifier, which may be in its acquire, and taken again. */
static inline void thank_notifier(struct actor *a, struct favour *favour)
{
    size_t levels = a->choice.object->over->levels;
    atomic_store(&favour->enough, true);
    for (size_t i = 0; i < levels; i++)
        EXPECT(a, threading_condition_release(a->choice.handle) == THREADING_OK);
    thank(favour);
    for (size_t i = 0; i < levels; i++)
        EXPECT(a, threading_condition_acquire(a->choice.handle) == THREADING_OK);
}

static bool call_condition_wait(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct favour favour = {.timer = NULL};
    if (!notified(a, &favour))
        return false;
    statuses known = if_held(a, ONE(THREADING_OK));
    expect(a, threading_condition_wait(h), NONE, known, known);
    if (favour.timer != NULL)
        thank_notifier(a, &favour);
    return true;
}

/* Nobody notifies an own one; a common one may be notified by others. */
static bool call_condition_wait_timeout(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    bool waits = choice.whose != BAD && (o == NULL || o->over->levels > 0);
    bool taken = choice.whose == CHURNED && threading_condition_try_acquire(h) == THREADING_OK;
    struct seconds seconds = next_seconds(&a->bytes, !waits);
    if (choice.whose == CHURNED)
        forget_error(a);
    expect(a, threading_condition_wait_timeout(h, seconds.value), seconds.error,
           if_held(a, ONE(THREADING_TIMED_OUT)), if_held(a, EITHER(THREADING_OK, THREADING_TIMED_OUT)));
    if (taken)
        release_churned(CONDITION, h);
    return true;
}

/* A predicate that says what is written down for it. */
struct answers {
    struct actor *actor;
    int answer[2]; /* the first time, and ever after */
    unsigned asked;
};

static int answer_as_told(void *arg)
{
    struct answers *answers = arg;
    (void)nested(answers->actor);
    return answers->answer[answers->asked++ == 0 ? 0 : 1];
}

static inline int next_answer(struct actor *a)
{
    static const int answers[] = {0, 1, -1, INT32_MAX, INT32_MIN, 0};
    return answers[next_byte(&a->bytes) % COUNT(answers)];
}

static inline statuses comes_to(int answer)
{
    return ONE(answer > 0 ? THREADING_OK : answer < 0 ? THREADING_ERR_CALLBACK : THREADING_TIMED_OUT);
}

static inline void expect_asked(struct actor *a, const struct answers *answers, statuses errors)
{
    struct object *o = a->choice.object;
    bool is_asked = errors == NONE && o != NULL && o->over->levels > 0;
    if (a->choice.whose == BAD || (o != NULL && !is_asked))
        EXPECT(a, answers->asked == 0);
    if (is_asked)
        EXPECT(a, answers->answer[0] != 0 ? answers->asked == 1 : answers->asked >= 2);
}

static bool call_condition_wait_for(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct answers answers = {a, {next_answer(a), next_answer(a)}, 0};
    bool has_none = one_in(&a->bytes, 8);
    struct favour favour = {.timer = NULL};
    if (answers.answer[0] == 0 && !has_none) {
        if (answers.answer[1] == 0)
            answers.answer[1] = 1;
        if (!notified(a, &favour))
            return false;
    }
    statuses said = comes_to(answers.answer[answers.answer[0] == 0]);
    statuses errors = has_none ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses known = if_held(a, said);
    expect(a, threading_condition_wait_for(h, has_none ? NULL : answer_as_told, &answers), errors, known, known);
    expect_asked(a, &answers, errors);
    if (favour.timer != NULL)
        thank_notifier(a, &favour);
    return true;
}

static bool call_condition_wait_for_timeout(struct actor *a)
{
    CHOOSE(a, CONDITION, condition);
    struct answers answers = {a, {next_answer(a), next_answer(a)}, 0};
    bool has_none = one_in(&a->bytes, 8);
    bool waits = answers.answer[0] == 0 && choice.whose != BAD && (o == NULL || o->over->levels > 0);
    struct seconds seconds = next_seconds(&a->bytes, !waits);
    /* Both may be wrong: which of them is told is not said. */
    statuses errors = seconds.error | (has_none ? ONE(THREADING_ERR_VALUE) : NONE);
    statuses known = if_held(a, comes_to(answers.answer[answers.answer[0] == 0]));
    expect(a, threading_condition_wait_for_timeout(h, has_none ? NULL : answer_as_told, &answers, seconds.value),
           errors, known, known);
    expect_asked(a, &answers, errors);
    return true;
}

#endif

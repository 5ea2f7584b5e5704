/* The calls on conditions. */
#ifndef MISUSE_CONDITIONS_H
#define MISUSE_CONDITIONS_H

#include "locks.h"

FREE_AT_LAST(condition)
REF_CALL(CONDITION, condition)
LOCK_CALLS(CONDITION, condition)

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

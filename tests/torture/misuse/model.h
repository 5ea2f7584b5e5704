/* What is known of the objects, and so of what each call must answer.
 *
 * An actor makes calls, one after the other, in a thread of its own. It knows to the last detail the objects that it
 * alone uses: what a call on one of them must answer is exact. Of objects that all actors use it knows a set of
 * answers, and of those that another actor may free meanwhile one answer more. A bad handle must be refused by
 * whichever function gets it. After every call the last error is compared too. */
#ifndef MISUSE_MODEL_H
#define MISUSE_MODEL_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"

enum kind { THREAD, LIST, TIMER, LOCK, RLOCK, CONDITION, SEMAPHORE, EVENT, BARRIER, LOCAL, KINDS };

#define PLACES 5        /* how many objects of a kind an actor has at most */
#define STALE 16        /* how many freed handles of a kind it remembers */
#define PUBLISHED 64    /* how many freed handles of a kind all remember */
#define CHURNED_PLACES 3
#define ATTRIBUTES 3
#define FUNCTIONS_MOST 256 /* more than there are */

/* How far a thread, or a timer, has come. */
enum stage {
    FRESH,
    PENDING, /* a timer whose moment never comes */
    GATED,   /* started, and kept from ending by its errand */
    LEAVING, /* started, and about to end, or at its end */
    OVER
};

struct errand;
struct token;

/* An object that one actor alone uses, or what an actor knows of a common one. */
struct object {
    void *handle;  /* NULL: there is none in this place */
    unsigned refs; /* the actor's own */
    unsigned kept; /* by other objects of the actor's: a lock by conditions, a thread by its timer */

    size_t levels; /* how often a lock or an rlock is held */

    struct object *over; /* a condition's lock, or `hidden` */
    struct object *hidden;
    bool over_rlock;

    int64_t value, limit; /* a semaphore's; an event's value is 1 when it is set */
    bool bounded;

    size_t parties; /* a barrier's */
    double patience;
    bool broken, has_action;
    struct actor *actor; /* who uses it, for callbacks */
    uint8_t deed; /* what the action is to do */
    bool acting;

    bool destroys; /* a local has a destructor */
    bool has_init, met, has_value, has_attribute[ATTRIBUTES];
    void *value_set, *attribute[ATTRIBUTES];

    bool is_timer, is_foreign; /* a thread's; foreign: the actor's own thread, or main */
    enum stage stage;
    bool cancelled, daemon, has_target, too_big;
    bool was_tried; /* to start: for a moment it was enumerated */
    uint8_t override;
    bool owes;          /* its argument is to be destroyed */
    unsigned destroyed; /* how often that must have been */
    uint64_t ident;
    double interval;
    const char *given; /* what a thread's name must read; NULL if nobody has given or asked for one */
    struct errand *errand;
    struct object *partner; /* the timer's thread, the thread's timer */

    size_t length; /* a list's */
};

/* What several actors share. */
struct world {
    void *common[KINDS];                                /* objects that live as long as the world; some NULL */
    _Atomic(void *) churned[KINDS][CHURNED_PLACES];     /* objects that are replaced all the time */
    _Atomic(void *) published[KINDS][PUBLISHED];        /* handles that are stale for ever */
    atomic_uint next_published[KINDS];
    bool alone;  /* one actor only */
    bool closed; /* past the shutdown */
};

enum whose { BAD, OWN, COMMON, CHURNED };

struct choice {
    void *handle;
    struct object *object; /* of OWN and COMMON */
    enum whose whose;
};

struct function;

struct actor {
    struct bytes bytes;
    struct world *world;
    const struct function *function; /* the call that is being made */
    struct choice choice;            /* on this */
    bool only_bad;                   /* the call is to get a bad handle */
    struct object own[KINDS][PLACES];
    struct object common[KINDS];
    struct object itself; /* the thread that the actor is, once it has asked for it */
    bool is_started;      /* the library has started that thread */
    bool is_main;
    void *stale[KINDS][STALE];
    unsigned next_stale[KINDS];
    threading_status error; /* the last error, and its message */
    const char *message;
    void *on_stack; /* an address there */
    uint64_t calls, bad_calls;
    unsigned nesting;           /* how many callbacks are running that make calls */
    uint32_t made[FUNCTIONS_MOST]; /* by function: how often it has been called */
};

/* The actor that the calling thread is, for callbacks; NULL in threads that are no actors. */
static _Thread_local struct actor *here;

/* --------------------------------------------------------------------------------------------------- wrong answers */

/* Ends the process; whoever includes this says how. */
_Noreturn static void wrong(const char *file, int line, const char *what);

/* By the table of functions: a name, and, in a callback, now and then one more call, which must not change what the
 * outer one answers. */
static const char *function_name(const struct function *function);
static bool nested(struct actor *a);

_Noreturn static inline void wrong_answer(const struct actor *a, const char *file, int line, const char *what)
{
    static const char *const whose[] = {"a bad", "an own", "a common", "a churned"};
    char text[400];
    snprintf(text, sizeof text, "%s, call %llu of its thread, of %s handle (%p): %s", function_name(a->function),
             (unsigned long long)a->calls, whose[a->choice.whose], a->choice.handle, what);
    wrong(file, line, text);
}

/* What a call answered, against the model. */
#define EXPECT(a, cond) ((cond) ? (void)0 : wrong_answer((a), __FILE__, __LINE__, #cond " does not hold"))
/* The same where no call of an actor is being made. */
#define HOLDS(cond) ((cond) ? (void)0 : wrong(__FILE__, __LINE__, #cond " does not hold"))

/* --------------------------------------------------------------------------------------------------- the last error */

/* After a call that ended in this error, or, with THREADING_OK, in none: then an earlier error is still there. */
static inline void expect_last_error(struct actor *a, threading_status error)
{
    threading_status last = threading_last_error();
    const char *message = threading_last_error_message();
    a->calls++;
    if (error < 0) {
        EXPECT(a, last == error);
        EXPECT(a, message != NULL && message[0] != '\0');
        a->error = last;
        a->message = message;
    } else {
        EXPECT(a, last == a->error);
        EXPECT(a, message == a->message || strcmp(message, a->message) == 0);
    }
}

static inline void forget_error(struct actor *a)
{
    threading_clear_last_error();
    a->error = THREADING_OK;
    a->message = "";
}

static inline void expect_status(struct actor *a, threading_status got, statuses allowed)
{
    if (!is_one_of(got, allowed)) {
        char what[160];
        threading_status expected = 4;
        while (!is_one_of(expected, allowed) && expected > -17)
            expected--;
        snprintf(what, sizeof what, "it is %s, expected %s%s", threading_status_name(got),
                 threading_status_name(expected), allowed == ONE(expected) ? "" : " or another");
        wrong_answer(a, __FILE__, __LINE__, what);
    }
    expect_last_error(a, got);
}

/* A function with a status. `bad_arguments`: the errors of its arguments; `own` and `common`: what an object of the
 * actor's, or of all, must answer to good ones. True if it is a success. */
static inline bool expect(struct actor *a, threading_status got, statuses bad_arguments, statuses own,
                          statuses common)
{
    enum whose whose = a->choice.whose;
    statuses allowed = whose == BAD               ? ONE(THREADING_ERR_HANDLE)
                       : bad_arguments != NONE ? bad_arguments
                       : whose == OWN          ? own
                                               : common;
    if (whose == CHURNED)
        allowed |= ONE(THREADING_ERR_HANDLE);
    expect_status(a, got, allowed);
    return got == THREADING_OK;
}

/* A function without a status: true if what it told is an answer, and not a refusal. */
static inline bool expect_answer(struct actor *a, bool is_bad_answer, statuses bad_arguments)
{
    enum whose whose = a->choice.whose;
    statuses errors = whose == BAD ? ONE(THREADING_ERR_HANDLE) : bad_arguments;
    if (whose == CHURNED && is_bad_answer) {
        /* The error was cleared before the call. */
        threading_status last = threading_last_error();
        EXPECT(a, last == THREADING_OK || last == THREADING_ERR_HANDLE || is_one_of(last, errors));
        expect_last_error(a, last);
        return last == THREADING_OK;
    }
    if (errors == NONE) {
        expect_last_error(a, THREADING_OK);
        return true;
    }
    EXPECT(a, is_bad_answer);
    EXPECT(a, is_one_of(threading_last_error(), errors));
    expect_last_error(a, threading_last_error());
    return false;
}

#endif

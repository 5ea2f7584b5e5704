/* The model: what an actor knows about each object, and what a call must therefore return.
 *
 * An actor is a thread that makes random calls, one after the other. Each call is made on an object of one of four
 * origins, which decides how exact the expectation is:
 *
 *   INVALID  the handle is NULL, stale, of another kind or made up: the call must fail with THREADING_ERR_HANDLE.
 *   OWN      only this actor uses the object and knows its state: exactly one result is expected.
 *   SHARED   all actors use the object: several results are possible.
 *   CHURNED  another actor may free the object at any time: as SHARED, or THREADING_ERR_HANDLE.
 *
 * So each call_FUNCTION() does the same: CHOOSE() selects an object, a function named expected_...() computes the
 * set of possible statuses from the object's recorded state, and check_call() or check_getter() compares the result
 * and the last error with it. Then the recorded state is updated. */
#ifndef MISUSE_MODEL_H
#define MISUSE_MODEL_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"

enum kind { THREAD, LIST, TIMER, LOCK, RLOCK, CONDITION, SEMAPHORE, EVENT, BARRIER, LOCAL, KINDS };

#define SLOTS 5      /* objects of each kind that an actor can have */
#define STALE 16     /* freed handles of each kind that an actor remembers */
#define PUBLISHED 64 /* freed handles of each kind that the actors exchange */
#define CHURNED_SLOTS 3
#define ATTRIBUTES 3
#define FUNCTIONS_MAX 256 /* more than there are functions */

/* The life cycle of a thread or timer. */
enum stage {
    NOT_STARTED,
    PENDING,   /* a started timer whose interval is too long to expire */
    RUNNING,   /* started, and cannot finish before its task's gate is opened */
    FINISHING, /* started, and may have finished */
    FINISHED
};

struct task;
struct token;

/* What an actor knows about an object of its own, or about a shared object. */
struct object {
    void *handle;           /* NULL: this slot is empty */
    unsigned refs;          /* references that the actor holds */
    unsigned internal_refs; /* held by other objects of the actor: by conditions to a lock, by a timer to its thread */

    size_t recursion; /* how often this thread has acquired the lock or rlock */

    struct object *lock; /* the lock of a condition */
    struct object *implicit_lock;
    bool lock_is_rlock;

    int64_t value, limit; /* of a semaphore; the value of an event is 1 if it is set */
    bool bounded;

    size_t parties; /* of a barrier */
    double default_timeout;
    bool broken, has_action;
    struct actor *actor; /* the owner, for callbacks */
    uint8_t action;      /* an enum action: what the barrier's action does */
    bool action_may_run;

    bool has_destructor; /* the local has a destructor */
    bool has_init, init_called, has_value, has_attribute[ATTRIBUTES];
    void *current_value, *attribute[ATTRIBUTES];

    bool is_timer, is_foreign; /* of a thread; foreign: the actor's own thread, or main */
    enum stage stage;
    bool cancelled, daemon, has_target, too_big;
    bool start_failed; /* start() failed; until it did, threading_enumerate() listed the thread */
    uint8_t override;
    bool destructor_pending;   /* the argument's destructor has not been called yet */
    unsigned destructor_calls; /* how often the destructor must have been called */
    uint64_t ident;
    double interval;
    const char *name; /* the thread's name; NULL while it has its default name and that has not been read */
    struct task *task;
    struct object *partner; /* the thread of a timer, the timer of a thread */

    size_t length; /* of a list of threads */
};

/* What the actors share. */
struct world {
    void *shared[KINDS];                           /* objects that live as long as the world; NULL for some kinds */
    _Atomic(void *) churned[KINDS][CHURNED_SLOTS]; /* objects that the actors replace continually */
    _Atomic(void *) published[KINDS][PUBLISHED];   /* handles of freed objects */
    atomic_uint next_published[KINDS];
    bool is_single;    /* there is only one actor */
    bool is_shut_down; /* threading_shutdown() has returned */
};

enum origin { INVALID, OWN, SHARED, CHURNED };

struct choice {
    void *handle;
    struct object *object; /* for OWN and SHARED */
    enum origin origin;
};

struct function;

struct actor {
    struct bytes bytes;
    struct world *world;
    const struct function *function; /* the function that is being called */
    struct choice choice;            /* the object it is called on */
    bool only_invalid;               /* the next call must get an invalid handle */
    struct object own[KINDS][SLOTS];
    struct object shared[KINDS];
    struct object self; /* the actor's thread, once it has called threading_current_thread() */
    bool is_started;    /* that thread was started by the library */
    bool is_main;
    void *stale[KINDS][STALE];
    unsigned next_stale[KINDS];
    threading_status error; /* the expected last error of this thread, and its message */
    const char *message;
    void *on_stack; /* an address on the stack, as an invalid handle */
    uint64_t calls, invalid_calls;
    unsigned nesting;                          /* depth of callbacks that make calls */
    uint32_t calls_by_function[FUNCTIONS_MAX]; /* number of calls of each function */
};

/* The actor of the calling thread, for callbacks; NULL in threads that are not actors. */
static _Thread_local struct actor *current_actor;

/* -------------------------------------------------------------------------------------------------------- failures */

/* Reports a failure and ends the process. Defined by the program that includes this file. */
_Noreturn static void fail(const char *file, int line, const char *what);

/* Defined in functions.h. nested_call() makes, from a callback, one more random call now and then, which must not
 * change the result of the outer one. */
static const char *function_name(const struct function *function);
static bool nested_call(struct actor *a);

_Noreturn static inline void fail_call(const struct actor *a, const char *file, int line, const char *what)
{
    static const char *const origin[] = {"an invalid", "an own", "a shared", "a churned"};
    char text[400];
    snprintf(text, sizeof text, "%s, call %llu of its thread, on %s handle (%p): %s", function_name(a->function),
             (unsigned long long)a->calls, origin[a->choice.origin], a->choice.handle, what);
    fail(file, line, text);
}

/* Checks a result of the current call against the model. */
#define EXPECT(a, cond) ((cond) ? (void)0 : fail_call((a), __FILE__, __LINE__, #cond " does not hold"))
/* Checks a condition outside of an actor's calls. */
#define ASSERT(cond) ((cond) ? (void)0 : fail(__FILE__, __LINE__, #cond " does not hold"))

/* --------------------------------------------------------------------------------------------------- the last error */

/* Checks the last error after a call that returned `error`. A call that did not fail must leave the last error
 * unchanged. */
static inline void check_last_error(struct actor *a, threading_status error)
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

static inline void clear_error(struct actor *a)
{
    threading_clear_last_error();
    a->error = THREADING_OK;
    a->message = "";
}

static inline void check_status(struct actor *a, threading_status got, statuses allowed)
{
    if (!is_one_of(got, allowed)) {
        char what[160];
        threading_status expected = 4;
        while (!is_one_of(expected, allowed) && expected > -17)
            expected--;
        snprintf(what, sizeof what, "the status is %s, expected %s%s", threading_status_name(got),
                 threading_status_name(expected), allowed == ONE(expected) ? "" : " or another one");
        fail_call(a, __FILE__, __LINE__, what);
    }
    check_last_error(a, got);
}

/* Checks the status of a call. `argument_errors` are the errors expected because of the arguments, NONE if these are
 * valid; `own` and `shared` are the expected statuses for an object of that origin. Returns true if the call
 * succeeded. */
static inline bool check_call(struct actor *a, threading_status got, statuses argument_errors, statuses own,
                              statuses shared)
{
    enum origin origin = a->choice.origin;
    statuses allowed = origin == INVALID         ? ONE(THREADING_ERR_HANDLE)
                       : argument_errors != NONE ? argument_errors
                       : origin == OWN           ? own
                                                 : shared;
    if (origin == CHURNED)
        allowed |= ONE(THREADING_ERR_HANDLE);
    check_status(a, got, allowed);
    return got == THREADING_OK;
}

/* Checks a call that returns a value instead of a status. `is_error_value` is true if it returned what it returns on
 * failure. Returns true if the call succeeded, so that the value is meaningful. */
static inline bool check_getter(struct actor *a, bool is_error_value, statuses argument_errors)
{
    enum origin origin = a->choice.origin;
    statuses errors = origin == INVALID ? ONE(THREADING_ERR_HANDLE) : argument_errors;
    if (origin == CHURNED && is_error_value) {
        /* choose() has cleared the last error. */
        threading_status last = threading_last_error();
        EXPECT(a, last == THREADING_OK || last == THREADING_ERR_HANDLE || is_one_of(last, errors));
        check_last_error(a, last);
        return last == THREADING_OK;
    }
    if (errors == NONE) {
        check_last_error(a, THREADING_OK);
        return true;
    }
    EXPECT(a, is_error_value);
    EXPECT(a, is_one_of(threading_last_error(), errors));
    check_last_error(a, threading_last_error());
    return false;
}

#endif

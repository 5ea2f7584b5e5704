/* What the examples do about failure: say which call failed and why, and end.
 *
 *     threading_lock *lock = check(threading_lock_new());
 *     check(threading_lock_acquire(lock));
 *     if (check(threading_lock_try_acquire(lock)) == THREADING_WOULD_BLOCK) ...
 *
 * A call of the library fails in one of two ways: with a status below 0 or, where it returns a pointer,
 * with NULL. check() serves both and hands on what the call returned. Outcomes above 0, such as
 * THREADING_TIMED_OUT, are answers and no failures.
 *
 * Python raises an exception and prints a traceback; this is the nearest that so small a program comes
 * to it in C.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include <threading.h>

#define check(call)                                                                                        \
    _Generic((call), threading_status: check_status, const char *: check_text, default: check_pointer)(    \
        (call), #call)

/* _Exit and not exit: exit waits for the other threads, and those may be waiting for what has just failed. */
static inline void check_failed(const char *call)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", call, threading_last_error_message());
    _Exit(EXIT_FAILURE);
}

static inline threading_status check_status(threading_status status, const char *call)
{
    if (status < 0) {
        check_failed(call);
    }
    return status;
}

static inline const char *check_text(const char *text, const char *call)
{
    if (text == NULL) {
        check_failed(call);
    }
    return text;
}

static inline void *check_pointer(void *pointer, const char *call)
{
    if (pointer == NULL) {
        check_failed(call);
    }
    return pointer;
}

#endif

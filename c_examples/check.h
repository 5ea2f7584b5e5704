/* Error handling of the examples: print the call that failed and the error, and exit.
 *
 *     threading_lock *lock = check(threading_lock_new());
 *     check(threading_lock_acquire(lock));
 *     if (check(threading_lock_try_acquire(lock)) == THREADING_WOULD_BLOCK) ...
 *
 * A library function that fails returns a negative status or, if it returns a pointer, NULL. check()
 * handles both and returns the result of the call. Positive statuses such as THREADING_TIMED_OUT are not
 * failures.
 *
 * In Python, the call would raise an exception and print a traceback. This is the closest equivalent for a
 * small C program.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include <threading.h>

#define check(call)                                                                                        \
    _Generic((call), threading_status: check_status, const char *: check_text, default: check_pointer)(    \
        (call), #call)

/* Calls _Exit instead of exit, which waits for other threads that may be waiting for the failed call. */
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

/* Shows: a lock cannot be taken twice, not even by the thread that holds it.
 *
 * The second attempt only tries; had it waited, it would wait for ever, for itself. threading_rlock.c is
 * the same program with the lock for which this is no problem.
 *
 * Python's original leaves the lock locked, which is legal here as well; releasing what one holds is the
 * habit to have.
 */
#include "check.h"

#include <stdbool.h>
#include <stdio.h>

#include <threading.h>

static const char *truth(bool value)
{
    return value ? "True" : "False";
}

int main(void)
{
    threading_lock *lock = check(threading_lock_new());

    bool first = check(threading_lock_acquire(lock)) == THREADING_OK;
    printf("First try : %s\n", truth(first));
    bool second = check(threading_lock_try_acquire(lock)) == THREADING_OK;
    printf("Second try: %s\n", truth(second));

    check(threading_lock_release(lock));
    check(threading_lock_free(lock));
    return 0;
}

/* Shows: a lock cannot be acquired twice, even by the thread that holds it.
 *
 * The second call uses try_acquire; acquire would deadlock. threading_rlock.c is the same program with a
 * reentrant lock, which can be acquired again.
 *
 * The original Python program does not release the lock, which is also valid here. This program releases
 * it, which is good practice.
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

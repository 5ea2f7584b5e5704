/* Shows: a reentrant lock, which the thread that owns it can acquire again.
 *
 * The lock counts: it is unlocked after as many releases as acquires, and only its owner may release it.
 * This is useful if a function that locks calls another one that locks.
 *
 * The original Python program (2.7) prints True and then 1, because a nested acquire returned 1 there;
 * Python 3 prints True twice. This program prints the output that the article shows.
 */
#include "check.h"

#include <stdbool.h>
#include <stdio.h>

#include <threading.h>

int main(void)
{
    threading_rlock *lock = check(threading_rlock_new());

    bool first = check(threading_rlock_acquire(lock)) == THREADING_OK;
    printf("First try : %s\n", first ? "True" : "False");
    bool second = check(threading_rlock_try_acquire(lock)) == THREADING_OK;
    printf("Second try: %d\n", second);

    check(threading_rlock_release(lock));
    if (second) {
        check(threading_rlock_release(lock));
    }
    check(threading_rlock_free(lock));
    return 0;
}

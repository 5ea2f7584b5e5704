/* Shows: a re-entrant lock, which the thread that holds it may take again.
 *
 * The lock counts: others can have it after as many releases as there were acquires, and only its owner may
 * release it. Of use where one function that locks calls another.
 *
 * Python's original (2.7) prints True and then 1, as a nested acquire returned its count of one there;
 * Python 3 says True both times. This program prints what the article shows.
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

/* A shared library that contains a copy of libthreading. NAME is a or b. */
#include <threading.h>

#define PASTE_(name, what) name##what
#define PASTE(name, what) PASTE_(name, what)

static void *add(void *arg)
{
    *(int *)arg += 1;
    return NULL;
}

int PASTE(NAME, _works)(void);
int PASTE(NAME, _works)(void)
{
    int sum = 0;
    threading_lock *lock = threading_lock_new();
    threading_thread *thread = threading_thread_new(add, &sum);
    if (threading_lock_acquire(lock) != THREADING_OK || threading_thread_start(thread) != THREADING_OK ||
        threading_thread_join(thread) != THREADING_OK || threading_lock_release(lock) != THREADING_OK)
        return 0;
    return sum;
}

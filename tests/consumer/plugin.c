/*
 * A shared library that contains the static library, as a plugin or an interpreter's extension module does, and shows
 * nothing of it.
 */
#include <threading.h>

__attribute__((visibility("default"))) int plugin_works(void);

int plugin_works(void)
{
    threading_lock *lock = threading_lock_new();
    int works = threading_lock_acquire(lock) == THREADING_OK && threading_lock_release(lock) == THREADING_OK;
    return threading_lock_free(lock) == THREADING_OK && works;
}

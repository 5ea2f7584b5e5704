/*
 * A shared library that contains the static library and does not export its functions, like a plugin or an extension
 * module of an interpreter.
 */
#include <threading.h>

__attribute__((visibility("default"))) int plugin_works(void);

int plugin_works(void)
{
    threading_lock *lock = threading_lock_new();
    int works = threading_lock_acquire(lock) == THREADING_OK && threading_lock_release(lock) == THREADING_OK;
    return threading_lock_free(lock) == THREADING_OK && works;
}


/*
 * ----------------------------------------------------------------------------------------------------
 *
 * With
 *
 * A block that holds a lock and releases it when the block is left.
 *
 * The lock is released at the end of the block and when the block is left by return, goto, break or continue.
 * The statements break and continue leave the block, not a loop around it. longjmp() does not release the lock,
 * and pthread_exit() and thread cancellation release it only in code that is compiled with -fexceptions. Blocks
 * may be nested. They require C11 and the cleanup attribute of GCC and Clang; use std::lock_guard in C++.
 *
 * Taking an item; the result is NULL if there is none or the lock cannot be acquired:
 *     static void *take(threading_lock *lock, void **items, size_t *count)
 *     {
 *         THREADING_WITH(lock) {
 *             if (*count > 0)
 *                 return items[--*count];
 *         }
 *         return NULL;
 *     }
 */

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && defined(__GNUC__)

/** The object that a THREADING_WITH block holds, or NULL, and the function that releases it. Not for direct use. */
struct threading_with_guard {
    void *held;
    threading_status (*release)(void *held);
    bool enter;
};

static inline threading_status threading_with_release_lock(void *held)
{
    return threading_lock_release((threading_lock *)held);
}

static inline struct threading_with_guard threading_with_lock(threading_lock *lock)
{
    bool acquired = threading_lock_acquire(lock) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? lock : NULL, threading_with_release_lock, acquired};
    return guard;
}

static inline threading_status threading_with_release_rlock(void *held)
{
    return threading_rlock_release((threading_rlock *)held);
}

static inline struct threading_with_guard threading_with_rlock(threading_rlock *rlock)
{
    bool acquired = threading_rlock_acquire(rlock) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? rlock : NULL, threading_with_release_rlock, acquired};
    return guard;
}

static inline threading_status threading_with_release_condition(void *held)
{
    return threading_condition_release((threading_condition *)held);
}

static inline struct threading_with_guard threading_with_condition(threading_condition *condition)
{
    bool acquired = threading_condition_acquire(condition) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? condition : NULL, threading_with_release_condition, acquired};
    return guard;
}

static inline threading_status threading_with_release_semaphore(void *held)
{
    return threading_semaphore_release((threading_semaphore *)held);
}

static inline struct threading_with_guard threading_with_semaphore(threading_semaphore *semaphore)
{
    bool acquired = threading_semaphore_acquire(semaphore) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? semaphore : NULL, threading_with_release_semaphore, acquired};
    return guard;
}

static inline void threading_with_leave(struct threading_with_guard *guard)
{
    if (guard->held != NULL)
        (void)guard->release(guard->held);
}

/* Each guard has a unique name, since -Wshadow warns if nested guards have the same name. Compilers that implement C2y
   warn with -Wpedantic that __COUNTER__ is an extension of older C. A pragma disables the warning in Clang; in GCC, a
   pragma is not allowed where a statement is required, so the line number makes the name unique. */
#define THREADING_WITH_BEGIN_
#define THREADING_WITH_END_
#define THREADING_WITH_NUMBER_ __COUNTER__
#if defined(__clang__)
#if __has_warning("-Wc2y-extensions")
#undef THREADING_WITH_BEGIN_
#undef THREADING_WITH_END_
#define THREADING_WITH_BEGIN_                                                                                \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wc2y-extensions\"")
#define THREADING_WITH_END_ _Pragma("clang diagnostic pop")
#endif
#elif __GNUC__ >= 16
#undef THREADING_WITH_NUMBER_
#define THREADING_WITH_NUMBER_ __LINE__
#endif

/**
 * Acquires x, runs the block that follows, and releases x when the block is left.
 *
 * The expression x is evaluated once. If the object cannot be acquired, the block is skipped, and
 * threading_last_error() returns the reason.
 *
 * \param x a handle of type threading_lock, threading_rlock, threading_condition or threading_semaphore
 *
 * \blocks until x is acquired
 * \threadsafety any thread
 * \python `with x:`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_rlock_acquire, threading_condition_acquire, threading_semaphore_acquire
 */
#define THREADING_WITH(x) THREADING_WITH_BEGIN_ THREADING_WITH_NAMED_(x, THREADING_WITH_NUMBER_) THREADING_WITH_END_
#define THREADING_WITH_NAMED_(x, number) THREADING_WITH_GUARDED_(x, number)
#define THREADING_WITH_GUARDED_(x, number)                                                                   \
    for (struct threading_with_guard threading_with_guard_##number                                           \
             __attribute__((cleanup(threading_with_leave))) = _Generic((x),                                  \
                 threading_lock *: threading_with_lock,                                                      \
                 threading_rlock *: threading_with_rlock,                                                    \
                 threading_condition *: threading_with_condition,                                            \
                 threading_semaphore *: threading_with_semaphore)(x);                                        \
         threading_with_guard_##number.enter; threading_with_guard_##number.enter = false)

#endif

#ifdef __cplusplus
}
#endif

#endif /* THREADING_H */

/* Handles: every function that takes a handle returns ERR_HANDLE for anything but a live object of the right kind. */
#include "stepwise.h"
#include "test.h"

#include <sys/mman.h>

enum kind { THREAD, LIST, TIMER, LOCK, RLOCK, CONDITION, SEMAPHORE, EVENT, BARRIER, LOCAL, KINDS };

/* Every function that takes a handle: S returns a status, V returns a value. A function with other arguments is listed
 * again with invalid ones, because the handle must be checked first. */
#define FUNCTIONS(S, V)                                                                                 \
    V(THREAD, thread_ref, , (h))                                                                        \
    S(THREAD, thread_free, , (h))                                                                       \
    S(THREAD, thread_set_name, , (h, "touched"))                                                        \
    S(THREAD, thread_set_name, _null, (h, NULL))                                                        \
    S(THREAD, thread_set_name, _bad, (h, "\xff"))                                                       \
    V(THREAD, thread_name, , (h))                                                                       \
    S(THREAD, thread_set_daemon, , (h, 1))                                                              \
    V(THREAD, thread_is_daemon, , (h))                                                                  \
    S(THREAD, thread_set_stack_size, , (h, 1 << 20))                                                    \
    S(THREAD, thread_set_stack_size, _bad, (h, 1))                                                      \
    S(THREAD, thread_set_arg_destructor, , (h, NULL))                                                   \
    S(THREAD, thread_set_run, , (h, NULL))                                                              \
    V(THREAD, thread_run, , (h))                                                                        \
    S(THREAD, thread_start, , (h))                                                                      \
    S(THREAD, thread_join, , (h))                                                                       \
    S(THREAD, thread_join_timeout, , (h, 0))                                                            \
    S(THREAD, thread_join_timeout, _bad, (h, NAN))                                                      \
    V(THREAD, thread_is_alive, , (h))                                                                   \
    V(THREAD, thread_ident, , (h))                                                                      \
    V(THREAD, thread_native_id, , (h))                                                                  \
    V(THREAD, thread_result, , (h))                                                                     \
    V(THREAD, thread_arg, , (h))                                                                        \
    V(LIST, thread_list_len, , (h))                                                                     \
    V(LIST, thread_list_get, , (h, 0))                                                                  \
    V(LIST, thread_list_get, _bad, (h, SIZE_MAX))                                                       \
    S(LIST, thread_list_free, , (h))                                                                    \
    V(TIMER, timer_ref, , (h))                                                                          \
    S(TIMER, timer_free, , (h))                                                                         \
    V(TIMER, timer_thread, , (h))                                                                       \
    S(TIMER, timer_start, , (h))                                                                        \
    S(TIMER, timer_cancel, , (h))                                                                       \
    V(TIMER, timer_interval, , (h))                                                                     \
    V(LOCK, lock_ref, , (h))                                                                            \
    S(LOCK, lock_free, , (h))                                                                           \
    S(LOCK, lock_acquire, , (h))                                                                        \
    S(LOCK, lock_try_acquire, , (h))                                                                    \
    S(LOCK, lock_acquire_timeout, , (h, 1))                                                             \
    S(LOCK, lock_acquire_timeout, _bad, (h, NAN))                                                       \
    S(LOCK, lock_release, , (h))                                                                        \
    V(LOCK, lock_locked, , (h))                                                                         \
    S(LOCK, lock_at_fork_reinit, , (h))                                                                 \
    V(LOCK, condition_new_with_lock, , (h))                                                             \
    V(LOCK, lock_owner, , (h))                                                                          \
    S(LOCK, lock_set_name, , (h, "touched"))                                                            \
    S(LOCK, lock_set_name, _null, (h, NULL))                                                            \
    S(LOCK, lock_set_name, _bad, (h, "\xff"))                                                           \
    V(RLOCK, rlock_ref, , (h))                                                                          \
    S(RLOCK, rlock_free, , (h))                                                                         \
    S(RLOCK, rlock_acquire, , (h))                                                                      \
    S(RLOCK, rlock_try_acquire, , (h))                                                                  \
    S(RLOCK, rlock_acquire_timeout, , (h, 1))                                                           \
    S(RLOCK, rlock_acquire_timeout, _bad, (h, 1e300))                                                   \
    S(RLOCK, rlock_release, , (h))                                                                      \
    V(RLOCK, rlock_locked, , (h))                                                                       \
    V(RLOCK, rlock_is_owned, , (h))                                                                     \
    V(RLOCK, rlock_recursion_count, , (h))                                                              \
    S(RLOCK, rlock_at_fork_reinit, , (h))                                                               \
    V(RLOCK, condition_new_with_rlock, , (h))                                                           \
    V(RLOCK, rlock_owner, , (h))                                                                        \
    S(RLOCK, rlock_set_name, , (h, "touched"))                                                          \
    S(RLOCK, rlock_set_name, _null, (h, NULL))                                                          \
    S(RLOCK, rlock_set_name, _bad, (h, "\xff"))                                                         \
    V(CONDITION, condition_ref, , (h))                                                                  \
    S(CONDITION, condition_free, , (h))                                                                 \
    S(CONDITION, condition_acquire, , (h))                                                              \
    S(CONDITION, condition_try_acquire, , (h))                                                          \
    S(CONDITION, condition_acquire_timeout, , (h, 1))                                                   \
    S(CONDITION, condition_acquire_timeout, _bad, (h, -2))                                              \
    S(CONDITION, condition_release, , (h))                                                              \
    V(CONDITION, condition_locked, , (h))                                                               \
    V(CONDITION, condition_is_owned, , (h))                                                             \
    S(CONDITION, condition_wait, , (h))                                                                 \
    S(CONDITION, condition_wait_timeout, , (h, 1))                                                      \
    S(CONDITION, condition_wait_timeout, _bad, (h, NAN))                                                \
    S(CONDITION, condition_wait_for, , (h, return_false, NULL))                                         \
    S(CONDITION, condition_wait_for, _bad, (h, NULL, NULL))                                             \
    S(CONDITION, condition_wait_for_timeout, , (h, return_false, NULL, 1))                              \
    S(CONDITION, condition_wait_for_timeout, _null, (h, NULL, NULL, 1))                                 \
    S(CONDITION, condition_wait_for_timeout, _bad, (h, return_false, NULL, NAN))                        \
    S(CONDITION, condition_notify, , (h, 1))                                                            \
    S(CONDITION, condition_notify_all, , (h))                                                           \
    S(CONDITION, condition_at_fork_reinit, , (h))                                                       \
    S(CONDITION, condition_set_name, , (h, "touched"))                                                  \
    S(CONDITION, condition_set_name, _null, (h, NULL))                                                  \
    S(CONDITION, condition_set_name, _bad, (h, "\xff"))                                                 \
    V(SEMAPHORE, semaphore_ref, , (h))                                                                  \
    S(SEMAPHORE, semaphore_free, , (h))                                                                 \
    S(SEMAPHORE, semaphore_acquire, , (h))                                                              \
    S(SEMAPHORE, semaphore_try_acquire, , (h))                                                          \
    S(SEMAPHORE, semaphore_acquire_timeout, , (h, 1))                                                   \
    S(SEMAPHORE, semaphore_acquire_timeout, _bad, (h, NAN))                                             \
    S(SEMAPHORE, semaphore_release, , (h))                                                              \
    S(SEMAPHORE, semaphore_release_n, , (h, 2))                                                         \
    S(SEMAPHORE, semaphore_release_n, _bad, (h, 0))                                                     \
    V(SEMAPHORE, semaphore_value, , (h))                                                                \
    S(SEMAPHORE, semaphore_set_name, , (h, "touched"))                                                  \
    S(SEMAPHORE, semaphore_set_name, _null, (h, NULL))                                                  \
    S(SEMAPHORE, semaphore_set_name, _bad, (h, "\xff"))                                                 \
    V(EVENT, event_ref, , (h))                                                                          \
    S(EVENT, event_free, , (h))                                                                         \
    V(EVENT, event_is_set, , (h))                                                                       \
    S(EVENT, event_set, , (h))                                                                          \
    S(EVENT, event_clear, , (h))                                                                        \
    S(EVENT, event_wait, , (h))                                                                         \
    S(EVENT, event_wait_timeout, , (h, 1))                                                              \
    S(EVENT, event_wait_timeout, _bad, (h, 1e300))                                                      \
    S(EVENT, event_at_fork_reinit, , (h))                                                               \
    S(EVENT, event_set_name, , (h, "touched"))                                                          \
    S(EVENT, event_set_name, _null, (h, NULL))                                                          \
    S(EVENT, event_set_name, _bad, (h, "\xff"))                                                         \
    V(BARRIER, barrier_ref, , (h))                                                                      \
    S(BARRIER, barrier_free, , (h))                                                                     \
    S(BARRIER, barrier_set_timeout, , (h, 1))                                                           \
    S(BARRIER, barrier_set_timeout, _bad, (h, NAN))                                                     \
    S(BARRIER, barrier_wait, , (h, NULL))                                                               \
    S(BARRIER, barrier_wait_timeout, , (h, 1, NULL))                                                    \
    S(BARRIER, barrier_wait_timeout, _bad, (h, -2, NULL))                                               \
    S(BARRIER, barrier_reset, , (h))                                                                    \
    S(BARRIER, barrier_abort, , (h))                                                                    \
    V(BARRIER, barrier_parties, , (h))                                                                  \
    V(BARRIER, barrier_n_waiting, , (h))                                                                \
    V(BARRIER, barrier_broken, , (h))                                                                   \
    S(BARRIER, barrier_set_name, , (h, "touched"))                                                      \
    S(BARRIER, barrier_set_name, _null, (h, NULL))                                                      \
    S(BARRIER, barrier_set_name, _bad, (h, "\xff"))                                                     \
    V(LOCAL, local_ref, , (h))                                                                          \
    S(LOCAL, local_free, , (h))                                                                         \
    S(LOCAL, local_set, , (h, NULL))                                                                    \
    V(LOCAL, local_get, , (h))                                                                          \
    S(LOCAL, local_lookup, , (h, NULL))                                                                 \
    S(LOCAL, local_del, , (h))                                                                          \
    S(LOCAL, local_set_attr, , (h, "touched", NULL))                                                    \
    S(LOCAL, local_set_attr, _bad, (h, NULL, NULL))                                                     \
    S(LOCAL, local_get_attr, , (h, "touched", NULL))                                                    \
    S(LOCAL, local_get_attr, _bad, (h, NULL, NULL))                                                     \
    S(LOCAL, local_del_attr, , (h, "touched"))                                                          \
    S(LOCAL, local_del_attr, _bad, (h, NULL))

/* Wraps every function in one of the same type: V calls return the last error if the value is NULL, 0 or false. */
#define STATUS_CALL(kind, function, variant, args)                                                      \
    static threading_status call_##function##variant(void *h)                                           \
    {                                                                                                   \
        return threading_##function args;                                                               \
    }
#define VALUE_CALL(kind, function, variant, args)                                                       \
    static threading_status call_##function##variant(void *h)                                           \
    {                                                                                                   \
        return threading_##function args ? THREADING_OK : threading_last_error();                       \
    }
FUNCTIONS(STATUS_CALL, VALUE_CALL)

#define ROW(kind, function, variant, args) {"threading_" #function, kind, call_##function##variant},
static const struct {
    const char *name;
    enum kind kind;
    threading_status (*call)(void *handle);
} functions[] = {FUNCTIONS(ROW, ROW)};

static void check_err_handle(enum kind kind, void *handle, const char *what)
{
    for (size_t i = 0; i < TEST_COUNT(functions); i++) {
        threading_status got;
        if (functions[i].kind != kind)
            continue;
        threading_clear_last_error();
        got = functions[i].call(handle);
        if (got != THREADING_ERR_HANDLE || threading_last_error() != THREADING_ERR_HANDLE)
            test_fail(__FILE__, __LINE__, "%s of %s (%p) is %s, expected THREADING_ERR_HANDLE",
                      functions[i].name, what, handle, threading_status_name(got));
    }
}

/* How objects of each kind are created, referenced and freed. A thread list has no reference count. */
#define OBJECT(type, new)                                                                               \
    static void *new_##type(void)                                                                       \
    {                                                                                                   \
        void *object = threading_##new;                                                                 \
        CHECK(object != NULL);                                                                          \
        return object;                                                                                  \
    }
#define COUNTED(type, new)                                                                              \
    OBJECT(type, new)                                                                                   \
    static void *ref_##type(void *object)                                                               \
    {                                                                                                   \
        return threading_##type##_ref(object);                                                          \
    }
COUNTED(thread, thread_new(NULL, NULL))
OBJECT(list, enumerate())
COUNTED(timer, timer_new(1000, NULL, NULL))
COUNTED(lock, lock_new())
COUNTED(rlock, rlock_new())
COUNTED(condition, condition_new())
COUNTED(semaphore, semaphore_new(3))
COUNTED(event, event_new())
COUNTED(barrier, barrier_new(2, NULL, NULL))
COUNTED(local, local_new(NULL))

static const struct {
    void *(*new)(void);
    void *(*ref)(void *object);
    threading_status (*free)(void *object);
} objects_of[KINDS] = {
    [THREAD] = {new_thread, ref_thread, call_thread_free},
    [LIST] = {new_list, NULL, call_thread_list_free},
    [TIMER] = {new_timer, ref_timer, call_timer_free},
    [LOCK] = {new_lock, ref_lock, call_lock_free},
    [RLOCK] = {new_rlock, ref_rlock, call_rlock_free},
    [CONDITION] = {new_condition, ref_condition, call_condition_free},
    [SEMAPHORE] = {new_semaphore, ref_semaphore, call_semaphore_free},
    [EVENT] = {new_event, ref_event, call_event_free},
    [BARRIER] = {new_barrier, ref_barrier, call_barrier_free},
    [LOCAL] = {new_local, ref_local, call_local_free},
};

/* Creates one object of each kind. free_untouched() checks that nothing has changed them. */
static void new_objects(void *objects[KINDS])
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        objects[kind] = objects_of[kind].new();
    CHECK_STATUS(threading_thread_set_name(objects[THREAD], "untouched"), THREADING_OK);
    CHECK_STATUS(threading_local_set(objects[LOCAL], objects), THREADING_OK);
}

static void free_untouched(void *objects[KINDS])
{
    threading_thread *timer = threading_timer_thread(objects[TIMER]);
    CHECK_STR(threading_thread_name(objects[THREAD]), "untouched");
    CHECK_INT(threading_thread_ident(objects[THREAD]), 0);
    CHECK_INT(threading_thread_is_daemon(objects[THREAD]), 0);
    CHECK_INT(threading_thread_list_len(objects[LIST]), 1);
    CHECK_INT(threading_thread_ident(timer), 0);
    CHECK(!threading_lock_locked(objects[LOCK]));
    CHECK(!threading_rlock_locked(objects[RLOCK]));
    CHECK(!threading_condition_locked(objects[CONDITION]));
    CHECK_INT(threading_semaphore_value(objects[SEMAPHORE]), 3);
    CHECK(!threading_event_is_set(objects[EVENT]));
    CHECK_INT(threading_barrier_n_waiting(objects[BARRIER]), 0);
    CHECK(!threading_barrier_broken(objects[BARRIER]));
    CHECK_PTR(threading_local_get(objects[LOCAL]), objects);
    CHECK_STATUS(threading_local_get_attr(objects[LOCAL], "touched", NULL), THREADING_NO_VALUE);
    for (enum kind kind = 0; kind < KINDS; kind++)
        CHECK_STATUS(objects_of[kind].free(objects[kind]), THREADING_OK);
    for (enum kind kind = 0; kind < KINDS; kind++)
        check_err_handle(kind, objects[kind], "a freed handle");
}

static void null_handle(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        check_err_handle(kind, NULL, "NULL");
}

static void handle_of_another_kind(void)
{
    void *objects[KINDS];
    new_objects(objects);
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (enum kind other = 0; other < KINDS; other++)
            if (other != kind)
                check_err_handle(kind, objects[other], "a handle of another kind");
    check_err_handle(TIMER, threading_timer_thread(objects[TIMER]), "the thread of a timer");
    check_err_handle(TIMER, threading_main_thread(), "the main thread");
    free_untouched(objects);
}

static void pointer_that_is_not_a_handle(void)
{
    static char in_data[128];
    char on_stack[128] = {0}, *on_heap = malloc(128);
    char *no_access = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *objects[KINDS], *garbage[] = {
        (void *)1, (void *)8, (void *)64, (void *)4096, (void *)-1, (void *)-8, (void *)-64,
        (void *)(UINTPTR_MAX / 2), (void *)(UINTPTR_MAX / 2 + 1), (void *)(UINTPTR_MAX / 7 * 6),
        in_data, in_data + 64, on_stack, on_stack + 1, on_heap, on_heap + 16, no_access, no_access + 64,
        (void *)(uintptr_t)return_false, stdout, environ, objects, garbage,
    };
    CHECK(on_heap != NULL && no_access != MAP_FAILED);
    memset(on_heap, 0xff, 128);
    new_objects(objects);
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < TEST_COUNT(garbage); i++)
            check_err_handle(kind, garbage[i], "garbage");
    free_untouched(objects);
    free(on_heap);
    munmap(no_access, 4096);
}

static void address_near_an_object(void)
{
    static const ptrdiff_t distances[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 4096, -1, -8, -16, -64};
    void *objects[KINDS], *timer;
    new_objects(objects);
    /* Use a condition on the RLock above: the RLock of a condition is a live object too, at an unknown address. */
    CHECK_STATUS(threading_condition_free(objects[CONDITION]), THREADING_OK);
    objects[CONDITION] = threading_condition_new_with_rlock(objects[RLOCK]);
    timer = threading_timer_thread(objects[TIMER]);
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < TEST_COUNT(distances); i++) {
            uintptr_t address = (uintptr_t)objects[kind] + (uintptr_t)distances[i];
            bool lives = address == (uintptr_t)timer || address == (uintptr_t)threading_main_thread();
            for (enum kind other = 0; other < KINDS; other++)
                lives = lives || address == (uintptr_t)objects[other];
            if (!lives)
                check_err_handle(kind, (void *)address, "an address in or near an object");
        }
    free_untouched(objects);
}

static void free_of_each_reference(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        void *object = objects_of[kind].new();
        int references = 1;
        for (; objects_of[kind].ref != NULL && references < 1000; references++)
            CHECK_PTR(objects_of[kind].ref(object), object);
        for (; references > 0; references--)
            CHECK_STATUS_KEEPS_ERROR(objects_of[kind].free(object), THREADING_OK);
        for (int i = 0; i < 3; i++)
            CHECK_STATUS(objects_of[kind].free(object), THREADING_ERR_HANDLE);
        check_err_handle(kind, object, "a freed handle");
    }
}

/* A stale handle stays invalid, however often its memory has been reused. */
static void stale_handle(void)
{
    void *stale[KINDS], *newer[KINDS];
    for (enum kind kind = 0; kind < KINDS; kind++) {
        stale[kind] = objects_of[kind].new();
        CHECK_STATUS(objects_of[kind].free(stale[kind]), THREADING_OK);
    }
    for (int i = 0; i < 3000; i++) {
        new_objects(newer);
        for (enum kind kind = 0; kind < KINDS; kind++)
            for (enum kind old = 0; old < KINDS; old++)
                CHECK(newer[kind] != stale[old]);
        if (i % 100 == 0)
            for (enum kind kind = 0; kind < KINDS; kind++)
                check_err_handle(kind, stale[kind], "a handle freed long ago");
        free_untouched(newer);
    }
}

static void reused_slot(void)
{
    threading_lock *stale = threading_lock_new(), *newer_locks[1000];
    CHECK_STATUS(threading_lock_free(stale), THREADING_OK);
    for (int i = 0; i < test_many(300000); i++) {
        threading_lock *lock = threading_lock_new();
        CHECK(lock != NULL && lock != stale);
        CHECK(threading_lock_try_acquire(stale) == THREADING_ERR_HANDLE);
        CHECK(threading_lock_free(lock) == THREADING_OK);
    }
    for (size_t i = 0; i < TEST_COUNT(newer_locks); i++)
        CHECK((newer_locks[i] = threading_lock_new()) != stale);
    check_err_handle(LOCK, stale, "a handle freed long ago");
    for (size_t i = 0; i < TEST_COUNT(newer_locks); i++) {
        CHECK(!threading_lock_locked(newer_locks[i]));
        CHECK_STATUS(threading_lock_free(newer_locks[i]), THREADING_OK);
    }
}

static void borrowed_handle(void)
{
    threading_thread *main = threading_main_thread(), *thread;
    threading_thread_list *list = threading_enumerate();
    threading_timer *timer = new_timer();
    CHECK_STATUS(threading_thread_free(main), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_thread_free(threading_thread_list_get(list, 0)), THREADING_ERR_HANDLE);
    CHECK_PTR(threading_thread_list_get(list, 0), main);
    thread = threading_timer_thread(timer);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    CHECK(threading_thread_name(thread) != NULL);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    check_err_handle(THREAD, thread, "the thread of a freed timer");
    CHECK(threading_thread_is_alive(main));
    /* The program may free a reference that it has added. */
    CHECK_PTR(threading_thread_ref(main), main);
    CHECK_STATUS(threading_thread_free(main), THREADING_OK);
    CHECK_STATUS(threading_thread_free(main), THREADING_ERR_HANDLE);
    CHECK(threading_thread_is_alive(main));
}

/* The program has freed its reference, but the handle is valid while the library or a list holds one. */
static void freed_handle_with_other_references(void)
{
    threading_event *event = threading_event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    threading_timer *timer = new_timer();
    threading_thread_list *list;
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    CHECK(threading_thread_is_alive(thread));
    list = threading_enumerate();
    CHECK_PTR(threading_thread_list_get(list, 1), thread);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), event);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    wait_until(is_gone, thread);
    check_err_handle(THREAD, thread, "a thread that has ended");
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    thread = threading_timer_thread(timer);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_ERR_HANDLE);
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    wait_until(is_gone, thread);
    check_err_handle(TIMER, timer, "a cancelled timer without references");
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void *ref_and_free_often(void *object)
{
    for (int i = 0; i < test_many(20000); i++) {
        CHECK_PTR(threading_event_ref(object), object);
        CHECK_STATUS(threading_event_free(object), THREADING_OK);
    }
    return threading_event_free(object) == THREADING_OK ? object : NULL;
}

static void references_of_many_threads(void)
{
    threading_event *event = threading_event_new();
    threading_thread *threads[5];
    for (size_t i = 1; i < TEST_COUNT(threads); i++)
        CHECK_PTR(threading_event_ref(event), event);
    spawn_all(threads, ref_and_free_often, event);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        CHECK_PTR(join(threads[i]), event);
    check_err_handle(EVENT, event, "a freed handle");
}

/* One thread creates and frees locks; others use them without synchronization. */
struct shared {
    _Atomic(threading_lock *) lock;
    atomic_int over;
    atomic_long used;
};

static void *use_current_lock(void *arg)
{
    struct shared *shared = arg;
    while (!atomic_load(&shared->over)) {
        threading_lock *lock = atomic_load(&shared->lock);
        threading_status status = threading_lock_try_acquire(lock);
        if (status == THREADING_OK) {
            atomic_fetch_add(&shared->used, 1);
            status = threading_lock_release(lock);
            CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
        } else {
            CHECK(status == THREADING_WOULD_BLOCK || status == THREADING_ERR_HANDLE);
        }
    }
    return NULL;
}

static void handle_that_another_thread_frees(void)
{
    struct shared shared = {.lock = threading_lock_new()};
    threading_thread *threads[4];
    int made = 0;
    spawn_all(threads, use_current_lock, &shared);
    for (double stop = now() + 1; now() < stop; made++) {
        threading_lock *lock = threading_lock_new();
        CHECK(lock != NULL);
        CHECK_STATUS(threading_lock_free(atomic_exchange(&shared.lock, lock)), THREADING_OK);
    }
    atomic_store(&shared.over, 1);
    join_all(threads);
    CHECK(made > 0 && atomic_load(&shared.used) > 0);
    CHECK_STATUS(threading_lock_free(shared.lock), THREADING_OK);
}

/* -------------------------------------------------------------------------------- concurrent with the last free */

/* A real-time thread adds and frees references to objects that an ordinary thread on the same CPU is freeing. It must
 * not wait for that thread, which cannot run while the real-time thread does. */
static struct {
    _Atomic(threading_lock *) lock;
    _Atomic(threading_event *) event;
    _Atomic(threading_semaphore *) semaphore;
    atomic_int stop;
} freed;

static bool use_one_cpu(void)
{
#if defined(__linux__)
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return false;
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
        }
    }
#endif
    return false;
}

static void *make_and_free(void *arg)
{
    CHECK(use_one_cpu());
    while (!atomic_load(&freed.stop)) {
        threading_lock *lock = threading_lock_new();
        threading_event *event = threading_event_new();
        threading_semaphore *semaphore = threading_semaphore_new(0);
        atomic_store(&freed.lock, lock);
        atomic_store(&freed.event, event);
        atomic_store(&freed.semaphore, semaphore);
        while (threading_lock_free(lock) != THREADING_OK)
            ;
        while (threading_event_free(event) != THREADING_OK)
            ;
        while (threading_semaphore_free(semaphore) != THREADING_OK)
            ;
    }
    return arg;
}

#define REF_AND_FREE(kind)                                                                              \
    do {                                                                                                \
        threading_##kind *handle = atomic_load(&freed.kind);                                            \
        if (threading_##kind##_ref(handle) != NULL)                                                     \
            CHECK_STATUS(threading_##kind##_free(handle), THREADING_OK);                                \
        else                                                                                            \
            CHECK_STATUS(threading_##kind##_free(handle), THREADING_ERR_HANDLE);                        \
    } while (0)

static void *ref_and_free(void *longest)
{
    const struct sched_param param = {.sched_priority = 1};
    if (!use_one_cpu() || pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0) {
        *(double *)longest = -1;
        return NULL;
    }
    unsigned seed = 1;
    for (double end = now() + 2; now() < end;) {
        double start;
        seed = seed * 1103515245 + 12345;
        sleep_for((20 + seed / 65536 % 50) * 1e-6);
        start = now();
        REF_AND_FREE(lock);
        REF_AND_FREE(event);
        REF_AND_FREE(semaphore);
        if (now() - start > *(double *)longest)
            *(double *)longest = now() - start;
    }
    return NULL;
}

/* Returns the longest time, in seconds, of calls on handles that a preempted thread frees; -1 if it cannot be
 * measured. */
static double longest_call_beside_last_free(void)
{
    double longest = 0;
    threading_thread *ordinary, *urgent;
    atomic_store(&freed.stop, 0);
    atomic_store(&freed.lock, threading_lock_new());
    atomic_store(&freed.event, threading_event_new());
    atomic_store(&freed.semaphore, threading_semaphore_new(0));
    CHECK_STATUS(threading_lock_free(atomic_load(&freed.lock)), THREADING_OK);
    CHECK_STATUS(threading_event_free(atomic_load(&freed.event)), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(atomic_load(&freed.semaphore)), THREADING_OK);
    ordinary = spawn(make_and_free, NULL);
    urgent = spawn(ref_and_free, &longest);
    join(urgent);
    atomic_store(&freed.stop, 1);
    join(ordinary);
    return longest;
}

static void preempted_last_free(void)
{
    /* The kernel does not throttle a real-time thread that spins before 0.95 s. A virtual machine that is stopped may
     * cause such a time too, but hardly twice. */
    const double too_long = 0.2 * test_slowness();
    double longest = longest_call_beside_last_free();
    if (longest < 0)
        SKIP("this process may not use SCHED_FIFO");
    if (longest >= too_long)
        for (int i = 0; i < 4; i++)
            CHECK(longest_call_beside_last_free() < too_long);
}

/* Invalid handles that point to the block headers, at the start of the objects' memory. No function accepts or changes
 * them. */
static void start_of_a_block(void)
{
    enum { MANY = 4000, BLOCK = 65536 };
    static void *objects[MANY];
    for (enum kind kind = 0; kind < KINDS; kind++) {
        if (kind == LIST)
            continue;
        for (int i = 0; i < MANY; i++)
            objects[i] = objects_of[kind].new();
        for (int i = 0; i < MANY; i += 2)
            CHECK_STATUS(objects_of[kind].free(objects[i]), THREADING_OK);
        for (int i = 1; i < MANY; i += 500)
            for (uintptr_t generation = 0; generation < 64; generation += 21)
                check_err_handle(kind, (void *)((uintptr_t)objects[i] / BLOCK * BLOCK + generation),
                                 "the start of a block");
        for (int i = 0; i < MANY; i += 2)
            objects[i] = objects_of[kind].new();
        for (int i = 0; i < MANY; i++)
            CHECK_STATUS(objects_of[kind].free(objects[i]), THREADING_OK);
    }
}

#ifdef STEPWISE
static threading_lock *shared_lock, *unlocked_lock;

static void *locked_lock(void)
{
    threading_lock *lock = threading_lock_new();
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    return lock;
}

static void *owned_rlock(void)
{
    threading_rlock *rlock = threading_rlock_new();
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    return rlock;
}

static void *locked_condition(void)
{
    return threading_condition_new_with_lock(shared_lock);
}

static void *unlocked_condition(void)
{
    return threading_condition_new_with_lock(unlocked_lock);
}

static void *one_permit(void)
{
    return threading_semaphore_new(1);
}

static void *no_permit(void)
{
    return threading_semaphore_new(0);
}

static void *full_semaphore(void)
{
    return threading_semaphore_new_bounded(1);
}

static void *event_that_is_set(void)
{
    threading_event *event = threading_event_new();
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return event;
}

static void *one_party(void)
{
    return threading_barrier_new(1, NULL, NULL);
}

static void *broken_barrier(void)
{
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    CHECK_STATUS(threading_barrier_abort(barrier), THREADING_OK);
    return barrier;
}

/* The status of a function that returns a value, and has returned this one. */
static threading_status ok_if(bool is_expected)
{
    if (is_expected)
        return THREADING_OK;
    return threading_last_error() == THREADING_ERR_HANDLE ? THREADING_ERR_HANDLE : THREADING_ERR_VALUE;
}

static int is_true(void *arg)
{
    (void)arg;
    return 1;
}

static threading_status acquire_owned_rlock(void *rlock)
{
    threading_status status = threading_rlock_acquire(rlock);
    return status == THREADING_OK ? threading_rlock_release(rlock) : status;
}

static threading_status wait_condition(void *condition)
{
    threading_status status = threading_condition_wait_timeout(condition, 0);
    return status == THREADING_TIMED_OUT ? THREADING_OK : status;
}

static threading_status wait_for_true(void *condition)
{
    return threading_condition_wait_for(condition, is_true, NULL);
}

static threading_status semaphore_value(void *semaphore)
{
    return ok_if(threading_semaphore_value(semaphore) == 1);
}

static threading_status event_is_set(void *event)
{
    return ok_if(threading_event_is_set(event));
}

static threading_status barrier_parties(void *barrier)
{
    return ok_if(threading_barrier_parties(barrier) == 1);
}

/* Calls that succeed for the first object and would fail for the second. */
static const struct replaced {
    const char *name;
    void *(*make)(void);
    void *(*make_newer)(void);
    threading_status (*call)(void *object), (*free)(void *object);
    threading_status (*prepare)(void *object); /* called first in the thread of the call */
} replaced[] = {
    {"lock_try_acquire", new_lock, locked_lock, call_lock_try_acquire, call_lock_free, NULL},
    {"lock_acquire_timeout", new_lock, locked_lock, call_lock_acquire_timeout, call_lock_free, NULL},
    {"lock_release", locked_lock, new_lock, call_lock_release, call_lock_free, NULL},
    {"rlock_try_acquire", new_rlock, owned_rlock, call_rlock_try_acquire, call_rlock_free, NULL},
    {"rlock_acquire", new_rlock, owned_rlock, acquire_owned_rlock, call_rlock_free, call_rlock_acquire},
    {"rlock_release", new_rlock, owned_rlock, call_rlock_release, call_rlock_free, call_rlock_acquire},
    {"condition_wait", locked_condition, unlocked_condition, wait_condition, call_condition_free, NULL},
    {"condition_wait_for", locked_condition, unlocked_condition, wait_for_true, call_condition_free, NULL},
    {"condition_notify", locked_condition, unlocked_condition, call_condition_notify, call_condition_free, NULL},
    {"condition_notify_all", locked_condition, unlocked_condition, call_condition_notify_all, call_condition_free,
     NULL},
    {"condition_try_acquire", unlocked_condition, locked_condition, call_condition_try_acquire,
     call_condition_free, NULL},
    {"semaphore_try_acquire", one_permit, no_permit, call_semaphore_try_acquire, call_semaphore_free, NULL},
    {"semaphore_acquire_timeout", one_permit, no_permit, call_semaphore_acquire_timeout, call_semaphore_free, NULL},
    {"semaphore_release", one_permit, full_semaphore, call_semaphore_release, call_semaphore_free, NULL},
    {"semaphore_release_n", one_permit, full_semaphore, call_semaphore_release_n, call_semaphore_free, NULL},
    {"semaphore_value", one_permit, no_permit, semaphore_value, call_semaphore_free, NULL},
    {"event_wait", event_that_is_set, new_event, call_event_wait_timeout, call_event_free, NULL},
    {"event_is_set", event_that_is_set, new_event, event_is_set, call_event_free, NULL},
    {"barrier_wait", one_party, broken_barrier, call_barrier_wait_timeout, call_barrier_free, NULL},
    {"barrier_parties", one_party, broken_barrier, barrier_parties, call_barrier_free, NULL},
}, *replaced_now;

static void *call_replaced(void *object)
{
    threading_status status;
    if (replaced_now->prepare != NULL)
        CHECK_STATUS(replaced_now->prepare(object), THREADING_OK);
    threading_clear_last_error();
    begin_stepwise();
    status = replaced_now->call(object);
    end_stepwise();
    if (status != THREADING_OK && status != THREADING_ERR_HANDLE)
        test_fail(__FILE__, __LINE__, "threading_%s is %s", replaced_now->name, threading_status_name(status));
    if (replaced_now->call == call_condition_try_acquire && status == THREADING_OK)
        CHECK_STATUS(threading_lock_release(unlocked_lock), THREADING_OK);
    return NULL;
}

/* Stops the call after this many instructions, frees its object, and creates one in its memory for which the call would
 * fail. Returns false if the call ends before. */
static bool replace_after(int steps)
{
    void *object = replaced_now->make(), *newer = NULL;
    threading_thread *thread = start_stepwise(steps, call_replaced, object);
    bool has_stopped = is_stopped();
    threading_status status = replaced_now->free(object);
    CHECK(status == THREADING_OK || status == THREADING_ERR_BUSY);
    if (status == THREADING_OK)
        newer = replaced_now->make_newer();
    finish_stepwise(thread);
    CHECK_STATUS(replaced_now->free(status == THREADING_OK ? newer : object), THREADING_OK);
    return has_stopped;
}

static void object_is_replaced(void)
{
    shared_lock = locked_lock();
    unlocked_lock = threading_lock_new();
    stepped.patience = 0.01; /* many of the stops are while the call holds a mutex */
    for (replaced_now = replaced; replaced_now != replaced + TEST_COUNT(replaced); replaced_now++)
        interrupt_after_each(replace_after, 13);
    CHECK_STATUS(threading_lock_free(shared_lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(unlocked_lock), THREADING_OK);
}
#endif

static const struct test_case cases[] = {
    {"NULL is ERR_HANDLE for every function", null_handle},
    {"a live handle of another kind is ERR_HANDLE for every function", handle_of_another_kind},
    {"a pointer that is not a handle is ERR_HANDLE for every function", pointer_that_is_not_a_handle},
    {"an address in or near an object is ERR_HANDLE for every function", address_near_an_object},
    {"an address at the start of a block of objects is ERR_HANDLE for every function", start_of_a_block},
    {"a free of each reference is OK, and one more free is ERR_HANDLE", free_of_each_reference},
    {"a freed handle is ERR_HANDLE after thousands of newer objects of all kinds", stale_handle},
    {"a freed handle is ERR_HANDLE after its slot has been reused 300,000 times", reused_slot},
    {"a free of a borrowed handle is ERR_HANDLE, and of a reference to it OK", borrowed_handle},
    {"a freed handle works as long as the library or a list holds a reference", freed_handle_with_other_references},
    {"references that many threads add and free are all counted", references_of_many_threads},
    {"a call on a handle that another thread frees succeeds or is ERR_HANDLE", handle_that_another_thread_frees},
    {"a call does not wait for a preempted thread in its last free", preempted_last_free},
#ifdef STEPWISE
    {"a call whose object is freed and replaced during the call succeeds or is ERR_HANDLE", object_is_replaced},
#endif
};

TEST_MAIN(cases)

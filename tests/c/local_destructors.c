/* The values and attributes of locals are destroyed when they are replaced or deleted, when their thread exits, and by
 * the last free of the local. */
#include "local.h"

#include <sys/mman.h>

/* ------------------------------------------------------------- replaced, deleted, thread exit and last free */

static void replaced_and_deleted(void)
{
    threading_local *local = local_new(destroy);
    atomic_store(&destroyed.calls, 0);
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    check_destroyed(0, NULL);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_destroyed(1, &one);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    check_destroyed(2, &two);
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    check_destroyed(2, &two);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    check_destroyed(3, &three);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    check_destroyed(3, &three);

    CHECK_STATUS(threading_local_set_attr(local, "a", &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "a", &one), THREADING_OK);
    check_destroyed(3, &three);
    CHECK_STATUS(threading_local_set_attr(local, "a", &two), THREADING_OK);
    check_destroyed(4, &one);
    CHECK_STATUS(threading_local_set_attr(local, "b", &three), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(local, "a"), THREADING_OK);
    check_destroyed(5, &two);
    CHECK_STATUS(threading_local_set_attr(local, "b", NULL), THREADING_OK);
    check_destroyed(6, &three);
    local_free(local);
    check_destroyed(6, &three);
}

static threading_local *checked_local;
static void *expected_value;

static void check_while_destroying(void *value)
{
    check_value(checked_local, expected_value);
    destroy(value);
}

static void destructor_finds_new_value(void)
{
    threading_local *local = checked_local = local_new(check_while_destroying);
    atomic_store(&destroyed.calls, 0);
    expected_value = &two;
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_destroyed(1, &one);
    expected_value = NULL;
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    check_destroyed(2, &two);
    local_free(local);
}

struct exiting {
    threading_local *locals[2];
    threading_thread *self;
    uint64_t ident;
    bool calls_current;
};

static void *set_values(void *arg)
{
    struct exiting *exiting = arg;
    exiting->ident = threading_get_ident();
    if (exiting->calls_current)
        exiting->self = threading_current_thread();
    CHECK_STATUS(threading_local_set(exiting->locals[0], &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(exiting->locals[1], &two), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(exiting->locals[0], "name", &three), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(exiting->locals[0], "null", NULL), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    return NULL;
}

static void *set_values_and_pthread_exit(void *arg)
{
    set_values(arg);
    pthread_exit(arg);
}

static void check_all_destroyed(const struct exiting *exiting)
{
    int seen[3] = {0};
    CHECK_INT(atomic_load(&destroyed.calls), 3);
    for (int i = 0; i < 3; i++) {
        if (exiting->calls_current)
            CHECK_PTR(destroyed.call[i].by, exiting->self);
        CHECK_INT(destroyed.call[i].ident, exiting->ident);
        seen[0] += destroyed.call[i].value == &one;
        seen[1] += destroyed.call[i].value == &two;
        seen[2] += destroyed.call[i].value == &three;
    }
    CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
    atomic_store(&destroyed.calls, 0);
}

static void at_thread_exit(void)
{
    struct exiting exiting = {{local_new(destroy), local_new(destroy)}, NULL, 0, true};
    atomic_store(&destroyed.calls, 0);
    join(spawn(set_values, &exiting));
    check_all_destroyed(&exiting);
    join(spawn(set_values_and_pthread_exit, &exiting));
    check_all_destroyed(&exiting);
    join_foreign(spawn_foreign(set_values, &exiting));
    check_all_destroyed(&exiting);
    join_foreign(spawn_foreign(set_values_and_pthread_exit, &exiting));
    check_all_destroyed(&exiting);
    exiting.calls_current = false; /* a foreign thread need not have called current_thread */
    join_foreign(spawn_foreign(set_values, &exiting));
    check_all_destroyed(&exiting);
    local_free(exiting.locals[0]);
    local_free(exiting.locals[1]);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_INT(threading_active_count(), 1);
}

struct holder {
    threading_local *local;
    threading_barrier *barrier;
    bool delete;
};

/* Meets main at the barrier twice: after it has set its values, and after main has freed the local. */
static void *hold_values(void *arg)
{
    struct holder *holder = arg;
    CHECK_STATUS(threading_local_set(holder->local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(holder->local, "name", &two), THREADING_OK);
    if (holder->delete)
        CHECK_STATUS(threading_local_del(holder->local), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(holder->barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(holder->barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_local_lookup(holder->local, NULL), THREADING_ERR_HANDLE);
    return NULL;
}

static void at_last_free(void)
{
    threading_local *local = local_new(destroy);
    threading_barrier *barrier = threading_barrier_new(5, NULL, NULL);
    struct holder keeping = {local, barrier, false}, deleting = {local, barrier, true};
    threading_thread *ours[2];
    pthread_t foreign[2];
    CHECK(barrier != NULL);
    CHECK_PTR(threading_local_ref(local), local);
    for (int i = 0; i < 2; i++) {
        ours[i] = spawn(hold_values, i == 0 ? &keeping : &deleting);
        foreign[i] = spawn_foreign(hold_values, &keeping);
    }
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    atomic_store(&destroyed.calls, 0);
    local_free(local);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    check_value(local, &three);
    local_free(local);
    /* The value and the attribute of three threads, the attribute of the fourth, and main's value. */
    CHECK_INT(atomic_load(&destroyed.calls), 8);
    for (int i = 0; i < 8; i++)
        CHECK_PTR(destroyed.call[i].by, threading_main_thread());
    CHECK_STATUS(threading_local_set(local, &one), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    for (int i = 0; i < 2; i++) {
        join(ours[i]);
        join_foreign(foreign[i]);
    }
    CHECK_INT(atomic_load(&destroyed.calls), 8);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static struct {
    threading_local *local;
    threading_event *begun; /* set by the first destructor that the last free calls */
    threading_semaphore *checked;
    atomic_flag waited;
} freeing;

static void wait_for_checks(void *value)
{
    (void)value;
    /* In the first call only: a thread that has made its checks may exit and destroy its own value. */
    if (atomic_flag_test_and_set(&freeing.waited))
        return;
    CHECK_STATUS(threading_event_set(freeing.begun), THREADING_OK);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(freeing.checked, TEST_LIMIT), THREADING_OK);
}

static void *check_while_freed(void *barrier)
{
    CHECK_STATUS(threading_local_set(freeing.local, &one), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(freeing.begun, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_local_set(freeing.local, &two), THREADING_ERR_HANDLE);
    CHECK_FAILS(threading_local_get(freeing.local), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_semaphore_release(freeing.checked), THREADING_OK);
    return NULL;
}

static void gone_while_freed(void)
{
    threading_barrier *barrier = threading_barrier_new(3, NULL, NULL);
    threading_thread *threads[2];
    freeing.local = local_new(wait_for_checks);
    atomic_flag_clear(&freeing.waited);
    CHECK(barrier != NULL && (freeing.begun = threading_event_new()) != NULL);
    CHECK((freeing.checked = threading_semaphore_new(0)) != NULL);
    for (int i = 0; i < 2; i++)
        threads[i] = spawn(check_while_freed, barrier);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    local_free(freeing.local);
    for (int i = 0; i < 2; i++)
        join(threads[i]);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    CHECK_STATUS(threading_event_free(freeing.begun), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(freeing.checked), THREADING_OK);
}

/* A value whose destructor sets the next one in `local`. */
struct link {
    threading_local *local;
    struct link *next;
    atomic_int *count;
    bool attribute;
};

static void set_next(void *value)
{
    struct link *link = value;
    atomic_fetch_add(link->count, 1);
    if (link->next == NULL)
        return;
    if (link->next->attribute)
        CHECK_STATUS(threading_local_set_attr(link->local, "next", link->next), THREADING_OK);
    else
        CHECK_STATUS(threading_local_set(link->local, link->next), THREADING_OK);
}

static void *set_first(void *value)
{
    struct link *link = value;
    CHECK_STATUS(threading_local_set(link->local, link), THREADING_OK);
    return NULL;
}

static void values_set_in_destructors(void)
{
    atomic_int count = 0;
    threading_local *local = local_new(set_next), *other = local_new(set_next);
    struct link third = {local, NULL, &count, true}, second = {local, &third, &count, false};
    struct link first = {other, &second, &count, false}, endless = {local, &endless, &count, false};
    join(spawn(set_first, &first));
    CHECK_INT(atomic_load(&count), 3);
    join_foreign(spawn_foreign(set_first, &first));
    CHECK_INT(atomic_load(&count), 6);

    atomic_store(&count, 0);
    join(spawn(set_first, &endless));
    CHECK(atomic_load(&count) >= 3 && atomic_load(&count) <= 4);
    atomic_store(&count, 0);
    join_foreign(spawn_foreign(set_first, &endless));
    CHECK(atomic_load(&count) >= 3 && atomic_load(&count) <= 4);
    local_free(local);
    local_free(other);
}

static void free_in_destructor(void *value)
{
    threading_local **local = value;
    CHECK_STATUS(threading_local_free(*local), THREADING_OK);
    *local = NULL;
}

static void *set_own_address(void *value)
{
    threading_local **local = value;
    CHECK_STATUS(threading_local_set(*local, value), THREADING_OK);
    return NULL;
}

static void use_locals_in_destructor(void *value)
{
    threading_local **other = value, *another = local_new(NULL);
    CHECK_STATUS(threading_local_set(another, value), THREADING_OK);
    CHECK_STATUS(threading_local_free(another), THREADING_OK);
    CHECK_STATUS(threading_local_free(*other), THREADING_OK);
    *other = NULL;
}

static void locals_used_in_last_free(void)
{
    threading_local *local = local_new(use_locals_in_destructor), *other = local_new(NULL);
    CHECK_STATUS(threading_local_set(local, &other), THREADING_OK);
    CHECK_STATUS(threading_local_set(other, &local), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_PTR(other, NULL);
}

static void freed_in_its_destructor(void)
{
    threading_local *local = local_new(free_in_destructor), *old = local;
    join(spawn(set_own_address, &local));
    CHECK_PTR(local, NULL);
    CHECK_STATUS(threading_local_set(old, &one), THREADING_ERR_HANDLE);

    local = old = local_new(free_in_destructor);
    CHECK_STATUS(threading_local_set(local, &local), THREADING_OK);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    CHECK_PTR(local, NULL);
    CHECK_STATUS(threading_local_set(old, &one), THREADING_ERR_HANDLE);
}

/* ------------------------------------------------------------------------- thread exit during the last free */

static atomic_int ready;

static void *set_and_exit(void *local)
{
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
    atomic_fetch_add(&ready, 1);
    return NULL;
}

static bool all_are_ready(void *arg)
{
    return atomic_load(&ready) == *(int *)arg;
}

/* Threads exit while main makes the last free: each value is destroyed once, by its thread or by main. */
static void thread_exit_during_last_free(void)
{
    int threads = 4;
    for (int round = 0; round < test_many(300); round++) {
        threading_local *local = local_new(count_destroyed);
        threading_thread *ours[2];
        pthread_t foreign[2];
        atomic_store(&ready, 0);
        atomic_store(&destroyed_count, 0);
        for (int i = 0; i < 2; i++) {
            ours[i] = spawn(set_and_exit, local);
            foreign[i] = spawn_foreign(set_and_exit, local);
        }
        for (double end = now() + TEST_LIMIT; !all_are_ready(&threads);)
            CHECK(now() < end);
        local_free(local);
        for (int i = 0; i < 2; i++) {
            join(ours[i]);
            join_foreign(foreign[i]);
        }
        CHECK_INT(atomic_load(&destroyed_count), 8);
    }
}

/* ----------------------------------------------------------------------------------------- many destructors */

static struct {
    threading_local *local;
    long attributes, set_count;
} growing;

/* A destructor that sets another attribute of the same local, and an attribute and the value of a new local. */
static void set_more(void *value)
{
    char name[32];
    threading_local *local;
    atomic_fetch_add(&destroyed_count, 1);
    if (value != &one)
        return;
    snprintf(name, sizeof name, "another %ld", growing.set_count++);
    CHECK_STATUS(threading_local_set_attr(growing.local, name, &two), THREADING_OK);
    local = local_new(NULL);
    CHECK_STATUS(threading_local_set_attr(local, "name", &three), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
}

static void *set_attributes(void *arg)
{
    char name[32];
    for (long i = 0; i < growing.attributes; i++) {
        snprintf(name, sizeof name, "name %ld", i);
        CHECK_STATUS(threading_local_set_attr(growing.local, name, &one), THREADING_OK);
    }
    return arg;
}

/* This takes a fraction of a second with linear costs, and minutes with quadratic costs. */
static void destructors_set_more(void)
{
    growing.local = local_new(set_more);
    growing.attributes = test_many(20000);
    atomic_store(&destroyed_count, 0);
    join(spawn(set_attributes, NULL));
    CHECK_INT(atomic_load(&destroyed_count), 2 * growing.attributes);
    local_free(growing.local);
}

/* ------------------------------------------------------------------------------ the last free and other threads */

static struct {
    threading_local *local;
    threading_semaphore *set;
    threading_event *end;
    pthread_t threads[3];
    int joined;
    atomic_int destroyed_of_others;
    pid_t child;
} last_free;

static void *set_and_wait(void *arg)
{
    CHECK_STATUS(threading_local_set(last_free.local, arg), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(last_free.local, "name", arg), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(last_free.set), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(last_free.end, TEST_LIMIT), THREADING_OK);
    return NULL;
}

static void begin_last_free(threading_destructor destructor)
{
    last_free.local = local_new(destructor);
    last_free.joined = 0;
    atomic_store(&last_free.destroyed_of_others, 0);
    CHECK((last_free.set = threading_semaphore_new(0)) != NULL);
    CHECK((last_free.end = threading_event_new()) != NULL);
    atomic_store(&destroyed_count, 0);
    for (int i = 0; i < 3; i++)
        last_free.threads[i] = spawn_foreign(set_and_wait, &one);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(last_free.set, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_local_set(last_free.local, &two), THREADING_OK);
}

static void end_last_free(void)
{
    CHECK_STATUS(threading_event_set(last_free.end), THREADING_OK);
    for (; last_free.joined < 3; last_free.joined++)
        join_foreign(last_free.threads[last_free.joined]);
    CHECK_STATUS(threading_semaphore_free(last_free.set), THREADING_OK);
    CHECK_STATUS(threading_event_free(last_free.end), THREADING_OK);
}

/* A destructor. At the first value of another thread, it lets all other threads exit, which destroy those of their
 * values that the last free has not destroyed yet. */
static void join_all_threads(void *value)
{
    if (value == &one && atomic_fetch_add(&last_free.destroyed_of_others, 1) == 0) {
        CHECK_STATUS(threading_event_set(last_free.end), THREADING_OK);
        for (; last_free.joined < 3; last_free.joined++)
            join_foreign(last_free.threads[last_free.joined]);
    }
    atomic_fetch_add(&destroyed_count, 1);
}

static void *free_last(void *arg)
{
    local_free(last_free.local);
    return arg;
}

static void threads_exit_in_last_free(void)
{
    begin_last_free(join_all_threads);
    CHECK_STATUS(threading_local_del(last_free.local), THREADING_OK);
    atomic_store(&destroyed_count, 0);
    join_foreign(spawn_foreign(free_last, NULL));
    CHECK_INT(atomic_load(&destroyed_count), 6);
    end_last_free();
}

/* A destructor. At the first value of another thread, it forks, and the child continues the last free. */
static void fork_in_destructor(void *value)
{
    atomic_fetch_add(&destroyed_count, 1);
    if (value == &one && atomic_fetch_add(&last_free.destroyed_of_others, 1) == 0) {
        last_free.child = fork();
        may_change_errno();
        if (last_free.child == 0)
            atomic_store(&destroyed_count, 0);
    }
}

static void fork_in_last_free(void)
{
    begin_last_free(fork_in_destructor);
    local_free(last_free.local);
    if (last_free.child == 0) {
        /* The child destroys its own thread's value if that was left, and no values of other threads. */
        threading_local *newer = local_new(NULL);
        CHECK(atomic_load(&destroyed_count) <= 1);
        CHECK_FAILS(threading_local_get(last_free.local), THREADING_ERR_HANDLE);
        CHECK_STATUS(threading_local_set(newer, &one), THREADING_OK);
        local_free(newer);
        _exit(0);
    }
    CHECK_INT(atomic_load(&destroyed_count), 7);
    CHECK_INT(child_status(last_free.child), 0);
    end_last_free();
}

/* --------------------------------------------------------------------------------- forks at the end of a thread */

enum { LOCALS_AT_END = 3 };

static struct {
    threading_local *locals[LOCALS_AT_END];
    atomic_int *destroyed; /* by the child, in memory that it shares with the parent */
    atomic_int thread_ended;
    pid_t child; /* -1 before the fork */
} at_end;

static void *end_late(void *arg)
{
    sleep_for(0.02);
    atomic_store(&at_end.thread_ended, 1);
    return arg;
}

/* A destructor. In the child, the thread that has forked ends as the main thread, which waits for another one. */
static void fork_once(void *value)
{
    (void)value;
    if (at_end.child != -1)
        return;
    at_end.child = fork();
    may_change_errno();
    if (at_end.child == 0)
        CHECK_STATUS(threading_thread_free(spawn(end_late, NULL)), THREADING_OK);
}

static void destroy_after_the_join(void *value)
{
    (void)value;
    if (at_end.child == 0) {
        CHECK_INT(atomic_load(&at_end.thread_ended), 1);
        atomic_fetch_add(at_end.destroyed, 1);
    }
}

static void destroy_or_fork(void *value)
{
    if (at_end.child == -1)
        fork_once(value);
    else
        destroy_after_the_join(value);
}

static void *set_values_at_end(void *arg)
{
    for (int i = 0; i < LOCALS_AT_END; i++)
        CHECK_STATUS(threading_local_set(at_end.locals[i], arg), THREADING_OK);
    return arg;
}

static void fork_at_the_end(bool in_timer, bool by_argument)
{
    threading_timer *timer = NULL;
    threading_thread *thread;
    at_end.child = -1;
    atomic_store(at_end.destroyed, 0);
    for (int i = 0; i < LOCALS_AT_END; i++)
        at_end.locals[i] = local_new(by_argument ? destroy_after_the_join : destroy_or_fork);
    fflush(stdout);
    if (in_timer) {
        timer = threading_timer_new(0, set_values_at_end, &one);
        thread = threading_timer_thread(timer);
    } else {
        thread = threading_thread_new(set_values_at_end, &one);
    }
    if (by_argument)
        CHECK_STATUS(threading_thread_set_arg_destructor(thread, fork_once), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(in_timer ? threading_timer_free(timer) : threading_thread_free(thread), THREADING_OK);
    CHECK_INT(child_status(at_end.child), 0);
    CHECK_INT(atomic_load(at_end.destroyed), by_argument ? LOCALS_AT_END : LOCALS_AT_END - 1);
    for (int i = 0; i < LOCALS_AT_END; i++)
        local_free(at_end.locals[i]);
}

static void forks_at_the_end(void)
{
    SKIP_FORK_IF_PORTABLE();
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
    if (TEST_SANITIZED)
        SKIP("sanitizers do not support threads in a child of a process with threads");
    at_end.destroyed = mmap(NULL, sizeof *at_end.destroyed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at_end.destroyed != MAP_FAILED);
    for (int in_timer = 0; in_timer < 2; in_timer++)
        for (int by_argument = 0; by_argument < 2; by_argument++)
            fork_at_the_end(in_timer, by_argument);
    CHECK_INT(munmap(at_end.destroyed, sizeof *at_end.destroyed), 0);
}

/* ------------------------------------------------------------------------------------ without membarrier */

#if defined(HAS_FILTERS)
/* The library has found that membarrier works when it was loaded. */
static void free_without_membarrier(void)
{
    block_system_call(SYS_membarrier);
    at_thread_exit();
    at_last_free();
    gone_while_freed();
    thread_exit_during_last_free();
    threads_exit_in_last_free();
}
#endif

static void membarrier_fails_later(void)
{
#if defined(HAS_FILTERS)
    if (TEST_SANITIZED || test_slowness() != 1)
        SKIP("the tool needs its system calls");
    if (run_in_child(free_without_membarrier))
        return;
#endif
    SKIP("the system has no filters of system calls");
}

static const struct test_case cases[] = {
    {"set and del destroy the previous value in the calling thread, but never NULL", replaced_and_deleted},
    {"a destructor that set calls finds the new value in the local", destructor_finds_new_value},
    {"a thread, also a foreign one, destroys its values before join returns", at_thread_exit},
    {"the last free destroys the values of all threads in the calling thread", at_last_free},
    {"no thread finds its value after the last free has begun to destroy values", gone_while_freed},
    {"values that destructors set are destroyed in at most four rounds", values_set_in_destructors},
    {"a local may be freed in its own destructor", freed_in_its_destructor},
    {"a destructor that the last free calls may create, use and free locals", locals_used_in_last_free},
    {"a value is destroyed once if its thread exits during the last free", thread_exit_during_last_free},
    {"20,000 attributes whose destructors set further ones cost no more per attribute than one", destructors_set_more},
    {"threads may exit while the last free destroys their values", threads_exit_in_last_free},
    {"a destructor that the last free calls may fork; the child destroys no values of other threads",
     fork_in_last_free},
    {"a child that a destructor forks at the end of a thread destroys the other values when it has joined its threads",
     forks_at_the_end},
    {"values are destroyed where the kernel forbids membarrier after the library was loaded", membarrier_fails_later},
    {"all cases pass where the kernel forbids membarrier", membarrier_fails_always},
};

TEST_MAIN(cases)

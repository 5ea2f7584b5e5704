/* One thread writes, and lets another go on that writes too: by each object of the library there is a way to do that
 * right, of which a race detector has nothing to say, and one to do it wrong, which it has to report.
 *
 *   objects WAY right|wrong
 *   objects             lists the ways, one a line
 *
 * Whether a way is right must follow from the object alone: nothing else here orders the two. */
#include <string.h>

#include "check.h"

static long shared;

static void touch(void)
{
    shared++;
}

static threading_event *event;
static threading_semaphore *semaphore;
static threading_lock *lock, *other_locks[2];
static threading_rlock *rlock;
static threading_condition *condition;
static threading_barrier *barrier;
static threading_local *local;
static threading_thread *first, *kept;
static threading_timer *timer;
static bool ready;

static void *touch_in_thread(void *arg)
{
    touch();
    return arg;
}

static void touch_value(void *value)
{
    (void)value;
    touch();
}

static int touch_in_action(void *arg)
{
    (void)arg;
    touch();
    return 0;
}

static void touch_in_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    (void)thread, (void)type, (void)message, (void)arg;
    touch();
}

/* ------------------------------------------------------------------------- what the first thread does last */

static void nothing(void)
{
}

static void set_event(void)
{
    CHECK_OK(threading_event_set(event));
}

static void release_semaphore(void)
{
    CHECK_OK(threading_semaphore_release(semaphore));
}

static void release_lock(void)
{
    CHECK_OK(threading_lock_release(lock));
}

static void notify(void)
{
    CHECK_OK(threading_condition_acquire(condition));
    ready = true;
    CHECK_OK(threading_condition_notify(condition, 1));
    CHECK_OK(threading_condition_release(condition));
}

static void wait_at_barrier(void)
{
    CHECK_OK(threading_barrier_wait(barrier, NULL));
}

static void free_kept(void)
{
    CHECK_OK(threading_thread_free(kept));
}

static void set_local(void)
{
    CHECK_OK(threading_local_set(local, &shared));
    CHECK_OK(threading_sleep(0.5));
}

static void register_atexit(void)
{
    CHECK_OK(threading_atexit(touch_value, NULL));
    CHECK_OK(threading_sleep(0.5));
}

static void set_hook(void)
{
    threading_set_excepthook(touch_in_hook, NULL);
    CHECK_OK(threading_sleep(0.5));
}

/* -------------------------------------------------------------- what the second thread, main, waits for */

static void wait_for_event(void)
{
    CHECK_OK(threading_event_wait(event));
}

static void wait_for_event_with_timeout(void)
{
    while (threading_event_wait_timeout(event, 0.01) != THREADING_OK)
        continue;
}

static void poll_event(void)
{
    while (!threading_event_is_set(event))
        CHECK_OK(threading_sleep(0.01));
}

static void acquire_semaphore(void)
{
    CHECK_OK(threading_semaphore_acquire(semaphore));
}

static void acquire_lock(void)
{
    CHECK_OK(threading_lock_acquire(lock));
}

static void try_lock(void)
{
    while (threading_lock_try_acquire(lock) != THREADING_OK)
        CHECK_OK(threading_sleep(0.01));
}

static void wait_for_notify(void)
{
    CHECK_OK(threading_condition_acquire(condition));
    while (!ready)
        CHECK_OK(threading_condition_wait(condition));
    CHECK_OK(threading_condition_release(condition));
}

static void join_first(void)
{
    CHECK_OK(threading_thread_join(first));
}

static void join_first_with_timeout(void)
{
    CHECK_OK(threading_thread_join_timeout(first, 60));
}

static void *join_in_thread(void *thread)
{
    CHECK_OK(threading_thread_join(thread));
    CHECK_OK(threading_thread_free(thread));
    return NULL;
}

/* Another joins it, and this one sees that it is over. */
static void see_it_over(void)
{
    threading_thread *joiner = threading_thread_new(join_in_thread, threading_thread_ref(first));
    CHECK(joiner != NULL);
    CHECK_OK(threading_thread_start(joiner));
    CHECK_OK(threading_thread_free(joiner));
    while (threading_thread_is_alive(first))
        CHECK_OK(threading_sleep(0.01));
}

static void see_result(void)
{
    while (threading_thread_result(first) == NULL)
        CHECK_OK(threading_sleep(0.01));
}

static void join_timer(void)
{
    CHECK_OK(threading_thread_join(threading_timer_thread(timer)));
}

static void free_local(void)
{
    CHECK_OK(threading_sleep(0.2));
    CHECK_OK(threading_local_free(local));
    local = NULL;
}

static void shut_down(void)
{
    CHECK_OK(threading_sleep(0.2));
    CHECK_OK(threading_shutdown_timeout(0));
}

static void report(void)
{
    CHECK_OK(threading_sleep(0.2));
    CHECK_OK(threading_report_exception("type", "message"));
}

/* A way: what the first thread does behind its write, and the second before its own, if it is not NULL. `touches`:
 * what the second calls writes by itself. */
static const struct way {
    const char *name;
    void (*first)(void), (*second)(void);
    bool touches;
} ways[] = {
    {"event", set_event, wait_for_event, false},
    {"event with a timeout", set_event, wait_for_event_with_timeout, false},
    {"event that is looked at", set_event, poll_event, false},
    {"semaphore", release_semaphore, acquire_semaphore, false},
    {"lock that another releases", release_lock, acquire_lock, false},
    {"lock that is tried", release_lock, try_lock, false},
    {"condition", notify, wait_for_notify, false},
    {"barrier", wait_at_barrier, wait_at_barrier, false},
    {"join", nothing, join_first, false},
    {"join with a timeout", nothing, join_first_with_timeout, false},
    {"end that another waits for", nothing, see_it_over, false},
    {"result", nothing, see_result, false},
    {"destructor of an argument", free_kept, free_kept, true},
    {"destructor of a local", set_local, free_local, true},
    {"atexit", register_atexit, shut_down, true},
    {"excepthook", set_hook, report, true},
};

static void *go_first(void *arg)
{
    const struct way *way = arg;
    touch();
    way->first();
    return arg;
}

static void take_turns(const struct way *way, bool wrong)
{
    first = threading_thread_new(go_first, (void *)way);
    CHECK(first != NULL);
    CHECK_OK(threading_thread_set_daemon(first, 1));
    CHECK_OK(threading_thread_start(first));
    if (wrong) {
        /* Twice: a tool may miss one of two accesses that are made in the same moment. */
        touch();
        CHECK_OK(threading_sleep(0.01));
        touch();
    }
    way->second();
    if (!wrong && !way->touches)
        touch();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

/* ------------------------------------------------------------------------------ what has another shape */

static void *with_lock(void *wrong)
{
    for (int i = 0; i < 100; i++) {
        if (wrong == NULL)
            CHECK_OK(threading_lock_acquire(lock));
        touch();
        if (wrong == NULL)
            CHECK_OK(threading_lock_release(lock));
    }
    return NULL;
}

static void *with_rlock(void *wrong)
{
    for (int i = 0; i < 100; i++) {
        if (wrong != NULL) {
            touch();
            continue;
        }
        CHECK_OK(threading_rlock_acquire(rlock));
        CHECK_OK(threading_rlock_acquire(rlock));
        CHECK_OK(threading_rlock_release(rlock));
        touch();
        CHECK_OK(threading_rlock_release(rlock));
    }
    return NULL;
}

/* Each holds a lock of its own, and uses whatever the library's own locks are behind. */
static void *with_others(void *other)
{
    threading_thread_list *list = threading_enumerate();
    threading_thread *thread = threading_thread_new(NULL, NULL);
    CHECK(list != NULL && thread != NULL && threading_current_thread() != NULL);
    CHECK_OK(threading_thread_set_name(thread, "other"));
    CHECK_OK(threading_lock_acquire(other_locks[other != NULL]));
    CHECK(threading_thread_name(threading_main_thread()) != NULL);
    touch();
    CHECK_OK(threading_lock_release(other_locks[other != NULL]));
    CHECK_OK(threading_thread_free(thread));
    CHECK_OK(threading_thread_list_free(list));
    return NULL;
}

static void both(threading_target target, bool wrong)
{
    threading_thread *threads[2];
    for (int i = 0; i < 2; i++) {
        threads[i] = threading_thread_new(target, wrong && i == 1 ? &shared : NULL);
        CHECK(threads[i] != NULL);
        CHECK_OK(threading_thread_start(threads[i]));
    }
    for (int i = 0; i < 2; i++) {
        CHECK_OK(threading_thread_join(threads[i]));
        CHECK_OK(threading_thread_free(threads[i]));
    }
}

static void lock_held(bool wrong)
{
    CHECK_OK(threading_lock_release(lock));
    both(with_lock, wrong);
    CHECK_OK(threading_lock_acquire(lock));
}

static void rlock_held(bool wrong)
{
    both(with_rlock, wrong);
}

static void others(bool wrong)
{
    if (wrong)
        both(with_others, true);
}

static void start(bool wrong)
{
    first = threading_thread_new(touch_in_thread, NULL);
    touch();
    CHECK_OK(threading_thread_start(first));
    if (wrong)
        touch();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

static void timer_start(bool wrong)
{
    touch();
    CHECK_OK(threading_timer_start(timer));
    if (wrong)
        touch();
    join_timer();
}

static void timer_join(bool wrong)
{
    CHECK_OK(threading_timer_start(timer));
    if (wrong)
        touch();
    join_timer();
    touch();
}

static void *arrive(void *arg)
{
    touch();
    wait_at_barrier();
    return arg;
}

static void barrier_action(bool wrong)
{
    CHECK_OK(threading_barrier_free(barrier));
    barrier = threading_barrier_new(2, touch_in_action, NULL);
    first = threading_thread_new(arrive, NULL);
    CHECK_OK(threading_thread_start(first));
    if (wrong)
        touch();
    wait_at_barrier();
    touch();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

static const struct shape {
    const char *name;
    void (*run)(bool wrong);
} shapes[] = {
    {"lock", lock_held},
    {"rlock", rlock_held},
    {"what has nothing to do with it", others},
    {"start", start},
    {"start of a timer", timer_start},
    {"join of a timer", timer_join},
    {"action of a barrier", barrier_action},
};

static void make_all(void)
{
    event = threading_event_new();
    semaphore = threading_semaphore_new(0);
    lock = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    barrier = threading_barrier_new(2, NULL, NULL);
    local = threading_local_new(touch_value);
    kept = threading_thread_new(NULL, &shared);
    timer = threading_timer_new(0.05, touch_in_thread, NULL);
    for (int i = 0; i < 2; i++)
        other_locks[i] = threading_lock_new();
    CHECK_OK(threading_lock_acquire(lock));
    CHECK_OK(threading_thread_set_arg_destructor(kept, touch_value));
    CHECK(threading_thread_ref(kept) == kept);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            puts(ways[i].name);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            puts(shapes[i].name);
        return 0;
    }
    bool wrong = strcmp(argv[2], "wrong") == 0;
    make_all();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, argv[1]) == 0) {
            take_turns(&ways[i], wrong);
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(shapes[i].name, argv[1]) == 0) {
            shapes[i].run(wrong);
            return 0;
        }
    }
    fprintf(stderr, "objects: no such way: %s\n", argv[1]);
    return 2;
}

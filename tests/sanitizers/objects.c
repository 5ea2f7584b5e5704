/* Two threads write to the same variable. Each scenario synchronizes the writes with one kind of object. Its right
 * variant has no race, and a race detector must not report one; its wrong variant has a race that it must report.
 *
 *   objects SCENARIO right|wrong
 *   objects all right|wrong STATUS  each scenario in a child of its own, which must exit with this status
 *   objects                         lists the scenarios, one per line
 *
 * In the right variant only the object may order the two writes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static long counter;

static void write_counter(void)
{
    counter++;
}

static threading_event *event;
static threading_semaphore *semaphore;
static threading_lock *lock, *other_locks[2];
static threading_rlock *rlock;
static threading_condition *condition;
static threading_barrier *barrier;
static threading_local *local;
static threading_thread *first, *referenced;
static threading_timer *timer;
static bool ready;

static void *write_in_thread(void *arg)
{
    write_counter();
    return arg;
}

static void write_in_destructor(void *value)
{
    (void)value;
    write_counter();
}

static int write_in_action(void *arg)
{
    (void)arg;
    write_counter();
    return 0;
}

static void write_in_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    (void)thread, (void)type, (void)message, (void)arg;
    write_counter();
}

/* A signal from one thread to the other that orders their actions, but not for the tools: these do not see system calls
 * that bypass the C library's read() and write(). So the tools still report a race between the two threads. */
struct unseen_signal {
    int pipe[2];
};

/* The first thread has done what the second one relies on; the second one no longer needs the first. */
static struct unseen_signal prepared, done;

static void send_unseen(struct unseen_signal *signal)
{
    char byte = 0;
    CHECK(syscall(SYS_write, signal->pipe[1], &byte, 1) == 1);
}

static void await_unseen(struct unseen_signal *signal)
{
    char byte;
    CHECK(syscall(SYS_read, signal->pipe[0], &byte, 1) == 1);
}

/* Ends the deadlock that it reports. */
static void write_in_hang_hook(int kind, const char *report, void *arg)
{
    (void)kind, (void)report, (void)arg;
    write_counter();
    CHECK_OK(threading_lock_release(lock));
}

/* ------------------------------------------------------------- what the first thread does after its write */

static void do_nothing(void)
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

static void free_reference(void)
{
    CHECK_OK(threading_thread_free(referenced));
}

/* The first thread must not end before the second one has made its write, since its end would destroy its local
 * value. */
static void let_second_continue(void)
{
    send_unseen(&prepared);
    await_unseen(&done);
}

static void set_local(void)
{
    CHECK_OK(threading_local_set(local, &counter));
    let_second_continue();
}

static void register_atexit(void)
{
    CHECK_OK(threading_atexit(write_in_destructor, NULL));
    let_second_continue();
}

static void set_hook(void)
{
    threading_set_excepthook(write_in_hook, NULL);
    let_second_continue();
}

/* The other thread writes its waits, and finds which thread has ended the last one. */
static void trace_and_set_event(void)
{
    int fd = open("/dev/null", O_WRONLY);
    CHECK(fd >= 0);
    CHECK_OK(threading_trace(fd));
    CHECK_OK(threading_sleep(0.2));
    CHECK_OK(threading_event_set(event));
    CHECK_OK(threading_trace(-1));
}

static void set_hang_hook(void)
{
    CHECK_OK(threading_set_hang_hook(0.05, write_in_hang_hook, NULL));
    let_second_continue();
}

/* -------------------------------------------- what the second thread, which is main, does before its write */

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

/* Another thread joins the first thread; main polls is_alive. */
static void poll_is_alive(void)
{
    threading_thread *joiner = threading_thread_new(join_in_thread, threading_thread_ref(first));
    CHECK(joiner != NULL);
    CHECK_OK(threading_thread_start(joiner));
    CHECK_OK(threading_thread_free(joiner));
    while (threading_thread_is_alive(first))
        CHECK_OK(threading_sleep(0.01));
}

static void poll_result(void)
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
    await_unseen(&prepared);
    CHECK_OK(threading_local_free(local));
    local = NULL;
    send_unseen(&done);
}

static void shut_down_with_timeout(void)
{
    await_unseen(&prepared);
    CHECK_OK(threading_shutdown_timeout(0));
    send_unseen(&done);
}

static void report_exception(void)
{
    await_unseen(&prepared);
    CHECK_OK(threading_report_exception("type", "message"));
    send_unseen(&done);
}

/* The main thread owns the lock already. */
static void acquire_own_lock(void)
{
    await_unseen(&prepared);
    CHECK_OK(threading_lock_acquire(lock));
    send_unseen(&done);
}

/* What the first thread does after its write, and the second thread before its own. If `writes`, the second thread's
 * function calls back a function that makes its write. */
static const struct scenario {
    const char *name;
    void (*first)(void), (*second)(void);
    bool writes;
} scenarios[] = {
    {"event", set_event, wait_for_event, false},
    {"event with a timeout", set_event, wait_for_event_with_timeout, false},
    {"event with is_set", set_event, poll_event, false},
    {"event in a trace", trace_and_set_event, wait_for_event_with_timeout, false},
    {"semaphore", release_semaphore, acquire_semaphore, false},
    {"lock released by another thread", release_lock, acquire_lock, false},
    {"lock with try_acquire", release_lock, try_lock, false},
    {"condition", notify, wait_for_notify, false},
    {"barrier", wait_at_barrier, wait_at_barrier, false},
    {"join", do_nothing, join_first, false},
    {"join with a timeout", do_nothing, join_first_with_timeout, false},
    {"end of a thread with is_alive", do_nothing, poll_is_alive, false},
    {"result", do_nothing, poll_result, false},
    {"destructor of an argument", free_reference, free_reference, true},
    {"destructor of a local", set_local, free_local, true},
    {"atexit", register_atexit, shut_down_with_timeout, true},
    {"excepthook", set_hook, report_exception, true},
    {"hang hook", set_hang_hook, acquire_own_lock, true},
};

static void *run_first(void *arg)
{
    const struct scenario *scenario = arg;
    write_counter();
    scenario->first();
    return arg;
}

static void run_scenario(const struct scenario *scenario, bool wrong)
{
    first = threading_thread_new(run_first, (void *)scenario);
    CHECK(first != NULL);
    CHECK_OK(threading_thread_set_daemon(first, 1));
    CHECK_OK(threading_thread_start(first));
    if (wrong) {
        /* Later than the thread's own access, and twice: a tool may miss a race of two simultaneous accesses, and forget
         * one of them. */
        for (int i = 0; i < 2; i++) {
            CHECK_OK(threading_sleep(0.01));
            write_counter();
        }
    }
    scenario->second();
    if (!wrong && !scenario->writes)
        write_counter();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

/* ------------------------------------------------------------------------------------------ other scenarios */

static void *write_with_lock(void *wrong)
{
    for (int i = 0; i < 100; i++) {
        if (wrong == NULL)
            CHECK_OK(threading_lock_acquire(lock));
        write_counter();
        if (wrong == NULL)
            CHECK_OK(threading_lock_release(lock));
    }
    return NULL;
}

static void *write_with_rlock(void *wrong)
{
    for (int i = 0; i < 100; i++) {
        if (wrong != NULL) {
            write_counter();
            continue;
        }
        CHECK_OK(threading_rlock_acquire(rlock));
        CHECK_OK(threading_rlock_acquire(rlock));
        CHECK_OK(threading_rlock_release(rlock));
        write_counter();
        CHECK_OK(threading_rlock_release(rlock));
    }
    return NULL;
}

/* Each thread holds a different lock and makes calls that lock internal mutexes of the library. Neither must order the
 * writes. */
static void *write_with_unrelated(void *other)
{
    threading_thread_list *list = threading_enumerate();
    threading_thread *thread = threading_thread_new(NULL, NULL);
    CHECK(list != NULL && thread != NULL && threading_current_thread() != NULL);
    CHECK_OK(threading_thread_set_name(thread, "other"));
    CHECK_OK(threading_lock_acquire(other_locks[other != NULL]));
    CHECK(threading_thread_name(threading_main_thread()) != NULL);
    write_counter();
    CHECK_OK(threading_lock_release(other_locks[other != NULL]));
    CHECK_OK(threading_thread_free(thread));
    CHECK_OK(threading_thread_list_free(list));
    return NULL;
}

static void run_in_two_threads(threading_target target, bool wrong)
{
    threading_thread *threads[2];
    for (int i = 0; i < 2; i++) {
        threads[i] = threading_thread_new(target, wrong && i == 1 ? &counter : NULL);
        CHECK(threads[i] != NULL);
        CHECK_OK(threading_thread_start(threads[i]));
    }
    for (int i = 0; i < 2; i++) {
        CHECK_OK(threading_thread_join(threads[i]));
        CHECK_OK(threading_thread_free(threads[i]));
    }
}

static void lock_scenario(bool wrong)
{
    CHECK_OK(threading_lock_release(lock));
    run_in_two_threads(write_with_lock, wrong);
    CHECK_OK(threading_lock_acquire(lock));
}

static void rlock_scenario(bool wrong)
{
    run_in_two_threads(write_with_rlock, wrong);
}

static void unrelated_scenario(bool wrong)
{
    if (wrong)
        run_in_two_threads(write_with_unrelated, true);
}

static void start_scenario(bool wrong)
{
    first = threading_thread_new(write_in_thread, NULL);
    write_counter();
    CHECK_OK(threading_thread_start(first));
    if (wrong)
        write_counter();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

static void timer_start_scenario(bool wrong)
{
    write_counter();
    CHECK_OK(threading_timer_start(timer));
    if (wrong)
        write_counter();
    join_timer();
}

static void timer_join_scenario(bool wrong)
{
    CHECK_OK(threading_timer_start(timer));
    if (wrong)
        write_counter();
    join_timer();
    write_counter();
}

static void *arrive(void *arg)
{
    write_counter();
    wait_at_barrier();
    return arg;
}

static void barrier_action_scenario(bool wrong)
{
    CHECK_OK(threading_barrier_free(barrier));
    barrier = threading_barrier_new(2, write_in_action, NULL);
    first = threading_thread_new(arrive, NULL);
    CHECK_OK(threading_thread_start(first));
    if (wrong)
        write_counter();
    wait_at_barrier();
    write_counter();
    CHECK_OK(threading_thread_join(first));
    CHECK_OK(threading_thread_free(first));
}

static const struct other_scenario {
    const char *name;
    void (*run)(bool wrong);
} other_scenarios[] = {
    {"lock", lock_scenario},
    {"rlock", rlock_scenario},
    {"unrelated objects", unrelated_scenario},
    {"start", start_scenario},
    {"start of a timer", timer_start_scenario},
    {"join of a timer", timer_join_scenario},
    {"action of a barrier", barrier_action_scenario},
};

static void create_objects(void)
{
    event = threading_event_new();
    semaphore = threading_semaphore_new(0);
    lock = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    barrier = threading_barrier_new(2, NULL, NULL);
    local = threading_local_new(write_in_destructor);
    referenced = threading_thread_new(NULL, &counter);
    timer = threading_timer_new(0.05, write_in_thread, NULL);
    for (int i = 0; i < 2; i++)
        other_locks[i] = threading_lock_new();
    CHECK(pipe(prepared.pipe) == 0 && pipe(done.pipe) == 0);
    CHECK_OK(threading_lock_acquire(lock));
    CHECK_OK(threading_thread_set_arg_destructor(referenced, write_in_destructor));
    CHECK(threading_thread_ref(referenced) == referenced);
}

static int run(const char *name, bool wrong)
{
    create_objects();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            run_scenario(&scenarios[i], wrong);
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof other_scenarios / sizeof *other_scenarios; i++) {
        if (strcmp(other_scenarios[i].name, name) == 0) {
            other_scenarios[i].run(wrong);
            return 0;
        }
    }
    fprintf(stderr, "objects: no scenario is named %s\n", name);
    return 2;
}

/* Returns whether a child that runs the scenario exits with the expected status. */
static bool run_in_child(const char *name, bool wrong, int expected)
{
    fprintf(stderr, "objects: %s, %s:\n", name, wrong ? "wrong" : "right");
    pid_t child = fork();
    if (child == 0)
        exit(run(name, wrong));
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == expected)
        return true;
    fprintf(stderr, "objects: FAILED: %s, %s: expected exit status %d, got wait status %d\n", name,
            wrong ? "wrong" : "right", expected, status);
    return false;
}

int main(int argc, char **argv)
{
    bool all = argc == 4 && strcmp(argv[1], "all") == 0, wrong = argc > 2 && strcmp(argv[2], "wrong") == 0;
    if (argc == 3)
        return run(argv[1], wrong);
    bool as_expected = true;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios + sizeof other_scenarios / sizeof *other_scenarios; i++) {
        const char *name = i < sizeof scenarios / sizeof *scenarios
                               ? scenarios[i].name
                               : other_scenarios[i - sizeof scenarios / sizeof *scenarios].name;
        if (all)
            as_expected &= run_in_child(name, wrong, atoi(argv[3]));
        else
            puts(name);
    }
    return as_expected ? 0 : 1;
}

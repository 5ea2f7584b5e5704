/* Fork handlers that the program registers before the library registers its own. Every function works in each of them.
 *
 * fork() runs prepare handlers in reverse order of registration, and parent and child handlers in order. These handlers
 * therefore run after the library's prepare handler and before its parent and child handlers. */
#include "destructors.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---------------------------------------------------------------------------------------------- the handlers */

enum phase { PREPARE, PARENT, CHILD, NO_PHASE };
static const char *const phase_names[] = {"prepare", "parent", "child"};

static enum phase active = NO_PHASE;
static void (*action)(void); /* called by the handler of the active phase */
static int calls;

static void run_action_in(enum phase phase)
{
    if (active == phase) {
        active = NO_PHASE;
        calls++;
        action();
        active = phase;
    }
}

static void prepare(void)
{
    run_action_in(PREPARE);
}

static void parent(void)
{
    run_action_in(PARENT);
}

static void child(void)
{
    run_action_in(CHILD);
}

/* The handlers of this file are registered: before those of the library. musl calls no functions in .preinit_array. */
static bool are_handlers_registered;
static const char no_handlers[] = "libc calls no function before the library's constructor";

/* The wait status of a child that is forked before the library's constructor runs, or -1 if there is no such child. */
static int early_child = -1;
static threading_event *early_event;

static void *wait_for_early_event(void *arg)
{
    return threading_event_wait(early_event) == THREADING_OK ? arg : NULL;
}

static int check_early_child(threading_lock *lock, threading_thread *waiter)
{
    threading_thread *thread = threading_thread_new(return_arg, lock);
    if (threading_active_count() != 1 || threading_thread_is_alive(waiter))
        return 1;
    if (threading_thread_native_id(threading_main_thread()) != (uint64_t)getpid())
        return 2;
    if (!threading_lock_locked(lock) || threading_event_free(early_event) != THREADING_OK)
        return 3;
    if (threading_thread_start(thread) != THREADING_OK || threading_thread_join(thread) != THREADING_OK)
        return 4;
    return threading_thread_free(thread) == THREADING_OK && threading_thread_free(waiter) == THREADING_OK ? 0 : 5;
}

static void fork_early(void)
{
    threading_lock *lock;
    threading_thread *waiter;
    int status;
    pid_t pid;
    are_handlers_registered = pthread_atfork(prepare, parent, child) == 0;
    if (!are_handlers_registered || is_portable_backend() || threading_current_thread() == NULL)
        return;
    lock = threading_lock_new();
    early_event = threading_event_new();
    waiter = threading_thread_new(wait_for_early_event, lock);
    if (threading_lock_acquire(lock) != THREADING_OK || threading_thread_start(waiter) != THREADING_OK)
        return;
    usleep(10000);
    pid = fork();
    if (pid == 0) {
        alarm(10);
        _exit(check_early_child(lock, waiter));
    }
    if (threading_event_set(early_event) == THREADING_OK && threading_thread_join(waiter) == THREADING_OK &&
        threading_lock_free(lock) == THREADING_OK && threading_event_free(early_event) == THREADING_OK &&
        threading_thread_free(waiter) == THREADING_OK && pid > 0 && waitpid(pid, &status, 0) == pid)
        early_child = status;
}

/* The dynamic linker calls the functions in .preinit_array before all constructors, including those of shared
 * libraries. */
__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = fork_early;

/* ------------------------------------------------------------------------------ objects that the actions use */

static threading_lock *lock, *busy_lock;
static threading_rlock *rlock;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_event *event, *go;
static threading_barrier *barrier;
static threading_local *local;
static threading_thread *worker, *unstarted, *done;
static threading_timer *pending, *unstarted_timer, *fired;
static threading_thread_list *list;
static test_blocker at_go, at_barrier, at_condition;

static void *wait_for_go(void *arg)
{
    CHECK_STATUS(threading_local_set(local, arg), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "name", arg), THREADING_OK);
    about_to_block(&at_go);
    CHECK_STATUS(threading_event_wait_timeout(go, TEST_LIMIT), THREADING_OK);
    return arg;
}

static void *wait_at_barrier(void *arg)
{
    about_to_block(&at_barrier);
    threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL);
    return arg;
}

static void *wait_at_condition(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    about_to_block(&at_condition);
    threading_condition_wait_timeout(condition, TEST_LIMIT);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return arg;
}

static void start_daemon(threading_target target)
{
    threading_thread *thread = threading_thread_new(target, NULL);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void objects_new(void)
{
    lock = threading_lock_new();
    busy_lock = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    semaphore = threading_semaphore_new(0);
    event = threading_event_new();
    go = threading_event_new();
    barrier = threading_barrier_new(2, NULL, NULL);
    local = threading_local_new(count_destroyed);
    unstarted = threading_thread_new(return_arg, &unstarted);
    unstarted_timer = threading_timer_new(0, return_arg, &unstarted_timer);
    pending = threading_timer_new(3600, return_arg, &pending);
    fired = threading_timer_new(0, return_arg, &fired);
    CHECK(lock != NULL && busy_lock != NULL && rlock != NULL && condition != NULL && semaphore != NULL);
    CHECK(event != NULL && go != NULL && barrier != NULL && local != NULL && unstarted != NULL);
    CHECK(unstarted_timer != NULL && pending != NULL && fired != NULL);
    worker = spawn(wait_for_go, &worker);
    done = spawn(return_arg, &done);
    CHECK_STATUS(threading_thread_join(done), THREADING_OK);
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_start(fired), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(fired)), THREADING_OK);
    start_daemon(wait_at_barrier);
    start_daemon(wait_at_condition);
    wait_until_blocked(&at_go);
    wait_until_blocked(&at_barrier);
    wait_until_blocked(&at_condition);
    list = threading_enumerate();
    CHECK(list != NULL);
}

/* ----------------------------------------------------------------------------------------------- the actions */

static bool is_child; /* whether the action runs in the child */

static void make_and_free_objects(void)
{
    for (int i = 0; i < 3; i++) {
        threading_lock *l = threading_lock_new();
        threading_rlock *r = threading_rlock_new();
        threading_condition *c = threading_condition_new_with_lock(l);
        threading_semaphore *s = threading_semaphore_new_bounded(3);
        threading_event *e = threading_event_new();
        threading_barrier *b = threading_barrier_new(1, NULL, NULL);
        threading_local *v = threading_local_new(NULL);
        threading_thread *t = threading_thread_new(return_arg, NULL);
        threading_timer *timer = threading_timer_new(1, return_arg, NULL);
        CHECK(l && r && c && s && e && b && v && t && timer);
        CHECK_STATUS(threading_condition_free(c), THREADING_OK);
        CHECK_STATUS(threading_lock_free(l), THREADING_OK);
        CHECK_STATUS(threading_rlock_free(r), THREADING_OK);
        CHECK_STATUS(threading_semaphore_free(s), THREADING_OK);
        CHECK_STATUS(threading_event_free(e), THREADING_OK);
        CHECK_STATUS(threading_barrier_free(b), THREADING_OK);
        CHECK_STATUS(threading_local_free(v), THREADING_OK);
        CHECK_STATUS(threading_thread_free(t), THREADING_OK);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
}

static atomic_int may_release;

static void *hold_locks_briefly(void *arg)
{
    CHECK_STATUS(threading_lock_acquire(busy_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    wait_until(is_nonzero, &may_release);
    CHECK_STATUS(threading_sleep(0.02), THREADING_OK); /* for the other thread to block */
    CHECK_STATUS(threading_rlock_release(rlock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(busy_lock), THREADING_OK);
    return arg;
}

static void acquire_contended(void)
{
    atomic_store(&may_release, 0);
    threading_thread *holder = spawn(hold_locks_briefly, NULL);
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire_timeout(busy_lock, 0), THREADING_TIMED_OUT);
    atomic_store(&may_release, 1);
    CHECK_STATUS(threading_lock_acquire(busy_lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(busy_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire_timeout(rlock, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(rlock), 2);
    CHECK_STATUS(threading_rlock_release(rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(rlock), THREADING_OK);
    join(holder);
}

static void start_and_join(void)
{
    CHECK_PTR(join(spawn(return_arg, &calls)), &calls);
    CHECK_PTR(join_foreign(spawn_foreign(return_arg, &calls)), &calls);
    CHECK_STATUS(threading_thread_start(unstarted), THREADING_OK);
    CHECK_STATUS(threading_thread_join(unstarted), THREADING_OK);
    CHECK_PTR(threading_thread_result(unstarted), &unstarted);
    CHECK(!threading_thread_is_alive(unstarted));
}

static void start_without_join(void)
{
    start_daemon(wait_for_go);
    CHECK_AT_LEAST((double)threading_active_count(), 2);
}

/* The thread runs in the parent; in the child it has ended. */
static void join_a_running_thread(void)
{
    CHECK_INT(threading_thread_is_alive(worker), !is_child);
    CHECK_STATUS(threading_event_set(go), THREADING_OK);
    CHECK_STATUS(threading_thread_join(worker), THREADING_OK);
    CHECK_PTR(threading_thread_result(worker), is_child ? NULL : (void *)&worker);
    CHECK_STATUS(threading_thread_start(worker), THREADING_ERR_ALREADY_STARTED);
}

static void free_threads(void)
{
    threading_thread *extra = threading_thread_ref(worker);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    CHECK_STATUS(threading_thread_free(done), THREADING_OK);
    CHECK_STATUS(threading_thread_free(done), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_thread_free(worker), THREADING_OK);
    CHECK_STATUS(threading_thread_free(extra), THREADING_OK);
    /* A running thread holds a reference to its own object. */
    CHECK_STATUS(threading_thread_free(worker), THREADING_ERR_HANDLE);
    CHECK_INT(threading_thread_ident(worker) == 0, is_child);
}

static void *set_event_as_current(void *arg)
{
    CHECK(threading_current_thread() != NULL);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return arg;
}

static void wait_for_events(void)
{
    threading_thread *thread = spawn(set_event_as_current, NULL);
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    join(thread);
    CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    /* A thread that the library did not create. */
    join_foreign(spawn_foreign(set_event_as_current, NULL));
    CHECK(threading_event_is_set(event));
}

static int is_set(void *arg)
{
    (void)arg;
    return threading_active_count() > 0 && threading_event_is_set(event);
}

static void *notify(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return arg;
}

static void wait_for_notifies(void)
{
    threading_thread *thread;
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    thread = spawn(notify, NULL);
    CHECK_STATUS(threading_condition_wait_for(condition, is_set, NULL), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(condition, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    join(thread);
}

static void *release_permit(void *arg)
{
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 2), THREADING_OK);
    return arg;
}

static void wait_for_permits(void)
{
    threading_thread *thread = spawn(release_permit, NULL);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_semaphore_try_acquire(semaphore), THREADING_WOULD_BLOCK);
    join(thread);
}

static void pass_barriers(void)
{
    CHECK_INT(threading_barrier_n_waiting(barrier), is_child ? 0 : 1);
    if (is_child)
        start_daemon(wait_at_barrier);
    CHECK_STATUS(threading_barrier_wait(barrier, NULL), THREADING_OK);
    CHECK_STATUS(threading_barrier_reset(barrier), THREADING_OK);
}

static void start_timers(void)
{
    threading_timer *timer = threading_timer_new(0.001, return_arg, &calls);
    threading_timer *later = threading_timer_new(3600, return_arg, &calls);
    CHECK(timer != NULL && later != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_start(later), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_PTR(threading_thread_result(threading_timer_thread(timer)), &calls);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_TOO_LATE);
    CHECK_STATUS(threading_timer_cancel(later), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(later), THREADING_OK);
    CHECK_STATUS(threading_timer_start(unstarted_timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(unstarted_timer)), THREADING_OK);
    CHECK_PTR(threading_thread_result(threading_timer_thread(unstarted_timer)), &unstarted_timer);
}

static void cancel_timers(void)
{
    threading_thread *thread = threading_thread_ref(threading_timer_thread(pending));
    CHECK_INT(threading_thread_is_alive(thread), !is_child);
    CHECK_STATUS(threading_timer_start(pending), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(unstarted_timer), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(fired), THREADING_TOO_LATE);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
}

static void free_timers(void)
{
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    CHECK_INT(threading_timer_interval(pending) == 0, is_child); /* a pending timer holds a reference to itself */
    CHECK_STATUS(threading_timer_free(unstarted_timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(fired), THREADING_OK);
    CHECK_STATUS(threading_timer_free(fired), THREADING_ERR_HANDLE);
}

static void enumerate_threads(void)
{
    threading_thread_list *here = threading_enumerate();
    threading_thread *self = threading_current_thread();
    CHECK(here != NULL && self != NULL);
    CHECK_PTR(threading_main_thread(), self);
    CHECK_PTR(threading_thread_list_get(here, 0), self);
    CHECK_INT(threading_active_count(), is_child ? 1 : 5);
    CHECK_INT(threading_thread_list_len(here), is_child ? 1 : 5);
    CHECK_INT(threading_get_native_id(), getpid());
    CHECK_INT(threading_thread_native_id(self), getpid());
    CHECK_INT(threading_thread_ident(self), threading_get_ident());
    CHECK(threading_thread_is_alive(self) && !threading_thread_is_daemon(self));
    CHECK_INT(threading_thread_list_len(list), 5);
    CHECK_STATUS(threading_thread_list_free(here), THREADING_OK);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
}

static void *check_dummy_name(void *arg)
{
    CHECK_INT(strncmp(threading_thread_name(threading_current_thread()), "Dummy-", 6), 0);
    return arg;
}

static void name_threads(void)
{
    char name[16];
    join_foreign(spawn_foreign(check_dummy_name, NULL));
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "name %d", i % 2);
        CHECK_STATUS(threading_thread_set_name(threading_current_thread(), name), THREADING_OK);
        CHECK_STR(threading_thread_name(threading_current_thread()), name);
        CHECK_STATUS(threading_thread_set_name(worker, name), THREADING_OK);
        CHECK_STR(threading_thread_name(worker), name);
    }
    CHECK_INT(strncmp(threading_thread_name(unstarted), "Thread-", 7), 0);
    CHECK_INT(strncmp(threading_thread_name(done), "Thread-", 7), 0);
}

static void *set_values(void *of)
{
    CHECK_STATUS(threading_local_set(of, of), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(of, "attribute", of), THREADING_OK);
    return of;
}

static void use_locals(void)
{
    threading_local *other = threading_local_new(count_destroyed);
    void *value = NULL;
    CHECK(other != NULL);
    atomic_store(&destroyed, 0);
    set_values(other);
    CHECK_PTR(threading_local_get(other), other);
    CHECK_STATUS(threading_local_get_attr(other, "attribute", &value), THREADING_OK);
    CHECK_PTR(value, other);
    join(spawn(set_values, other));
    CHECK_INT(atomic_load(&destroyed), 2);
    CHECK_STATUS(threading_local_set(other, NULL), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(other, "attribute"), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 4);
    CHECK_STATUS(threading_local_free(other), THREADING_OK);
    /* The worker has a value and an attribute. In the child, where the worker has ended, they are not destroyed. */
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), is_child ? 4 : 6);
}

static void ignore(void *arg)
{
    (void)arg;
}

static int reported;

static void report_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    (void)type, (void)message;
    CHECK_PTR(thread, threading_current_thread());
    ++*(int *)arg;
}

static void set_hooks(void)
{
    CHECK_STATUS(threading_atexit(ignore, NULL), THREADING_OK);
    threading_set_excepthook(report_hook, &reported);
    reported = 0;
    CHECK_STATUS(threading_report_exception("Type", "message"), THREADING_OK);
    CHECK_INT(reported, 1);
    threading_set_excepthook(NULL, NULL);
    CHECK_STATUS(threading_set_stack_size(1 << 20), THREADING_OK);
    join(spawn(return_arg, NULL));
    CHECK_STATUS(threading_set_stack_size(0), THREADING_OK);
}

static void sleep_and_time_out(void)
{
    CHECK_STATUS(threading_sleep(0.002), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(event, 0.002), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_thread_join(threading_current_thread()), THREADING_ERR_DEADLOCK);
}

static void fork_again(void)
{
    pid_t pid = fork();
    int status;
    CHECK(pid >= 0);
    if (pid == 0) {
        is_child = true;
        alarm(10);
        enumerate_threads();
        start_and_join();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

static int fork_in_predicate(void *arg)
{
    fork_again();
    return arg == NULL;
}

static void fork_in_a_predicate(void)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_for(condition, fork_in_predicate, NULL), THREADING_OK);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    enumerate_threads();
}

static void reinit_objects(void)
{
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_at_fork_reinit(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_at_fork_reinit(rlock), THREADING_OK);
    CHECK_STATUS(threading_event_at_fork_reinit(event), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    if (is_child)
        CHECK_STATUS(threading_condition_at_fork_reinit(condition), THREADING_OK);
}

/* In the parent, the objects that have waiters are BUSY. */
static void free_objects(void)
{
    const threading_status busy = is_child ? THREADING_OK : THREADING_ERR_BUSY;
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), busy);
    CHECK_STATUS(threading_barrier_free(barrier), busy);
    CHECK_STATUS(threading_event_free(go), busy);
}

static const struct {
    const char *name;
    void (*action)(void);
} actions[] = {
    {"make and free objects", make_and_free_objects},
    {"acquire contended locks", acquire_contended},
    {"start and join threads", start_and_join},
    {"start a thread without joining it", start_without_join},
    {"join a running thread", join_a_running_thread},
    {"free threads", free_threads},
    {"wait for events", wait_for_events},
    {"wait for notifies", wait_for_notifies},
    {"wait for permits", wait_for_permits},
    {"pass barriers", pass_barriers},
    {"start timers", start_timers},
    {"cancel timers", cancel_timers},
    {"free timers", free_timers},
    {"enumerate threads", enumerate_threads},
    {"name threads", name_threads},
    {"use locals", use_locals},
    {"set hooks", set_hooks},
    {"sleep and time out", sleep_and_time_out},
    {"fork again", fork_again},
    {"fork in a predicate", fork_in_a_predicate},
    {"reinitialize objects", reinit_objects},
    {"free objects", free_objects},
};

/* ------------------------------------------------------------------------------------------------- the cases */

static int status_of(pid_t pid)
{
    int status;
    pid_t ended;
    CHECK(pid > 0);
    while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        continue;
    CHECK_INT(ended, pid);
    return status;
}

/* Checks after the fork, in the parent and in the child, that the library works. */
static void check_afterwards(void)
{
    make_and_free_objects();
    CHECK_PTR(join(spawn(return_arg, &calls)), &calls);
    CHECK_PTR(threading_main_thread(), threading_current_thread());
}

static void run_action(size_t at, enum phase phase)
{
    int status;
    pid_t pid;
    alarm((unsigned)TEST_LIMIT);
    objects_new();
    action = actions[at].action;
    active = phase;
    is_child = phase == CHILD;
    pid = fork();
    active = NO_PHASE;
    if (pid == 0) {
        alarm((unsigned)TEST_LIMIT);
        CHECK_INT(calls, phase != PARENT);
        check_afterwards();
        if (phase != CHILD)
            CHECK_INT(threading_active_count(), 1);
        _exit(0);
    }
    status = status_of(pid);
    CHECK_INT(status, 0);
    CHECK_INT(calls, phase != CHILD);
    check_afterwards();
    _exit(0);
}

static void run_actions(enum phase phase)
{
    if (!are_handlers_registered)
        SKIP(no_handlers);
    SKIP_FORK_IF_PORTABLE();
    for (size_t at = 0; at < TEST_COUNT(actions); at++) {
        pid_t pid = fork();
        int status;
        if (pid == 0)
            run_action(at, phase);
        status = status_of(pid);
        if (status != 0)
            test_fail(__FILE__, __LINE__, "%s, in the %s handler: status %x", actions[at].name, phase_names[phase],
                      (unsigned)status);
    }
}

static void in_prepare(void)
{
    run_actions(PREPARE);
}

static void in_parent(void)
{
    run_actions(PARENT);
}

static void in_child(void)
{
    run_actions(CHILD);
}

static void fork_before_the_constructor(void)
{
    if (!are_handlers_registered)
        SKIP(no_handlers);
    SKIP_FORK_IF_PORTABLE();
    CHECK_INT(early_child, 0);
}

static void write_byte(void *fd)
{
    CHECK_INT(write(*(int *)fd, "c", 1), 1);
}

static void exit_with_7(void)
{
    exit(7);
}

static void exit_in_a_child_handler(void)
{
    static int fds[2];
    char written[4];
    int status;
    pid_t test, pid;
    if (!are_handlers_registered)
        SKIP(no_handlers);
    CHECK_INT(pipe(fds), 0);
    test = fork();
    if (test == 0) {
        alarm((unsigned)TEST_LIMIT);
        CHECK_STATUS(threading_atexit(write_byte, &fds[1]), THREADING_OK);
        action = exit_with_7;
        active = CHILD;
        pid = fork();
        status = status_of(pid);
        CHECK(WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), 7);
        _exit(0);
    }
    status = status_of(test);
    CHECK_INT(status, 0);
    CHECK_INT(read(fds[0], written, sizeof written), 1);
    close(fds[0]);
    close(fds[1]);
}

/* clone(2) runs no fork handlers. The process that calls it is itself a child of fork, so it has one thread. */
static void child_of_clone(void)
{
    int status;
    pid_t test = fork();
    if (test == 0) {
        threading_lock *held = threading_lock_new();
        long pid;
        alarm((unsigned)TEST_LIMIT);
        CHECK_STATUS(threading_lock_acquire(held), THREADING_OK);
        pid = syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
        if (pid == 0) {
            alarm((unsigned)TEST_LIMIT);
            CHECK(threading_lock_locked(held));
            CHECK_STATUS(threading_lock_release(held), THREADING_OK);
            objects_new();
            start_timers();
            acquire_contended();
            make_and_free_objects();
            _exit(0);
        }
        status = status_of((pid_t)pid);
        CHECK_INT(status, 0);
        _exit(0);
    }
    status = status_of(test);
    CHECK_INT(status, 0);
}

/* The prepare handler locks a pthread mutex, which another thread holds while it creates and starts objects. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop;

static void lock_mutex(void)
{
    CHECK_INT(pthread_mutex_lock(&mutex), 0);
}

static void *use_library_under_mutex(void *arg)
{
    while (!atomic_load(&stop)) {
        lock_mutex();
        CHECK_PTR(join(spawn(return_arg, arg)), arg);
        make_and_free_objects();
        CHECK_INT(pthread_mutex_unlock(&mutex), 0);
        sleep_for(0.0001);
    }
    return arg;
}

static void handler_waits_for_a_mutex(void)
{
    pthread_t thread;
    int status;
    if (!are_handlers_registered)
        SKIP(no_handlers);
    SKIP_FORK_IF_PORTABLE();
    thread = spawn_foreign(use_library_under_mutex, NULL);
    for (int i = 0; i < 10; i++) {
        pid_t pid;
        action = lock_mutex;
        active = PREPARE;
        pid = fork();
        active = NO_PHASE;
        CHECK_INT(pthread_mutex_unlock(&mutex), 0);
        if (pid == 0) {
            alarm((unsigned)TEST_LIMIT);
            check_afterwards();
            _exit(0);
        }
        status = status_of(pid);
        CHECK_INT(status, 0);
    }
    atomic_store(&stop, 1);
    join_foreign(thread);
}

/* Signals that interrupt the fork while the library's mutexes are held for it. Another thread needs one of these all
 * the time. If a signal handler released them, that thread would make progress. */
static atomic_long counted_calls;
static long calls_during_signals;
static double begin_of_fork, end_of_signals;

static void *count_threads(void *arg)
{
    while (!atomic_load(&stop)) {
        CHECK(threading_active_count() > 0);
        atomic_fetch_add(&counted_calls, 1);
    }
    return arg;
}

static bool has_counted(void *former_calls)
{
    return atomic_load(&counted_calls) > *(long *)former_calls;
}

static void use_signal_safe_functions(int signal)
{
    int set;
    (void)signal;
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    set = threading_event_is_set(event);
    CHECK(set == 1);
    CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 2), THREADING_OK);
}

static void interrupt_the_fork(void)
{
    long before = atomic_load(&counted_calls);
    for (int i = 0; i < 1000; i++)
        CHECK_INT(raise(SIGUSR1), 0);
    calls_during_signals = atomic_load(&counted_calls) - before;
    end_of_signals = now();
}

static void signals_in_a_fork(void)
{
    struct sigaction handler = {.sa_handler = use_signal_safe_functions}, former;
    pthread_t thread;
    int measured = 0;
    if (!are_handlers_registered)
        SKIP(no_handlers);
    SKIP_FORK_IF_PORTABLE();
    event = threading_event_new();
    semaphore = threading_semaphore_new(0);
    CHECK(event != NULL && semaphore != NULL);
    CHECK_INT(sigaction(SIGUSR1, &handler, &former), 0);
    atomic_store(&stop, 0);
    thread = spawn_foreign(count_threads, NULL);
    /* A thread that waits longer than 100 ms for a mutex that is held for a fork goes on without it. So forks in which
     * the signals end nearly as late, on a loaded machine, do not count. */
    for (int i = 0; i < 100 && measured < 10; i++) {
        pid_t pid;
        int status;
        /* Otherwise the wait of the other thread might have begun in the former fork. */
        long former_calls = atomic_load(&counted_calls) + 1;
        wait_until(has_counted, &former_calls);
        action = interrupt_the_fork;
        active = PREPARE;
        begin_of_fork = now();
        pid = fork();
        active = NO_PHASE;
        if (pid == 0)
            _exit(0);
        status = status_of(pid);
        CHECK_INT(status, 0);
        if (end_of_signals - begin_of_fork < 0.08) {
            measured++;
            /* The other thread may have left the library before the fork, without having counted that call. */
            CHECK(calls_during_signals <= 1);
        }
    }
    atomic_store(&stop, 1);
    join_foreign(thread);
    CHECK_INT(sigaction(SIGUSR1, &former, NULL), 0);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

/* The minimum CPU time that a child has used when fork returns in it. The library's child handler uses most of it,
 * because the parent copies the memory. */
static double child_handler_time(void)
{
    double best = 1e9;
    double *took = mmap(NULL, sizeof *took, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(took != MAP_FAILED);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct timespec time;
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
            *took = (double)time.tv_sec + (double)time.tv_nsec / 1e9;
            _exit(0);
        }
        CHECK_INT(status_of(pid), 0);
        best = *took < best ? *took : best;
    }
    munmap(took, sizeof *took);
    return best;
}

static void child_handler_time_with_many_timers(void)
{
    enum { TIMERS = 100000 };
    double few = child_handler_time(), many;
    threading_timer **timers = malloc(TIMERS * sizeof *timers);
    CHECK(timers != NULL);
    for (int i = 0; i < TIMERS; i++) {
        timers[i] = threading_timer_new(3600 + i, return_arg, NULL);
        CHECK(timers[i] != NULL);
        CHECK_STATUS(threading_timer_start(timers[i]), THREADING_OK);
    }
    many = child_handler_time();
    /* A handler that visited every timer would need at least 10 ns for each. */
    if (many > few * 3 + TIMERS * 5e-9 * test_slowness())
        test_fail(__FILE__, __LINE__, "the child handler takes %g ms with %d pending timers and %g ms without",
                  many * 1e3, TIMERS, few * 1e3);
    for (int i = 0; i < TIMERS; i++) {
        CHECK_STATUS(threading_timer_cancel(timers[i]), THREADING_OK);
        CHECK_STATUS(threading_timer_free(timers[i]), THREADING_OK);
    }
    free(timers);
}

/* ---------------------------------------------------------------------- a child with the process ID of its parent */

static threading_thread *waiter_in_parent;

static void find_child_alone(void)
{
    CHECK_INT(getpid(), 1);
    CHECK_INT(threading_active_count(), 1);
    CHECK(!threading_thread_is_alive(waiter_in_parent));
    CHECK_STATUS(threading_thread_join_timeout(waiter_in_parent, TEST_LIMIT), THREADING_OK);
    CHECK_PTR(join(spawn(return_arg, NULL)), NULL);
}

#if defined(__linux__)
enum { NO_NAMESPACES = 3 };

/* The first process of a PID namespace forks the first process of another one. */
static void fork_with_same_pid(void)
{
    pid_t pid;
    int status;
    alarm((unsigned)TEST_LIMIT);
    CHECK_INT(getpid(), 1);
    early_event = event_new();
    waiter_in_parent = spawn(wait_for_early_event, NULL);
    if (unshare(CLONE_NEWPID) != 0)
        _exit(NO_NAMESPACES);
    action = find_child_alone;
    active = CHILD;
    calls = 0;
    pid = fork();
    if (pid == 0) {
        alarm((unsigned)TEST_LIMIT);
        CHECK_INT(calls, 1);
        active = NO_PHASE;
        find_child_alone();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(threading_active_count(), 2);
    _exit(status == 0 ? 0 : 1);
}
#endif

static void child_with_the_same_pid(void)
{
#if defined(__linux__)
    int status;
    pid_t test;
    if (!are_handlers_registered)
        SKIP(no_handlers);
    SKIP_FORK_IF_PORTABLE();
    fflush(stdout);
    test = fork();
    if (test == 0) {
        pid_t first;
        if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
            _exit(NO_NAMESPACES);
        first = fork();
        if (first == 0)
            fork_with_same_pid();
        if (first < 0 || waitpid(first, &status, 0) != first || !WIFEXITED(status))
            _exit(1);
        _exit(WEXITSTATUS(status));
    }
    CHECK_INT(waitpid(test, &status, 0), test);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACES)
        SKIP("the system does not permit PID namespaces");
    CHECK_INT(status, 0);
#else
    SKIP("only Linux has PID namespaces");
#endif
}

static const struct test_case cases[] = {
    {"a fork before the library's constructor leaves a working child", fork_before_the_constructor},
    {"every function works in a prepare handler that is older than the library's", in_prepare},
    {"every function works in a parent handler that is older than the library's", in_parent},
    {"every function works in a child handler that is older than the library's", in_child},
    {"the same if the child has the process ID of its parent", child_with_the_same_pid},
    {"exit in a child handler that is older than the library's ends the child with that status",
     exit_in_a_child_handler},
    {"a child of clone works if the parent has one thread", child_of_clone},
    {"a prepare handler may wait for a mutex that another thread holds while it uses the library",
     handler_waits_for_a_mutex},
    {"a signal handler that interrupts a fork does not release the library's mutexes", signals_in_a_fork},
    {"the child handler takes as long with 100,000 pending timers as without", child_handler_time_with_many_timers},
};

TEST_MAIN(cases)

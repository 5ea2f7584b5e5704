/* A fork during a wait, in a signal handler or in a hang hook: the wait goes on in the child. fork_at_instruction.c has
 * forks of threads that are not parked. */
#include "child.h"

#include <setjmp.h>
#include <sys/mman.h>

#define WAIT_LIMIT TEST_LIMIT
#include "../broadcasts.h"
#include "../objects.h"

static pid_t forked = -1;
static atomic_int has_forked;

static void fork_in_handler(int signal)
{
    (void)signal;
    forked = fork();
    atomic_store(&has_forked, 1);
}

struct interrupted_thread {
    pthread_t thread;
    test_blocker blocker;
};

static void *interrupt(void *arg)
{
    struct interrupted_thread *interrupted = arg;
    wait_until_blocked(&interrupted->blocker);
    CHECK_INT(pthread_kill(interrupted->thread, SIGUSR1), 0);
    return NULL;
}

/* A wait that is interrupted with fork. */
struct wait {
    threading_status (*wait)(void *object);
    threading_target end;             /* ends the wait in the parent, after the fork */
    void (*in_child)(void *object);   /* called in a fork handler of the child, before the wait goes on */
    threading_status status_in_child; /* of the wait */
    void (*check_in_child)(void);     /* called after the wait; may be NULL */
};

static const struct wait *waiting;
static void *waiting_for;

static void call_in_child(void)
{
    if (waiting != NULL)
        waiting->in_child(waiting_for);
}

static void register_fork_handler(void)
{
    static bool is_registered;
    if (!is_registered)
        CHECK_INT(pthread_atfork(NULL, NULL, call_in_child), 0);
    is_registered = true;
}

/* A signal handler forks while its thread waits. */
static void fork_in_a_wait(const struct wait *wait, void *object)
{
    struct interrupted_thread interrupted = {.thread = pthread_self()};
    struct sigaction action = {.sa_handler = fork_in_handler, .sa_flags = SA_RESTART};
    pthread_t other;
    threading_thread *ends;
    threading_status status;
    register_fork_handler();
    atomic_store(&has_forked, 0);
    forked = -1;
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    ends = spawn(wait->end, object);
    waiting = wait;
    waiting_for = object;
    CHECK_INT(pthread_create(&other, NULL, interrupt, &interrupted), 0);
    about_to_block(&interrupted.blocker);
    status = wait->wait(object);
    if (forked == 0) {
        CHECK_RESULT(status, wait->status_in_child);
        if (wait->check_in_child != NULL)
            wait->check_in_child();
        _exit(CHILD_PASSED);
    }
    waiting = NULL;
    CHECK_RESULT(status, THREADING_OK);
    CHECK_INT(pthread_join(other, NULL), 0);
    join(ends);
    CHECK_INT(child_status(forked), CHILD_PASSED);
}

/* --------------------------------------------------------------------------------------- waits that go on */

static threading_status acquire_lock(void *lock)
{
    return threading_lock_acquire(lock);
}

static threading_status acquire_lock_with_timeout(void *lock)
{
    return threading_lock_acquire_timeout(lock, TEST_LIMIT);
}

static void *release_after_fork(void *lock)
{
    wait_until(is_nonzero, &has_forked);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    return NULL;
}

static void reinit_lock(void *lock)
{
    CHECK_STATUS(threading_lock_at_fork_reinit(lock), THREADING_OK);
}

static void release_lock(void *lock)
{
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
}

static threading_status wait_condition(void *condition)
{
    threading_status status;
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    status = threading_condition_wait_timeout(condition, TEST_LIMIT);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return status;
}

static threading_status wait_condition_forever(void *condition)
{
    threading_status status;
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    status = threading_condition_wait(condition);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return status;
}

static void *notify(void *condition)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    /* Until the waiter has entered the queue, a notify goes to no thread. */
    for (int i = 0; i < 20; i++) {
        CHECK_STATUS(threading_condition_notify(condition, 1), THREADING_OK);
        CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
        sleep_for(0.05);
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    }
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return NULL;
}

static void *notify_after_fork(void *condition)
{
    wait_until(is_nonzero, &has_forked);
    return notify(condition);
}

static void start_notify(void *condition)
{
    start_daemon(notify, condition);
}

static threading_status wait_event(void *event)
{
    return threading_event_wait_timeout(event, TEST_LIMIT);
}

static void *set_after_fork(void *event)
{
    wait_until(is_nonzero, &has_forked);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return NULL;
}

/* The wait of the thread that forked should end the process. */
static void *expect_exit(void *arg)
{
    sleep_for(TEST_LIMIT / 2);
    CHECK(false);
    return arg;
}

/* Waits for the same object, too, but not for so long, and then ends the wait of the thread that forked. */
static void *time_out_and_set(void *event)
{
    CHECK_STATUS(threading_event_wait_timeout(event, 0.05), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return expect_exit(event);
}

static void start_time_out_and_set(void *event)
{
    start_daemon(time_out_and_set, event);
}

static threading_status acquire_semaphore(void *semaphore)
{
    return threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT);
}

static void *release_semaphore_after_fork(void *semaphore)
{
    wait_until(is_nonzero, &has_forked);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    return NULL;
}

static void *time_out_and_release(void *semaphore)
{
    CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, 0.05), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    return expect_exit(semaphore);
}

static void start_time_out_and_release(void *semaphore)
{
    start_daemon(time_out_and_release, semaphore);
}

static threading_status wait_barrier(void *barrier)
{
    return threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL);
}

static threading_status wait_barrier_forever(void *barrier)
{
    return threading_barrier_wait(barrier, NULL);
}

static void *arrive_after_fork(void *barrier)
{
    wait_until(is_nonzero, &has_forked);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    return NULL;
}

static void *arrive(void *barrier)
{
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT / 4, NULL), THREADING_OK);
    return expect_exit(barrier);
}

static void start_arrive(void *barrier)
{
    start_daemon(arrive, barrier);
}

static const struct wait
    lock_reinitialized = {acquire_lock, release_after_fork, reinit_lock, THREADING_OK, NULL},
    lock_released = {acquire_lock, release_after_fork, release_lock, THREADING_OK, NULL},
    timed_lock_reinitialized = {acquire_lock_with_timeout, release_after_fork, reinit_lock, THREADING_OK, NULL},
    timed_lock_released = {acquire_lock_with_timeout, release_after_fork, release_lock, THREADING_OK, NULL},
    condition_notified = {wait_condition, notify_after_fork, start_notify, THREADING_OK, NULL},
    untimed_condition_notified = {wait_condition_forever, notify_after_fork, start_notify, THREADING_OK, NULL},
    event_set_later = {wait_event, set_after_fork, start_time_out_and_set, THREADING_OK, NULL},
    semaphore_released_later = {acquire_semaphore, release_semaphore_after_fork, start_time_out_and_release,
                                THREADING_OK, NULL},
    others_arrive = {wait_barrier, arrive_after_fork, start_arrive, THREADING_OK, NULL},
    others_arrive_untimed = {wait_barrier_forever, arrive_after_fork, start_arrive, THREADING_OK, NULL};

static void wait_goes_on(void)
{
    SKIP_FORK_IF_PORTABLE();
    const struct wait *const lock_waits[] = {&lock_reinitialized, &lock_released, &timed_lock_reinitialized,
                                             &timed_lock_released};
    threading_lock *lock = threading_lock_new();
    threading_event *event = event_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_condition *condition = threading_condition_new();
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    for (size_t i = 0; i < TEST_COUNT(lock_waits); i++) {
        CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
        fork_in_a_wait(lock_waits[i], lock);
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    }
    fork_in_a_wait(&condition_notified, condition);
    fork_in_a_wait(&untimed_condition_notified, condition);
    expect_broadcasts(condition);
    fork_in_a_wait(&condition_notified, condition);
    expect_broadcasts(condition);
    fork_in_a_wait(&untimed_condition_notified, condition);
    fork_in_a_wait(&event_set_later, event);
    fork_in_a_wait(&semaphore_released_later, semaphore);
    fork_in_a_wait(&others_arrive, barrier);
    fork_in_a_wait(&others_arrive_untimed, barrier);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

/* -------------------------------------------------- waits of a thread and of its signal handler for one object */

static threading_status wait_event_for(void *event, double seconds)
{
    return threading_event_wait_timeout(event, seconds);
}

static threading_status wake_event(void *event)
{
    return threading_event_set(event);
}

static threading_status wait_semaphore_for(void *semaphore, double seconds)
{
    return threading_semaphore_acquire_timeout(semaphore, seconds);
}

static threading_status wake_semaphore(void *semaphore)
{
    return threading_semaphore_release(semaphore);
}

static struct {
    threading_status (*wait)(void *object, double seconds);
    threading_status (*wake)(void *object);
    void *object;
    struct interrupted_thread interrupted;
    test_blocker in_handler;
    threading_status status_in_handler;
    atomic_int handler_has_waited;
} nested;

static void wait_in_handler(int signal)
{
    (void)signal;
    about_to_block(&nested.in_handler);
    nested.status_in_handler = nested.wait(nested.object, 0.3);
    atomic_store(&nested.handler_has_waited, 1);
}

/* Interrupts the wait, and then that of the handler, in which the second handler forks. */
static void *interrupt_both(void *arg)
{
    wait_until_blocked(&nested.interrupted.blocker);
    CHECK_INT(pthread_kill(nested.interrupted.thread, SIGUSR2), 0);
    wait_until_blocked(&nested.in_handler);
    CHECK_INT(pthread_kill(nested.interrupted.thread, SIGUSR1), 0);
    return arg;
}

static void *wake_after_handler(void *object)
{
    wait_until(is_nonzero, &nested.handler_has_waited);
    CHECK_STATUS(nested.wake(object), THREADING_OK);
    return NULL;
}

static void start_wake_after_handler(void *object)
{
    start_daemon(wake_after_handler, object);
}

static void fork_in_nested_waits(threading_status (*wait)(void *object, double seconds),
                                 threading_status (*wake)(void *object), void *object)
{
    static const struct wait nested_wait = {NULL, NULL, start_wake_after_handler, THREADING_OK, NULL};
    struct sigaction waits = {.sa_handler = wait_in_handler}, forks = {.sa_handler = fork_in_handler};
    threading_thread *wakes, *interrupts;
    double start = now();
    memset(&nested, 0, sizeof nested);
    nested.wait = wait;
    nested.wake = wake;
    nested.object = object;
    nested.interrupted.thread = pthread_self();
    register_fork_handler();
    CHECK_INT(sigaction(SIGUSR1, &forks, NULL), 0);
    CHECK_INT(sigaction(SIGUSR2, &waits, NULL), 0);
    wakes = spawn(wake_after_handler, object);
    waiting = &nested_wait;
    waiting_for = object;
    forked = -1;
    interrupts = spawn(interrupt_both, NULL);
    about_to_block(&nested.interrupted.blocker);
    CHECK_STATUS(wait(object, TEST_LIMIT), THREADING_OK);
    CHECK_RESULT(nested.status_in_handler, THREADING_TIMED_OUT);
    CHECK(now() - start < TEST_LIMIT / 2);
    if (forked == 0)
        return;
    waiting = NULL;
    join(interrupts);
    join(wakes);
    CHECK_INT(child_status(forked), CHILD_PASSED);
}

static threading_status wait_condition_for(void *condition, double seconds)
{
    threading_status status;
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    status = threading_condition_wait_timeout(condition, seconds);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    return status;
}

static threading_status notify_repeatedly(void *condition)
{
    notify(condition);
    return THREADING_OK;
}

static void nested_waits_go_on(void)
{
    SKIP_FORK_IF_PORTABLE();
    threading_event *event = event_new();
    threading_condition *condition = threading_condition_new();
    threading_semaphore *semaphore;
    fork_in_nested_waits(wait_condition_for, notify_repeatedly, condition);
    if (forked == 0)
        _exit(CHILD_PASSED); /* while the other thread still notifies */
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    fork_in_nested_waits(wait_event_for, wake_event, event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    if (forked == 0)
        _exit(CHILD_PASSED);
    semaphore = threading_semaphore_new(0);
    fork_in_nested_waits(wait_semaphore_for, wake_semaphore, semaphore);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    if (forked == 0)
        _exit(CHILD_PASSED);
}

/* -------------------------------------------------------------------------------------------------- joins */

/* The join must not return before the signal: the child would then join a thread that it does not have. */
static void *wait_for_fork(void *arg)
{
    wait_until(is_nonzero, &has_forked);
    return arg;
}

static threading_status join_thread(void *thread)
{
    return threading_thread_join(thread);
}

static void do_nothing(void *object)
{
    (void)object;
}

static const struct wait join_of_thread = {join_thread, wait_for_fork, do_nothing, THREADING_OK, NULL};

static void join_returns(void)
{
    SKIP_FORK_IF_PORTABLE();
    threading_thread *thread;
    threading_timer *timer;
    atomic_store(&has_forked, 0);
    thread = spawn(wait_for_fork, NULL);
    fork_in_a_wait(&join_of_thread, thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    atomic_store(&has_forked, 0);
    timer = timer_start(0.3, wait_for_fork, NULL);
    fork_in_a_wait(&join_of_thread, threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

/* ------------------------------------------------------------------------------- objects that the child frees */

static void *replacement;

static void end_and_replace_semaphore(void *semaphore)
{
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    replacement = threading_semaphore_new(0);
}

static void check_semaphore_replacement(void)
{
    CHECK_INT(threading_semaphore_value(replacement), 0);
    CHECK_STATUS(threading_semaphore_free(replacement), THREADING_OK);
}

static void end_and_replace_event(void *event)
{
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    replacement = event_new();
}

static void check_event_replacement(void)
{
    CHECK(!threading_event_is_set(replacement));
    CHECK_STATUS(threading_event_free(replacement), THREADING_OK);
}

static void replace_lock(void *lock)
{
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    replacement = threading_lock_new();
}

static void check_lock_replacement(void)
{
    CHECK(!threading_lock_locked(replacement));
    CHECK_STATUS(threading_lock_free(replacement), THREADING_OK);
}

static void replace_barrier(void *barrier)
{
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    replacement = threading_barrier_new(2, NULL, NULL);
}

static void check_barrier_replacement(void)
{
    CHECK_INT(threading_barrier_n_waiting(replacement), 0);
    CHECK_STATUS(threading_barrier_free(replacement), THREADING_OK);
}

static double replaced_at;

static void *sleep_long(void *arg)
{
    sleep_for(TEST_LIMIT);
    return arg;
}

static void replace_thread(void *thread)
{
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    replacement = start_daemon(sleep_long, NULL);
    replaced_at = now();
}

static void check_thread_replacement(void)
{
    CHECK(now() - replaced_at < TEST_LIMIT / 2);
    CHECK(threading_thread_is_alive(replacement));
}

static const struct wait
    semaphore_replaced = {acquire_semaphore, release_semaphore_after_fork, end_and_replace_semaphore, THREADING_OK,
                          check_semaphore_replacement},
    event_replaced = {wait_event, set_after_fork, end_and_replace_event, THREADING_OK, check_event_replacement},
    lock_replaced = {acquire_lock, release_after_fork, replace_lock, THREADING_ERR_HANDLE, check_lock_replacement},
    barrier_replaced = {wait_barrier, arrive_after_fork, replace_barrier, THREADING_ERR_HANDLE,
                        check_barrier_replacement},
    thread_replaced = {join_thread, wait_for_fork, replace_thread, THREADING_OK, check_thread_replacement};

static void freed_in_the_child(void)
{
    SKIP_FORK_IF_PORTABLE();
    threading_lock *lock = threading_lock_new();
    threading_event *event = event_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    threading_thread *thread;
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    fork_in_a_wait(&semaphore_replaced, semaphore);
    fork_in_a_wait(&event_replaced, event);
    fork_in_a_wait(&lock_replaced, lock);
    fork_in_a_wait(&barrier_replaced, barrier);
    atomic_store(&has_forked, 0);
    thread = spawn(wait_for_fork, NULL);
    fork_in_a_wait(&thread_replaced, thread);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* ---------------------------------------------------------------------------------------------- hang hooks */

static void fork_in_hook(int kind, const char *report, void *arg)
{
    (void)kind, (void)report, (void)arg;
    if (!atomic_load(&has_forked)) {
        forked = fork();
        atomic_store(&has_forked, 1);
    }
}

static void *let_worker_end(void *event)
{
    wait_until(is_nonzero, &has_forked);
    return set_event(event);
}

static const struct wait lock_of_hook = {acquire_lock, release_after_fork, reinit_lock, THREADING_OK, NULL};

/* Main waits for a lock that it owns itself, and the hook is called. */
static void check_hook_of_a_deadlock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_thread *ends;
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    ends = spawn(release_after_fork, lock);
    register_fork_handler();
    waiting = &lock_of_hook;
    waiting_for = lock;
    CHECK_STATUS(threading_set_hang_hook(0.05, fork_in_hook, NULL), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    if (forked == 0)
        _exit(CHILD_PASSED);
    join(ends);
    CHECK_INT(child_status(forked), CHILD_PASSED);
}

/* Main waits in a shutdown, and the hook is called. */
static void check_hook_of_a_shutdown(void)
{
    threading_event *event = event_new();
    spawn(wait_for_event, event);
    start_daemon(let_worker_end, event);
    CHECK_STATUS(threading_set_hang_hook(0.05, fork_in_hook, NULL), THREADING_OK);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    if (forked == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(child_status(forked), CHILD_PASSED);
}

static void fork_in_a_hang_hook(void)
{
    SKIP_FORK_IF_PORTABLE();
    atomic_store(&has_forked, 0);
    forked = -1;
    run_in_child(check_hook_of_a_deadlock);
    run_in_child(check_hook_of_a_shutdown);
}

/* ----------------------------------------------------------------------------------- waits that were left */

static sigjmp_buf before_wait;

static void leave_wait(int signal)
{
    (void)signal;
    siglongjmp(before_wait, 1);
}

/* Waits for an event that is not set, and is interrupted by the thread `other`. */
static void wait_and_be_interrupted(threading_event *event, struct interrupted_thread *interrupted, pthread_t *other)
{
    interrupted->thread = pthread_self();
    CHECK_INT(pthread_create(other, NULL, interrupt, interrupted), 0);
    about_to_block(&interrupted->blocker);
    CHECK_STATUS(threading_event_wait_timeout(event, WAIT_LIMIT / 20), THREADING_TIMED_OUT);
}

/* A wait that a signal handler leaves does not end, and is still in the list of the waits that go on in a child. A fork
 * must not use what is left of it on the stack, nor must a fork during another wait, which uses the same memory. */
static void fork_after_a_wait_that_was_left(void)
{
    SKIP_FORK_IF_PORTABLE();
    struct sigaction leaves = {.sa_handler = leave_wait};
    struct sigaction forks = {.sa_handler = fork_in_handler, .sa_flags = SA_RESTART};
    threading_event *event = event_new();
    static struct interrupted_thread interrupted[2];
    static pthread_t other;
    pid_t child;
    if (TEST_SANITIZED)
        SKIP("sanitizers do not support a signal handler that leaves a system call");
    CHECK_INT(sigaction(SIGUSR1, &leaves, NULL), 0);
    if (sigsetjmp(before_wait, 1) == 0)
        wait_and_be_interrupted(event, &interrupted[0], &other);
    CHECK_INT(pthread_join(other, NULL), 0);
    CHECK_INT(sigaction(SIGUSR1, &forks, NULL), 0);
    forked = -1;
    wait_and_be_interrupted(event, &interrupted[1], &other);
    if (forked == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(pthread_join(other, NULL), 0);
    CHECK_INT(child_status(forked), CHILD_PASSED);
    overwrite_stack();
    child = fork();
    if (child == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(child_status(child), CHILD_PASSED);
}

static int leave_action(void *arg)
{
    (void)arg;
    siglongjmp(before_wait, 1);
}

static threading_barrier *barrier_of_action;

static void leave_barrier_in_handler(int signal)
{
    (void)signal;
    (void)threading_barrier_wait(barrier_of_action, NULL);
}

/* What is left of a wait may also be on another stack, which does not exist any more: that of a coroutine, or of signal
 * handlers. */
static void wait_and_fork_after_a_stack_was_unmapped(void)
{
    SKIP_FORK_IF_PORTABLE();
    const size_t size = 256 * 1024;
    stack_t stack = {.ss_size = size}, none = {.ss_flags = SS_DISABLE};
    struct sigaction action = {.sa_handler = leave_barrier_in_handler, .sa_flags = SA_ONSTACK};
    threading_event *event = event_new();
    pid_t child;
    if (TEST_SANITIZED)
        SKIP("sanitizers do not support a signal handler that leaves its stack");
    barrier_of_action = threading_barrier_new(1, leave_action, NULL);
    stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack.ss_sp != MAP_FAILED);
    CHECK_INT(sigaltstack(&stack, NULL), 0);
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    if (sigsetjmp(before_wait, 1) == 0) {
        raise(SIGUSR1);
        CHECK(false);
    }
    CHECK_INT(sigaltstack(&none, NULL), 0);
    CHECK_INT(munmap(stack.ss_sp, size), 0);
    CHECK_STATUS(threading_event_wait_timeout(event, 0.001), THREADING_TIMED_OUT);
    child = fork();
    if (child == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(child_status(child), CHILD_PASSED);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a wait that a signal handler interrupts with fork goes on in the child", wait_goes_on},
    {"waits of a thread and of its signal handler for one object go on in a child that a second handler forks",
     nested_waits_go_on},
    {"a join that a signal handler interrupts with fork returns in the child", join_returns},
    {"a wait that a signal handler interrupts with fork ends if the child frees the object", freed_in_the_child},
    {"a wait goes on in a child that a hang hook forks", fork_in_a_hang_hook},
    {"a thread may fork after a signal handler has left its wait by siglongjmp", fork_after_a_wait_that_was_left},
    {"a thread may wait and fork after it has left a wait on a stack that was unmapped",
     wait_and_fork_after_a_stack_was_unmapped},
};

TEST_MAIN(cases)

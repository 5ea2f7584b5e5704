/* A fork in a signal handler, at each instruction of a wait for an object whose word counts its waiters: an event or a
 * semaphore. In the child, the word must count the thread that forked exactly once, whatever it was about to do
 * (src/sync/own_waiter.rs). fork_in_wait.c has forks of threads that are parked. */
#include "child.h"
#include "stepwise.h"

#ifdef STEPWISE
#include <sched.h>

/* A wait for an object that counts its waiters. */
static const struct counted {
    void *(*new)(void);
    threading_status (*wait)(void *object, double seconds);
    threading_status (*wake)(void *object);
    void (*check_and_free)(void *object, threading_status status, bool is_woken);
    bool is_trained; /* a wake-up from another CPU comes first, so that the wait spins before it parks */
} *counted;

static void *object;
static double wait_seconds;
static double interrupted_at; /* 0 if the wait is not interrupted */
static pid_t forked;
static threading_thread *beside; /* in the child */

/* ---------------------------------------------------------------------------------------- events and semaphores */

static void *new_event(void)
{
    return threading_event_new();
}

/* After a wait that has only trained the event, clears it for the next one. */
static threading_status wait_event(void *event, double seconds)
{
    threading_status status = threading_event_wait_timeout(event, seconds);
    if (counted->is_trained && interrupted_at == 0 && status == THREADING_OK)
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    return status;
}

static threading_status wake_event(void *event)
{
    return threading_event_set(event);
}

static void check_and_free_event(void *event, threading_status status, bool is_woken)
{
    (void)status;
    CHECK_INT(threading_event_is_set(event), is_woken);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void *new_semaphore(void)
{
    return threading_semaphore_new(0);
}

static threading_status wait_semaphore(void *semaphore, double seconds)
{
    return threading_semaphore_acquire_timeout(semaphore, seconds);
}

static threading_status wake_semaphore(void *semaphore)
{
    return threading_semaphore_release(semaphore);
}

static void check_and_free_semaphore(void *semaphore, threading_status status, bool is_woken)
{
    CHECK_INT(threading_semaphore_value(semaphore), status == THREADING_OK ? 0 : is_woken);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static const struct counted counted_waits[] = {
    {new_event, wait_event, wake_event, check_and_free_event, false},
    {new_event, wait_event, wake_event, check_and_free_event, true},
    {new_semaphore, wait_semaphore, wake_semaphore, check_and_free_semaphore, false},
    {new_semaphore, wait_semaphore, wake_semaphore, check_and_free_semaphore, true},
};

/* ------------------------------------------------------------------------------------------------------- forks */

/* Pins the calling thread to the first or the second CPU on which it may run. Returns false if there is no second. */
static bool pin_to_cpu(const cpu_set_t *allowed, int index)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, allowed) && index-- == 0) {
            CPU_SET(cpu, &one);
            return sched_setaffinity(0, sizeof one, &one) == 0;
        }
    }
    return false;
}

static cpu_set_t allowed_cpus;

static void *wake_from_other_cpu(void *arg)
{
    pin_to_cpu(&allowed_cpus, 1);
    sleep_for(0.001);
    CHECK_STATUS(counted->wake(arg), THREADING_OK);
    return NULL;
}

/* In the child: waits for the object, too, until its timeout expires, and then ends the wait of the thread that forked. */
static void *wait_beside(void *arg)
{
    /* If the word of the object is changed back before the thread that forked goes on, an interrupted change of the word
     * succeeds, although it should not: see src/sync/own_waiter.rs. The thread can only be about to end its wait. */
    if (wait_seconds < 1)
        sleep_for(0.02);
    CHECK_STATUS(counted->wait(arg, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(counted->wake(arg), THREADING_OK);
    return NULL;
}

static void fork_at_instruction(void)
{
    interrupted_at = now();
    forked = fork();
    if (forked == 0)
        beside = spawn(wait_beside, object);
    else
        CHECK_STATUS(counted->wake(object), THREADING_OK);
}

/* Forks after this many instructions of a wait. Returns false if the wait has ended before. */
static bool fork_after(int steps)
{
    threading_status status;
    double start;
    object = counted->new();
    interrupted_at = 0;
    forked = -1;
    if (counted->is_trained) {
        threading_thread *waker = spawn(wake_from_other_cpu, object);
        CHECK_STATUS(counted->wait(object, TEST_LIMIT), THREADING_OK);
        join(waker);
    }
    stepped.steps = steps;
    start = now();
    begin_stepwise();
    status = counted->wait(object, wait_seconds);
    end_stepwise();
    if (interrupted_at == 0) {
        CHECK_RESULT(status, THREADING_TIMED_OUT);
        counted->check_and_free(object, status, false);
        return false;
    }
    /* The timeout may have expired before. */
    CHECK(status == THREADING_OK || (status == THREADING_TIMED_OUT && interrupted_at - start >= wait_seconds));
    if (forked == 0)
        join(beside);
    counted->check_and_free(object, status, true);
    if (forked == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(child_status(forked), CHILD_PASSED);
    return true;
}

static void fork_after_each_step(void)
{
    const double no_time = 0.001;
    int steps_to_park;
    /* Counts the instructions until the thread parks. Twice, since the first wait of a thread executes more. */
    wait_seconds = no_time;
    for (int i = 0; i < 2; i++)
        interrupt_after_steps(fork_after, INT_MAX / 2, INT_MAX / 2, 1);
    steps_to_park = stepped.steps_to_park;
    /* Before the thread parks: the wait must not time out. */
    wait_seconds = TEST_LIMIT;
    stepped.interrupts_park = true;
    interrupt_after_steps(fork_after, 1, steps_to_park, 11);
    /* After it has parked: the wait ends because its timeout expires. */
    stepped.interrupts_park = false;
    wait_seconds = no_time;
    interrupt_after_steps(fork_after, steps_to_park + 1, INT_MAX / 2, 3);
}

static void fork_at_any_instruction(void)
{
    SKIP_FORK_IF_PORTABLE();
    if (TEST_SANITIZED)
        SKIP("sanitizers do not support a fork in a signal handler at any instruction");
    CHECK_INT(sched_getaffinity(0, sizeof allowed_cpus, &allowed_cpus), 0);
    pin_to_cpu(&allowed_cpus, 0);
    stepped.interrupt = fork_at_instruction;
    for (counted = counted_waits; counted != counted_waits + TEST_COUNT(counted_waits); counted++)
        fork_after_each_step();
    stepped.interrupt = stop_for_another_thread;
    CHECK_INT(sched_setaffinity(0, sizeof allowed_cpus, &allowed_cpus), 0);
}
#else
static void fork_at_any_instruction(void)
{
    SKIP("a signal handler cannot execute a call step by step on this system");
}
#endif

static const struct test_case cases[] = {
    {"a signal handler may fork while a thread counts itself as a waiter of an event or a semaphore",
     fork_at_any_instruction},
};

TEST_MAIN(cases)

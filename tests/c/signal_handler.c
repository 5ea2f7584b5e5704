/* Calls in a signal handler: those that are allowed there whatever call they interrupt, and waits. */
#include "signals.h"

/* Sends SIGALRM to one thread. The signals of an interval timer are the process's: Valgrind lets threads that are
 * blocked handle most of them, the library's own threads included. */
static struct {
    pthread_t sender, target;
    int period_us;
    atomic_int enabled;
} directed_alarm;

static void *send_alarms(void *arg)
{
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    while (atomic_load(&directed_alarm.enabled)) {
        sleep_for(directed_alarm.period_us / 1e6 * test_slowness());
        pthread_kill(directed_alarm.target, SIGALRM);
    }
    return arg;
}

/* Starts to send SIGALRM to the calling thread with this period, or stops it if the period is 0. */
static void set_own_alarm_period(int period_us)
{
    if (period_us == 0) {
        atomic_store(&directed_alarm.enabled, 0);
        join_foreign(directed_alarm.sender);
        return;
    }
    directed_alarm.target = pthread_self();
    directed_alarm.period_us = period_us;
    atomic_store(&directed_alarm.enabled, 1);
    directed_alarm.sender = spawn_foreign(send_alarms, NULL);
}

/* ------------------------------------------------------------------------------------- calls in a handler */

static threading_event *handler_event;
static threading_semaphore *handler_semaphore;
static atomic_long released, over_released;

/* True in the threads whose signal handlers call the library. SIGALRM may be delivered to any thread, the library's own
 * included, and a test case cannot wait until a handler in those has returned. */
static _Thread_local volatile sig_atomic_t handler_enabled;

static const char portable_cannot_wake[] = "the portable backend cannot wake from a signal handler";

static void set_in_handler(int number)
{
    (void)number;
    if (!handler_enabled)
        return;
    if (threading_event_set(handler_event) != THREADING_OK)
        abort();
    handled++;
}

static void toggle_in_handler(int number)
{
    (void)number;
    if (!handler_enabled)
        return;
    if (threading_event_set(handler_event) != THREADING_OK || !threading_event_is_set(handler_event))
        abort();
    if (threading_event_clear(handler_event) != THREADING_OK || threading_event_is_set(handler_event))
        abort();
    handled++;
}

static void release_in_handler(int number)
{
    threading_status status;
    if (!handler_enabled)
        return;
    status = number == SIGALRM ? threading_semaphore_release(handler_semaphore)
                               : threading_semaphore_release_n(handler_semaphore, 3);
    if (status == THREADING_OK)
        atomic_fetch_add(&released, number == SIGALRM ? 1 : 3);
    else if (status == THREADING_ERR_OVER_RELEASED)
        atomic_fetch_add(&over_released, 1);
    else
        abort();
    handled++;
}

static void *wait_for_handler_event(void *arg)
{
    about_to_block(arg);
    CHECK_STATUS(threading_event_wait_timeout(handler_event, TEST_LIMIT), THREADING_OK);
    return NULL;
}

static void event_set_in_a_handler(void)
{
    threading_thread *threads[4];
    test_blocker blockers[4];
    if (is_portable_backend())
        SKIP(portable_cannot_wake);
    handler_event = threading_event_new();
    CHECK(handler_event != NULL);

    /* The handler interrupts the wait of the only thread. */
    handler_enabled = 1;
    set_handler(SIGALRM, set_in_handler, 0);
    handled = 0;
    set_own_alarm_period(20000);
    CHECK_STATUS(threading_event_wait_timeout(handler_event, TEST_LIMIT), THREADING_OK);
    CHECK(handled > 0);
    set_own_alarm_period(0);

    CHECK_STATUS(threading_event_clear(handler_event), THREADING_OK);
    for (int i = 0; i < 4; i++) {
        atomic_init(&blockers[i], 0);
        threads[i] = spawn(wait_for_handler_event, &blockers[i]);
    }
    for (int i = 0; i < 4; i++)
        wait_until_blocked(&blockers[i]);
    CHECK_INT(raise(SIGALRM), 0);
    for (int i = 0; i < 4; i++)
        join(threads[i]);
    CHECK_STATUS(threading_event_free(handler_event), THREADING_OK);
}

/* The handler interrupts the same calls on the same event. */
static void event_calls_interrupted(void)
{
    if (is_portable_backend())
        SKIP(portable_cannot_wake);
    handler_event = threading_event_new();
    CHECK(handler_event != NULL);
    handler_enabled = 1;
    set_handler(SIGALRM, toggle_in_handler, 0);
    handled = 0;
    set_own_alarm_period(50);
    while (handled < test_many(2000)) {
        threading_status status;
        CHECK_STATUS(threading_event_set(handler_event), THREADING_OK);
        status = threading_event_wait_timeout(handler_event, 0.000001);
        CHECK(status == THREADING_OK || status == THREADING_TIMED_OUT);
        CHECK_STATUS(threading_event_clear(handler_event), THREADING_OK);
        threading_event_is_set(handler_event);
    }
    set_own_alarm_period(0);
    handler_enabled = 0;
    CHECK_STATUS(threading_event_set(handler_event), THREADING_OK);
    CHECK_STATUS(threading_event_wait(handler_event), THREADING_OK);
    CHECK_STATUS(threading_event_clear(handler_event), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(handler_event, 0.01), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_free(handler_event), THREADING_OK);
}

static atomic_int stop;

static void *acquire_units(void *arg)
{
    atomic_long *acquired = arg;
    handler_enabled = 1;
    while (!atomic_load(&stop))
        if (threading_semaphore_acquire_timeout(handler_semaphore, 0.001) == THREADING_OK)
            atomic_fetch_add(acquired, 1);
    return NULL;
}

/* Each permit that a handler released was acquired once or is still there, whichever call the handler interrupted. */
static void releases_in_handlers(threading_semaphore *semaphore, long limit)
{
    threading_thread *threads[3];
    atomic_long acquired = 0;
    handler_semaphore = semaphore;
    handler_enabled = 1;
    CHECK(semaphore != NULL);
    set_handler(SIGALRM, release_in_handler, 0);
    set_handler(SIGUSR1, release_in_handler, SA_RESTART);
    atomic_store(&stop, 0);
    atomic_store(&released, threading_semaphore_value(semaphore));
    atomic_store(&over_released, 0);
    for (int i = 0; i < 3; i++)
        threads[i] = spawn(acquire_units, &acquired);
    set_alarm_period(100);
    for (double end = now() + TEST_LIMIT; atomic_load(&released) + atomic_load(&over_released) < test_many(5000);) {
        CHECK(now() < end);
        CHECK_INT(raise(SIGUSR1), 0);
        if (threading_semaphore_try_acquire(semaphore) == THREADING_OK)
            atomic_fetch_add(&acquired, 1);
        /* Counted before the release, so that the number of acquired permits never exceeds it. */
        atomic_fetch_add(&released, 1);
        if (threading_semaphore_release(semaphore) != THREADING_OK)
            atomic_fetch_sub(&released, 1);
    }
    set_alarm_period(0);
    handler_enabled = 0;
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        join(threads[i]);
    CHECK_INT(threading_semaphore_value(semaphore) + atomic_load(&acquired), atomic_load(&released));
    CHECK(threading_semaphore_value(semaphore) <= limit);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static void semaphore_released_in_a_handler(void)
{
    if (is_portable_backend())
        SKIP(portable_cannot_wake);
    releases_in_handlers(threading_semaphore_new(0), THREADING_SEMAPHORE_MAX);
    CHECK_INT(atomic_load(&over_released), 0);
    releases_in_handlers(threading_semaphore_new_bounded(5), 5);

    /* The handler wakes the thread that it interrupts. */
    handler_semaphore = threading_semaphore_new(0);
    CHECK(handler_semaphore != NULL);
    handler_enabled = 1;
    set_own_alarm_period(20000);
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(handler_semaphore, TEST_LIMIT), THREADING_OK);
    set_own_alarm_period(0);
    CHECK_STATUS(threading_semaphore_free(handler_semaphore), THREADING_OK);
}

/* ------------------------------------------------------------------ a handler that waits for another thread */

/* The first thread waits for an object, and a signal handler interrupts its wait. The handler returns when the second
 * thread has acquired the object. */
static struct shared {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    const struct scenario *scenario;
    test_blocker first, second;
    _Atomic pthread_t first_thread;
    atomic_int in_handler, second_acquired, first_acquired, is_ready;
} shared;

struct scenario {
    /* Main acquires the object, so that both threads wait, and releases it. */
    void (*acquire)(void);
    void (*release)(void);
    /* How the first and the second thread acquire it. */
    void (*first)(void);
    void (*second)(void);
};

/* With the portable backend, the waiter in the handler may be woken in place of the second thread, which then waits until
 * the handler returns. */
static void wait_for_second(int number)
{
    const double limit = is_portable_backend() ? 0.5 : 2 * TEST_LIMIT;
    (void)number;
    atomic_store(&shared.in_handler, 1);
    for (double end = now() + limit; !atomic_load(&shared.second_acquired) && now() < end;)
        sleep_for(0.001);
}

static void acquire_lock(void)
{
    CHECK_STATUS(threading_lock_acquire(shared.lock), THREADING_OK);
}

static void acquire_lock_timed(void)
{
    CHECK_STATUS(threading_lock_acquire_timeout(shared.lock, 2 * TEST_LIMIT), THREADING_OK);
}

static void poll_lock(void)
{
    threading_status status;
    while ((status = threading_lock_try_acquire(shared.lock)) == THREADING_WOULD_BLOCK)
        sleep_for(0.0001);
    CHECK_INT(status, THREADING_OK);
}

static void release_lock(void)
{
    CHECK_STATUS(threading_lock_release(shared.lock), THREADING_OK);
}

static void acquire_rlock(void)
{
    CHECK_STATUS(threading_rlock_acquire(shared.rlock), THREADING_OK);
}

static void release_rlock(void)
{
    CHECK_STATUS(threading_rlock_release(shared.rlock), THREADING_OK);
}

static void acquire_condition(void)
{
    CHECK_STATUS(threading_condition_acquire(shared.condition), THREADING_OK);
}

static void release_condition(void)
{
    CHECK_STATUS(threading_condition_release(shared.condition), THREADING_OK);
}

/* Main holds the condition's lock when it notifies the first thread, which then waits to reacquire the lock. */
static void wait_for_notify(void)
{
    acquire_condition();
    atomic_store(&shared.is_ready, 1);
    CHECK_STATUS(threading_condition_wait(shared.condition), THREADING_OK);
}

static void notify_first(void)
{
    wait_until(is_nonzero, &shared.is_ready);
    acquire_condition();
    CHECK_STATUS(threading_condition_notify(shared.condition, 1), THREADING_OK);
}

static void acquire_unit(void)
{
    CHECK_STATUS(threading_semaphore_acquire(shared.semaphore), THREADING_OK);
}

static void release_unit(void)
{
    CHECK_STATUS(threading_semaphore_release(shared.semaphore), THREADING_OK);
}

static void do_nothing(void)
{
}

static const struct scenario scenarios[] = {
    {acquire_lock, release_lock, acquire_lock, acquire_lock},
    {acquire_lock, release_lock, acquire_lock_timed, acquire_lock_timed},
    {acquire_lock, release_lock, acquire_lock, poll_lock},
    {acquire_rlock, release_rlock, acquire_rlock, acquire_rlock},
    {acquire_condition, release_condition, acquire_condition, acquire_condition},
    {notify_first, release_condition, wait_for_notify, acquire_condition},
    {do_nothing, release_unit, acquire_unit, acquire_unit},
};

static void *run_first(void *arg)
{
    (void)arg;
    atomic_store(&shared.first_thread, pthread_self());
    about_to_block(&shared.first);
    shared.scenario->first();
    atomic_store(&shared.first_acquired, 1);
    shared.scenario->release();
    return NULL;
}

static void *run_second(void *arg)
{
    (void)arg;
    about_to_block(&shared.second);
    shared.scenario->second();
    atomic_store(&shared.second_acquired, 1);
    shared.scenario->release();
    return NULL;
}

/* Main holds the object for `held` seconds after the first thread has entered its handler. If `late`, the second thread
 * starts after main has released the object. */
static void run_scenario(const struct scenario *scenario, double held, bool late)
{
    threading_thread *first, *second = NULL;
    shared.scenario = scenario;
    atomic_store(&shared.first, 0);
    atomic_store(&shared.second, 0);
    atomic_store(&shared.in_handler, 0);
    atomic_store(&shared.first_acquired, 0);
    atomic_store(&shared.second_acquired, 0);
    atomic_store(&shared.is_ready, 0);
    if (scenario->acquire != notify_first)
        scenario->acquire();
    first = spawn(run_first, NULL);
    if (scenario->acquire == notify_first)
        scenario->acquire();
    wait_until_blocked(&shared.first);
    CHECK_INT(pthread_kill(shared.first_thread, SIGUSR1), 0);
    wait_until(is_nonzero, &shared.in_handler);
    if (!late) {
        second = spawn(run_second, NULL);
        if (scenario->second != poll_lock)
            wait_until_blocked(&shared.second);
    }
    if (held > 0)
        sleep_for(held);
    scenario->release();
    if (late)
        second = spawn(run_second, NULL);
    wait_until(is_nonzero, &shared.second_acquired);
    join(second);
    join(first);
    CHECK_INT(shared.first_acquired, 1);
}

static void waiter_in_a_handler_keeps_no_object(void)
{
    set_handler(SIGUSR1, wait_for_second, SA_RESTART);
    shared.lock = threading_lock_new();
    shared.rlock = threading_rlock_new();
    shared.condition = threading_condition_new();
    shared.semaphore = threading_semaphore_new(0);
    for (size_t i = 0; i < TEST_COUNT(scenarios); i++) {
        const bool is_semaphore = scenarios[i].first == acquire_unit;
        for (int held = 0; held < 2; held++) {
            for (int late = 0; late < 2; late++) {
                run_scenario(&scenarios[i], held * 0.01, late);
                if (is_semaphore)
                    acquire_unit();
            }
        }
    }
    CHECK_STATUS(threading_lock_free(shared.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(shared.rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(shared.condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(shared.semaphore), THREADING_OK);
}

/* ------------------------------------------------------------------- a handler that waits, and interrupts a wait */

static struct {
    threading_lock *lock, *lock_in_handler;
    threading_condition *condition_in_handler;
    threading_barrier *barrier_in_handler;
    void (*wait_in_handler)(void);
    atomic_int has_waited;
    pthread_t first_thread;
    test_blocker first, second;
} nested;

static void wait_for_lock(void)
{
    CHECK_STATUS(threading_lock_acquire_timeout(nested.lock_in_handler, 0.02), THREADING_TIMED_OUT);
}

static void wait_for_condition(void)
{
    CHECK_STATUS(threading_condition_acquire(nested.condition_in_handler), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(nested.condition_in_handler, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_release(nested.condition_in_handler), THREADING_OK);
}

static void wait_for_barrier(void)
{
    CHECK_STATUS(threading_barrier_wait_timeout(nested.barrier_in_handler, 0.02, NULL), THREADING_ERR_BROKEN_BARRIER);
}

static void wait_in_handler(int signal)
{
    (void)signal;
    nested.wait_in_handler();
    atomic_store(&nested.has_waited, 1);
}

static void *acquire_and_release(void *blocker)
{
    if (blocker == &nested.first)
        nested.first_thread = pthread_self();
    about_to_block(blocker);
    CHECK_STATUS(threading_lock_acquire_timeout(nested.lock, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_lock_release(nested.lock), THREADING_OK);
    return NULL;
}

static void handler_that_waits_loses_no_waiter(void)
{
    static void (*const waits[])(void) = {wait_for_lock, wait_for_condition, wait_for_barrier};
    struct sigaction action = {.sa_handler = wait_in_handler};
    threading_thread *first, *second;
    if (is_portable_backend())
        SKIP("with the portable backend, a thread cannot park while it is parked");
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    nested.lock = threading_lock_new();
    nested.lock_in_handler = threading_lock_new();
    nested.condition_in_handler = threading_condition_new();
    nested.barrier_in_handler = threading_barrier_new(2, NULL, NULL);
    CHECK_STATUS(threading_lock_acquire(nested.lock_in_handler), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(waits); i++) {
        nested.wait_in_handler = waits[i];
        atomic_store(&nested.has_waited, 0);
        CHECK_STATUS(threading_lock_acquire(nested.lock), THREADING_OK);
        first = spawn(acquire_and_release, &nested.first);
        wait_until_blocked(&nested.first);
        second = spawn(acquire_and_release, &nested.second);
        wait_until_blocked(&nested.second);
        CHECK_INT(pthread_kill(nested.first_thread, SIGUSR1), 0);
        wait_until(is_nonzero, &nested.has_waited);
        CHECK_STATUS(threading_lock_release(nested.lock), THREADING_OK);
        join(first);
        join(second);
    }
    CHECK_STATUS(threading_lock_free(nested.lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(nested.lock_in_handler), THREADING_OK);
    CHECK_STATUS(threading_condition_free(nested.condition_in_handler), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(nested.barrier_in_handler), THREADING_OK);
}

static const struct test_case cases[] = {
    {"an event set in a signal handler wakes its waiters", event_set_in_a_handler},
    {"a signal handler may call set, clear and is_set while it interrupts any call on the event",
     event_calls_interrupted},
    {"permits released in a signal handler are not lost", semaphore_released_in_a_handler},
    {"a waiter in a signal handler does not keep another thread from acquiring the object",
     waiter_in_a_handler_keeps_no_object},
    {"a signal handler that waits loses no waiter of the lock for which its thread waits",
     handler_that_waits_loses_no_waiter},
};

TEST_MAIN(cases)

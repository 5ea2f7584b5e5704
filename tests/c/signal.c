/* Signals and cancellation: neither ends a wait early. Calls in a signal handler are in signal_handler.c. */
#include "signals.h"

#define WAIT_LIMIT TEST_LIMIT
#include "../waits.h"

static void count_signal(int number)
{
    (void)number;
    handled++;
}

/* ------------------------------------------------------------------------------------------------ waiters */

/* A thread that waits on the objects of a pair; main ends the wait. */
struct waiter {
    struct pair pair;
    threading_thread *thread;
    _Atomic pthread_t system_thread;
    test_blocker blocker;
    atomic_int ready, done, may_end;
};

static struct waiter waiters[WAIT_KINDS];

static void prepare_untimed(struct pair *pair)
{
    if (pair->wait_kind->prepare != NULL)
        pair->wait_kind->prepare(pair);
}

/* Starts a waiter for each of the first `count` kinds of waits. */
static void waiters_start(threading_target target, size_t count, void (*prepare)(struct pair *))
{
    for (size_t i = 0; i < count; i++) {
        struct waiter *w = &waiters[i];
        memset(w, 0, sizeof *w);
        pair_new(&w->pair, &wait_kinds[i]);
        prepare(&w->pair);
        atomic_store(&w->pair.requested, 1);
        w->thread = spawn(target, w);
    }
}

static void waiters_end_waits(size_t count)
{
    for (size_t i = 0; i < count; i++)
        waiters[i].pair.wait_kind->end(&waiters[i].pair);
    for (size_t i = 0; i < count; i++)
        wait_until(is_nonzero, &waiters[i].done);
}

static void waiters_join(size_t count, void *result)
{
    for (size_t i = 0; i < count; i++) {
        atomic_store(&waiters[i].may_end, 1);
        CHECK_PTR(join(waiters[i].thread), result);
    }
}

static void pairs_free(size_t count)
{
    for (size_t i = 0; i < count; i++)
        pair_free(&waiters[i].pair);
}

/* ----------------------------------------------------------------------------------- signals during waits */

static struct {
    size_t targets;
    atomic_int must_stop, rounds;
    pthread_t thread;
} storm;

/* Sends signals to all waiters in a loop. The waiters must not exit before the storm has ended. */
static void *send_signals(void *arg)
{
    sigset_t all;
    sigfillset(&all);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
    while (!atomic_load(&storm.must_stop)) {
        for (size_t i = 0; i < storm.targets; i++)
            CHECK_INT(pthread_kill(waiters[i].system_thread, SIGUSR1), 0);
        atomic_fetch_add(&storm.rounds, 1);
        sleep_for(0.0002);
    }
    return arg;
}

static void storm_begin(size_t targets)
{
    for (size_t i = 0; i < targets; i++)
        wait_until(is_nonzero, &waiters[i].ready);
    storm.targets = targets;
    atomic_store(&storm.must_stop, 0);
    atomic_store(&storm.rounds, 0);
    storm.thread = spawn_foreign(send_signals, NULL);
    set_alarm_period(500);
}

static void storm_end(void)
{
    set_alarm_period(0);
    atomic_store(&storm.must_stop, 1);
    join_foreign(storm.thread);
}

static void *wait_timed(void *arg)
{
    struct waiter *w = arg;
    w->system_thread = pthread_self();
    atomic_store(&w->ready, 1);
    do {
        double begin = now();
        CHECK_STATUS(w->pair.wait_kind->timed(&w->pair, 0.3), w->pair.wait_kind->timeout_status);
        CHECK_AT_LEAST(now() - begin, 0.3);
    } while (handled < 10);
    atomic_store(&w->done, 1);
    wait_until(is_nonzero, &w->may_end);
    return NULL;
}

static void timed_waits_in_storm(int flags)
{
    set_handler(SIGUSR1, count_signal, flags);
    set_handler(SIGALRM, count_signal, flags);
    waiters_start(wait_timed, WAIT_KINDS, pair_hold);
    storm_begin(WAIT_KINDS);
    for (size_t i = 0; i < WAIT_KINDS; i++)
        wait_until(is_nonzero, &waiters[i].done);
    storm_end();
    waiters_join(WAIT_KINDS, NULL);
    for (size_t i = 0; i < WAIT_KINDS; i++)
        pair_release(&waiters[i].pair);
    pairs_free(WAIT_KINDS);
}

static void timed_waits_interrupted(void)
{
    timed_waits_in_storm(0);
}

static void timed_waits_restarted(void)
{
    timed_waits_in_storm(SA_RESTART);
}

static void *wait_untimed(void *arg)
{
    struct waiter *w = arg;
    w->system_thread = pthread_self();
    atomic_store(&w->ready, 1);
    about_to_block(&w->blocker);
    CHECK_STATUS(w->pair.wait_kind->untimed(&w->pair), THREADING_OK);
    CHECK(is_woken(&w->pair));
    atomic_store(&w->done, 1);
    wait_until(is_nonzero, &w->may_end);
    CHECK(handled > 0);
    return NULL;
}

static void untimed_waits_in_storm(int flags)
{
    set_handler(SIGUSR1, count_signal, flags);
    set_handler(SIGALRM, count_signal, flags);
    waiters_start(wait_untimed, UNTIMED_KINDS, prepare_untimed);
    for (size_t i = 0; i < UNTIMED_KINDS; i++)
        wait_until_blocked(&waiters[i].blocker);
    storm_begin(UNTIMED_KINDS);
    while (atomic_load(&storm.rounds) < 300)
        sleep_for(0.01);
    for (size_t i = 0; i < UNTIMED_KINDS; i++)
        CHECK_INT(atomic_load(&waiters[i].done), 0);
    waiters_end_waits(UNTIMED_KINDS);
    storm_end();
    waiters_join(UNTIMED_KINDS, NULL);
    pairs_free(UNTIMED_KINDS);
}

static void untimed_waits_interrupted(void)
{
    untimed_waits_in_storm(0);
}

static void untimed_waits_restarted(void)
{
    untimed_waits_in_storm(SA_RESTART);
}

static void *store_time(void *arg)
{
    *(double *)arg = now();
    return arg;
}

/* SIGALRM may be delivered to any thread, the library's own included. No call fails and no timer fires early. */
static void starts_and_timers_interrupted(void)
{
    enum { ROUNDS = 200 };
    static threading_timer *timers[ROUNDS];
    static double due[ROUNDS], fired[ROUNDS];
    set_handler(SIGALRM, count_signal, 0);
    handled = 0;
    set_alarm_period(300);
    for (int i = 0; i < ROUNDS || handled < 100; i++) {
        threading_thread *thread = spawn(store_time, &fired[i % ROUNDS]);
        if (i < ROUNDS) {
            timers[i] = threading_timer_new(i * 0.001, store_time, &fired[i]);
            CHECK(timers[i] != NULL);
        }
        CHECK_PTR(join(thread), &fired[i % ROUNDS]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        due[i] = now() + i * 0.001;
        CHECK_STATUS(threading_timer_start(timers[i]), THREADING_OK);
    }
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_STATUS(threading_thread_join(threading_timer_thread(timers[i])), THREADING_OK);
        CHECK_AT_LEAST(fired[i], due[i]);
        CHECK_STATUS(threading_timer_free(timers[i]), THREADING_OK);
    }
    set_alarm_period(0);
}

/* ------------------------------------------------------------------------------------------- cancellation */

static void *wait_while_cancelled(void *arg)
{
    struct waiter *w = arg;
    w->system_thread = pthread_self();
    about_to_block(&w->blocker);
    CHECK_STATUS(w->pair.wait_kind->untimed(&w->pair), THREADING_OK);
    atomic_store(&w->done, 1);
    for (;;)
        pthread_testcancel();
    return NULL;
}

static void waits_are_not_cancellation_points(void)
{
    waiters_start(wait_while_cancelled, UNTIMED_KINDS, prepare_untimed);
    for (size_t i = 0; i < UNTIMED_KINDS; i++) {
        wait_until_blocked(&waiters[i].blocker);
        CHECK_INT(pthread_cancel(waiters[i].system_thread), 0);
    }
    sleep_for(0.1);
    for (size_t i = 0; i < UNTIMED_KINDS; i++)
        CHECK(threading_thread_is_alive(waiters[i].thread));
    waiters_end_waits(UNTIMED_KINDS);
    waiters_join(UNTIMED_KINDS, PTHREAD_CANCELED);
    pairs_free(UNTIMED_KINDS);
}

static void *sleep_while_cancelled(void *arg)
{
    double begin = now();
    CHECK_INT(pthread_cancel(pthread_self()), 0);
    CHECK_STATUS(threading_sleep(0.1), THREADING_OK);
    CHECK_AT_LEAST(now() - begin, 0.1);
    atomic_store((atomic_int *)arg, 1);
    pthread_testcancel();
    return NULL;
}

static void sleep_is_not_a_cancellation_point(void)
{
    atomic_int slept = 0;
    CHECK_PTR(join(spawn(sleep_while_cancelled, &slept)), PTHREAD_CANCELED);
    CHECK_INT(atomic_load(&slept), 1);
}

static const struct test_case cases[] = {
    {"timed waits do not end early if signals interrupt them", timed_waits_interrupted},
    {"timed waits do not end early if signals with SA_RESTART interrupt them", timed_waits_restarted},
    {"untimed waits do not end if signals interrupt them", untimed_waits_interrupted},
    {"untimed waits do not end if signals with SA_RESTART interrupt them", untimed_waits_restarted},
    {"starts, joins and timers neither fail nor end early if signals interrupt them", starts_and_timers_interrupted},
    {"waits are not cancellation points", waits_are_not_cancellation_points},
    {"sleep is not a cancellation point", sleep_is_not_a_cancellation_point},
};

TEST_MAIN(cases)

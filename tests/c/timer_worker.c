/* The threads that run the functions of timers: few threads serve many timers, no function delays another timer, and
 * each timer is a thread of its own. */
#include "timer.h"

#if defined(__linux__)
#include <dirent.h>
#endif

/* ------------------------------------------------------------------------------------------- many timers */

static size_t system_threads(void)
{
    size_t count = 0;
#if defined(__linux__)
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
#endif
    return count;
}

static void many_pending(void)
{
    enum { TIMERS = 10000 };
    static threading_timer *timers[TIMERS];
    int many = test_many(TIMERS);
    atomic_int fired = 0;
    size_t before = system_threads(); /* 1 in a fresh process */
    for (int i = 0; i < many; i++)
        timers[i] = timer_start(60 + i % 977, count, &fired);
    CHECK(system_threads() <= before + 3);
    CHECK_INT(threading_active_count(), many + 1);
    for (int i = 0; i < many; i++) {
        CHECK_STATUS(threading_timer_cancel(timers[i * 7919 % many]), THREADING_OK);
        join_timer_and_free(timers[i * 7919 % many]);
    }
    CHECK_INT(threading_active_count(), 1);
    CHECK_INT(atomic_load(&fired), 0);
}

static void many_with_one_deadline(void)
{
    enum { TIMERS = 1000 };
    static threading_timer *timers[TIMERS];
    int many = test_many(TIMERS);
    static atomic_int fired[TIMERS];
    for (int i = 0; i < many; i++)
        timers[i] = timer_start(0.05, count, &fired[i]);
    for (int i = 0; i < many; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), &fired[i]);
    sleep_for(0.02);
    for (int i = 0; i < many; i++)
        CHECK_INT(atomic_load(&fired[i]), 1);
}

/* Timers that are due while the function of another one runs, so that they are all due when it returns. */
enum { DUE_TOGETHER = 200 };

static struct due_together {
    threading_timer *timer;
    threading_event *event;
    atomic_int ran;
    atomic_int cancelled;
} due_together[DUE_TOGETHER];

static void *run_of_many(void *arg)
{
    struct due_together *own = arg;
    size_t index = (size_t)(own - due_together);
    atomic_fetch_add(&own->ran, 1);
    if (index == 0) {
        sleep_for(0.02);
    } else if (index % 40 == 9) {
        CHECK_STATUS(threading_event_wait(own->event), THREADING_OK);
    } else if (index % 40 == 19) {
        pthread_exit(own);
    } else if (index % 40 == 29) {
        for (size_t other = index % 3; other < DUE_TOGETHER; other += 7) {
            threading_status status = threading_timer_cancel(due_together[other].timer);
            if (status == THREADING_OK)
                atomic_store(&due_together[other].cancelled, 1);
            else
                CHECK_STATUS(status, THREADING_TOO_LATE);
        }
    } else if (index % 40 == 39) {
        threading_timer *timer = timer_start(0, count, &own->ran);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
    return arg;
}

static void due_timers_are_not_lost(void)
{
    threading_event *event = event_new();
    for (size_t i = 0; i < DUE_TOGETHER; i++) {
        struct due_together *own = &due_together[i];
        own->timer = threading_timer_new(i == 0 ? 0 : 0.01, run_of_many, own);
        CHECK(own->timer != NULL);
        own->event = event;
    }
    for (size_t i = 0; i < DUE_TOGETHER; i++)
        CHECK_STATUS(threading_timer_start(due_together[i].timer), THREADING_OK);
    for (size_t i = 0; i < DUE_TOGETHER; i++) {
        if (i % 40 == 9)
            continue;
        CHECK_STATUS(threading_thread_join(thread_of(due_together[i].timer)), THREADING_OK);
    }
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    wait_until(main_is_alone, NULL);
    for (size_t i = 0; i < DUE_TOGETHER; i++) {
        struct due_together *own = &due_together[i];
        int ran = atomic_load(&own->ran), cancelled = atomic_load(&own->cancelled);
        CHECK_INT(ran, cancelled ? 0 : i % 40 == 39 ? 2 : 1);
        join_timer_and_free(own->timer);
    }
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void *block(void *arg)
{
    sleep_for(0.5);
    atomic_store((atomic_int *)arg, 1);
    return NULL;
}

/* Returns the largest delay of twenty timers that are due while another timer's function blocks. */
static double largest_delay(void)
{
    enum { TIMERS = 20 };
    threading_timer *blocking, *timers[TIMERS];
    double due[TIMERS], fired[TIMERS], largest = 0;
    atomic_int unblocked = 0;
    blocking = timer_start(0, block, &unblocked);
    for (int i = 0; i < TIMERS; i++) {
        due[i] = now() + i * 0.01;
        timers[i] = timer_start(i * 0.01, store_time, &fired[i]);
    }
    for (int i = 0; i < TIMERS; i++) {
        join_timer_and_free(timers[i]);
        if (fired[i] - due[i] > largest)
            largest = fired[i] - due[i];
    }
    join_timer_and_free(blocking);
    CHECK_INT(atomic_load(&unblocked), 1);
    return largest;
}

static void blocked_function_delays_none(void)
{
    /* A timer that waited for the blocking function would be delayed by more than 0.3 s. A busy machine may cause such
     * a delay too, but hardly in each of eight attempts. */
    int tries = 0;
    while (largest_delay() > 0.3)
        CHECK(++tries < 8);
}

static void many_functions_block(void)
{
    /* None of the ten functions returns before the eleventh timer, which is due last, has run. */
    enum { TIMERS = 10 };
    struct busy busy[TIMERS];
    threading_event *event = event_new();
    threading_timer *timers[TIMERS];
    for (int i = 0; i < TIMERS; i++) {
        atomic_init(&busy[i].begun, 0);
        busy[i].event = event;
        timers[i] = timer_start(0, begin_and_wait, &busy[i]);
    }
    for (int i = 0; i < TIMERS; i++)
        wait_until(is_nonzero, &busy[i].begun);
    CHECK_PTR(join_timer_and_free(timer_start(0.01, return_arg, event)), event);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < TIMERS; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static atomic_int chain;

static void *next_of_chain(void *arg)
{
    if (atomic_fetch_add(&chain, 1) < 99)
        CHECK_STATUS(threading_timer_free(timer_start(0.001, next_of_chain, arg)), THREADING_OK);
    return arg;
}

static void timers_start_timers(void)
{
    atomic_store(&chain, 0);
    CHECK_STATUS(threading_timer_free(timer_start(0.001, next_of_chain, NULL)), THREADING_OK);
    wait_until(main_is_alone, NULL);
    CHECK_INT(atomic_load(&chain), 100);
}

/* --------------------------------------------------------------------------------------------------- rlocks */

static void *acquire_twice(void *rlock)
{
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK(threading_rlock_is_owned(rlock));
    return rlock;
}

static void *check_not_owner(void *rlock)
{
    CHECK(threading_rlock_locked(rlock));
    CHECK(!threading_rlock_is_owned(rlock));
    CHECK_INT(threading_rlock_recursion_count(rlock), 0);
    CHECK_STATUS(threading_rlock_try_acquire(rlock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_rlock_release(rlock), THREADING_ERR_NOT_OWNER);
    return rlock;
}

static void timers_are_distinct_owners(void)
{
    threading_rlock *rlock = threading_rlock_new();
    CHECK(rlock != NULL);
    CHECK_PTR(join_timer_and_free(timer_start(0, acquire_twice, rlock)), rlock);
    for (int i = 0; i < 20; i++)
        CHECK_PTR(join_timer_and_free(timer_start(0, check_not_owner, rlock)), rlock);
    check_not_owner(rlock);
    CHECK_STATUS(threading_rlock_free(rlock), THREADING_OK);
}

static const struct test_case cases[] = {
    {"ten thousand pending timers use at most three system threads", many_pending},
    {"a thousand timers with the same deadline run once each", many_with_one_deadline},
    {"timers that are due together run once or are cancelled, whatever the functions of the others do",
     due_timers_are_not_lost},
    {"a function that blocks does not delay twenty other timers", blocked_function_delays_none},
    {"ten functions may block at the same time", many_functions_block},
    {"a timer's function may start timers", timers_start_timers},
    {"an rlock that a timer acquired is not owned by later timers", timers_are_distinct_owners},
};

TEST_MAIN(cases)

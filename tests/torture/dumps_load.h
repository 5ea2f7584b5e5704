/* Load without deadlocks: locks are acquired in one order and released by their owners, and a thread that joins another
 * one holds no lock that the other needs. */
#ifndef DUMPS_LOAD_H
#define DUMPS_LOAD_H

#include "dumps_signals.h"

#define OK(expr) TORTURE_STATUS(expr, THREADING_OK)

enum { LOCKS = 4, RLOCKS = 3, BARRIER_PARTIES = 3, LOAD_WORKERS = 18 };

static struct load {
    atomic_bool stop;
    threading_lock *locks[LOCKS];
    threading_rlock *rlocks[RLOCKS];
    threading_condition *queue;
    unsigned queued;
    threading_barrier *barrier;
    threading_event *ping, *pong;
    threading_semaphore *permits;
    threading_thread *workers[LOAD_WORKERS];
} load;

static inline bool load_running(void)
{
    return !atomic_load_explicit(&load.stop, memory_order_relaxed);
}

/* A name of one letter, which determines its length: see is_whole_name(). */
static inline const char *uniform_name(struct random *random, char name[40])
{
    size_t letter = (size_t)random_below(random, 26);
    memset(name, 'a' + (int)letter, 8 + letter);
    name[8 + letter] = '\0';
    return name;
}

static inline double short_time(struct random *random)
{
    return (double)random_below(random, 500) / 1e6;
}

/* Acquires some of the locks in their order, by random functions, and releases them. */
static inline void use_locks(struct random *random)
{
    bool has_lock[LOCKS] = {false};
    unsigned has_rlock[RLOCKS] = {0};
    for (unsigned i = 0; i < LOCKS; i++)
        switch (random_below(random, 6)) {
        case 0:
        case 1:
            OK(threading_lock_acquire(load.locks[i]));
            has_lock[i] = true;
            break;
        case 2:
            has_lock[i] = threading_lock_acquire_timeout(load.locks[i], short_time(random)) == THREADING_OK;
            break;
        case 3:
            has_lock[i] = threading_lock_try_acquire(load.locks[i]) == THREADING_OK;
            break;
        default:
            break;
        }
    for (unsigned i = 0; i < RLOCKS; i++)
        for (uint64_t times = random_below(random, 3); times > 0; times--) {
            OK(threading_rlock_acquire(load.rlocks[i]));
            has_rlock[i]++;
        }
    if (random_one_in(random, 8))
        sleep_for(short_time(random));
    for (unsigned i = 0; i < RLOCKS; i++)
        for (; has_rlock[i] > 0; has_rlock[i]--)
            OK(threading_rlock_release(load.rlocks[i]));
    for (unsigned i = 0; i < LOCKS; i++)
        if (has_lock[i])
            OK(threading_lock_release(load.locks[i]));
}

static inline void produce(struct random *random)
{
    OK(threading_condition_acquire(load.queue));
    load.queued++;
    if (random_one_in(random, 2))
        OK(threading_condition_notify(load.queue, 1));
    else
        OK(threading_condition_notify_all(load.queue));
    OK(threading_condition_release(load.queue));
    sleep_for(short_time(random));
}

static inline void consume(struct random *random)
{
    OK(threading_condition_acquire(load.queue));
    while (load.queued == 0 && load_running()) {
        if (random_one_in(random, 2))
            (void)threading_condition_wait_timeout(load.queue, short_time(random));
        else
            OK(threading_condition_wait(load.queue));
    }
    load.queued -= load.queued > 0;
    OK(threading_condition_release(load.queue));
}

/* A waiter of a condition that is freed after the notify. */
struct freed {
    threading_lock *lock;
    threading_condition *condition;
    bool waits;
};

static inline void *wait_for_freed_condition(void *arg)
{
    struct freed *freed = arg;
    OK(threading_condition_acquire(freed->condition));
    freed->waits = true;
    OK(threading_condition_wait(freed->condition));
    OK(threading_lock_release(freed->lock));
    return arg;
}

static inline threading_thread *start(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    TORTURE_CHECK(thread != NULL);
    OK(threading_thread_start(thread));
    return thread;
}

static inline void join_and_free(threading_thread *thread)
{
    OK(threading_thread_join(thread));
    OK(threading_thread_free(thread));
}

static inline void free_notified_condition(struct random *random)
{
    struct freed freed = {.lock = threading_lock_new()};
    char name[40];
    freed.condition = threading_condition_new_with_lock(freed.lock);
    TORTURE_CHECK(freed.condition != NULL);
    OK(threading_condition_set_name(freed.condition, uniform_name(random, name)));
    threading_thread *waiter = start(wait_for_freed_condition, &freed);
    for (bool waits = false; !waits;) {
        OK(threading_lock_acquire(freed.lock));
        if ((waits = freed.waits)) {
            OK(threading_condition_notify_all(freed.condition));
            OK(threading_condition_free(freed.condition));
            sleep_for(short_time(random));
        }
        OK(threading_lock_release(freed.lock));
    }
    join_and_free(waiter);
    OK(threading_lock_free(freed.lock));
}

static inline void *return_immediately(void *arg)
{
    return arg;
}

static inline void *lock_and_return(void *arg)
{
    struct random random = {(uintptr_t)arg};
    use_locks(&random);
    return arg;
}

/* Leaves an RLock locked. */
static inline void *lock_and_end(void *rlock)
{
    OK(threading_rlock_acquire(rlock));
    return rlock;
}

static inline void use_threads(struct random *random)
{
    threading_thread *threads[3];
    threading_rlock *abandoned = threading_rlock_new();
    TORTURE_CHECK(abandoned != NULL);
    threads[0] = start(lock_and_return, (void *)(uintptr_t)random_next(random));
    threads[1] = start(return_immediately, NULL);
    threads[2] = start(lock_and_end, abandoned);
    for (unsigned i = 0; i < 3; i++) {
        if (random_one_in(random, 2))
            (void)threading_thread_join_timeout(threads[i], short_time(random));
        join_and_free(threads[i]);
    }
    OK(threading_rlock_free(abandoned));
}

/* A thread ends as the owner of an RLock, for which a second thread waits. A third thread, which gets the record of
 * the first one, waits for the second. This is no deadlock, although a dump that began when the first one lived may
 * take the wait of the third for one of the first. */
struct abandoned {
    threading_rlock *rlock;
    threading_lock *lock;
    _Atomic int is_owned;
};

static inline void *abandon(void *arg)
{
    struct abandoned *abandoned = arg;
    OK(threading_rlock_acquire(abandoned->rlock));
    atomic_store(&abandoned->is_owned, true);
    OK(threading_sleep(0.002));
    return arg;
}

static inline void *wait_for_abandoned(void *arg)
{
    struct abandoned *abandoned = arg;
    OK(threading_lock_acquire(abandoned->lock));
    OK(threading_rlock_acquire(abandoned->rlock));
    OK(threading_rlock_release(abandoned->rlock));
    OK(threading_lock_release(abandoned->lock));
    return arg;
}

static inline void *lock_and_unlock(void *lock)
{
    OK(threading_lock_acquire(lock));
    OK(threading_lock_release(lock));
    return lock;
}

static inline void reuse_records(void)
{
    struct abandoned abandoned = {.rlock = threading_rlock_new(), .lock = threading_lock_new()};
    TORTURE_CHECK(abandoned.rlock != NULL && abandoned.lock != NULL);
    threading_thread *first = start(abandon, &abandoned);
    while (!atomic_load(&abandoned.is_owned))
        sleep_for(50e-6);
    threading_thread *second = start(wait_for_abandoned, &abandoned);
    join_and_free(first);
    threading_thread *third = start(lock_and_unlock, abandoned.lock);
    sleep_for(0.004);
    OK(threading_rlock_at_fork_reinit(abandoned.rlock));
    join_and_free(second);
    join_and_free(third);
    OK(threading_rlock_free(abandoned.rlock));
    OK(threading_lock_free(abandoned.lock));
}

/* Renames the main thread so often that its name changes while dumps copy it. No other name changes as fast, because
 * the kernel keeps those of other threads, too. */
static inline void rename_main(struct random *random)
{
    char name[40];
    threading_thread *main_thread = threading_main_thread();
    for (unsigned i = 0; i < 2000; i++)
        OK(threading_thread_set_name(main_thread, uniform_name(random, name)));
    sleep_for(short_time(random));
}

static inline void *ignore_timer(void *arg)
{
    return arg;
}

static inline void use_timers(struct random *random)
{
    enum { TIMERS = 12 };
    threading_timer *timers[TIMERS];
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i] = threading_timer_new(short_time(random) * (i < 4 ? 1 : 100),
                                        i % 2 == 0 ? lock_and_return : ignore_timer,
                                        (void *)(uintptr_t)random_next(random));
        TORTURE_CHECK(timers[i] != NULL);
        OK(threading_timer_start(timers[i]));
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        if (i >= 4)
            (void)threading_timer_cancel(timers[i]); /* it may have begun */
        OK(threading_thread_join(threading_timer_thread(timers[i])));
        OK(threading_timer_free(timers[i]));
    }
}

/* Many objects of all kinds, with names, in the same slots again and again; blocks change their kind. */
static inline void churn(struct random *random)
{
    enum { OBJECTS = 1500 };
    static void *objects[OBJECTS];
    char name[40];
    unsigned kind = (unsigned)random_below(random, 6), count = (unsigned)random_below(random, OBJECTS);
    bool has_names = random_one_in(random, 2);
    for (unsigned i = 0; i < count; i++) {
        const char *text = has_names || random_one_in(random, 20) ? uniform_name(random, name) : NULL;
        switch (kind) {
        case 0:
            objects[i] = threading_lock_new();
            OK(threading_lock_acquire(objects[i]));
            if (text != NULL)
                OK(threading_lock_set_name(objects[i], text));
            break;
        case 1:
            objects[i] = threading_rlock_new();
            OK(threading_rlock_acquire(objects[i]));
            if (text != NULL)
                OK(threading_rlock_set_name(objects[i], text));
            break;
        case 2:
            objects[i] = threading_event_new();
            if (text != NULL)
                OK(threading_event_set_name(objects[i], text));
            break;
        case 3:
            objects[i] = threading_semaphore_new(1);
            if (text != NULL)
                OK(threading_semaphore_set_name(objects[i], text));
            break;
        case 4:
            objects[i] = threading_barrier_new(2, NULL, NULL);
            if (text != NULL)
                OK(threading_barrier_set_name(objects[i], text));
            break;
        default:
            objects[i] = threading_thread_new(return_immediately, NULL);
            if (text != NULL)
                OK(threading_thread_set_name(objects[i], text));
            break;
        }
    }
    for (unsigned i = 0; i < count; i++)
        OK(kind == 0   ? threading_lock_free(objects[i])
           : kind == 1 ? threading_rlock_free(objects[i])
           : kind == 2 ? threading_event_free(objects[i])
           : kind == 3 ? threading_semaphore_free(objects[i])
           : kind == 4 ? threading_barrier_free(objects[i])
                       : threading_thread_free(objects[i]));
}

/* Renames objects and threads that are in use, whose notes also count their waits. */
static inline void rename_all(struct random *random)
{
    char name[40];
    if (random_one_in(random, 50))
        OK(threading_set_contention(random_one_in(random, 2)));
    for (unsigned i = 0; i < LOCKS; i++)
        OK(threading_lock_set_name(load.locks[i], random_one_in(random, 8) ? NULL : uniform_name(random, name)));
    for (unsigned i = 0; i < RLOCKS; i++)
        OK(threading_rlock_set_name(load.rlocks[i], uniform_name(random, name)));
    OK(threading_condition_set_name(load.queue, uniform_name(random, name)));
    OK(threading_barrier_set_name(load.barrier, uniform_name(random, name)));
    OK(threading_event_set_name(load.ping, uniform_name(random, name)));
    OK(threading_semaphore_set_name(load.permits, uniform_name(random, name)));
    OK(threading_thread_set_name(load.workers[random_below(random, 4)], uniform_name(random, name)));
}

static inline void *load_worker(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;
    struct random random = random_of(1000 + number);
    if (number % 2 == 0)
        use_small_alternate_stack();
    while (load_running()) {
        switch (number) {
        case 0:
        case 1:
        case 2:
            use_locks(&random);
            break;
        case 3:
            produce(&random);
            break;
        case 4:
        case 5:
            consume(&random);
            break;
        case 6:
        case 7:
        case 8:
            (void)threading_barrier_wait(load.barrier, NULL);
            sleep_for(short_time(&random));
            break;
        case 9:
            OK(threading_event_wait(load.ping));
            OK(threading_event_clear(load.ping));
            OK(threading_event_set(load.pong));
            break;
        case 10:
            OK(threading_event_set(load.ping));
            (void)threading_event_wait_timeout(load.pong, 0.002);
            OK(threading_event_clear(load.pong));
            break;
        case 11:
            OK(threading_semaphore_acquire(load.permits));
            break;
        case 12:
            (void)threading_semaphore_acquire_timeout(load.permits, short_time(&random));
            OK(threading_semaphore_release(load.permits));
            OK(threading_sleep(short_time(&random)));
            break;
        case 13:
            use_timers(&random);
            break;
        case 14:
            if (random_one_in(&random, 2))
                free_notified_condition(&random);
            else
                use_threads(&random);
            break;
        case 15:
            reuse_records();
            break;
        case 16:
            rename_main(&random);
            break;
        default:
            if (random_one_in(&random, 4))
                churn(&random);
            else
                rename_all(&random);
            break;
        }
        torture_step(1);
    }
    return NULL;
}

static inline void load_start(void)
{
    for (unsigned i = 0; i < LOCKS; i++)
        TORTURE_CHECK((load.locks[i] = threading_lock_new()) != NULL);
    for (unsigned i = 0; i < RLOCKS; i++)
        TORTURE_CHECK((load.rlocks[i] = threading_rlock_new()) != NULL);
    load.queue = threading_condition_new();
    load.barrier = threading_barrier_new(BARRIER_PARTIES, NULL, NULL);
    load.ping = threading_event_new();
    load.pong = threading_event_new();
    load.permits = threading_semaphore_new(0);
    TORTURE_CHECK(load.queue != NULL && load.barrier != NULL && load.ping != NULL && load.pong != NULL);
    TORTURE_CHECK(load.permits != NULL);
    for (unsigned i = 0; i < LOAD_WORKERS; i++)
        TORTURE_CHECK((load.workers[i] = threading_thread_new(load_worker, (void *)(uintptr_t)i)) != NULL);
    for (unsigned i = 0; i < LOAD_WORKERS; i++)
        OK(threading_thread_start(load.workers[i]));
}

static inline void load_join(void)
{
    atomic_store(&load.stop, true);
    for (unsigned i = 0; i < LOAD_WORKERS; i++)
        while (threading_thread_join_timeout(load.workers[i], 0.002) != THREADING_OK) {
            OK(threading_barrier_abort(load.barrier));
            OK(threading_event_set(load.ping));
            OK(threading_semaphore_release(load.permits));
            OK(threading_condition_acquire(load.queue));
            OK(threading_condition_notify_all(load.queue));
            OK(threading_condition_release(load.queue));
        }
    for (unsigned i = 0; i < LOAD_WORKERS; i++)
        OK(threading_thread_free(load.workers[i]));
}

#endif

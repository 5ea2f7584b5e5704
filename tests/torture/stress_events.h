/* Events: a set ends all waits that began before it, and a consumer that waits, clears and then reads misses
 * nothing. */
#ifndef STRESS_EVENTS_H
#define STRESS_EVENTS_H

#include "stress.h"

#include "asleep.h"

#include <sys/syscall.h>

/* ------------------------------------------------------------- a set, possibly followed immediately by a clear */

/* The untimed workers wait without a timeout, the others with a short one. Either the untimed workers sleep when the
 * event is set, and then it may be cleared immediately, or their state is unknown, and the event stays set. */
struct sets {
    _Atomic(threading_event *) event;
    unsigned workers, untimed;
    atomic_bool freed;                 /* the event may have been freed before a timed wait began */
    atomic_long waiter_tids[MAX_TEAM]; /* kernel thread IDs of the untimed workers that are about to wait */
    _Atomic uint64_t done;
};

static inline void sets_prepare(struct scenario *scenario, void *shared)
{
    struct sets *sets = shared;
    if (sets->event == NULL)
        sets->event = threading_event_new();
    sets->untimed = (unsigned)random_below(&scenario->random, sets->workers + 1);
    for (unsigned i = 0; i < MAX_TEAM; i++)
        atomic_store(&sets->waiter_tids[i], 0);
    sets->done = 0;
    sets->freed = false;
}

static inline void sets_work(struct worker *worker, void *shared)
{
    struct sets *sets = shared;
    spin(random_below(&worker->random, 2000));
    if (worker->number < sets->untimed) {
        atomic_store(&sets->waiter_tids[worker->number], syscall(SYS_gettid));
        if (random_one_in(&worker->random, 2))
            TORTURE_STATUS(threading_event_wait(sets->event), THREADING_OK);
        else
            TORTURE_STATUS(threading_event_wait_timeout(sets->event, STRESS_LIMIT), THREADING_OK);
        atomic_fetch_add(&sets->done, 1);
    } else {
        double seconds = random_timeout(&worker->random), began = now();
        threading_status status = threading_event_wait_timeout(sets->event, seconds);
        if (status != THREADING_ERR_HANDLE || !sets->freed)
            CHECK_TIMED_WAIT(status, began, seconds);
    }
}

static inline void sets_drive(struct scenario *scenario, void *shared)
{
    struct sets *sets = shared;
    double end = now() + STRESS_LIMIT;
    if (sets->untimed == 0) /* all waits time out */
        return;
    if (random_one_in(&scenario->random, 2)) {
        spin(random_below(&scenario->random, 20000));
        TORTURE_STATUS(threading_event_set(sets->event), THREADING_OK);
        AWAIT_COUNT(&sets->done, sets->untimed);
        return;
    }
    for (unsigned i = 0; i < sets->untimed; i++)
        for (long tid; (tid = atomic_load(&sets->waiter_tids[i])) == 0 || !is_asleep(tid); sched_yield())
            TORTURE_CHECK(now() < end && atomic_load(&sets->done) == 0);
    TORTURE_STATUS(threading_event_set(sets->event), THREADING_OK);
    switch (random_below(&scenario->random, 4)) {
    case 0:
        break;
    case 1:
        sets->freed = true;
        TORTURE_STATUS(threading_event_free(sets->event), THREADING_OK);
        sets->event = threading_event_new();
        break;
    default:
        TORTURE_STATUS(threading_event_clear(sets->event), THREADING_OK);
        break;
    }
    AWAIT_COUNT(&sets->done, sets->untimed);
}

static inline void sets_finish(struct scenario *scenario, void *shared)
{
    struct sets *sets = shared;
    if (random_one_in(&scenario->random, 4)) { /* no thread waits any more */
        TORTURE_STATUS(threading_event_free(sets->event), THREADING_OK);
        sets->event = NULL;
    } else {
        TORTURE_STATUS(threading_event_clear(sets->event), THREADING_OK);
    }
}

static inline void scenario_sets(struct scenario *scenario)
{
    struct sets *sets = calloc(1, sizeof *sets);
    TORTURE_CHECK(sets != NULL);
    sets->workers = scenario->threads;
    struct rounds rounds = {
        .shared = sets, .prepare = sets_prepare, .work = sets_work, .drive = sets_drive, .finish = sets_finish};
    rounds_run(scenario, scenario->threads, &rounds);
    if (sets->event != NULL)
        TORTURE_STATUS(threading_event_free(sets->event), THREADING_OK);
    free(sets);
}

/* -------------------------------------------------------------------------------------------- laps without a pause */

/* One thread sets the event, all others wait and count themselves, the first clears it, and so on without a pause:
 * some waiters spin, some sleep, and some are about to. */
struct laps {
    threading_event *event;
    unsigned waiters;
    _Atomic uint64_t lap, done;
    bool stop; /* published by `lap` */
};

static inline void laps_worker(struct worker *worker)
{
    struct laps *laps = worker->shared;
    bool sets = worker->number == 0;
    for (uint64_t lap = 0; !laps->stop; lap++) {
        if (sets) {
            spin(random_below(&worker->random, 4000));
            TORTURE_STATUS(threading_event_set(laps->event), THREADING_OK);
            AWAIT_COUNT(&laps->done, laps->waiters);
            TORTURE_STATUS(threading_event_clear(laps->event), THREADING_OK);
            atomic_store(&laps->done, 0);
            laps->stop = !scenario_running(worker->scenario);
            atomic_store(&laps->lap, lap + 1);
        } else {
            TORTURE_STATUS(threading_event_wait(laps->event), THREADING_OK);
            atomic_fetch_add(&laps->done, 1);
            while (atomic_load(&laps->lap) == lap)
                sched_yield();
        }
        worker_step(worker);
    }
}

static inline void scenario_laps(struct scenario *scenario)
{
    struct laps laps = {.event = threading_event_new()};
    unsigned threads = 2 + (unsigned)random_below(&scenario->random, 3);
    laps.waiters = threads - 1;
    team_run(scenario, threads, laps_worker, &laps);
    TORTURE_STATUS(threading_event_free(laps.event), THREADING_OK);
}

/* --------------------------------------------------------------------------------- consumers that clear and read */

/* Producers store numbers and set the event; now and then each waits until a consumer has seen its number. The
 * numbers are stored relaxed: what is stored before a set must be visible after the wait and the clear that follow
 * it, even if the event was already set. */
struct posts {
    unsigned producers;
    bool no_pauses; /* no pauses, and one producer and one consumer share few cache lines */
    atomic_uint producing;
    struct mailbox {
        threading_event *event;
        _Atomic uint64_t posted[MAX_TEAM], seen[MAX_TEAM];
    } *mailboxes; /* one per consumer */
    unsigned consumers;
};

static inline void posts_produce(struct worker *worker, struct posts *posts)
{
    unsigned self = worker->number;
    uint64_t number[MAX_TEAM] = {0};
    do {
        unsigned to = (unsigned)random_below(&worker->random, posts->consumers);
        struct mailbox *mailbox = &posts->mailboxes[to];
        for (uint64_t burst = 1 + random_below(&worker->random, 3); burst > 0; burst--) {
            atomic_store_explicit(&mailbox->posted[self], ++number[to], memory_order_relaxed);
            TORTURE_STATUS(threading_event_set(mailbox->event), THREADING_OK);
            spin(random_below(&worker->random, 30));
        }
        if (posts->no_pauses || random_one_in(&worker->random, 4))
            AWAIT_COUNT(&mailbox->seen[self], number[to]);
        else
            random_pause(&worker->random);
        worker_step(worker);
    } while (scenario_running(worker->scenario));
    for (unsigned to = 0; to < posts->consumers; to++)
        AWAIT_COUNT(&posts->mailboxes[to].seen[self], number[to]);
    if (atomic_fetch_sub(&posts->producing, 1) == 1)
        for (unsigned to = 0; to < posts->consumers; to++)
            TORTURE_STATUS(threading_event_set(posts->mailboxes[to].event), THREADING_OK);
}

static inline void posts_consume(struct worker *worker, struct posts *posts)
{
    struct mailbox *mailbox = &posts->mailboxes[worker->number - posts->producers];
    while (atomic_load(&posts->producing) > 0) {
        TORTURE_STATUS(threading_event_wait(mailbox->event), THREADING_OK);
        TORTURE_STATUS(threading_event_clear(mailbox->event), THREADING_OK);
        for (unsigned i = 0; i < posts->producers; i++)
            atomic_store(&mailbox->seen[i], atomic_load_explicit(&mailbox->posted[i], memory_order_relaxed));
        if (!posts->no_pauses)
            random_pause(&worker->random);
        worker_step(worker);
    }
}

static inline void posts_worker(struct worker *worker)
{
    struct posts *posts = worker->shared;
    if (worker->number < posts->producers)
        posts_produce(worker, posts);
    else
        posts_consume(worker, posts);
}

static inline void scenario_posts(struct scenario *scenario)
{
    struct posts posts = {.no_pauses = !random_one_in(&scenario->random, 3)};
    unsigned threads = posts.no_pauses ? 2 : scenario->threads;
    posts.consumers = 1 + (unsigned)random_below(&scenario->random, threads / 2);
    posts.producers = threads - posts.consumers;
    posts.producing = posts.producers;
    posts.mailboxes = calloc(posts.consumers, sizeof *posts.mailboxes);
    TORTURE_CHECK(posts.mailboxes != NULL);
    for (unsigned i = 0; i < posts.consumers; i++)
        posts.mailboxes[i].event = threading_event_new();
    team_run(scenario, threads, posts_worker, &posts);
    for (unsigned i = 0; i < posts.consumers; i++)
        TORTURE_STATUS(threading_event_free(posts.mailboxes[i].event), THREADING_OK);
    free(posts.mailboxes);
}

#endif

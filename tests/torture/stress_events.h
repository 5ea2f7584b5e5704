/* Events: a set ends all waits that began before it, and who waits, clears and looks misses nothing. */
#ifndef STRESS_EVENTS_H
#define STRESS_EVENTS_H

#include "stress.h"

#include <sys/syscall.h>

/* -------------------------------------------------------------------------- a set, and perhaps a clear at once */

/* The patient ones wait without a limit, the time of the hasty ones runs out. Either the patient ones are asleep when
 * the set comes, which then may be cleared at once, or nobody knows what they are about, and it stays set. */
struct sets {
    _Atomic(threading_event *) event;
    unsigned workers, patient;
    atomic_bool freed; /* the event that the hasty ones may mean */
    atomic_long asleep[CREW]; /* the patient ones' system threads, once they are about to wait */
    _Atomic uint64_t done;
};

static inline void sets_prepare(struct scene *scene, void *shared)
{
    struct sets *sets = shared;
    if (sets->event == NULL)
        sets->event = threading_event_new();
    sets->patient = (unsigned)random_below(&scene->random, sets->workers + 1);
    for (unsigned i = 0; i < CREW; i++)
        atomic_store(&sets->asleep[i], 0);
    sets->done = 0;
    sets->freed = false;
}

static inline void sets_once(struct worker *worker, void *shared)
{
    struct sets *sets = shared;
    spin(random_below(&worker->random, 2000));
    if (worker->number < sets->patient) {
        atomic_store(&sets->asleep[worker->number], syscall(SYS_gettid));
        if (random_one_in(&worker->random, 2))
            TORTURE_STATUS(threading_event_wait(sets->event), THREADING_OK);
        else
            TORTURE_STATUS(threading_event_wait_timeout(sets->event, STRESS_LIMIT), THREADING_OK);
        atomic_fetch_add(&sets->done, 1);
    } else {
        double seconds = random_timeout(&worker->random), began = torture_now();
        threading_status status = threading_event_wait_timeout(sets->event, seconds);
        if (status != THREADING_ERR_HANDLE || !sets->freed)
            RAN(status, began, seconds);
    }
}

/* Whether a thread sleeps in the kernel. One that is about to wait has nothing else to sleep for. */
static inline bool is_asleep(long tid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
    FILE *file = fopen(path, "r");
    bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (file != NULL)
        fclose(file);
    const char *name_end = strrchr(line, ')');
    return read && name_end != NULL && strncmp(name_end, ") S", 3) == 0;
}

static inline void sets_drive(struct scene *scene, void *shared)
{
    struct sets *sets = shared;
    double end = torture_now() + STRESS_LIMIT;
    if (sets->patient == 0)
        return; /* all of them give up */
    if (random_one_in(&scene->random, 2)) {
        spin(random_below(&scene->random, 20000));
        TORTURE_STATUS(threading_event_set(sets->event), THREADING_OK);
        AWAIT(&sets->done, sets->patient);
        return;
    }
    for (unsigned i = 0; i < sets->patient; i++)
        for (long tid; (tid = atomic_load(&sets->asleep[i])) == 0 || !is_asleep(tid); sched_yield())
            TORTURE_CHECK(torture_now() < end && atomic_load(&sets->done) == 0);
    TORTURE_STATUS(threading_event_set(sets->event), THREADING_OK);
    switch (random_below(&scene->random, 4)) {
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
    AWAIT(&sets->done, sets->patient);
}

static inline void sets_settle(struct scene *scene, void *shared)
{
    struct sets *sets = shared;
    if (random_one_in(&scene->random, 4)) { /* nobody waits, whichever way they left */
        TORTURE_STATUS(threading_event_free(sets->event), THREADING_OK);
        sets->event = NULL;
    } else {
        TORTURE_STATUS(threading_event_clear(sets->event), THREADING_OK);
    }
}

static inline void scene_sets(struct scene *scene)
{
    struct sets *sets = calloc(1, sizeof *sets);
    TORTURE_CHECK(sets != NULL);
    sets->workers = scene->threads;
    struct rounds rounds = {
        .shared = sets, .prepare = sets_prepare, .once = sets_once,
        .drive = sets_drive, .settle = sets_settle};
    rounds_run(scene, scene->threads, &rounds);
    if (sets->event != NULL)
        TORTURE_STATUS(threading_event_free(sets->event), THREADING_OK);
    free(sets);
}

/* ------------------------------------------------------------------------------------------ lap after lap, at once */

/* One sets, all others wait and say so, it clears, and so on without a rest: some look for the set, some sleep, and
 * some are about to. */
struct laps {
    threading_event *event;
    unsigned waiters;
    _Atomic uint64_t lap, done;
    bool over; /* published by the lap */
};

static inline void laps_worker(struct worker *worker)
{
    struct laps *laps = worker->shared;
    bool sets = worker->number == 0;
    for (uint64_t lap = 0; !laps->over; lap++) {
        if (sets) {
            spin(random_below(&worker->random, 4000));
            TORTURE_STATUS(threading_event_set(laps->event), THREADING_OK);
            AWAIT(&laps->done, laps->waiters);
            TORTURE_STATUS(threading_event_clear(laps->event), THREADING_OK);
            atomic_store(&laps->done, 0);
            laps->over = !scene_goes_on(worker->scene);
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

static inline void scene_laps(struct scene *scene)
{
    struct laps laps = {.event = threading_event_new()};
    unsigned threads = 2 + (unsigned)random_below(&scene->random, 3);
    laps.waiters = threads - 1;
    crew_run(scene, threads, laps_worker, &laps);
    TORTURE_STATUS(threading_event_free(laps.event), THREADING_OK);
}

/* --------------------------------------------------------------------------------- consumers that clear and look */

/* Producers post numbers and set the event; each waits now and then until its number has been seen. The numbers
 * are plain relaxed stores: what is stored before a set must be seen after the wait and the clear that follow it,
 * also when the flag was set already. */
struct posts {
    unsigned producers;
    bool hurried; /* nobody pauses, and all are on the same few lines of memory */
    atomic_uint producing;
    struct desk {
        threading_event *event;
        _Atomic uint64_t posted[CREW], seen[CREW];
    } *desks; /* one for each consumer */
    unsigned consumers;
};

static inline void posts_produce(struct worker *worker, struct posts *posts)
{
    unsigned me = worker->number;
    uint64_t number[CREW] = {0};
    do {
        unsigned to = (unsigned)random_below(&worker->random, posts->consumers);
        struct desk *desk = &posts->desks[to];
        for (uint64_t burst = 1 + random_below(&worker->random, 3); burst > 0; burst--) {
            atomic_store_explicit(&desk->posted[me], ++number[to], memory_order_relaxed);
            TORTURE_STATUS(threading_event_set(desk->event), THREADING_OK);
            spin(random_below(&worker->random, 30));
        }
        if (posts->hurried || random_one_in(&worker->random, 4))
            AWAIT(&desk->seen[me], number[to]);
        else
            pause_somehow(&worker->random);
        worker_step(worker);
    } while (scene_goes_on(worker->scene));
    for (unsigned to = 0; to < posts->consumers; to++)
        AWAIT(&posts->desks[to].seen[me], number[to]);
    if (atomic_fetch_sub(&posts->producing, 1) == 1)
        for (unsigned to = 0; to < posts->consumers; to++)
            TORTURE_STATUS(threading_event_set(posts->desks[to].event), THREADING_OK);
}

static inline void posts_consume(struct worker *worker, struct posts *posts)
{
    struct desk *desk = &posts->desks[worker->number - posts->producers];
    while (atomic_load(&posts->producing) > 0) {
        TORTURE_STATUS(threading_event_wait(desk->event), THREADING_OK);
        TORTURE_STATUS(threading_event_clear(desk->event), THREADING_OK);
        for (unsigned i = 0; i < posts->producers; i++)
            atomic_store(&desk->seen[i], atomic_load_explicit(&desk->posted[i], memory_order_relaxed));
        if (!posts->hurried)
            pause_somehow(&worker->random);
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

static inline void scene_posts(struct scene *scene)
{
    struct posts posts = {.hurried = !random_one_in(&scene->random, 3)};
    unsigned threads = posts.hurried ? 2 : scene->threads;
    posts.consumers = 1 + (unsigned)random_below(&scene->random, threads / 2);
    posts.producers = threads - posts.consumers;
    posts.producing = posts.producers;
    posts.desks = calloc(posts.consumers, sizeof *posts.desks);
    TORTURE_CHECK(posts.desks != NULL);
    for (unsigned i = 0; i < posts.consumers; i++)
        posts.desks[i].event = threading_event_new();
    crew_run(scene, threads, posts_worker, &posts);
    for (unsigned i = 0; i < posts.consumers; i++)
        TORTURE_STATUS(threading_event_free(posts.desks[i].event), THREADING_OK);
    free(posts.desks);
}

#endif

/* No wake-up is lost, and no waiter starves: all objects under random stress, one by one and all at once, on all CPUs
 * and on one.
 *
 * Each scene checks laws of conservation on objects of its own; the headers beside this file hold them by kind. */
#include "stress.h"

#include "stress_barriers.h"
#include "stress_conditions.h"
#include "stress_events.h"
#include "stress_fairness.h"
#include "stress_frees.h"
#include "stress_threads.h"
#include "stress_locks.h"

static struct {
    const char *name;
    void (*run)(struct scene *);
    uint64_t operations;
} scenes[] = {
    {"acquisitions of a lock and an rlock", scene_locks, 0},
    {"turns with a lock that is released once", scene_turns, 0},
    {"takes from a pool of units", scene_pool, 0},
    {"waits for a unit, each with its release", scene_units, 0},
    {"items through a queue of conditions", scene_queue, 0},
    {"waits for a notify, each with its notify", scene_notifies, 0},
    {"waits for a set", scene_sets, 0},
    {"laps around an event", scene_laps, 0},
    {"posts to consumers that wait, clear and look", scene_posts, 0},
    {"rounds of a barrier, by its parties", scene_generations, 0},
    {"disturbed rounds of a barrier, by its parties", scene_disturbed, 0},
    {"threads", scene_threads, 0},
    {"timers", scene_timers, 0},
    {"threads with values of locals", scene_locals, 0},
    {"waits beside a free", scene_frees, 0},
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

static const unsigned crowds[] = {2, 16, 64}; /* for the longest wait */
enum { CROWDS = sizeof crowds / sizeof crowds[0] };
static double worst_waits[CROWDS];

static cpu_set_t all_cpus;

/* The calling thread and those that it starts run where they like, or on one CPU, where nothing happens at the same
 * time and everything after an interruption. */
static void choose_cpus(struct random *random)
{
    cpu_set_t cpus = all_cpus;
    if (random_one_in(random, 3)) {
        unsigned chosen = (unsigned)random_below(random, (uint64_t)CPU_COUNT(&all_cpus));
        CPU_ZERO(&cpus);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &all_cpus) && chosen-- == 0)
                CPU_SET(cpu, &cpus);
    }
    TORTURE_CHECK(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
}

/* A slice of the run for so many scenes at once. */
static struct scene slice(struct random *random, unsigned at_once)
{
    static const unsigned sizes[] = {2, 3, 4, 8, 16, 32, 64};
    double seconds = torture.seconds / 40;
    struct scene scene = {.random = {random_next(random)}, .enough = UINT64_MAX};
    scene.threads = at_once == 1 ? sizes[random_below(random, sizeof sizes / sizeof sizes[0])]
                                 : 2 + (unsigned)random_below(random, 7);
    scene.until = torture_now() + (seconds < 0.05 ? 0.05 : seconds > 2 ? 2 : seconds);
    if (torture.count < UINT64_MAX)
        scene.enough = atomic_load(&torture.steps) + torture.count / 40;
    return scene;
}

/* The first pass is a whole one: however slow the tool under which this runs, every scene has its turn. */
static bool passes_whole = true;

static bool goes_on(void)
{
    return passes_whole || torture_running();
}

static void one_by_one(struct random *random)
{
    for (unsigned i = 0; i < SCENES && goes_on(); i++) {
        uint64_t before = atomic_load(&torture.steps);
        choose_cpus(random);
        struct scene scene = slice(random, 1);
        scenes[i].run(&scene);
        scenes[i].operations += atomic_load(&torture.steps) - before;
    }
}

struct performance {
    struct scene scene;
    void (*run)(struct scene *);
    pthread_t thread;
};

static void *perform(void *arg)
{
    struct performance *performance = arg;
    performance->run(&performance->scene);
    return NULL;
}

static void all_at_once(struct random *random)
{
    struct performance performances[SCENES];
    choose_cpus(random);
    for (unsigned i = 0; i < SCENES; i++) {
        performances[i] = (struct performance){.scene = slice(random, SCENES), .run = scenes[i].run};
        TORTURE_CHECK(pthread_create(&performances[i].thread, NULL, perform, &performances[i]) == 0);
    }
    for (unsigned i = 0; i < SCENES; i++)
        TORTURE_CHECK(pthread_join(performances[i].thread, NULL) == 0);
}

static void measure_waits(struct random *random)
{
    for (unsigned i = 0; i < CROWDS && goes_on(); i++) {
        choose_cpus(random);
        struct scene scene = slice(random, 1);
        scene.threads = crowds[i];
        double worst = longest_wait(&scene, random_one_in(random, 2) ? 0 : 20000);
        if (worst > worst_waits[i])
            worst_waits[i] = worst;
    }
}

/* Every thread and timer that the scenes started is over, or about to be. */
static void all_have_ended(size_t alive_before)
{
    double end = torture_now() + STRESS_LIMIT;
    while (threading_active_count() != alive_before) {
        TORTURE_CHECK(torture_now() < end);
        nap(0.001);
    }
}

int main(int argc, char **argv)
{
    torture_begin("stress", argc, argv);
    TORTURE_CHECK(sched_getaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    struct random random = random_of(0);
    size_t alive = threading_active_count();
    do {
        one_by_one(&random);
        all_have_ended(alive);
        if (goes_on())
            all_at_once(&random);
        all_have_ended(alive);
        measure_waits(&random);
        passes_whole = false;
    } while (torture_running());
    torture_figure("operations", (double)atomic_load(&torture.steps));
    for (unsigned i = 0; i < SCENES; i++)
        torture_figure(scenes[i].name, (double)scenes[i].operations);
    for (unsigned i = 0; i < CROWDS; i++) {
        char what[80];
        snprintf(what, sizeof what, "ms was the longest wait for a lock that %u threads want", crowds[i]);
        torture_figure(what, worst_waits[i] * 1e3);
    }
    return torture_end();
}

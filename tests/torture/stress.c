/* No wake-up is lost and no waiter starves: all objects under random stress, one scenario at a time and all
 * concurrently, on all CPUs and on a single one.
 *
 * Each scenario checks invariants of objects of its own: what goes in comes out exactly once. Dumps beside them show no
 * deadlock but one that is there. The scenarios are in
 * the stress_*.h headers, by kind of object. */
#include "stress.h"

#include "dumps_beside.h"
#include "stress_barriers.h"
#include "stress_conditions.h"
#include "stress_events.h"
#include "stress_fairness.h"
#include "stress_frees.h"
#include "stress_threads.h"
#include "stress_locks.h"

static struct {
    const char *name;
    void (*run)(struct scenario *);
    uint64_t operations;
} scenarios[] = {
    {"acquisitions of a lock and an rlock", scenario_locks, 0},
    {"acquisitions in a chain that one release starts", scenario_release_chain, 0},
    {"acquisitions of units from a pool", scenario_pool, 0},
    {"waits for a permit, each with one release", scenario_permits, 0},
    {"items through a queue of conditions", scenario_queue, 0},
    {"waits for a notification, each with one notify", scenario_notifies, 0},
    {"waits for an event to be set", scenario_sets, 0},
    {"laps around an event", scenario_laps, 0},
    {"posts to consumers that wait, clear and read", scenario_posts, 0},
    {"barrier waits", scenario_generations, 0},
    {"barrier waits with aborts, resets and timeouts", scenario_disturbed, 0},
    {"threads", scenario_threads, 0},
    {"timers", scenario_timers, 0},
    {"threads that set values of locals", scenario_locals, 0},
    {"waits that race with a free", scenario_frees, 0},
};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static const unsigned contention_levels[] = {2, 16, 64}; /* numbers of threads for which the longest wait is measured */
enum { CONTENTION_LEVELS = sizeof contention_levels / sizeof contention_levels[0] };
static double worst_waits[CONTENTION_LEVELS];

static cpu_set_t all_cpus;

/* The calling thread and the threads that it starts run on all CPUs or are bound to one, where threads never run in
 * parallel but are preempted. */
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

/* Returns a scenario that lasts for a fraction of the run. `concurrent` is the number of scenarios that run at the same
 * time. */
static struct scenario new_scenario(struct random *random, unsigned concurrent)
{
    static const unsigned sizes[] = {2, 3, 4, 8, 16, 32, 64};
    double seconds = torture.seconds / 40;
    struct scenario scenario = {.random = {random_next(random)}, .max_steps = UINT64_MAX};
    scenario.threads = concurrent == 1 ? sizes[random_below(random, sizeof sizes / sizeof sizes[0])]
                                       : 2 + (unsigned)random_below(random, 7);
    scenario.until = now() + (seconds < 0.05 ? 0.05 : seconds > 2 ? 2 : seconds);
    if (torture.count < UINT64_MAX)
        scenario.max_steps = atomic_load(&torture.steps) + torture.count / 40;
    return scenario;
}

/* The first pass is always completed, so that every scenario runs even under a slow tool. */
static bool is_first_pass = true;

static bool running(void)
{
    return is_first_pass || torture_running();
}

static void run_one_by_one(struct random *random)
{
    for (unsigned i = 0; i < SCENARIOS && running(); i++) {
        uint64_t before = atomic_load(&torture.steps);
        choose_cpus(random);
        struct scenario scenario = new_scenario(random, 1);
        scenarios[i].run(&scenario);
        scenarios[i].operations += atomic_load(&torture.steps) - before;
    }
}

struct concurrent_run {
    struct scenario scenario;
    void (*run)(struct scenario *);
    pthread_t thread;
};

static void *run_scenario(void *arg)
{
    struct concurrent_run *concurrent_run = arg;
    concurrent_run->run(&concurrent_run->scenario);
    return NULL;
}

static void run_concurrently(struct random *random)
{
    struct concurrent_run runs[SCENARIOS];
    choose_cpus(random);
    for (unsigned i = 0; i < SCENARIOS; i++) {
        runs[i] = (struct concurrent_run){.scenario = new_scenario(random, SCENARIOS), .run = scenarios[i].run};
        TORTURE_CHECK(pthread_create(&runs[i].thread, NULL, run_scenario, &runs[i]) == 0);
    }
    for (unsigned i = 0; i < SCENARIOS; i++)
        TORTURE_CHECK(pthread_join(runs[i].thread, NULL) == 0);
}

static void measure_waits(struct random *random)
{
    for (unsigned i = 0; i < CONTENTION_LEVELS && running(); i++) {
        choose_cpus(random);
        struct scenario scenario = new_scenario(random, 1);
        scenario.threads = contention_levels[i];
        double worst = longest_wait(&scenario, random_one_in(random, 2) ? 0 : 20000);
        if (worst > worst_waits[i])
            worst_waits[i] = worst;
    }
}

/* Waits until all threads and timers that the scenarios started have finished. */
static void await_all_finished(size_t alive_before)
{
    double end = now() + STRESS_LIMIT;
    while (threading_active_count() != alive_before) {
        TORTURE_CHECK(now() < end);
        sleep_for(0.001);
    }
}

int main(int argc, char **argv)
{
    torture_begin("stress", argc, argv);
    TORTURE_CHECK(sched_getaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    struct random random = random_of(0);
    size_t alive = threading_active_count();
    dumps_beside_start();
    do {
        run_one_by_one(&random);
        await_all_finished(alive);
        if (running())
            run_concurrently(&random);
        await_all_finished(alive);
        measure_waits(&random);
        is_first_pass = false;
    } while (torture_running());
    dumps_beside_stop();
    torture_figure("operations", (double)atomic_load(&torture.steps));
    for (unsigned i = 0; i < SCENARIOS; i++)
        torture_figure(scenarios[i].name, (double)scenarios[i].operations);
    for (unsigned i = 0; i < CONTENTION_LEVELS; i++) {
        char what[80];
        snprintf(what, sizeof what, "ms: longest wait for a lock that %u threads contend for", contention_levels[i]);
        torture_figure(what, worst_waits[i] * 1e3);
    }
    return torture_end();
}

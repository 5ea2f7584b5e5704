/* Signals: amid a storm of them, with and without SA_RESTART, to all threads, no wait ends early or late, and what
 * handlers set and release arrives. */
#include "signals.h"

#include "signals_handlers.h"
#include "signals_waits.h"

#include <sys/wait.h>

/* ---------------------------------------------------------------------------------------------------- timers */

enum { TIMERS = 32 };

static _Atomic uint64_t timers_fired;

static void *fire(void *arg)
{
    TORTURE_CHECK(torture_now() >= *(double *)arg);
    atomic_fetch_add(&timers_fired, 1);
    return arg;
}

/* Timers of which none comes early and each once. */
static void timers_worker(struct worker *worker)
{
    threading_timer *timers[TIMERS];
    double due[TIMERS];
    (void)worker->shared;
    while (scene_goes_on(worker->scene)) {
        for (unsigned i = 0; i < TIMERS; i++) {
            double interval = (double)random_below(&worker->random, 30000) / 1e6;
            timers[i] = threading_timer_new(interval, fire, &due[i]);
            due[i] = torture_now() + interval;
            TORTURE_STATUS(threading_timer_start(timers[i]), THREADING_OK);
        }
        uint64_t lasts = 0;
        for (unsigned i = 0; i < TIMERS; i++) {
            threading_thread *thread = threading_timer_thread(timers[i]);
            TORTURE_STATUS(threading_thread_join(thread), THREADING_OK);
            TORTURE_CHECK(threading_thread_result(thread) == &due[i]);
            TORTURE_CHECK(torture_now() < due[i] + STRESS_LIMIT);
            TORTURE_STATUS(threading_timer_free(timers[i]), THREADING_OK);
            lasts++;
        }
        TORTURE_CHECK(lasts == TIMERS);
        worker_step(worker);
    }
}

/* ------------------------------------------------------------------------------ the shutdown of a forked child */

static void *wait_for_event(void *event)
{
    TORTURE_STATUS(threading_event_wait(event), THREADING_OK);
    return NULL;
}

/* The sanitizers' allocators may be left locked in the child of a process with threads. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FORKS false
#else
#define FORKS true
#endif

/* What a child does, which has a storm of its own: it must not shut down early. */
_Noreturn static void shut_down(struct random *random)
{
    double seconds = (double)random_below(random, 100000) / 1e6;
    threading_event *event = threading_event_new();
    threading_thread *thread = threading_thread_new(wait_for_event, event);
    atomic_store(&storm.acts, false);
    atomic_store(&storm.calm, false);
    storm_begin(random);
    TORTURE_STATUS(threading_thread_start(thread), THREADING_OK);
    double began = torture_now();
    TORTURE_STATUS(threading_shutdown_timeout(seconds), THREADING_TIMED_OUT);
    TORTURE_CHECK(torture_now() - began >= seconds);
    TORTURE_STATUS(threading_event_set(event), THREADING_OK);
    TORTURE_STATUS(threading_shutdown_timeout(STRESS_LIMIT), THREADING_OK);
    TORTURE_CHECK(!threading_thread_is_alive(thread));
    _exit(0);
}

static void fork_and_shut_down(struct random *random)
{
    double end = torture_now() + 2 * STRESS_LIMIT;
    pid_t child = fork(), got;
    int status = 0;
    TORTURE_CHECK(child >= 0);
    if (child == 0)
        shut_down(random);
    while ((got = waitpid(child, &status, WNOHANG)) == 0 && torture_now() < end)
        nap(0.001);
    if (got == 0)
        kill(child, SIGKILL);
    if (got != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        torture_fail(__FILE__, __LINE__, "a child that shut down among signals: status %#x", (unsigned)status);
}

/* ------------------------------------------------------------------------------------------------------- all */

int main(int argc, char **argv)
{
    static struct pair timed[FAMILIES], untimed[UNTIMED];
    static struct crew timed_crew, untimed_crew, timers_crew, handlers_crew;
    block_signals(SIG_BLOCK); /* the watch has to be left in peace */
    torture_begin("signals", argc, argv);
    struct random random = random_of(0);
    struct scene scene = {.random = random_of(1), .enough = torture.count};
    double balanced = 0;
    scene.until = torture.began + torture.seconds;
    uint64_t balances = 0, children = 0;
    for (unsigned i = 0; i < FAMILIES; i++) {
        pair_begin(&timed[i], &families[i]);
        TORTURE_STATUS(threading_lock_acquire(timed[i].lock), THREADING_OK);
        TORTURE_STATUS(threading_rlock_acquire(timed[i].rlock), THREADING_OK);
        join_prepare(&timed[i]);
    }
    for (unsigned i = 0; i < UNTIMED; i++)
        pair_begin(&untimed[i], &families[i]);
    handlers_begin();
    storm_begin(&random);
    crew_start(&timed_crew, &scene, FAMILIES, timed_worker, timed);
    crew_start(&untimed_crew, &scene, 2 * UNTIMED, untimed_worker, untimed);
    crew_start(&timers_crew, &scene, 1, timers_worker, NULL);
    crew_start(&handlers_crew, &scene, HANDLER_WORKERS, handlers_worker, NULL);
    atomic_store(&storm.acts, true);
    while (torture_running()) {
        if (FORKS)
            fork_and_shut_down(&random);
        else
            nap(0.1);
        children += FORKS;
        if (torture_now() - balanced > 0.3) {
            handlers_balance();
            balanced = torture_now();
            balances++;
        }
    }
    crew_join(&timed_crew);
    crew_join(&untimed_crew);
    crew_join(&timers_crew);
    handlers_balance();
    storm_calm();
    handlers_end(&handlers_crew);
    storm_end();
    for (unsigned i = 0; i < FAMILIES; i++) {
        join_end(&timed[i]);
        TORTURE_STATUS(join_untimed(&timed[i]), THREADING_OK);
        TORTURE_STATUS(threading_rlock_release(timed[i].rlock), THREADING_OK);
        pair_end(&timed[i]);
    }
    for (unsigned i = 0; i < UNTIMED; i++)
        pair_end(&untimed[i]);
    torture_figure("operations", (double)atomic_load(&torture.steps));
    torture_figure("signals handled", (double)storm.handled);
    torture_figure("signals handled a second", (double)storm.handled / (torture_now() - torture.began));
    torture_figure("units that handlers released, and others", (double)handlers.released);
    torture_figure("sets by handlers", (double)handlers.posted);
    torture_figure("timers", (double)timers_fired);
    torture_figure("accounts balanced", (double)balances + 1);
    torture_figure("children that shut down", (double)children);
    return torture_end();
}

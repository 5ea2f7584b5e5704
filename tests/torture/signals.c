/* Signals: while all threads continually receive signals, with and without SA_RESTART, no wait ends early or late,
 * and what signal handlers set and release reaches the waiters. Dumps beside them and in the handlers show no deadlock
 * but one that is there. */
#include "signals.h"

#include "child.h"
#include "signals_handlers.h"
#include "signals_waits.h"

/* ---------------------------------------------------------------------------------------------------- timers */

enum { TIMERS = 32 };

static _Atomic uint64_t timers_started, timers_run;

static void *run_timer(void *arg)
{
    TORTURE_CHECK(now() >= *(double *)arg);
    atomic_fetch_add(&timers_run, 1);
    return arg;
}

/* Starts timers. None may run early, and each must run once, which main checks at the end. */
static void timers_worker(struct worker *worker)
{
    threading_timer *timers[TIMERS];
    double earliest[TIMERS];
    while (scenario_running(worker->scenario)) {
        for (unsigned i = 0; i < TIMERS; i++) {
            double interval = (double)random_below(&worker->random, 30000) / 1e6;
            timers[i] = threading_timer_new(interval, run_timer, &earliest[i]);
            earliest[i] = now() + interval;
            TORTURE_STATUS(threading_timer_start(timers[i]), THREADING_OK);
        }
        for (unsigned i = 0; i < TIMERS; i++) {
            threading_thread *thread = threading_timer_thread(timers[i]);
            TORTURE_STATUS(threading_thread_join(thread), THREADING_OK);
            TORTURE_CHECK(threading_thread_result(thread) == &earliest[i]);
            TORTURE_CHECK(now() < earliest[i] + STRESS_LIMIT);
            TORTURE_STATUS(threading_timer_free(timers[i]), THREADING_OK);
        }
        atomic_fetch_add(&timers_started, TIMERS);
        worker_step(worker);
    }
}

/* ------------------------------------------------------------------------------ the shutdown of a forked child */

static void *wait_for_event(void *event)
{
    TORTURE_STATUS(threading_event_wait(event), THREADING_OK);
    return NULL;
}

/* Under sanitizers, no children: their allocators may be left locked in the child of a process with threads. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_FORK false
#else
#define CAN_FORK true
#endif

/* In the child, which sends signals to its own threads: shutdown must not time out early. */
_Noreturn static void shut_down_in_child(struct random *random)
{
    double seconds = (double)random_below(random, 100000) / 1e6;
    threading_event *event = threading_event_new();
    threading_thread *thread = threading_thread_new(wait_for_event, event);
    atomic_store(&signal_storm.handler_enabled, false);
    atomic_store(&signal_storm.paused, false);
    storm_start(random);
    TORTURE_STATUS(threading_thread_start(thread), THREADING_OK);
    double began = now();
    TORTURE_STATUS(threading_shutdown_timeout(seconds), THREADING_TIMED_OUT);
    TORTURE_CHECK(now() - began >= seconds);
    TORTURE_STATUS(threading_event_set(event), THREADING_OK);
    TORTURE_STATUS(threading_shutdown_timeout(STRESS_LIMIT), THREADING_OK);
    TORTURE_CHECK(!threading_thread_is_alive(thread));
    _exit(0);
}

static void fork_and_shut_down(struct random *random)
{
    pid_t child = fork();
    TORTURE_CHECK(child >= 0);
    if (child == 0)
        shut_down_in_child(random);
    wait_for_child(child);
}

/* ------------------------------------------------------------------------------------------------------ main */

int main(int argc, char **argv)
{
    static struct pair timed[WAIT_KINDS], untimed[UNTIMED_KINDS];
    static struct team timed_team, untimed_team, timers_team, handlers_team;
    change_signal_mask(SIG_BLOCK); /* the watchdog thread must not get signals */
    torture_begin("signals", argc, argv);
    struct random random = random_of(0);
    struct scenario scenario = {.random = random_of(1), .max_steps = torture.count};
    double last_check = 0;
    scenario.until = torture.began + torture.seconds;
    uint64_t checks = 0, children = 0;
    for (unsigned i = 0; i < WAIT_KINDS; i++) {
        pair_new(&timed[i], &wait_kinds[i]);
        pair_hold(&timed[i]);
    }
    for (unsigned i = 0; i < UNTIMED_KINDS; i++)
        pair_new(&untimed[i], &wait_kinds[i]);
    handlers_start();
    storm_start(&random);
    dumps_beside_start(); /* its threads receive signals, too */
    atomic_store(&handlers_dump, true);
    team_start(&timed_team, &scenario, WAIT_KINDS, timed_worker, timed);
    team_start(&untimed_team, &scenario, 2 * UNTIMED_KINDS, untimed_worker, untimed);
    team_start(&timers_team, &scenario, 1, timers_worker, NULL);
    team_start(&handlers_team, &scenario, HANDLER_WORKERS, handlers_worker, NULL);
    atomic_store(&signal_storm.handler_enabled, true);
    while (torture_running()) {
        if (CAN_FORK)
            fork_and_shut_down(&random);
        else
            sleep_for(0.1);
        children += CAN_FORK;
        if (now() - last_check > 0.3) {
            handlers_check_totals();
            last_check = now();
            checks++;
        }
    }
    team_join(&timed_team);
    team_join(&untimed_team);
    team_join(&timers_team);
    TORTURE_CHECK(timers_run == timers_started);
    handlers_check_totals();
    storm_pause();
    handlers_stop(&handlers_team);
    storm_stop();
    for (unsigned i = 0; i < WAIT_KINDS; i++) {
        pair_release(&timed[i]);
        pair_free(&timed[i]);
    }
    for (unsigned i = 0; i < UNTIMED_KINDS; i++)
        pair_free(&untimed[i]);
    stop_handlers();
    dumps_beside_stop();
    torture_figure("of them in signal handlers", (double)dump_counts->handler_dumps);
    torture_figure("operations", (double)atomic_load(&torture.steps));
    torture_figure("signals handled", (double)signal_storm.handled);
    torture_figure("signals handled per second", (double)signal_storm.handled / (now() - torture.began));
    torture_figure("permits released by handlers and other threads", (double)handlers.released);
    torture_figure("sets by handlers", (double)handlers.sets);
    torture_figure("timers", (double)timers_run);
    torture_figure("checks of the totals", (double)checks + 1);
    torture_figure("children that shut down", (double)children);
    return torture_end();
}

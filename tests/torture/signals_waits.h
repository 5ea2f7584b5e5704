/* Waits while signals arrive: a timed wait lasts as long as its timeout, an untimed one ends only when it is woken. */
#ifndef SIGNALS_WAITS_H
#define SIGNALS_WAITS_H

#include "signals.h"

#define CHECK(cond) TORTURE_CHECK(cond)
#define CHECK_STATUS(call, status) TORTURE_STATUS((call), (status))
#define WAIT_LIMIT STRESS_LIMIT
#include "../waits.h"

/* Waits with timeouts; no thread ends these waits. */
static inline void timed_worker(struct worker *worker)
{
    struct pair *p = (struct pair *)worker->shared + worker->number;
    while (scenario_running(worker->scenario)) {
        double seconds = random_one_in(&worker->random, 2) ? random_timeout(&worker->random)
                                                           : (double)random_below(&worker->random, 60000) / 1e6;
        double began = now();
        threading_status status = p->wait_kind->timed(p, seconds);
        double lasted = now() - began;
        if (status != p->wait_kind->timeout_status || lasted < seconds || lasted > seconds + STRESS_LIMIT)
            torture_fail(__FILE__, __LINE__, "%s with a timeout of %.9f s lasted %.9f s and returned %s",
                         p->wait_kind->name, seconds, lasted, threading_status_name(status));
        worker_step(worker);
    }
}

/* Two workers for each pair: the even one waits, the odd one ends the waits. */
static inline void untimed_worker(struct worker *worker)
{
    struct pair *p = (struct pair *)worker->shared + worker->number / 2;
    bool waits = worker->number % 2 == 0;
    for (uint64_t n = 1;; n++) {
        if (waits) {
            while (atomic_load(&p->requested) < n)
                sleep_for(20e-6);
            if (atomic_load(&p->requested) == UINT64_MAX)
                return;
            if (p->wait_kind->untimed != condition_untimed && p->wait_kind->untimed != wait_for_untimed)
                atomic_store(&p->waiting, n);
            threading_status status = p->wait_kind->untimed(p);
            if (status != THREADING_OK || !is_woken(p))
                torture_fail(__FILE__, __LINE__, "%s returned %s %s its wake-up", p->wait_kind->name,
                             threading_status_name(status), is_woken(p) ? "after" : "before");
            atomic_store(&p->finished, n);
            worker_step(worker);
        } else {
            if (!scenario_running(worker->scenario)) {
                atomic_store(&p->requested, UINT64_MAX);
                return;
            }
            if (p->wait_kind->prepare != NULL)
                p->wait_kind->prepare(p);
            atomic_store(&p->requested, n);
            AWAIT_COUNT(&p->waiting, n);
            sleep_for((double)random_below(&worker->random, 1000) / 1e6);
            p->wait_kind->end(p);
            AWAIT_COUNT(&p->finished, n);
        }
    }
}

#endif

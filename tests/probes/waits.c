/* A program with known waits and threads, for check.py: waits [SECONDS]. It prints the addresses that the probes must
 * report, waits for a line on standard input, and then lets the thread "worker" wait for one object after the other,
 * for this many seconds each. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <threading.h>

#include "../parked.h"

static threading_lock *lock;
static threading_rlock *rlock;
static threading_semaphore *semaphore;
static threading_event *event;
static threading_barrier *barrier;
static threading_condition *condition;

static void *work(void *arg)
{
    CHECK(threading_lock_acquire(lock) == THREADING_OK);
    CHECK(threading_lock_release(lock) == THREADING_OK);
    CHECK(threading_semaphore_acquire(semaphore) == THREADING_OK);
    CHECK(threading_event_wait(event) == THREADING_OK);
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    CHECK(threading_condition_acquire(condition) == THREADING_OK);
    CHECK(threading_condition_wait(condition) == THREADING_OK);
    CHECK(threading_condition_release(condition) == THREADING_OK);
    return arg;
}

static void *tick(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
    CHECK((lock = threading_lock_new()) != NULL);
    CHECK((rlock = threading_rlock_new()) != NULL);
    CHECK((semaphore = threading_semaphore_new(0)) != NULL);
    CHECK((event = threading_event_new()) != NULL);
    CHECK((barrier = threading_barrier_new(2, NULL, NULL)) != NULL);
    CHECK((condition = threading_condition_new_with_rlock(rlock)) != NULL);
    CHECK(threading_lock_set_name(lock, "journal") == THREADING_OK);
    CHECK(threading_event_set_name(event, "stop") == THREADING_OK);
    threading_thread *worker = threading_thread_new(work, NULL);
    CHECK(worker != NULL && threading_thread_set_name(worker, "worker") == THREADING_OK);
    threading_timer *timer = threading_timer_new(0, tick, NULL);
    CHECK(timer != NULL);
    printf("lock %" PRIxPTR "\nsemaphore %" PRIxPTR "\nevent %" PRIxPTR "\nbarrier %" PRIxPTR "\ncondition %" PRIxPTR
           "\nworker %" PRIxPTR "\nwork %" PRIxPTR "\ntick %" PRIxPTR "\n",
           (uintptr_t)lock, (uintptr_t)semaphore, (uintptr_t)event, (uintptr_t)barrier, (uintptr_t)condition,
           (uintptr_t)worker, (uintptr_t)work, (uintptr_t)tick);
    fflush(stdout);
    CHECK(getchar() != EOF);

    CHECK(threading_lock_acquire(lock) == THREADING_OK);
    CHECK(threading_thread_start(worker) == THREADING_OK);
    until_thread_waits("worker", "waits for lock \"journal\"");
    sleep_for(seconds);
    CHECK(threading_lock_release(lock) == THREADING_OK);
    until_thread_waits("worker", "waits for semaphore ");
    sleep_for(seconds);
    CHECK(threading_semaphore_release(semaphore) == THREADING_OK);
    until_thread_waits("worker", "waits for event \"stop\"");
    sleep_for(seconds);
    CHECK(threading_event_set(event) == THREADING_OK);
    until_thread_waits("worker", "waits at barrier ");
    sleep_for(seconds);
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    until_thread_waits("worker", "waits for a notify on condition ");
    sleep_for(seconds);
    CHECK(threading_condition_acquire(condition) == THREADING_OK);
    CHECK(threading_condition_notify(condition, 1) == THREADING_OK);
    CHECK(threading_condition_release(condition) == THREADING_OK);
    CHECK(threading_thread_join(worker) == THREADING_OK);
    CHECK(threading_timer_start(timer) == THREADING_OK);
    CHECK(threading_thread_join(threading_timer_thread(timer)) == THREADING_OK);
    return 0;
}

/* A program that hangs: hangs HANG [FD]. With FD, a SIGUSR1 makes a dump to this file descriptor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <threading.h>

#include "../parked.h"

#include "../broadcasts.h"

static threading_event *event;
static threading_lock *accounts, *journal, *unnamed;
static threading_rlock *rlock;
static threading_condition *condition, *with_lock;
static threading_semaphore *semaphore, *unbounded;
static threading_barrier *barrier;

static void objects_new(void)
{
    CHECK((event = threading_event_new()) != NULL);
    CHECK((accounts = threading_lock_new()) != NULL);
    CHECK((journal = threading_lock_new()) != NULL);
    CHECK((unnamed = threading_lock_new()) != NULL);
    CHECK((rlock = threading_rlock_new()) != NULL);
    CHECK((condition = threading_condition_new_with_rlock(rlock)) != NULL);
    CHECK((with_lock = threading_condition_new_with_lock(journal)) != NULL);
    CHECK((semaphore = threading_semaphore_new_bounded(2)) != NULL);
    CHECK((unbounded = threading_semaphore_new(0)) != NULL);
    CHECK((barrier = threading_barrier_new(3, NULL, NULL)) != NULL);
    CHECK(threading_event_set_name(event, "stop") == THREADING_OK);
    CHECK(threading_lock_set_name(accounts, "accounts") == THREADING_OK);
    CHECK(threading_lock_set_name(journal, "journal") == THREADING_OK);
    CHECK(threading_condition_set_name(condition, "queue") == THREADING_OK);
    CHECK(threading_semaphore_set_name(semaphore, "connections") == THREADING_OK);
    CHECK(threading_barrier_set_name(barrier, "phase") == THREADING_OK);
}

static threading_thread *start(const char *name, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK(name == NULL || threading_thread_set_name(thread, name) == THREADING_OK);
    CHECK(threading_thread_start(thread) == THREADING_OK);
    return thread;
}

static void *acquire_both(void *second)
{
    CHECK(threading_lock_acquire(second == accounts ? journal : accounts) == THREADING_OK);
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    CHECK(threading_lock_acquire(second) == THREADING_OK);
    return NULL;
}

static void *wait_for_event(void *arg)
{
    CHECK(threading_event_wait(event) == THREADING_OK);
    return arg;
}

static void *read_pipe(void *fds)
{
    char byte;
    CHECK(read(*(int *)fds, &byte, 1) == 1);
    return NULL;
}

static void *wait_for_notify(void *arg)
{
    CHECK(threading_condition_acquire(arg) == THREADING_OK);
    CHECK(threading_condition_wait(arg) == THREADING_OK);
    return NULL;
}

static void *produce(void *arg)
{
    threading_status status;
    CHECK(threading_rlock_acquire(rlock) == THREADING_OK);
    while ((status = threading_condition_notify(condition, 1)) == THREADING_OK && !threading_event_is_set(event)) {
        /* The consumer may not wait yet. */
        CHECK(threading_rlock_release(rlock) == THREADING_OK);
        CHECK(threading_event_wait_timeout(event, 0.05) <= THREADING_TIMED_OUT);
        CHECK(threading_rlock_acquire(rlock) == THREADING_OK);
    }
    CHECK(threading_semaphore_acquire(unbounded) == THREADING_OK);
    return arg;
}

static void *consume(void *arg)
{
    CHECK(threading_condition_acquire(condition) == THREADING_OK);
    CHECK(threading_event_set(event) == THREADING_OK);
    CHECK(threading_condition_wait(condition) == THREADING_OK);
    return arg;
}

static void *arrive(void *arg)
{
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    return arg;
}

static void *acquire_semaphore(void *arg)
{
    CHECK(threading_semaphore_acquire(arg) == THREADING_OK);
    return NULL;
}

static void *acquire_lock(void *arg)
{
    CHECK(threading_lock_acquire(arg) == THREADING_OK);
    return NULL;
}

static void *hold_lock(void *arg)
{
    CHECK(threading_lock_acquire(arg) == THREADING_OK);
    CHECK(threading_event_set(event) == THREADING_OK);
    CHECK(threading_semaphore_acquire(unbounded) == THREADING_OK);
    return NULL;
}

static void *sleep_long(void *arg)
{
    CHECK(threading_sleep(3600) == THREADING_OK);
    return arg;
}

static void *acquire_with_timeout(void *arg)
{
    CHECK(threading_lock_acquire_timeout(arg, 3600) == THREADING_TIMED_OUT);
    return NULL;
}

static void *lock_mutex(void *mutex)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
    return NULL;
}

static void *join(void *thread)
{
    CHECK(threading_thread_join(thread) == THREADING_OK);
    return NULL;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void two_locks(void)
{
    threading_thread *one = start(NULL, acquire_both, journal);
    start(NULL, acquire_both, accounts);
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    CHECK(threading_thread_join(one) == THREADING_OK);
}

static int fds[2];

static void process_exit(void)
{
    CHECK(pipe(fds) == 0);
    start("worker", wait_for_event, NULL);
    start("reader", read_pipe, fds);
    threading_timer *timer = threading_timer_new(3600, do_nothing, NULL);
    CHECK(timer != NULL && threading_timer_start(timer) == THREADING_OK);
}

static void no_notify(void)
{
    start("consumer", wait_for_notify, condition);
    start("other", wait_for_notify, with_lock);
}

static void notified(void)
{
    start("producer", produce, NULL);
    start("consumer", consume, NULL);
}

static void notified_together(void)
{
    expect_broadcasts(condition);
    notified();
}

static void missing_party(void)
{
    start("party-1", arrive, NULL);
    start("party-2", arrive, NULL);
}

static int wait_in_action(void *name)
{
    /* The next party waits for the end of the action. */
    start("next", arrive, NULL);
    until_thread_waits("next", "waits at barrier");
    wait_for_event(name);
    return 0;
}

static void barrier_action(void)
{
    CHECK((barrier = threading_barrier_new(2, wait_in_action, NULL)) != NULL);
    CHECK(threading_barrier_set_name(barrier, "phase") == THREADING_OK);
    start("first", arrive, NULL);
    until_thread_waits("first", "waits at barrier");
    start("last", arrive, NULL);
}

static void no_permit(void)
{
    CHECK(threading_semaphore_acquire(semaphore) == THREADING_OK);
    CHECK(threading_semaphore_acquire(semaphore) == THREADING_OK);
    start("late", acquire_semaphore, semaphore);
    start("\"q\\uote\n\xc3\xa9\xc2\x9b\"", acquire_semaphore, unbounded);
}

static void forked(void)
{
    start("holder", hold_lock, accounts);
    CHECK(threading_event_wait(event) == THREADING_OK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        start("new", acquire_lock, accounts);
        return;
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    _Exit(0);
}

/* All other waits. */
static void others(void)
{
    threading_timer *timer, *first = NULL;
    CHECK(threading_lock_acquire(unnamed) == THREADING_OK);
    CHECK(threading_rlock_acquire(rlock) == THREADING_OK);
    threading_thread *sleeper = start("sleeper", sleep_long, NULL);
    start("joiner", join, sleeper);
    start("patient", acquire_with_timeout, unnamed);
    start(NULL, acquire_lock, unnamed);
    start("a name that is longer than a report shows: \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
          "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", acquire_semaphore, unbounded);
    for (int index = 0; index < 40; index++) {
        CHECK((timer = threading_timer_new(3600 + 10 * (index * 7 % 40), do_nothing, NULL)) != NULL);
        if (index == 0) {
            first = timer;
        }
        if (index == 3) {
            CHECK(threading_thread_set_daemon(threading_timer_thread(timer), true) == THREADING_OK);
        }
        CHECK(threading_timer_start(timer) == THREADING_OK);
    }
    /* The entries of others move up in the heap, without a change of these timers. */
    CHECK(threading_timer_cancel(first) == THREADING_OK && threading_timer_free(first) == THREADING_OK);
}

/* Threads that use locks all the time, always in the same order. */
static void *work(void *arg)
{
    static threading_lock *locks[2];
    locks[0] = accounts, locks[1] = journal;
    for (;;) {
        CHECK(threading_lock_acquire(locks[0]) == THREADING_OK);
        CHECK(threading_lock_acquire(locks[1]) == THREADING_OK);
        CHECK(threading_lock_release(locks[1]) == THREADING_OK);
        CHECK(threading_lock_release(locks[0]) == THREADING_OK);
        threading_timer *timer = threading_timer_new(1000, do_nothing, NULL);
        threading_lock *lock = threading_lock_new();
        CHECK(timer != NULL && lock != NULL && threading_timer_start(timer) == THREADING_OK);
        CHECK(threading_lock_set_name(lock, "short-lived") == THREADING_OK);
        CHECK(threading_timer_cancel(timer) == THREADING_OK && threading_timer_free(timer) == THREADING_OK);
        CHECK(threading_lock_free(lock) == THREADING_OK);
    }
    return arg;
}

static void busy(void)
{
    for (int index = 0; index < 6; index++) {
        start(index % 2 == 0 ? "worker" : NULL, work, NULL);
    }
}

static void *acquire_and_wait(void *lock)
{
    CHECK(threading_lock_acquire(lock) == THREADING_OK);
    CHECK(threading_lock_release(lock) == THREADING_OK);
    return wait_for_event(lock);
}

static void contended(void)
{
    CHECK(threading_set_contention(true) == THREADING_OK);
    CHECK(threading_lock_acquire(accounts) == THREADING_OK);
    start("a", acquire_and_wait, accounts);
    start("b", acquire_and_wait, accounts);
    until_thread_waits("a", "waits for lock");
    until_thread_waits("b", "waits for lock");
    CHECK(threading_lock_release(accounts) == THREADING_OK);
}

enum { PAIRS = 100 };

struct pair {
    threading_lock *locks[2];
    threading_event *may_deadlock;
    atomic_int next, owned;
};

static void *acquire_own_and_other(void *arg)
{
    struct pair *pair = arg;
    int own = atomic_fetch_add(&pair->next, 1);
    CHECK(threading_lock_acquire(pair->locks[own]) == THREADING_OK);
    atomic_fetch_add(&pair->owned, 1);
    CHECK(threading_event_wait(pair->may_deadlock) == THREADING_OK);
    CHECK(threading_lock_acquire(pair->locks[1 - own]) == THREADING_OK);
    return NULL;
}

/* One deadlock of two threads forms after the other. Many threads start between the two, so that a dump reads them at
 * different times. */
static void forming(void)
{
    static struct pair pairs[PAIRS];
    for (int index = 0; index < PAIRS; index++) {
        CHECK((pairs[index].locks[0] = threading_lock_new()) != NULL);
        CHECK((pairs[index].locks[1] = threading_lock_new()) != NULL);
        CHECK((pairs[index].may_deadlock = threading_event_new()) != NULL);
    }
    for (int side = 0; side < 2; side++)
        for (int index = 0; index < PAIRS; index++)
            start(NULL, acquire_own_and_other, &pairs[index]);
    for (int index = 0; index < PAIRS; index++) {
        while (atomic_load(&pairs[index].owned) != 2)
            sleep_for(0.001);
        CHECK(threading_event_set(pairs[index].may_deadlock) == THREADING_OK);
        sleep_for(0.01);
    }
}

static void acquire_at_exit(void *lock)
{
    CHECK(threading_event_set(event) == THREADING_OK);
    acquire_lock(lock);
}

static void *shut_down(void *arg)
{
    CHECK(threading_shutdown() == THREADING_OK);
    return arg;
}

/* A function that another thread calls in a shutdown waits for this one, which waits for the end of these functions. */
static void exit_callbacks(void)
{
    CHECK(threading_lock_acquire(accounts) == THREADING_OK);
    CHECK(threading_atexit(acquire_at_exit, accounts) == THREADING_OK);
    start("first", shut_down, NULL);
    CHECK(threading_event_wait(event) == THREADING_OK);
    shut_down(NULL);
}

static void *wait_for_a_signal(void *arg)
{
    pause();
    return arg;
}

/* The library knows of no thread but main. */
static void foreign(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_a_signal, NULL) == 0);
    wait_for_event(NULL);
}

/* Main ends, but not the process. The library has started no thread, so that main does not wait for any. */
static void ended_main(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, acquire_both, journal) == 0);
    CHECK(pthread_create(&thread, NULL, acquire_both, accounts) == 0);
    CHECK(threading_barrier_wait(barrier, NULL) == THREADING_OK);
    pthread_exit(NULL);
}

/* The exit waits for a thread that waits for a daemon, for which it does not wait. */
static void exit_chain(void)
{
    CHECK(threading_lock_acquire(accounts) == THREADING_OK);
    threading_thread *daemon = threading_thread_new(acquire_lock, accounts);
    CHECK(daemon != NULL && threading_thread_set_name(daemon, "daemon") == THREADING_OK);
    CHECK(threading_thread_set_daemon(daemon, true) == THREADING_OK);
    CHECK(threading_thread_start(daemon) == THREADING_OK);
    start("joiner", join, daemon);
}

/* Maps the program and the library as data, as programs do that read the names of their functions. */
static void mapped(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        char *path = strchr(line, '/');
        unsigned long offset;
        if (path == NULL || sscanf(line, "%*s %*s %lx", &offset) != 1 || offset != 0)
            continue;
        path[strcspn(path, "\n")] = '\0';
        struct stat status;
        int file = open(path, O_RDONLY);
        CHECK(file >= 0 && fstat(file, &status) == 0);
        CHECK(mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED);
        CHECK(close(file) == 0);
    }
    CHECK(fclose(maps) == 0);
    missing_party();
}

/* Many threads that join each other in a row, many at a barrier, and many in futex(2) outside of the library. */
static void many(void)
{
    enum { EACH = 800 };
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    CHECK(threading_set_stack_size(65536) == THREADING_OK);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK((barrier = threading_barrier_new(EACH + 1, NULL, NULL)) != NULL);
    threading_thread *last = start("first", wait_for_event, NULL);
    for (int index = 0; index < EACH; index++) {
        start("party", arrive, NULL);
        start("outside", lock_mutex, &mutex);
        last = start("joiner", join, last);
    }
}

/* Many threads wait for a lock that main owns, and the exit of main waits for them. */
static void exit_of_many(void)
{
    CHECK(threading_set_stack_size(65536) == THREADING_OK);
    CHECK(threading_lock_acquire(accounts) == THREADING_OK);
    for (int index = 0; index < 1000; index++)
        start(NULL, acquire_lock, accounts);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*hang)(void);
    } hangs[] = {
        {"two_locks", two_locks}, {"process_exit", process_exit},   {"no_notify", no_notify},
        {"notified", notified},   {"notified_together", notified_together}, {"missing_party", missing_party}, {"no_permit", no_permit},
        {"forked", forked},       {"others", others},               {"busy", busy},
        {"contended", contended}, {"exit_callbacks", exit_callbacks},
        {"forming", forming},     {"exit_chain", exit_chain},
        {"barrier_action", barrier_action}, {"ended_main", ended_main}, {"foreign", foreign},
        {"mapped", mapped},       {"many", many},               {"exit_of_many", exit_of_many},
    };
    objects_new();
    CHECK(argc < 3 || threading_dump_on_signal(SIGUSR1, atoi(argv[2])) == THREADING_OK);
    for (size_t index = 0; argc >= 2 && index < sizeof hangs / sizeof *hangs; index++) {
        if (strcmp(argv[1], hangs[index].name) == 0) {
            hangs[index].hang();
            return 0;
        }
    }
    return 2;
}

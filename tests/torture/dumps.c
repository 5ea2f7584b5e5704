/* Dumps by several threads and by signal handlers, while other threads use locks, conditions, joins, barriers, events,
 * semaphores and timers, create, rename and free objects, fork, lack memory, or are stopped while they hold mutexes of
 * the library. Each line of each dump must match the grammar. No dump may show a deadlock of these threads, and those
 * of children of fork with deadlocks must show exactly these. */
#include "torture.h"

#include "child.h"
#include "dumps_deadlocks.h"

#include <sys/prctl.h>
#include <sys/resource.h>

enum { DUMPERS = 2 };

/* No thread of this process is deadlocked. */
static void check_no_deadlock(const struct dump *dump)
{
    if (dump->deadlocked != 0 || dump->cycle_lines != 0)
        torture_fail(__FILE__, __LINE__, "a dump shows a false deadlock of %" PRIu64 " threads, \"%s\" and others",
                     dump->deadlocked, dump->cycle_lines == 0 ? "" : dump->cycles[0].thread);
}

static void *dumper(void *unused)
{
    static _Thread_local struct dump dump;
    int fd = memory_file();
    (void)unused;
    while (load_running()) {
        make_dump(fd, &dump);
        check_no_deadlock(&dump);
        sleep_for(0.001);
    }
    TORTURE_CHECK(close(fd) == 0);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ children */

/* The dumps show one thread, and later also a new one, which waits. */
_Noreturn static void dump_in_child(struct random *random)
{
    static struct dump dump;
    alarm(100);
    dump_slots_new(true);
    int fd = memory_file();
    for (unsigned i = 0; i < 3; i++) {
        make_dump(fd, &dump);
        check_no_deadlock(&dump);
        TORTURE_CHECK(dump.threads == 1);
    }
    threading_event *event = threading_event_new();
    TORTURE_CHECK(event != NULL);
    start(waits_thread, event);
    if (random_one_in(random, 3)) {
        pid_t child = fork();
        TORTURE_CHECK(child >= 0);
        if (child == 0) {
            fd = memory_file();
            make_dump(fd, &dump);
            TORTURE_CHECK(dump.threads == 1);
            _exit(0);
        }
        wait_for_child(child);
    }
    make_dump(fd, &dump);
    TORTURE_CHECK(dump.threads == 2);
    _exit(0);
}

/* Creates objects until no memory is left. */
static void *use_up_memory(void *unused)
{
    while (threading_lock_new() != NULL)
        torture_step(1);
    return unused;
}

_Noreturn static void dump_without_memory(struct random *random)
{
    static struct dump dump;
    struct rlimit limit;
    alarm(100);
    dump_slots_new(true);
    int fd = memory_file();
    make_dump(fd, &dump); /* allocates the buffer */
    threading_event *event = threading_event_new();
    TORTURE_CHECK(event != NULL);
    start(waits_thread, event);
    threading_thread *thread = start(use_up_memory, NULL);
    TORTURE_CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = 1 << 20;
    TORTURE_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    do {
        make_dump(fd, &dump);
        check_no_deadlock(&dump);
    } while (threading_thread_is_alive(thread));
    for (unsigned i = 0; i < 10; i++) {
        make_dump(fd, &dump);
        check_no_deadlock(&dump);
    }
    (void)random;
    _exit(0);
}

static void run_child(void (*run)(struct random *), struct random *random)
{
    struct random random_of_child = {random_next(random)};
    pid_t child = fork();
    TORTURE_CHECK(child >= 0);
    if (child == 0) {
        /* If this program fails, its children end, too. */
        TORTURE_CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        run(&random_of_child);
    }
    wait_for_child(child);
    atomic_fetch_add(&dump_counts->children, 1);
}

int main(int argc, char **argv)
{
    pthread_t dumpers[DUMPERS];
    sigset_t all;
    dump_counts_new();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* for the watchdog */
    torture_begin("dumps", argc, argv);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    struct random random = random_of(0);
    dump_slots_new(false);
    signals_install();
    load_start();
    for (unsigned i = 0; i < DUMPERS; i++)
        TORTURE_CHECK(pthread_create(&dumpers[i], NULL, dumper, NULL) == 0);
    signals_start(&random);
    while (torture_running()) {
        switch (random_below(&random, 5)) {
        case 0:
        case 1:
            run_child(deadlock_in_child, &random);
            break;
        case 2:
            run_child(dump_without_memory, &random);
            break;
        default:
            run_child(dump_in_child, &random);
            break;
        }
        take_dumps_of_handlers(check_no_deadlock);
    }
    signals_stop();
    load_join();
    for (unsigned i = 0; i < DUMPERS; i++)
        TORTURE_CHECK(pthread_join(dumpers[i], NULL) == 0);
    take_dumps_of_handlers(check_no_deadlock);
    uint64_t dumps = dump_counts->dumps + dump_counts->handler_dumps + dump_counts->nested_dumps;
    torture_figure("dumps", (double)dumps);
    torture_figure("of them in signal handlers", (double)(dump_counts->handler_dumps + dump_counts->nested_dumps));
    torture_figure("of them in handlers that interrupted a dump", (double)dump_counts->nested_dumps);
    torture_figure("microseconds per dump of a thread, on average", (double)(dump_counts->microseconds / dump_counts->dumps));
    torture_figure("lines", (double)dump_counts->lines);
    torture_figure("children", (double)dump_counts->children);
    torture_figure("deadlocks", (double)dump_counts->deadlocks);
    torture_figure("times a deadlock was shown", (double)dump_counts->found);
    torture_figure("operations", (double)atomic_load(&torture.steps));
    return torture_end();
}

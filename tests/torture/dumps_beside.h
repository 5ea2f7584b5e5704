/* Dumps beside another torture program. A thread makes one dump after another while two threads of its own are
 * deadlocked: each line must match the grammar, and each dump must show this deadlock and no other. */
#ifndef DUMPS_BESIDE_H
#define DUMPS_BESIDE_H

#include "dumps_files.h"

static struct dumps_beside {
    threading_lock *locks[2];
    pthread_t deadlocked[2], dumper;
    _Atomic int owns[2];
    atomic_bool stop;
    char names[2][32]; /* of the deadlocked threads in dumps */
    pid_t pid;         /* the process in which they are deadlocked */
} dumps_beside;

static inline bool dumps_beside_show_deadlock(const struct dump *dump)
{
    if (dump->cycle_lines == 0 && dump->deadlocked == 0)
        return false;
    bool is_right = dump->cycle_lines == 2 && dump->deadlocked == 2;
    for (unsigned i = 0; is_right && i < 2; i++)
        is_right = strcmp(dump->cycles[i].thread, dump->cycles[1 - i].waits_for) == 0 &&
                   (strcmp(dump->cycles[i].thread, dumps_beside.names[0]) == 0 ||
                    strcmp(dump->cycles[i].thread, dumps_beside.names[1]) == 0);
    if (!is_right)
        torture_fail(__FILE__, __LINE__, "a dump shows a false deadlock of %" PRIu64 " threads, \"%s\" and others",
                     dump->deadlocked, dump->cycle_lines == 0 ? "" : dump->cycles[0].thread);
    return true;
}

/* Checks a dump of this process: in a child of fork, no thread is deadlocked. */
static inline void dumps_beside_check(const struct dump *dump)
{
    bool is_deadlocked = getpid() == dumps_beside.pid;
    if (dumps_beside_show_deadlock(dump) != is_deadlocked)
        torture_fail(__FILE__, __LINE__, is_deadlocked ? "a dump does not show the deadlock"
                                                       : "a dump of a child shows a deadlock of its parent");
    if (is_deadlocked)
        atomic_fetch_add(&dump_counts->found, 1);
}

static inline void *dumps_beside_wait(void *number)
{
    unsigned i = (unsigned)(uintptr_t)number;
    snprintf(dumps_beside.names[i], sizeof dumps_beside.names[i], "thread %ld", (long)syscall(SYS_gettid));
    TORTURE_STATUS(threading_lock_acquire(dumps_beside.locks[i]), THREADING_OK);
    atomic_store(&dumps_beside.owns[i], true);
    while (!atomic_load(&dumps_beside.owns[1 - i]))
        sleep_for(50e-6);
    TORTURE_STATUS(threading_lock_acquire(dumps_beside.locks[1 - i]), THREADING_OK);
    torture_fail(__FILE__, __LINE__, "a deadlocked thread runs");
}

static inline void *dumps_beside_make(void *fd)
{
    static struct dump dump;
    while (!atomic_load(&dumps_beside.stop)) {
        make_dump((int)(intptr_t)fd, &dump);
        dumps_beside_check(&dump);
        take_dumps_of_handlers(dumps_beside_check);
        sleep_for(0.002);
    }
    take_dumps_of_handlers(dumps_beside_check);
    TORTURE_CHECK(close((int)(intptr_t)fd) == 0);
    return NULL;
}

/* Starts the threads, by pthread_create(), and waits until the dumps show the deadlock. */
static inline void dumps_beside_start(void)
{
    static struct dump dump;
    double end = now() + TORTURE_HANG / 2;
    int fd = memory_file();
    dump_counts_new();
    dump_slots_new(false);
    dumps_beside.pid = getpid();
    for (unsigned i = 0; i < 2; i++)
        TORTURE_CHECK((dumps_beside.locks[i] = threading_lock_new()) != NULL);
    for (uintptr_t i = 0; i < 2; i++)
        TORTURE_CHECK(pthread_create(&dumps_beside.deadlocked[i], NULL, dumps_beside_wait, (void *)i) == 0);
    do {
        TORTURE_CHECK(now() < end);
        make_dump(fd, &dump);
    } while (!dumps_beside_show_deadlock(&dump));
    TORTURE_CHECK(pthread_create(&dumps_beside.dumper, NULL, dumps_beside_make, (void *)(intptr_t)fd) == 0);
}

static inline void dumps_beside_figures(void)
{
    torture_figure("dumps beside it", (double)(dump_counts->dumps + dump_counts->handler_dumps));
    torture_figure("times a dump showed the deadlock that was there", (double)dump_counts->found);
    torture_figure("lines of dumps", (double)dump_counts->lines);
}

/* Checks a dump of this process, which may be a child of fork. */
static inline void dumps_beside_make_one(void)
{
    static _Thread_local struct dump dump;
    int fd = memory_file();
    make_dump(fd, &dump);
    TORTURE_CHECK(close(fd) == 0);
    dumps_beside_check(&dump);
}

/* Stops the dumps; the deadlocked threads stay. */
static inline void dumps_beside_stop(void)
{
    atomic_store(&dumps_beside.stop, true);
    TORTURE_CHECK(pthread_join(dumps_beside.dumper, NULL) == 0);
    dumps_beside_figures();
}

#endif

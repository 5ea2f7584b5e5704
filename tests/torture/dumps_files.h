/* Dumps to files in memory, by threads and by signal handlers. A handler leaves its dump in a slot, from which a thread
 * takes it later. */
#ifndef DUMPS_FILES_H
#define DUMPS_FILES_H

#include "dumps_parser.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { DUMP_SLOTS = 16, MAX_DUMP_TEXT = 4 << 20, DUMP_LIMIT = 60 /* seconds */ };

/* Counters of all processes. */
static struct dump_counts {
    _Atomic uint64_t dumps, handler_dumps, nested_dumps, lines, deadlocks, found, children, microseconds;
} *dump_counts;

static inline void dump_counts_new(void)
{
    dump_counts = mmap(NULL, sizeof *dump_counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    TORTURE_CHECK(dump_counts != MAP_FAILED);
}

enum dump_slot_state { SLOT_FREE, SLOT_WRITING, SLOT_FULL };

static struct dump_slot {
    int fd;
    _Atomic int state;
} dump_slots[DUMP_SLOTS];

static _Atomic int dumping_handlers[DUMP_SLOTS]; /* native IDs of the threads whose handlers write to the slots */
static atomic_bool handlers_dump;
/* Handlers that are running. */
static _Atomic uint64_t handlers_running;

static inline int memory_file(void)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);
    TORTURE_CHECK(fd >= 0);
    return fd;
}

/* Creates the files of this process; a child of fork needs its own. */
static inline void dump_slots_new(bool in_child)
{
    for (unsigned i = 0; i < DUMP_SLOTS; i++) {
        if (in_child)
            TORTURE_CHECK(close(dump_slots[i].fd) == 0);
        dump_slots[i].fd = memory_file();
        atomic_store(&dump_slots[i].state, SLOT_FREE);
    }
    atomic_store(&handlers_running, 0);
}

/* Reads the file, empties it, and parses what was in it. */
static inline void take_dump(int fd, struct dump *dump)
{
    static _Thread_local char *text;
    if (text == NULL) {
        text = mmap(NULL, MAX_DUMP_TEXT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        TORTURE_CHECK(text != MAP_FAILED);
        if (torture_measures_memory() && strcmp(torture.name, "stale_handles") == 0)
            memset(text, 0, MAX_DUMP_TEXT);
    }
    ssize_t length = pread(fd, text, MAX_DUMP_TEXT - 1, 0);
    TORTURE_CHECK(length > 0 && length < MAX_DUMP_TEXT - 1);
    text[length] = '\0';
    TORTURE_CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    dump_parse(text, dump);
    atomic_fetch_add(&dump_counts->lines, dump->lines);
}

/* Parses a new dump. The limit of its time detects a hang; a machine that stalls must not exceed it. */
static inline void make_dump(int fd, struct dump *dump)
{
    double began = now();
    TORTURE_STATUS(threading_dump(fd), THREADING_OK);
    double lasted = now() - began;
    if (lasted > DUMP_LIMIT)
        torture_fail(__FILE__, __LINE__, "a dump has lasted %g s", lasted);
    atomic_fetch_add(&dump_counts->microseconds, (uint64_t)(lasted * 1e6));
    atomic_fetch_add(&dump_counts->dumps, 1);
    take_dump(fd, dump);
}

/* Called in signal handlers: writes a dump to a free slot, if there is one. It may interrupt a dump of its thread. */
static inline void dump_in_handler(void)
{
    enum { SENTINEL = 12345 };
    int saved_errno = errno;
    atomic_fetch_add(&handlers_running, 1);
    if (atomic_load(&handlers_dump)) {
        int me = (int)syscall(SYS_gettid);
        bool nested = false;
        for (unsigned i = 0; i < DUMP_SLOTS; i++)
            nested = nested || atomic_load(&dumping_handlers[i]) == me;
        for (unsigned i = 0; i < DUMP_SLOTS; i++) {
            int expected = SLOT_FREE;
            if (!atomic_compare_exchange_strong(&dump_slots[i].state, &expected, SLOT_WRITING))
                continue;
            atomic_store(&dumping_handlers[i], me);
            errno = SENTINEL;
            threading_status status = threading_dump(dump_slots[i].fd);
            if (status != THREADING_OK || errno != SENTINEL)
                abort();
            atomic_store(&dumping_handlers[i], 0);
            atomic_store(&dump_slots[i].state, SLOT_FULL);
            atomic_fetch_add(nested ? &dump_counts->nested_dumps : &dump_counts->handler_dumps, 1);
            break;
        }
    }
    atomic_fetch_sub(&handlers_running, 1);
    errno = saved_errno;
}

/* Calls `check` for each dump that handlers have made. */
static inline void take_dumps_of_handlers(void (*check)(const struct dump *))
{
    static _Thread_local struct dump dump;
    for (unsigned i = 0; i < DUMP_SLOTS; i++)
        if (atomic_load(&dump_slots[i].state) == SLOT_FULL) {
            take_dump(dump_slots[i].fd, &dump);
            check(&dump);
            atomic_store(&dump_slots[i].state, SLOT_FREE);
        }
}

/* Stops the dumps of handlers, and waits for those that run. */
static inline void stop_handlers(void)
{
    atomic_store(&handlers_dump, false);
    while (atomic_load(&handlers_running) != 0)
        sleep_for(100e-6);
}

#endif

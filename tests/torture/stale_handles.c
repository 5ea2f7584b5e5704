/* Old handles stay caught while their slots are used again by other threads at full speed, and memory in use returns to
 * its level after a million objects of each kind, and after many short-lived threads.
 *
 * --count is the number of objects of each kind, a million as a rule; fewer if the time does not suffice. */
#include "torture.h"

#include "stale_handles_kinds.h"

#include <fcntl.h>
#include <malloc.h>

/* How much of the time is for what; the rest is for the objects of each kind. */
#define FOR_STALE_CALLS 0.4
#define FOR_THREADS 0.2

static double share_end(double share)
{
    return torture_now() + torture.seconds * share;
}

/* ------------------------------------------------------------------------------------------------ stale calls */

/* Handles of all ages: those in the first half stay for ever, the others give way to newer ones. */
enum { STALE = 8192, MAKERS = 3, CALLERS = 3, WINDOW = 8, LIFE = 3000, BURST = 30000 };

static _Atomic(void *) stale[KINDS][STALE];
static atomic_bool over;
static _Atomic uint64_t stale_calls;

static void remember(unsigned kind, void *handle, struct random *random)
{
    _Atomic(void *) *place = &stale[kind][random_below(random, STALE)];
    if (place >= &stale[kind][STALE / 2] || atomic_load(place) == NULL)
        atomic_store(place, handle);
}

/* Has some objects, each of which it ends to make another; for a while. */
static void *make_and_free(void *arg)
{
    struct random random = {(uintptr_t)arg};
    struct {
        void *handle;
        unsigned mark;
    } live[KINDS][WINDOW];
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < WINDOW; i++) {
            live[kind][i].mark = (unsigned)random_below(&random, MARKS);
            live[kind][i].handle = kinds[kind].make(live[kind][i].mark);
        }
    for (unsigned n = 0; n < LIFE && !atomic_load_explicit(&over, memory_order_relaxed); n++) {
        unsigned kind = (unsigned)random_below(&random, KINDS), i = (unsigned)random_below(&random, WINDOW);
        kinds[kind].end(live[kind][i].handle, live[kind][i].mark);
        remember(kind, live[kind][i].handle, &random);
        live[kind][i].mark = (unsigned)random_below(&random, MARKS);
        live[kind][i].handle = kinds[kind].make(live[kind][i].mark);
        torture_step(1);
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < WINDOW; i++)
            kinds[kind].end(live[kind][i].handle, live[kind][i].mark);
    return NULL;
}

/* Makes so many objects of a kind that most of their memory returns to the system when all of them are freed. */
static void *make_and_free_bursts(void *arg)
{
    struct random random = {(uintptr_t)arg};
    void **burst = malloc(BURST * sizeof *burst);
    TORTURE_CHECK(burst != NULL);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        unsigned kind = (unsigned)random_below(&random, KINDS), mark = (unsigned)random_below(&random, MARKS), made = 0;
        for (; made < BURST && !atomic_load_explicit(&over, memory_order_relaxed); made++)
            burst[made] = kinds[kind].make(mark);
        for (unsigned i = 0; i < made; i++) {
            kinds[kind].end(burst[i], mark);
            if (i % 64 == 0)
                remember(kind, burst[i], &random);
        }
        torture_step(made);
    }
    free(burst);
    return NULL;
}

static void call_stale(unsigned kind, void *handle, unsigned which)
{
    threading_clear_last_error();
    threading_status status = kinds[kind].call(handle, which);
    if (status != THREADING_ERR_HANDLE || threading_last_error() != THREADING_ERR_HANDLE)
        torture_fail(__FILE__, __LINE__, "call %u on freed %s %p is %s", which, kinds[kind].name, handle,
                     threading_status_name(status));
}

static void *call_all_the_time(void *arg)
{
    struct random random = {(uintptr_t)arg};
    uint64_t calls = 0;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        unsigned kind = (unsigned)random_below(&random, KINDS);
        void *handle = atomic_load(&stale[kind][random_below(&random, STALE)]);
        if (handle == NULL)
            continue;
        /* Several at a go, about as fast as the slot changes hands. */
        for (unsigned n = 0; n < 4; n++, calls++)
            call_stale(kind, handle, (unsigned)random_below(&random, kinds[kind].calls));
    }
    atomic_fetch_add(&stale_calls, calls);
    return NULL;
}

static threading_thread *start(threading_target target, struct random *random)
{
    threading_thread *thread = threading_thread_new(target, (void *)(uintptr_t)random_next(random));
    TORTURE_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

static void join(threading_thread *thread)
{
    TORTURE_STATUS(threading_thread_join(thread), THREADING_OK);
    TORTURE_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void stale_calls_beside_reuse(struct random *random)
{
    threading_thread *makers[MAKERS], *callers[CALLERS], *bursts = start(make_and_free_bursts, random);
    double end = share_end(FOR_STALE_CALLS);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = start(call_all_the_time, random);
    for (unsigned i = 0; i < MAKERS; i++)
        makers[i] = start(make_and_free, random);
    for (unsigned i = 0; torture_running() && torture_now() < end; i = (i + 1) % MAKERS) {
        join(makers[i]);
        makers[i] = start(make_and_free, random);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < MAKERS; i++)
        join(makers[i]);
    for (unsigned i = 0; i < CALLERS; i++)
        join(callers[i]);
    join(bursts);
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < STALE; i++)
            for (unsigned which = 0; which < kinds[kind].calls && stale[kind][i] != NULL; which++, stale_calls++)
                call_stale(kind, stale[kind][i], which);
}

/* ---------------------------------------------------------------------------------------------- memory in use */

struct level {
    long resident; /* bytes in memory */
    long malloced; /* bytes in use */
    long maps;     /* mappings */
};

/* How far a level may rise.
 *
 * Objects lie in blocks of 64 KiB for each kind, in which every slot serves 63 objects; then the block is given
 * back to the system. So at either measurement one block may be anywhere between empty and full: 64 KiB for each
 * kind that was in use (two for a condition, which makes an rlock, and for a timer, which is a thread). With the
 * pages of the program itself that are touched late, one thread may have left a quarter of a megabyte: a quarter
 * of a byte for each of a million objects. What threads free in another order than they have made it leaves a slot
 * here and there in an older block: with so few threads at once, eight such blocks for all kinds. What malloc has
 * given out comes back to the byte, but for what the threads' caches and the C library itself hold; mappings do
 * not depend on the number of objects at all. */
static const struct level by_one_thread = {256 * 1024, 4096, 2};
static const struct level by_many_threads = {512 * 1024, 16384, 4};

/* A small file of the system's, without the help of stdio and malloc. Counts its lines; the text's beginning is left in
 * `begin`. */
static long read_lines(const char *path, char *begin, size_t size)
{
    char text[4096];
    long lines = 0;
    ssize_t got;
    bool first = true;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    TORTURE_CHECK(file >= 0);
    while ((got = read(file, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
        if (first)
            snprintf(begin, size, "%.*s", (int)got, text);
        first = false;
    }
    close(file);
    return lines;
}

static struct level level_now(void)
{
    char begin[128];
    struct level level;
    level.maps = read_lines("/proc/self/maps", begin, sizeof begin);
    read_lines("/proc/self/statm", begin, sizeof begin);
    TORTURE_CHECK(sscanf(begin, "%*d %ld", &level.resident) == 1);
    level.resident *= sysconf(_SC_PAGESIZE);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    level.malloced = (long)mallinfo2().uordblks;
#else
    level.malloced = mallinfo().uordblks;
#endif
    return level;
}

static double most_resident, most_malloced;

static void returns_to(struct level before, struct level after, struct level tolerance, const char *what)
{
    long resident = after.resident - before.resident, malloced = after.malloced - before.malloced;
    if (!torture_measures_memory())
        return;
    if ((double)resident > most_resident)
        most_resident = (double)resident;
    if ((double)malloced > most_malloced)
        most_malloced = (double)malloced;
    if (resident > tolerance.resident)
        torture_fail(__FILE__, __LINE__, "%s: %ld KiB more are in memory than before", what, resident / 1024);
    if (malloced > tolerance.malloced)
        torture_fail(__FILE__, __LINE__, "%s: %ld bytes more are in use than before", what, malloced);
    if (after.maps - before.maps > tolerance.maps)
        torture_fail(__FILE__, __LINE__, "%s: %ld mappings more than before", what, after.maps - before.maps);
}

static uint64_t make_and_end(unsigned kind, uint64_t count, double end)
{
    uint64_t done = 0;
    for (; done < count && (done % 256 != 0 || torture_now() < end); done++) {
        unsigned mark = (unsigned)(done % MARKS);
        kinds[kind].end(kinds[kind].make(mark), mark);
        if (done % 256 == 255)
            torture_step(256);
    }
    return done;
}

static void a_million_of_each_kind(void)
{
    uint64_t count = torture.count < 1000000 ? torture.count : 1000000;
    double share = (1 - FOR_STALE_CALLS - FOR_THREADS) / KINDS;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char what[80];
        make_and_end(kind, count / 10, share_end(share / 10));
        struct level before = level_now();
        uint64_t done = make_and_end(kind, count, share_end(share));
        returns_to(before, level_now(), by_one_thread, kinds[kind].name);
        snprintf(what, sizeof what, "%s made and freed", kinds[kind].name);
        torture_figure(what, (double)done);
    }
}

/* ---------------------------------------------------------------------------------------- short-lived threads */

enum { AT_ONCE = 8 };

static void *live_shortly(void *arg)
{
    void *objects[KINDS];
    for (unsigned kind = 0; kind < KINDS; kind++)
        objects[kind] = kinds[kind].make(kind % MARKS);
    for (unsigned kind = 0; kind < KINDS; kind++)
        kinds[kind].end(objects[kind], kind % MARKS);
    /* And once in a line, for a record to sleep on. */
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    TORTURE_STATUS(threading_barrier_wait_timeout(barrier, 1e-9, NULL), THREADING_ERR_BROKEN_BARRIER);
    TORTURE_STATUS(threading_barrier_free(barrier), THREADING_OK);
    return arg;
}

static uint64_t threads_that_come_and_go(uint64_t count, double end)
{
    uint64_t done = 0;
    for (; done < count && torture_now() < end; done += AT_ONCE) {
        pthread_t foreign[AT_ONCE / 2];
        threading_thread *threads[AT_ONCE / 2];
        for (unsigned i = 0; i < AT_ONCE / 2; i++) {
            TORTURE_CHECK(pthread_create(&foreign[i], NULL, live_shortly, NULL) == 0);
            threads[i] = threading_thread_new(live_shortly, NULL);
            TORTURE_STATUS(threading_thread_start(threads[i]), THREADING_OK);
        }
        for (unsigned i = 0; i < AT_ONCE / 2; i++) {
            TORTURE_CHECK(pthread_join(foreign[i], NULL) == 0);
            join(threads[i]);
        }
        torture_step(AT_ONCE);
    }
    return done;
}

static void short_lived_threads(void)
{
    uint64_t count = torture.count < 100000 ? torture.count : 100000;
    threads_that_come_and_go(count / 5, share_end(FOR_THREADS / 5));
    struct level before = level_now();
    uint64_t done = threads_that_come_and_go(count, share_end(FOR_THREADS));
    returns_to(before, level_now(), by_many_threads, "short-lived threads");
    torture_figure("short-lived threads with an object of each kind", (double)done);
}

int main(int argc, char **argv)
{
    torture_begin("stale_handles", argc, argv);
    struct random random = random_of(0);
    stale_calls_beside_reuse(&random);
    a_million_of_each_kind();
    short_lived_threads();
    torture_figure("stale calls", (double)stale_calls);
    torture_figure("bytes more in memory, at most", most_resident);
    torture_figure("bytes more from malloc, at most", most_malloced);
    return torture_end();
}

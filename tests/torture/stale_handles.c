/* Handles of freed objects fail while other threads reuse their slots at full speed, and dumps read them. Memory usage returns to its
 * level after a million objects of each kind, and after many short-lived threads.
 *
 * --count is the number of objects of each kind, one million by default; fewer are created if the time does not
 * suffice. */
#include "torture.h"

#include "dumps_beside.h"
#include "stale_handles_kinds.h"

#include <fcntl.h>

/* Shares of the run time; the rest is for the objects of each kind. */
#define STALE_CALLS_SHARE 0.4
#define THREADS_SHARE 0.2

static double share_end(double share)
{
    return now() + torture.seconds * share;
}

/* ------------------------------------------------------------------------------------------------ stale calls */

/* Stale handles of all ages: the first half of the array keeps its handles, the other half is overwritten with newer
 * ones. */
enum { STALE = 8192, MAKERS = 3, CALLERS = 3, WINDOW = 8, OBJECTS_PER_THREAD = 3000, BURST = 30000 };

static _Atomic(void *) stale[KINDS][STALE];
static atomic_bool stop;
static _Atomic uint64_t stale_calls;

static void record_stale(unsigned kind, void *handle, struct random *random)
{
    _Atomic(void *) *slot = &stale[kind][random_below(random, STALE)];
    if (slot >= &stale[kind][STALE / 2] || atomic_load(slot) == NULL)
        atomic_store(slot, handle);
}

/* Repeatedly frees one of a window of objects and creates another one. */
static void *create_and_free_objects(void *arg)
{
    struct random random = {(uintptr_t)arg};
    struct {
        void *handle;
        unsigned tag;
    } live[KINDS][WINDOW];
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < WINDOW; i++) {
            live[kind][i].tag = (unsigned)random_below(&random, TAGS);
            live[kind][i].handle = kinds[kind].create(live[kind][i].tag);
        }
    for (unsigned n = 0; n < OBJECTS_PER_THREAD && !atomic_load_explicit(&stop, memory_order_relaxed); n++) {
        unsigned kind = (unsigned)random_below(&random, KINDS), i = (unsigned)random_below(&random, WINDOW);
        kinds[kind].check_and_free(live[kind][i].handle, live[kind][i].tag);
        record_stale(kind, live[kind][i].handle, &random);
        live[kind][i].tag = (unsigned)random_below(&random, TAGS);
        live[kind][i].handle = kinds[kind].create(live[kind][i].tag);
        torture_step(1);
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < WINDOW; i++)
            kinds[kind].check_and_free(live[kind][i].handle, live[kind][i].tag);
    return NULL;
}

/* Creates so many objects of a kind that most of their memory is returned to the system when all of them are freed. */
static void *create_and_free_bursts(void *arg)
{
    struct random random = {(uintptr_t)arg};
    void **burst = malloc(BURST * sizeof *burst);
    TORTURE_CHECK(burst != NULL);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned kind = (unsigned)random_below(&random, KINDS), tag = (unsigned)random_below(&random, TAGS),
                 created = 0;
        for (; created < BURST && !atomic_load_explicit(&stop, memory_order_relaxed); created++)
            burst[created] = kinds[kind].create(tag);
        for (unsigned i = 0; i < created; i++) {
            kinds[kind].check_and_free(burst[i], tag);
            if (i % 64 == 0)
                record_stale(kind, burst[i], &random);
        }
        torture_step(created);
    }
    free(burst);
    return NULL;
}

static void call_stale(unsigned kind, void *handle, unsigned which)
{
    threading_clear_last_error();
    threading_status status = kinds[kind].call(handle, which);
    if (status != THREADING_ERR_HANDLE || threading_last_error() != THREADING_ERR_HANDLE)
        torture_fail(__FILE__, __LINE__, "call %u on a stale handle of %s, %p, returned %s", which, kinds[kind].name,
                     handle, threading_status_name(status));
}

static void *call_continually(void *arg)
{
    struct random random = {(uintptr_t)arg};
    uint64_t calls = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned kind = (unsigned)random_below(&random, KINDS);
        void *handle = atomic_load(&stale[kind][random_below(&random, STALE)]);
        if (handle == NULL)
            continue;
        /* Several calls on one handle, during which its slot may be reused. */
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

static void call_stale_handles_during_reuse(struct random *random)
{
    threading_thread *makers[MAKERS], *callers[CALLERS], *bursts = start(create_and_free_bursts, random);
    double until = share_end(STALE_CALLS_SHARE);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = start(call_continually, random);
    for (unsigned i = 0; i < MAKERS; i++)
        makers[i] = start(create_and_free_objects, random);
    for (unsigned i = 0; torture_running() && now() < until; i = (i + 1) % MAKERS) {
        join(makers[i]);
        makers[i] = start(create_and_free_objects, random);
    }
    atomic_store(&stop, true);
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
    long resident;  /* resident bytes */
    long allocated; /* bytes allocated with malloc */
    long maps;      /* mappings */
};

/* How far a level may rise.
 *
 * Objects live in blocks of 64 KiB, one kind per block. When the slots of a block have served 63 objects each, its
 * memory is returned to the system. So at each measurement one block per kind may be between empty and full: 64 KiB
 * for each kind in use, and two for a condition, which has an rlock, and for a timer, which has a thread. Together
 * with pages of the program itself that are touched late, one thread may leave a quarter of a megabyte, which is a
 * quarter of a byte for each of a million objects. Threads that free objects in another order than they were created
 * leave single slots in older blocks; with this number of threads, up to eight blocks of all kinds. Memory from malloc
 * is freed completely, except for what the C library and its thread caches keep. The number of mappings does not
 * depend on the number of objects; but among many threads, one that finds each arena of malloc in use maps another,
 * sometimes only after the first measurement. */
static const struct level one_thread_tolerance = {256 * 1024, 4096, 2};
static const struct level many_threads_tolerance = {512 * 1024, 16384, 16};

/* Reads a small file of /proc without stdio and malloc. Returns the number of lines; `begin` gets the beginning of
 * the text. */
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
    level.allocated = (long)torture_allocated();
    return level;
}

static double max_resident_growth, max_allocated_growth;

static void check_level(struct level before, struct level after, struct level tolerance, const char *what)
{
    long resident = after.resident - before.resident, allocated = after.allocated - before.allocated;
    if (!torture_measures_memory())
        return;
    if ((double)resident > max_resident_growth)
        max_resident_growth = (double)resident;
    if ((double)allocated > max_allocated_growth)
        max_allocated_growth = (double)allocated;
    if (resident > tolerance.resident)
        torture_fail(__FILE__, __LINE__, "%s: resident memory has grown by %ld KiB", what, resident / 1024);
    if (allocated > tolerance.allocated)
        torture_fail(__FILE__, __LINE__, "%s: allocated memory has grown by %ld bytes", what, allocated);
    if (after.maps - before.maps > tolerance.maps)
        torture_fail(__FILE__, __LINE__, "%s: there are %ld more mappings", what, after.maps - before.maps);
}

static uint64_t create_and_free(unsigned kind, uint64_t count, double until)
{
    uint64_t done = 0;
    for (; done < count && (done % 256 != 0 || now() < until); done++) {
        unsigned tag = (unsigned)(done % TAGS);
        kinds[kind].check_and_free(kinds[kind].create(tag), tag);
        if (done % 256 == 255)
            torture_step(256);
    }
    return done;
}

static void create_a_million_of_each_kind(void)
{
    uint64_t count = torture.count < 1000000 ? torture.count : 1000000;
    double share = (1 - STALE_CALLS_SHARE - THREADS_SHARE) / KINDS;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char what[80];
        create_and_free(kind, count / 10, share_end(share / 10));
        struct level before = level_now();
        uint64_t done = create_and_free(kind, count, share_end(share));
        check_level(before, level_now(), one_thread_tolerance, kinds[kind].name);
        snprintf(what, sizeof what, "%s created and freed", kinds[kind].name);
        torture_figure(what, (double)done);
    }
}

/* ---------------------------------------------------------------------------------------- short-lived threads */

enum { CONCURRENT = 8 };

static void *run_short_lived(void *arg)
{
    void *objects[KINDS];
    for (unsigned kind = 0; kind < KINDS; kind++)
        objects[kind] = kinds[kind].create(kind % TAGS);
    for (unsigned kind = 0; kind < KINDS; kind++)
        kinds[kind].check_and_free(objects[kind], kind % TAGS);
    /* Also blocks once, to allocate the thread's wait record. */
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    TORTURE_STATUS(threading_barrier_wait_timeout(barrier, 1e-9, NULL), THREADING_ERR_BROKEN_BARRIER);
    TORTURE_STATUS(threading_barrier_free(barrier), THREADING_OK);
    return arg;
}

static uint64_t run_short_lived_threads(uint64_t count, double until)
{
    uint64_t done = 0;
    for (; done < count && now() < until; done += CONCURRENT) {
        pthread_t foreign[CONCURRENT / 2];
        threading_thread *threads[CONCURRENT / 2];
        for (unsigned i = 0; i < CONCURRENT / 2; i++) {
            TORTURE_CHECK(pthread_create(&foreign[i], NULL, run_short_lived, NULL) == 0);
            threads[i] = threading_thread_new(run_short_lived, NULL);
            TORTURE_STATUS(threading_thread_start(threads[i]), THREADING_OK);
        }
        for (unsigned i = 0; i < CONCURRENT / 2; i++) {
            TORTURE_CHECK(pthread_join(foreign[i], NULL) == 0);
            join(threads[i]);
        }
        torture_step(CONCURRENT);
    }
    return done;
}

static void test_short_lived_threads(void)
{
    uint64_t count = torture.count < 100000 ? torture.count : 100000;
    run_short_lived_threads(count / 5, share_end(THREADS_SHARE / 5));
    struct level before = level_now();
    uint64_t done = run_short_lived_threads(count, share_end(THREADS_SHARE));
    check_level(before, level_now(), many_threads_tolerance, "short-lived threads");
    torture_figure("short-lived threads with an object of each kind", (double)done);
}

int main(int argc, char **argv)
{
    torture_begin("stale_handles", argc, argv);
    struct random random = random_of(0);
    dumps_beside_start();
    call_stale_handles_during_reuse(&random);
    create_a_million_of_each_kind();
    test_short_lived_threads();
    dumps_beside_stop();
    torture_figure("stale calls", (double)stale_calls);
    torture_figure("bytes of growth in resident memory, at most", max_resident_growth);
    torture_figure("bytes of growth in allocated memory, at most", max_allocated_growth);
    return torture_end();
}

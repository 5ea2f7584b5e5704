/* Clock, cores, memory, threads and quantiles. */
#include "bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void sleep_for(double ns)
{
    struct timespec left = {(time_t)(ns / 1e9), (long)(ns - (double)(time_t)(ns / 1e9) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

void await_zero(atomic_long *left)
{
    while (atomic_load(left) > 0)
        sleep_for(5e5);
}

/* The cores that this process may use. They are queried once, at the start, because a pinned thread sees only
 * its own. */
static cpu_set_t allowed;

static void __attribute__((constructor)) query_cores(void)
{
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        CPU_SET(0, &allowed);
}

int cores(void)
{
    return CPU_COUNT(&allowed);
}

void pin(int core)
{
    int cpu = -1;
    for (int left = core; left >= 0; left--) {
        do {
            cpu++;
        } while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &allowed));
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
}

void unpin(void)
{
    check(pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0);
}

double resident_bytes(void)
{
    long total = 0;
    long resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    check(statm != NULL);
    check(fscanf(statm, "%ld %ld", &total, &resident) == 2);
    fclose(statm);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

const char *path_of_library(const char *function)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, function);
    check(address != NULL && dladdr(address, &info) != 0);
    return info.dli_fname;
}

void *cache_line_alloc(size_t size)
{
    static char *next;
    static size_t left;
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    if (left < size) {
        size_t chunk = size > 1 << 20 ? size : 1 << 20;
        next = aligned_alloc(4096, (chunk + 4095) / 4096 * 4096);
        check(next != NULL);
        memset(next, 0, chunk);
        left = chunk;
    }
    void *memory = next;
    next += size;
    left -= size;
    return memory;
}

void batches_add(struct batches *batches, double value)
{
    if (batches->count < MAX_BATCHES)
        batches->values[batches->count++] = value;
}

int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

double batches_quantile(struct batches *batches, double fraction)
{
    check(batches->count > 0);
    qsort(batches->values, (size_t)batches->count, sizeof *batches->values, compare_doubles);
    return batches->values[(int)(fraction * (batches->count - 1) + 0.5)];
}

double lower_quintile(struct batches *batches)
{
    return batches_quantile(batches, 0.2);
}

double upper_quintile(struct batches *batches)
{
    return batches_quantile(batches, 0.8);
}

double random_between(uint64_t *state, double low, double high)
{
    return low + (high - low) * ((double)(random_next(state) >> 11) / 9007199254740992.0);
}

struct crew_member {
    pthread_t thread;
    void (*function)(void *context, int index);
    void *context;
    int index;
};

struct crew {
    int count;
    struct crew_member members[];
};

static void *crew_run(void *arg)
{
    struct crew_member *member = arg;
    member->function(member->context, member->index);
    return NULL;
}

struct crew *crew_start(int count, void (*function)(void *context, int index), void *context)
{
    struct crew *crew = malloc(sizeof *crew + (size_t)count * sizeof crew->members[0]);
    check(crew != NULL);
    crew->count = count;
    for (int i = 0; i < count; i++) {
        crew->members[i] = (struct crew_member){.function = function, .context = context, .index = i};
        check(pthread_create(&crew->members[i].thread, NULL, crew_run, &crew->members[i]) == 0);
    }
    return crew;
}

void crew_join(struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        check(pthread_join(crew->members[i].thread, NULL) == 0);
    free(crew);
}

/* ---- loops of several threads ---- */

struct together {
    batch *loop;
    void *object;
    long operations;
    atomic_long waiting; /* threads that have not started yet */
};

static void run_loop(void *context, int index)
{
    struct together *together = context;
    (void)index;
    /* What a thread does for its first operation is not measured. */
    together->loop(together->object, 100);
    atomic_fetch_sub(&together->waiting, 1);
    while (atomic_load(&together->waiting) > 0)
        sleep_for(1e3);
    together->loop(together->object, together->operations);
}

double measure_together(batch *loop, void *object, long threads, long operations)
{
    enum { BATCHES = 20 };
    struct batches batches = {0};
    long running = threads < cores() ? threads : cores();
    for (int b = 0; b < BATCHES; b++) {
        struct together together = {loop, object, operations, threads + 1};
        struct crew *crew = crew_start((int)threads, run_loop, &together);
        while (atomic_load(&together.waiting) > 1)
            sleep_for(1e4);
        double before = now();
        atomic_fetch_sub(&together.waiting, 1);
        crew_join(crew);
        batches_add(&batches, (now() - before) * (double)running / (double)(threads * operations));
    }
    return lower_quintile(&batches);
}

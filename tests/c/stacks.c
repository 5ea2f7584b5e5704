/* Stacks: each thread has its own, of at least the requested size and with a guard page, also if the stack is reused.
 * After many threads have exited, the memory of their stacks is returned to the system. */
#include "child.h"

#include <sys/resource.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

static const size_t KIB = 1024, MIB = 1024 * 1024;

/* Whether the library allocates the stacks, and keeps them for further threads. */
#if defined(__GLIBC__)
#define CACHES_STACKS !TEST_SANITIZED
#else
#define CACHES_STACKS 0
#endif

/* ------------------------------------------------------------------------------ threads that fill a stack */

/* A thread that writes to its stack at each `step`, signals readiness, waits, and checks what it wrote. */
struct filler {
    threading_thread *thread;
    threading_event *event;
    atomic_int *ready;
    size_t size; /* requested; 0 is the default */
    size_t used, step;
    unsigned char mark;
};

static void check_bounds(size_t wanted)
{
#if defined(__linux__)
    pthread_attr_t attributes;
    void *base;
    size_t size;
    char here;
    CHECK_INT(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT(pthread_attr_getstack(&attributes, &base, &size), 0);
    CHECK_INT(pthread_attr_destroy(&attributes), 0);
    CHECK_AT_LEAST((double)size, (double)wanted);
    if (!TEST_SANITIZED)
        CHECK(&here > (char *)base && &here < (char *)base + size);
#else
    (void)wanted;
#endif
}

static void *fill_stack(void *arg)
{
    struct filler *filler = arg;
    volatile unsigned char *bytes = __builtin_alloca(filler->used);
    for (size_t i = 0; i < filler->used; i += filler->step)
        bytes[i] = filler->mark;
    check_bounds(filler->size);
    atomic_fetch_add(filler->ready, 1);
    CHECK_STATUS(threading_event_wait_timeout(filler->event, TEST_LIMIT), THREADING_OK);
    for (size_t i = 0; i < filler->used; i += filler->step)
        CHECK_INT(bytes[i], filler->mark);
    return NULL;
}

enum { MAX_FILLERS = 240 };

struct burst {
    threading_event *event;
    atomic_int ready;
    int count;
    struct filler fillers[MAX_FILLERS];
};

static bool all_ready(void *arg)
{
    struct burst *burst = arg;
    return atomic_load(&burst->ready) == burst->count;
}

/* The default size is at least 1 MiB with glibc, and 128 KiB with musl. */
static size_t default_size(void)
{
    pthread_attr_t attributes;
    size_t size;
    CHECK_INT(pthread_attr_init(&attributes), 0);
    CHECK_INT(pthread_attr_getstacksize(&attributes, &size), 0);
    CHECK_INT(pthread_attr_destroy(&attributes), 0);
    return size < MIB ? size : MIB;
}

/* Starts `count` threads, whose stack sizes cycle through `sizes`. Each uses all but the last 64 KiB of its stack, but
 * not more than `max_used` bytes. Returns when all of them have written to their stacks and wait. */
static void begin_burst(struct burst *burst, int count, const size_t *sizes, size_t different, size_t max_used)
{
    CHECK((burst->event = threading_event_new()) != NULL);
    atomic_store(&burst->ready, 0);
    burst->count = count;
    for (int i = 0; i < count; i++) {
        struct filler *filler = &burst->fillers[i];
        size_t size = sizes[(size_t)i % different], used = (size == 0 ? default_size() : size) - 64 * KIB;
        *filler = (struct filler){.event = burst->event, .ready = &burst->ready, .size = size};
        filler->step = 4 * KIB;
        filler->used = used < max_used ? used : max_used;
        filler->mark = (unsigned char)(i + 1);
        CHECK((filler->thread = threading_thread_new(fill_stack, filler)) != NULL);
        CHECK_STATUS(threading_thread_set_stack_size(filler->thread, size), THREADING_OK);
        CHECK_STATUS(threading_thread_start(filler->thread), THREADING_OK);
    }
    wait_until(all_ready, burst);
}

static void end_burst(struct burst *burst)
{
    CHECK_STATUS(threading_event_set(burst->event), THREADING_OK);
    for (int i = 0; i < burst->count; i++)
        join(burst->fillers[i].thread);
    CHECK_STATUS(threading_event_free(burst->event), THREADING_OK);
}

static struct burst first, second;

static void stacks_are_reused(void)
{
    const size_t sizes[] = {0, 2 * MIB, MIB, 256 * KIB, MIB + 12 * KIB, 3 * MIB + 1};
    for (size_t round = 0; round < (size_t)test_many(12); round++) {
        /* Two bursts that overlap: one with some of the sizes, one with all. */
        begin_burst(&first, 30, sizes + round % 4, 1 + round % 3, 4 * MIB);
        begin_burst(&second, 18, sizes, TEST_COUNT(sizes), 4 * MIB);
        end_burst(&first);
        begin_burst(&first, 12, sizes, TEST_COUNT(sizes), 4 * MIB);
        end_burst(&second);
        end_burst(&first);
    }
}

/* ------------------------------------------------------------------------------------------- the guard page */

#if defined(__linux__)
static struct {
    char *stack; /* the lowest address */
    void *(*volatile deeper)(void *);
    char signal_stack[64 * 1024];
} overflow;

/* The fault must be in the guard page directly below the stack. */
static void on_overflow(int number, siginfo_t *info, void *context)
{
    const char *address = info->si_addr;
    (void)context;
    _exit(number == SIGSEGV && address < overflow.stack && address >= overflow.stack - 4096 ? 0 : 3);
}

static void *recurse(void *arg)
{
    volatile char frame[512];
    void *result;
    frame[0] = 1;
    result = overflow.deeper(arg);
    return frame[0] ? result : NULL;
}

static void *overflow_stack(void *arg)
{
    stack_t stack = {.ss_sp = overflow.signal_stack, .ss_size = sizeof overflow.signal_stack};
    struct sigaction action = {.sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    pthread_attr_t attributes;
    void *base;
    size_t size;
    CHECK_INT(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT(pthread_attr_getstack(&attributes, &base, &size), 0);
    CHECK_INT(pthread_attr_destroy(&attributes), 0);
    overflow.stack = base;
    CHECK_INT(sigaltstack(&stack, NULL), 0);
    CHECK_INT(sigaction(SIGSEGV, &action, NULL), 0);
    overflow.deeper = recurse;
    return recurse(arg);
}

static void overflow_a_reused_stack(void)
{
    const size_t size = 2 * MIB;
    for (int i = 0; i < 3; i++) {
        begin_burst(&first, 4, &size, 1, size);
        end_burst(&first);
    }
    CHECK_STATUS(threading_set_stack_size(size), THREADING_OK);
    join(spawn(overflow_stack, NULL));
    _exit(2);
}
#endif

static void guard_page_below_reused_stack(void)
{
#if defined(__linux__)
    if (TEST_SANITIZED)
        SKIP("a sanitizer maps stacks of its own");
    run_in_child(overflow_a_reused_stack);
#else
    SKIP("the bounds of a stack are known on Linux only");
#endif
}

/* ------------------------------------------------------------------------------------------ cached stacks */

static void memory_is_returned(void)
{
    const size_t size = MIB, used = 256 * KIB;
    size_t addresses, resident, addresses_then, resident_then;
    if (!may_start_threads(MAX_FILLERS))
        SKIP("the process may not start 240 threads");
    begin_burst(&first, 1, &size, 1, used);
    end_burst(&first);
    if (TEST_SANITIZED || !process_size(&addresses, &resident))
        SKIP("the system does not report the process size");
    for (int round = 0; round < 3; round++) {
        begin_burst(&first, MAX_FILLERS, &size, 1, used);
        CHECK(process_size(&addresses_then, &resident_then));
        CHECK_AT_LEAST((double)resident_then, (double)(resident + MAX_FILLERS * used * 9 / 10));
        end_burst(&first);
        /* At most 128 stacks are cached, of which one may keep all its resident memory. */
        CHECK(process_size(&addresses_then, &resident_then));
        CHECK_AT_LEAST((double)(resident + used + 128 * 24 * KIB + 2 * MIB), (double)resident_then);
        CHECK_AT_LEAST((double)(addresses + 128 * (size + 64 * KIB) + 2 * MIB), (double)addresses_then);
    }
}

static void start_large_in_limited_address_space(void)
{
    const size_t size = 4 * MIB, large = 128 * MIB;
    size_t addresses, resident;
    struct rlimit limit;
    begin_burst(&first, 60, &size, 1, 64 * KIB);
    end_burst(&first);
    CHECK_INT(getrlimit(RLIMIT_AS, &limit), 0);
    if (!process_size(&addresses, &resident))
        return;
    limit.rlim_cur = addresses + 32 * MIB;
    CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0);
    begin_burst(&first, 1, &large, 1, 64 * KIB);
    end_burst(&first);
}

static void cached_stacks_are_unmapped_for_large(void)
{
    if (!CACHES_STACKS)
        SKIP("libc allocates the stacks, or a sanitizer needs more address space");
    run_in_child(start_large_in_limited_address_space);
}

/* --------------------------------------------------------------------------------------------------- fork */

static const size_t fork_size = 2 * 1024 * 1024;
enum { FORK_FILLERS = 60 };

/* In a child whose parent has as many threads: the child reuses the stacks of the parent's threads. */
static void fill_in_child(void)
{
    size_t addresses = 0, addresses_then = 0, resident = 0;
    bool known = process_size(&addresses, &resident);
    for (int round = 0; round < 3; round++) {
        begin_burst(&second, FORK_FILLERS, &fork_size, 1, 64 * KIB);
        if (known && CACHES_STACKS) {
            CHECK(process_size(&addresses_then, &resident));
            CHECK_AT_LEAST((double)(addresses + FORK_FILLERS / 2 * fork_size), (double)addresses_then);
        }
        end_burst(&second);
    }
}

static void fork_again(void)
{
    fill_in_child();
    run_in_child(fill_in_child);
    fill_in_child();
}

enum { FORKER_BYTES = 64 * 1024 };
static volatile unsigned char *forker_bytes;

static void check_forker_bytes(void)
{
    for (int i = 0; i < FORKER_BYTES; i++)
        CHECK_INT(forker_bytes[i], i % 251);
}

static void fork_again_and_check(void)
{
    fork_again();
    check_forker_bytes();
}

/* Forks in a thread: no thread of the child may get the forking thread's stack. */
static void *fork_and_check(void *arg)
{
    volatile unsigned char bytes[FORKER_BYTES];
    forker_bytes = bytes;
    for (int i = 0; i < FORKER_BYTES; i++)
        bytes[i] = (unsigned char)(i % 251);
    run_in_child(fork_again_and_check);
    check_forker_bytes();
    return arg;
}

static void fork_with_stack_in_use(void)
{
    CHECK_STATUS(threading_set_stack_size(fork_size), THREADING_OK);
    join(spawn(fork_and_check, NULL));
    CHECK_STATUS(threading_set_stack_size(0), THREADING_OK);
}

static void stacks_are_reused_in_child(void)
{
    SKIP_FORK_IF_PORTABLE();
    begin_burst(&first, FORK_FILLERS, &fork_size, 1, MIB);
    run_in_child(fork_again);
    fork_with_stack_in_use();
    run_in_child(fork_with_stack_in_use);
    end_burst(&first);
}

static const struct test_case cases[] = {
    {"each thread has its own stack of at least the requested size, also if the stack is reused", stacks_are_reused},
    {"a reused stack has a guard page below it", guard_page_below_reused_stack},
    {"after many threads have exited, most memory of their stacks is returned to the system", memory_is_returned},
    {"cached stacks are unmapped if a new stack needs their address space", cached_stacks_are_unmapped_for_large},
    {"a child of fork reuses the stacks of the parent's threads, except the forking thread's",
     stacks_are_reused_in_child},
};

int main(int argc, char **argv)
{
#if defined(__GLIBC__)
    /* One arena for all threads: each further one would add 64 MiB to the address space. */
    (void)mallopt(M_ARENA_MAX, 1);
#endif
    return test_run(argc, argv, cases, TEST_COUNT(cases));
}

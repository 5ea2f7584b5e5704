/*
 * The interfaces of the race detectors. annotate.rs decides what is reported, and when.
 *
 * ThreadSanitizer is linked into the program: its interface consists of weak functions, which are NULL if it is absent.
 * Helgrind and DRD run the program on a virtual CPU, for which an instruction sequence without effect is a client
 * request. The sequence and the request numbers are part of Valgrind's stable ABI. They are repeated here, since
 * Valgrind's headers are not installed on every machine.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))
#if defined(__linux__) && !defined(__GLIBC__) /* musl cannot load libraries with initial-exec variables by dlopen(). */
#define TLS_MODEL
#else
#define TLS_MODEL __attribute__((tls_model("initial-exec")))
#endif

/* The tools found by threading_annotate_detect_tools, as bits. */
enum { THREAD_SANITIZER = 1, HELGRIND = 2, DRD = 4 };

HIDDEN unsigned threading_annotate_detect_tools(void);
HIDDEN void threading_annotate_happens_before(void *address);
HIDDEN void threading_annotate_happens_after(void *address);
HIDDEN void threading_annotate_mark_untracked(void *start, size_t bytes);
HIDDEN void threading_annotate_register_root_region(void *start, size_t bytes);
HIDDEN unsigned threading_annotate_ignore_begin(void);
HIDDEN void threading_annotate_ignore_end(unsigned was_ignoring);
HIDDEN unsigned threading_annotate_observe_begin(void);
HIDDEN void threading_annotate_observe_end(unsigned was_ignoring);
HIDDEN void threading_annotate_deliver_signals(void);
HIDDEN void threading_annotate_thread_finished(void);
HIDDEN uint32_t threading_annotate_thread_id(void);
HIDDEN void threading_annotate_mutex_created(void *lock);
HIDDEN void threading_annotate_mutex_destroyed(void *lock);
HIDDEN void threading_annotate_mutex_pre_lock(void *lock);
HIDDEN void threading_annotate_mutex_post_lock(void *lock, int is_blocking);
HIDDEN void threading_annotate_mutex_unlock(void *lock);

static unsigned tools;

#if defined(__linux__)
/* The bounds of the section of the library's statics, defined by the linker. Hidden, so that they are not exported. */
extern HIDDEN char __start_threading_untracked[], __stop_threading_untracked[];
#endif

/* ------------------------------------------------------------------------------------------ Valgrind */

enum {
    TOOL_HG = 'H' << 24 | 'G' << 16,
    TOOL_DR = 'D' << 24 | 'R' << 16,
    HAPPENS_BEFORE = TOOL_HG + 256 + 33, /* address; Helgrind and DRD */
    HAPPENS_AFTER = TOOL_HG + 256 + 34,  /* address; Helgrind and DRD */
    HG_MAKE_UNTRACKED = TOOL_HG + 256 + 39, /* start, size */
    HG_GET_ABITS = TOOL_HG + 256 + 46,      /* address, buffer, size; only Helgrind returns a nonzero result */
    DR_GET_THREAD_ID = TOOL_DR,             /* only DRD returns a nonzero result */
    DR_START_SUPPRESSION = TOOL_DR + 2      /* start, size */
};

/* Issues a client request. Returns the tool's result, or `otherwise` if no tool handles the request. */
static uintptr_t request(uintptr_t otherwise, uintptr_t number, uintptr_t a, uintptr_t b, uintptr_t c)
{
    uintptr_t result = otherwise;
    volatile uintptr_t arguments[6] = {number, a, b, c, 0, 0};
#if defined(__linux__) && defined(__x86_64__) && !defined(__ILP32__)
    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx"
                     : "+d"(result)
                     : "a"(arguments)
                     : "cc", "memory");
#elif defined(__linux__) && defined(__aarch64__)
    register uintptr_t x3 __asm__("x3") = result;
    register volatile uintptr_t *x4 __asm__("x4") = arguments;
    __asm__ volatile("ror x12, x12, #3; ror x12, x12, #13; ror x12, x12, #51; ror x12, x12, #61; "
                     "orr x10, x10, x10"
                     : "+r"(x3)
                     : "r"(x4)
                     : "cc", "memory");
    result = x3;
#else
    (void)arguments;
#endif
    return result;
}

/* ------------------------------------------------------------------------------------------- ThreadSanitizer */

#if defined(__ELF__)
#define WEAK(name) __attribute__((weak)) name
extern void WEAK(__tsan_acquire)(void *address);
extern void WEAK(__tsan_release)(void *address);
extern void WEAK(__tsan_mutex_create)(void *mutex, unsigned flags);
extern void WEAK(__tsan_mutex_destroy)(void *mutex, unsigned flags);
extern void WEAK(__tsan_mutex_pre_lock)(void *mutex, unsigned flags);
extern void WEAK(__tsan_mutex_post_lock)(void *mutex, unsigned flags, int recursion);
extern int WEAK(__tsan_mutex_pre_unlock)(void *mutex, unsigned flags);
extern void WEAK(__tsan_mutex_post_unlock)(void *mutex, unsigned flags);
extern void WEAK(__lsan_register_root_region)(const void *start, size_t bytes);
#else
static void (*const __lsan_register_root_region)(const void *, size_t);
static void (*const __tsan_acquire)(void *), (*const __tsan_release)(void *);
static void (*const __tsan_mutex_create)(void *, unsigned), (*const __tsan_mutex_destroy)(void *, unsigned);
static void (*const __tsan_mutex_pre_lock)(void *, unsigned);
static void (*const __tsan_mutex_post_lock)(void *, unsigned, int);
static int (*const __tsan_mutex_pre_unlock)(void *, unsigned);
static void (*const __tsan_mutex_post_unlock)(void *, unsigned);
#endif

enum { READ_LOCK = 1 << 3, TRY_LOCK = 1 << 4, TRY_LOCK_FAILED = 1 << 5, NOT_STATIC = 1 << 8 };

/* Nonzero while ThreadSanitizer ignores the accesses of the calling thread, which runs code of the library. */
static TLS_MODEL _Thread_local unsigned ignoring;

/* ThreadSanitizer has released its state of the calling thread, which must not call its functions any more. */
static TLS_MODEL _Thread_local _Bool finished;

static _Bool has_tsan(void)
{
    return (tools & THREAD_SANITIZER) && !finished;
}

/*
 * Ignoring accesses by a failed try-lock. Between __tsan_mutex_pre_lock and __tsan_mutex_post_lock, ThreadSanitizer
 * ignores the calling thread's accesses, which it takes for the implementation of the mutex. So the library reports at
 * the beginning of a call that it tries to lock this mutex, and at the end of the call that this has failed. The mutex
 * has no other use.
 */
static char ignore_mutex;

/* ------------------------------------------------------------------------------------------- all tools */

unsigned threading_annotate_detect_tools(void)
{
    unsigned found = 0;
    char byte = 0;
    if (__tsan_acquire != NULL && __tsan_release != NULL && __tsan_mutex_create != NULL &&
        __tsan_mutex_destroy != NULL && __tsan_mutex_pre_lock != NULL && __tsan_mutex_post_lock != NULL &&
        __tsan_mutex_pre_unlock != NULL && __tsan_mutex_post_unlock != NULL)
        found |= THREAD_SANITIZER;
    if (request(0, HG_GET_ABITS, (uintptr_t)&byte, 0, 1) != 0)
        found |= HELGRIND;
    if (request(0, DR_GET_THREAD_ID, 0, 0, 0) != 0)
        found |= DRD;
    tools = found;
#if defined(__linux__)
    threading_annotate_mark_untracked(__start_threading_untracked,
                                      (size_t)(__stop_threading_untracked - __start_threading_untracked));
#endif
    return found;
}

void threading_annotate_happens_before(void *address)
{
    if (tools & (HELGRIND | DRD))
        request(0, HAPPENS_BEFORE, (uintptr_t)address, 0, 0);
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        __tsan_release(address);
        threading_annotate_observe_end(was_ignoring);
    }
}

void threading_annotate_happens_after(void *address)
{
    if (tools & (HELGRIND | DRD))
        request(0, HAPPENS_AFTER, (uintptr_t)address, 0, 0);
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        __tsan_acquire(address);
        threading_annotate_observe_end(was_ignoring);
    }
}

void threading_annotate_mark_untracked(void *start, size_t bytes)
{
    if (tools & HELGRIND)
        request(0, HG_MAKE_UNTRACKED, (uintptr_t)start, bytes, 0);
    if (tools & DRD)
        request(0, DR_START_SUPPRESSION, (uintptr_t)start, bytes, 0);
}

/* LeakSanitizer searches the heap for pointers, but not memory from mmap(), unless it is registered. */
void threading_annotate_register_root_region(void *start, size_t bytes)
{
    if (__lsan_register_root_region != NULL)
        __lsan_register_root_region(start, bytes);
}

/* ------------------------------------------------------------------------------------ ThreadSanitizer only */

/* ThreadSanitizer defers signal handlers until the thread next calls a function that it intercepts. This calls one,
 * through a volatile pointer, so that the compiler does not evaluate it. */
static void call_interceptor(void)
{
    static size_t (*const volatile intercepted)(const char *) = strlen;
    intercepted("");
}

void threading_annotate_deliver_signals(void)
{
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        call_interceptor();
        threading_annotate_observe_end(was_ignoring);
    }
}

void threading_annotate_thread_finished(void)
{
    threading_annotate_observe_begin();
    finished = 1;
}

/* Returns the previous state. If a signal handler calls the library during a call, `ignoring` is set, but ThreadSanitizer
 * observes the handler, so that the inner call begins to ignore accesses in any case. */
unsigned threading_annotate_ignore_begin(void)
{
    unsigned was_ignoring = ignoring;
    ignoring = 0;
    threading_annotate_observe_end(1);
    return was_ignoring;
}

void threading_annotate_ignore_end(unsigned was_ignoring)
{
    /* No effect if accesses are observed already: in a child of fork, or after pthread_exit() has left a callback. */
    threading_annotate_observe_begin();
    if (has_tsan())
        call_interceptor();
    ignoring = was_ignoring;
}

unsigned threading_annotate_observe_begin(void)
{
    unsigned was_ignoring = ignoring;
    if (ignoring && has_tsan())
        __tsan_mutex_post_lock(&ignore_mutex, TRY_LOCK | TRY_LOCK_FAILED, 0);
    ignoring = 0;
    return was_ignoring;
}

void threading_annotate_observe_end(unsigned was_ignoring)
{
    if (was_ignoring && has_tsan()) {
        __tsan_mutex_pre_lock(&ignore_mutex, TRY_LOCK);
        ignoring = 1;
    }
}

uint32_t threading_annotate_thread_id(void)
{
    static _Atomic uint32_t last;
    static TLS_MODEL _Thread_local uint32_t id;
    while (id == 0)
        id = ++last;
    return id;
}

/*
 * Locks are reported as locked for reading: ThreadSanitizer permits any thread to unlock and destroy such locks, as the
 * library does, and still checks the order in which they are taken. The happens-before relation is reported separately.
 */

void threading_annotate_mutex_created(void *lock)
{
    if (has_tsan())
        __tsan_mutex_create(lock, NOT_STATIC);
}

void threading_annotate_mutex_destroyed(void *lock)
{
    if (has_tsan())
        __tsan_mutex_destroy(lock, 0);
}

void threading_annotate_mutex_pre_lock(void *lock)
{
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        __tsan_mutex_pre_lock(lock, READ_LOCK);
        __tsan_mutex_post_lock(lock, READ_LOCK | TRY_LOCK_FAILED, 0);
        threading_annotate_observe_end(was_ignoring);
    }
}

void threading_annotate_mutex_post_lock(void *lock, int is_blocking)
{
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        unsigned flags = READ_LOCK | (is_blocking ? 0 : TRY_LOCK);
        __tsan_mutex_pre_lock(lock, flags);
        __tsan_mutex_post_lock(lock, flags, 1);
        threading_annotate_observe_end(was_ignoring);
    }
}

void threading_annotate_mutex_unlock(void *lock)
{
    if (has_tsan()) {
        unsigned was_ignoring = threading_annotate_observe_begin();
        __tsan_mutex_pre_unlock(lock, READ_LOCK);
        __tsan_mutex_post_unlock(lock, READ_LOCK);
        threading_annotate_observe_end(was_ignoring);
    }
}

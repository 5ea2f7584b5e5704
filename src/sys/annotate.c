/*
 * How the race detectors are spoken to (what they are told, and when: detector.rs).
 *
 * ThreadSanitizer is part of the program, if it is there: its interface consists of functions, which are NULL
 * otherwise. Helgrind and DRD run the program on a machine of their own, on which an instruction sequence
 * without effect is a request. The numbers and the sequence are Valgrind's ABI, which its headers document and
 * does not change; written out, since those headers are not on every machine.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* Bits of what threading_annotate_detect_tools returns: tools. */
enum { THREAD_SANITIZER = 1, HELGRIND = 2, DRD = 4 };

HIDDEN unsigned threading_annotate_detect_tools(void);
HIDDEN void threading_annotate_happens_before(void *address);
HIDDEN void threading_annotate_happens_after(void *address);
HIDDEN void threading_annotate_mark_untracked(void *start, size_t bytes);
HIDDEN void threading_annotate_register_root_region(void *start, size_t bytes);
HIDDEN unsigned threading_annotate_ignore_begin(void);
HIDDEN void threading_annotate_ignore_end(unsigned outside);
HIDDEN unsigned threading_annotate_observe_begin(void);
HIDDEN void threading_annotate_observe_end(unsigned was_hidden);
HIDDEN void threading_annotate_deliver_signals(void);
HIDDEN void threading_annotate_thread_finished(void);
HIDDEN uint32_t threading_annotate_thread_id(void);
HIDDEN void threading_annotate_mutex_created(void *lock);
HIDDEN void threading_annotate_mutex_destroyed(void *lock);
HIDDEN void threading_annotate_mutex_pre_lock(void *lock);
HIDDEN void threading_annotate_mutex_post_lock(void *lock, int waited);
HIDDEN void threading_annotate_mutex_unlock(void *lock);

static unsigned tools;

#if defined(__linux__)
/* Where the linker puts the library's statics, which are marked for that. Hidden: they are no exports. */
extern HIDDEN char __start_threading_untracked[], __stop_threading_untracked[];
#endif

/* ------------------------------------------------------------------------------------------ Valgrind */

enum {
    TOOL_HG = 'H' << 24 | 'G' << 16,
    TOOL_DR = 'D' << 24 | 'R' << 16,
    HAPPENS_BEFORE = TOOL_HG + 256 + 33, /* address; of both tools */
    HAPPENS_AFTER = TOOL_HG + 256 + 34,  /* address; of both tools */
    HG_MAKE_UNTRACKED = TOOL_HG + 256 + 39, /* start, size */
    HG_GET_ABITS = TOOL_HG + 256 + 46,      /* address, where to, size; only Helgrind has an answer */
    DR_GET_THREAD_ID = TOOL_DR,             /* only DRD has an answer */
    DR_START_SUPPRESSION = TOOL_DR + 2      /* start, size */
};

/* The answer; `otherwise` where nobody answers. */
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

/* The thread is in a call of the library, whose accesses are its own. */
static __attribute__((tls_model("initial-exec"))) _Thread_local unsigned hidden;

/* ThreadSanitizer has taken its leave of the thread, which must not call it any more. */
static __attribute__((tls_model("initial-exec"))) _Thread_local _Bool retired;

static _Bool has_tsan(void)
{
    return (tools & THREAD_SANITIZER) && !retired;
}

/* Stands for the library, where ThreadSanitizer wants a lock. What a lock does until it has been taken, it takes for
 * the lock's own: here, for one that is tried and not taken. */
static char library;

/* ------------------------------------------------------------------------------------------------------ both */

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
    threading_annotate_mark_untracked(__start_threading_untracked, (size_t)(__stop_threading_untracked - __start_threading_untracked));
#endif
    return found;
}

void threading_annotate_happens_before(void *address)
{
    if (tools & (HELGRIND | DRD))
        request(0, HAPPENS_BEFORE, (uintptr_t)address, 0, 0);
    if (has_tsan()) {
        unsigned was_hidden = threading_annotate_observe_begin();
        __tsan_release(address);
        threading_annotate_observe_end(was_hidden);
    }
}

void threading_annotate_happens_after(void *address)
{
    if (tools & (HELGRIND | DRD))
        request(0, HAPPENS_AFTER, (uintptr_t)address, 0, 0);
    if (has_tsan()) {
        unsigned was_hidden = threading_annotate_observe_begin();
        __tsan_acquire(address);
        threading_annotate_observe_end(was_hidden);
    }
}

void threading_annotate_mark_untracked(void *start, size_t bytes)
{
    if (tools & HELGRIND)
        request(0, HG_MAKE_UNTRACKED, (uintptr_t)start, bytes, 0);
    if (tools & DRD)
        request(0, DR_START_SUPPRESSION, (uintptr_t)start, bytes, 0);
}

/* For LeakSanitizer, which looks for pointers in what comes from the heap, but not in what was mapped. */
void threading_annotate_register_root_region(void *start, size_t bytes)
{
    if (__lsan_register_root_region != NULL)
        __lsan_register_root_region(start, bytes);
}

/* ------------------------------------------------------------------------------- for ThreadSanitizer alone */

/* ThreadSanitizer runs a signal's handler when the thread next passes one of the functions of libc that it stands
 * before: here, as with each function of pthread. */
static void pass(void)
{
    static size_t (*const volatile one_of_them)(const char *) = strlen;
    one_of_them("");
}

void threading_annotate_deliver_signals(void)
{
    if (has_tsan()) {
        unsigned was_hidden = threading_annotate_observe_begin();
        pass();
        threading_annotate_observe_end(was_hidden);
    }
}

void threading_annotate_thread_finished(void)
{
    threading_annotate_observe_begin();
    retired = 1;
}

/* The handler of a signal that comes in the midst of a call is not within it, for ThreadSanitizer. */
unsigned threading_annotate_ignore_begin(void)
{
    unsigned outside = hidden;
    hidden = 0;
    threading_annotate_observe_end(1);
    return outside;
}

void threading_annotate_ignore_end(unsigned outside)
{
    /* A child of fork, or a thread that was left by pthread_exit on the way, has left already. */
    threading_annotate_observe_begin();
    if (has_tsan())
        pass();
    hidden = outside;
}

unsigned threading_annotate_observe_begin(void)
{
    unsigned was_hidden = hidden;
    if (hidden && has_tsan())
        __tsan_mutex_post_lock(&library, TRY_LOCK | TRY_LOCK_FAILED, 0);
    hidden = 0;
    return was_hidden;
}

void threading_annotate_observe_end(unsigned was_hidden)
{
    if (was_hidden && has_tsan()) {
        __tsan_mutex_pre_lock(&library, TRY_LOCK);
        hidden = 1;
    }
}

uint32_t threading_annotate_thread_id(void)
{
    static _Atomic uint32_t last;
    static __attribute__((tls_model("initial-exec"))) _Thread_local uint32_t number;
    while (number == 0)
        number = ++last;
    return number;
}

/*
 * Locks. They are announced as locks for reading: these ThreadSanitizer lets anybody give back and destroy, as
 * the library does, and looks at their order all the same. What happens before what is announced apart from that.
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
        unsigned was_hidden = threading_annotate_observe_begin();
        __tsan_mutex_pre_lock(lock, READ_LOCK);
        __tsan_mutex_post_lock(lock, READ_LOCK | TRY_LOCK_FAILED, 0);
        threading_annotate_observe_end(was_hidden);
    }
}

void threading_annotate_mutex_post_lock(void *lock, int waited)
{
    if (has_tsan()) {
        unsigned was_hidden = threading_annotate_observe_begin();
        unsigned flags = READ_LOCK | (waited ? 0 : TRY_LOCK);
        __tsan_mutex_pre_lock(lock, flags);
        __tsan_mutex_post_lock(lock, flags, 1);
        threading_annotate_observe_end(was_hidden);
    }
}

void threading_annotate_mutex_unlock(void *lock)
{
    if (has_tsan()) {
        unsigned was_hidden = threading_annotate_observe_begin();
        __tsan_mutex_pre_unlock(lock, READ_LOCK);
        __tsan_mutex_post_unlock(lock, READ_LOCK);
        threading_annotate_observe_end(was_hidden);
    }
}

/* A call that stops after some instructions, and goes on when another thread has freed its object and used the memory
 * for objects of another kind. Only where a signal handler can clear the trap flag of its thread. */
#ifndef STEPWISE_H
#define STEPWISE_H

#include "test.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sched.h>
#include <ucontext.h>

#define STEPWISE 1

static struct {
    int steps;
    double patience; /* for how long the call stops, in seconds */
    enum { RUNS, IS_STOPPED, MAY_GO_ON, HAS_ENDED } _Atomic state;
} stepped = {.patience = 0.1};

/* The number of objects that fill so many blocks that the library returns those that are free. */
enum { STEPWISE_OBJECTS = 130000 };

static inline void set_trap_flag(bool on)
{
    if (on)
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    else
        __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void after_instruction(int signum, siginfo_t *info, void *context)
{
    double start = now();
    (void)signum, (void)info;
    if (--stepped.steps != 0)
        return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
    atomic_store(&stepped.state, IS_STOPPED);
    /* The other thread may need a mutex that this one holds. */
    while (atomic_load(&stepped.state) == IS_STOPPED && now() - start < stepped.patience)
        sched_yield();
}

/* Starts a thread with this function, which begins and ends the stepwise call, and waits until the call has stopped
 * after this many instructions. */
static inline threading_thread *start_stepwise(int steps, void *(*call)(void *), void *arg)
{
    threading_thread *thread;
    stepped.steps = steps;
    atomic_store(&stepped.state, RUNS);
    thread = spawn(call, arg);
    while (atomic_load(&stepped.state) == RUNS)
        sched_yield();
    return thread;
}

static inline bool is_stopped(void)
{
    return atomic_load(&stepped.state) == IS_STOPPED;
}

static inline void begin_stepwise(void)
{
    set_trap_flag(true);
}

static inline void end_stepwise(void)
{
    set_trap_flag(false);
    if (stepped.steps > 0)
        atomic_store(&stepped.state, HAS_ENDED);
}

/* Lets the call go on, and waits for its thread. */
static inline void finish_stepwise(threading_thread *thread)
{
    atomic_store(&stepped.state, MAY_GO_ON);
    join(thread);
}

/* Whether two handles lead to the same memory. */
static inline bool is_same_memory(const void *one, const void *other)
{
    return (((uintptr_t)one ^ (uintptr_t)other) & ((UINT64_C(1) << 48) - 128)) == 0;
}

/* Stops the call after more and more instructions, until it has ended before. */
static inline void stop_after_each(bool (*stop_after)(int steps), int stride)
{
    struct sigaction handler = {.sa_sigaction = after_instruction, .sa_flags = SA_SIGINFO}, former;
    CHECK_INT(sigaction(SIGTRAP, &handler, &former), 0);
    for (int steps = 1; stop_after(steps); steps += stride * test_slowness())
        ;
    CHECK_INT(sigaction(SIGTRAP, &former, NULL), 0);
}
#endif

#endif

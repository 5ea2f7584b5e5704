/* A call that is interrupted after some instructions: only where a signal handler can clear the trap flag of its thread
 * (STEPWISE). As a rule, the call stops there, and goes on when another thread has freed its object and used the memory
 * for objects of another kind. */
#ifndef STEPWISE_H
#define STEPWISE_H

#include "test.h"

#if defined(__x86_64__) && defined(__linux__)
#include <limits.h>
#include <sched.h>
#include <ucontext.h>

#define STEPWISE 1

static void stop_for_another_thread(void);

static struct {
    int steps, executed;
    void (*interrupt)(void); /* called in a signal handler after these steps */
    double patience;         /* for how long the call stops, in seconds */
    int steps_to_park;       /* the number of instructions before the call first parks, 0 if it has not done so */
    bool interrupts_park;    /* the call is interrupted before it parks, if that comes first */
    enum { RUNS, IS_STOPPED, MAY_GO_ON, HAS_ENDED } _Atomic state;
} stepped = {.interrupt = stop_for_another_thread, .patience = 0.1};

/* The number of objects that fill so many blocks that the library returns those that are free. */
enum { STEPWISE_OBJECTS = 130000 };

static inline void set_trap_flag(bool on)
{
    if (on)
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    else
        __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void stop_for_another_thread(void)
{
    double start = now();
    atomic_store(&stepped.state, IS_STOPPED);
    /* The other thread may need a mutex that this one holds. */
    while (atomic_load(&stepped.state) == IS_STOPPED && now() - start < stepped.patience)
        sched_yield();
}

/* Whether the next instruction is the system call by which a thread parks. */
static bool is_about_to_park(const greg_t *registers)
{
    static const unsigned char syscall_instruction[] = {0x0f, 0x05};
    const void *next = (const void *)registers[REG_RIP];
    return registers[REG_RAX] == SYS_futex && memcmp(next, syscall_instruction, sizeof syscall_instruction) == 0;
}

static void after_instruction(int signum, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signum, (void)info;
    stepped.executed++;
    stepped.steps--;
    if (stepped.steps_to_park == 0 && is_about_to_park(registers)) {
        stepped.steps_to_park = stepped.executed;
        if (stepped.interrupts_park)
            stepped.steps = 0;
    }
    if (stepped.steps != 0)
        return;
    registers[REG_EFL] &= ~0x100;
    stepped.interrupt();
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
    stepped.executed = stepped.steps_to_park = 0;
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

/* Interrupts the call after `first` instructions, and then after `stride` more each time, up to `last`, until the call
 * ends before. On slow machines, and with TEST_FEWER, the stride is longer. */
static inline void interrupt_after_steps(bool (*interrupt_after)(int steps), int first, int last, int stride)
{
    struct sigaction handler = {.sa_sigaction = after_instruction, .sa_flags = SA_SIGINFO}, former;
    CHECK_INT(sigaction(SIGTRAP, &handler, &former), 0);
    for (int steps = first; steps <= last && interrupt_after(steps); steps += stride * test_slowness() * test_fewer())
        ;
    CHECK_INT(sigaction(SIGTRAP, &former, NULL), 0);
}

static inline void interrupt_after_each(bool (*interrupt_after)(int steps), int stride)
{
    interrupt_after_steps(interrupt_after, 1, INT_MAX - 1000, stride);
}

/* A call that ends a wait, such as the set of an event, and objects of another kind for the memory of its object. */
struct waking_call {
    void *(*new)(void);
    threading_status (*wait)(void *object);
    threading_status (*wake)(void *object);
    threading_status (*free)(void *object);
    void *(*new_other)(void);
    void (*check_and_free_other)(void *other);
};

static const struct waking_call *waking_call;

static inline void *wake_stepwise(void *object)
{
    threading_status status;
    begin_stepwise();
    status = waking_call->wake(object);
    end_stepwise();
    CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
    return NULL;
}

/* Stops the call after this many instructions. Meanwhile, another call ends the wait, and the memory of the freed object
 * is used for objects of another kind. */
static inline bool free_during_waking_call(int steps)
{
    static void *objects[STEPWISE_OBJECTS], *others[STEPWISE_OBJECTS];
    void *object;
    threading_thread *thread;
    struct call waiter;
    bool has_stopped, is_woken;
    int count = 0;
    for (int i = 0; i < STEPWISE_OBJECTS; i++) {
        objects[i] = waking_call->new();
        CHECK(objects[i] != NULL);
    }
    object = objects[STEPWISE_OBJECTS / 3];
    call_blocked(&waiter, waking_call->wait, object);
    thread = start_stepwise(steps, wake_stepwise, object);
    has_stopped = is_stopped();
    CHECK_STATUS(waking_call->wake(object), THREADING_OK);
    for (double end = now() + 0.02; !atomic_load(&waiter.returned) && now() < end;)
        sched_yield();
    /* If the call that has stopped is about to wake the waiter, the object cannot be freed before. */
    is_woken = atomic_load(&waiter.returned);
    if (!is_woken)
        finish_stepwise(thread);
    CHECK_CALL(&waiter, THREADING_OK);
    for (int i = 0; i < STEPWISE_OBJECTS; i++)
        CHECK_STATUS(waking_call->free(objects[i]), THREADING_OK);
    if (!is_woken)
        return has_stopped;
    do {
        others[count] = waking_call->new_other();
    } while (!is_same_memory(others[count++], object) && count < STEPWISE_OBJECTS);
    finish_stepwise(thread);
    for (int i = 0; i < count; i++)
        waking_call->check_and_free_other(others[i]);
    return has_stopped;
}

static inline void check_freed_during_waking_call(const struct waking_call *call)
{
    waking_call = call;
    interrupt_after_each(free_during_waking_call, 5);
}
#endif

#endif

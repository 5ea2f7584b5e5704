/* Timer: the state in which each function begins, whatever thread started it and whatever functions before it have
 * changed: signal mask, scheduling, CPUs, floating point, locale, cancellation, name. */
#include "child.h"

#include <errno.h>
#include <fenv.h>
#include <grp.h>
#include <locale.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void *join_timer(threading_timer *timer)
{
    threading_thread *thread = threading_timer_thread(timer);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    void *result = threading_thread_result(thread);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    return result;
}

/* ----------------------------------------------------------------------------------------------- the state */

/* That of the main thread when the library was loaded: before main, so that it is the one with which main begins. */
static struct state {
    sigset_t mask;
    cpu_set_t cpus;
    int policy, priority, nice;
} found;

static pid_t native_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static void read_state(struct state *state)
{
    struct sched_param parameters;
    memset(state, 0, sizeof *state);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &state->mask), 0);
    CHECK_INT(sched_getaffinity(0, sizeof state->cpus, &state->cpus), 0);
    CHECK_INT(pthread_getschedparam(pthread_self(), &state->policy, &parameters), 0);
    state->priority = parameters.sched_priority;
    state->nice = getpriority(PRIO_PROCESS, (id_t)native_id());
}

static void *check_state(void *arg)
{
    struct state state;
    char name[16];
    int rounding = fegetround(), exceptions = fetestexcept(FE_ALL_EXCEPT), error = errno, former;
    stack_t stack;
    read_state(&state);
    CHECK_INT(error, 0);
    for (int signal = 1; signal < NSIG; signal++)
        CHECK_INT(sigismember(&state.mask, signal), sigismember(&found.mask, signal));
    CHECK(CPU_EQUAL(&state.cpus, &found.cpus));
    CHECK_INT(state.policy, found.policy);
    CHECK_INT(state.priority, found.priority);
    CHECK_INT(state.nice, found.nice);
    CHECK_INT(rounding, FE_TONEAREST);
    CHECK_INT(exceptions, 0);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    CHECK_INT(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &former), 0);
    CHECK_INT(former, PTHREAD_CANCEL_ENABLE);
    CHECK_INT(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &former), 0);
    CHECK_INT(former, PTHREAD_CANCEL_DEFERRED);
    CHECK_INT(prctl(PR_GET_NAME, name), 0);
    CHECK_STR(name, "threading-timer");
    CHECK_INT(sigaltstack(NULL, &stack), 0);
    CHECK(test_slowness() > 1 || (stack.ss_flags & SS_DISABLE) != 0);
    return arg;
}

/* -------------------------------------------------------------------------------------------- what changes it */

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void pin(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &found.cpus))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void be_nice(void)
{
    setpriority(PRIO_PROCESS, (id_t)native_id(), found.nice + 3);
}

static void be_real_time(void)
{
    struct sched_param parameters = {.sched_priority = 1};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters); /* an ordinary user may not */
}

static void be_a_batch(void)
{
    struct sched_param parameters = {.sched_priority = 0};
    sched_setscheduler(0, SCHED_BATCH, &parameters);
}

static void round_upward(void)
{
    fesetround(FE_UPWARD);
}

static void raise_exceptions(void)
{
    feraiseexcept(FE_DIVBYZERO | FE_INEXACT);
}

static locale_t another_locale;

static void use_another_locale(void)
{
    uselocale(another_locale);
}

static void disable_cancellation(void)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
}

static void allow_cancellation_anywhere(void)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
}

static void rename_itself(void)
{
    prctl(PR_SET_NAME, "another name");
}

static void set_signal_stack(void)
{
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory, .ss_flags = 0};
    sigaltstack(&stack, NULL);
}

static void set_errno(void)
{
    errno = ENOTTY;
}

static void (*const changes[])(void) = {
    block_signals,  pin,       be_nice,          be_real_time,       be_a_batch,
    round_upward,   rename_itself, raise_exceptions, use_another_locale, disable_cancellation,
    allow_cancellation_anywhere, set_signal_stack, set_errno,
};

static void *change_all(void *arg)
{
    for (size_t i = 0; i < TEST_COUNT(changes); i++)
        changes[i]();
    return arg;
}

static void *change_one(void *change)
{
    (*(void (*const *)(void))change)();
    return change;
}

/* ------------------------------------------------------------------------------------------------- the cases */

static void *start_first_timer(void *arg)
{
    /* Not the signal stack: a sanitizer takes that which a thread has in the end for its own. */
    for (size_t i = 0; arg != NULL && i < TEST_COUNT(changes); i++)
        if (changes[i] != set_signal_stack)
            changes[i]();
    CHECK_PTR(join_timer(timer_start(0, check_state, &found)), &found);
    return arg;
}

static void first_by_an_odd_thread(void)
{
    CHECK_PTR(join_foreign(spawn_foreign(start_first_timer, &found)), &found);
    CHECK_PTR(start_first_timer(NULL), NULL);
}

static void whatever_thread_starts_the_first(void)
{
    run_in_child(first_by_an_odd_thread);
}

/* What main changes later is main's. */
static void first_by_a_main_that_changed(void)
{
    start_first_timer(&found);
}

static void whatever_main_does_later(void)
{
    run_in_child(first_by_a_main_that_changed);
}

static void one_after_the_other(void)
{
    for (int i = 0; i < test_many(20); i++) {
        CHECK_PTR(join_timer(timer_start(0, change_all, &found)), &found);
        CHECK_PTR(join_timer(timer_start(0, check_state, &found)), &found);
    }
}

/* All due at the same moment: no thread sleeps between two functions, and all that they do is in the caches. */
static void in_a_row(void)
{
    enum { PAIRS = 200 };
    static threading_timer *changing[PAIRS], *checking[PAIRS];
    int pairs = test_many(PAIRS);
    for (size_t i = 0; i < TEST_COUNT(changes); i++) {
        double due = now() + 0.05;
        for (int pair = 0; pair < pairs; pair++) {
            changing[pair] = timer_start(due - now(), change_one, (void *)&changes[i]);
            checking[pair] = timer_start(due - now(), check_state, &found);
        }
        for (int pair = 0; pair < pairs; pair++) {
            CHECK_PTR(join_timer(changing[pair]), &changes[i]);
            CHECK_PTR(join_timer(checking[pair]), &found);
        }
    }
}

static threading_local *local;

static void change_in_a_destructor(void *value)
{
    (void)value;
    change_all(NULL);
}

static void *set_local(void *arg)
{
    if (local != NULL)
        CHECK_STATUS(threading_local_set(local, &local), THREADING_OK);
    return arg;
}

static void by_a_destructor(void)
{
    for (int i = 0; i < test_many(50); i++) {
        threading_timer *timer = threading_timer_new(0, set_local, &found);
        CHECK(timer != NULL);
        CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), change_in_a_destructor),
                     THREADING_OK);
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        CHECK_PTR(join_timer(timer), &found);
        CHECK_PTR(join_timer(timer_start(0, check_state, &found)), &found);
    }
    CHECK((local = threading_local_new(change_in_a_destructor)) != NULL);
    for (int i = 0; i < test_many(50); i++) {
        CHECK_PTR(join_timer(timer_start(0, set_local, &found)), &found);
        CHECK_PTR(join_timer(timer_start(0, check_state, &found)), &found);
    }
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    local = NULL;
}

static void *change_and_wait(void *event)
{
    change_all(NULL);
    CHECK_STATUS(threading_event_wait_timeout(event, TEST_LIMIT), THREADING_OK);
    return event;
}

/* A thread that was relieved comes back with what it has changed. */
static void by_a_function_that_blocks(void)
{
    enum { BLOCKED = 5 };
    threading_timer *blocked[BLOCKED];
    for (int i = 0; i < test_many(5); i++) {
        threading_event *event = threading_event_new();
        CHECK(event != NULL);
        for (int k = 0; k < BLOCKED; k++)
            blocked[k] = timer_start(0, change_and_wait, event);
        CHECK_PTR(join_timer(timer_start(0.002, check_state, &found)), &found);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        for (int k = 0; k < BLOCKED; k++) {
            CHECK_PTR(join_timer(blocked[k]), event);
            CHECK_PTR(join_timer(timer_start(0, check_state, &found)), &found);
        }
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
    }
}

/* An ordinary user cannot take a nice value back: the thread is replaced. */
static void without_privileges(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return;
    one_after_the_other();
    in_a_row();
    by_a_function_that_blocks();
}

static void by_an_ordinary_user(void)
{
    if (fork_keeps_sleepers())
        SKIP("the portable backend does not survive a fork while threads sleep");
    run_in_child(without_privileges);
}

/* The first timer's thread is started by one that is nice, and cannot take that back; main's is another. */
static void *start_nicely(void *arg)
{
    be_nice();
    join_timer(timer_start(0, NULL, NULL));
    return arg;
}

static void nice_first_without_privileges(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return;
    CHECK_PTR(join_foreign(spawn_foreign(start_nicely, &found)), &found);
    join_timer(timer_start(0.05, check_state, &found));
    one_after_the_other();
}

static void first_by_a_nice_ordinary_user(void)
{
    if (fork_keeps_sleepers())
        SKIP("the portable backend does not survive a fork while threads sleep");
    run_in_child(nice_first_without_privileges);
}

static atomic_int begins_to_change;

static void *change_in_the_end(void *arg)
{
    if (atomic_load(&begins_to_change))
        change_all(NULL);
    else
        syscall(SYS_gettid);
    return arg;
}

/* A function that has changed nothing for so long that it is trusted. */
static void after_a_long_time(void)
{
    enum { TIMERS = 600 };
    static threading_timer *timers[TIMERS];
    for (int round = 0; round < 4; round++) {
        atomic_store(&begins_to_change, round % 2);
        double due = now() + 0.02;
        for (int i = 0; i < TIMERS; i++)
            timers[i] = timer_start(due - now(), change_in_the_end, &found);
        for (int i = 0; i < TIMERS; i++)
            CHECK_PTR(join_timer(timers[i]), &found);
        CHECK_PTR(join_timer(timer_start(0.01, check_state, &found)), &found);
    }
    in_a_row();
}

static void *be_cancelled_late(void *arg)
{
    pthread_cancel(pthread_self());
    return arg;
}

static void *be_cancelled_while_disabled(void *arg)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return be_cancelled_late(arg);
}

static void *pass_cancellation_point(void *arg)
{
    pthread_testcancel();
    sleep_for(0.001);
    return arg;
}

static void cancelled_late(void)
{
    for (int i = 0; i < test_many(50); i++) {
        threading_timer *late = timer_start(0, i % 2 ? be_cancelled_late : be_cancelled_while_disabled, &late);
        threading_timer *next = timer_start(0, pass_cancellation_point, &next);
        CHECK_PTR(join_timer(late), &late);
        CHECK_PTR(join_timer(next), &next);
    }
}

static const struct test_case cases[] = {
    {"a function begins in main's first state, whatever thread starts the first timer", whatever_thread_starts_the_first},
    {"it does so whatever main has changed since", whatever_main_does_later},
    {"what a function changes does not reach the next", one_after_the_other},
    {"it does not reach the next when both are due at the same time", in_a_row},
    {"what a destructor changes does not reach the next function", by_a_destructor},
    {"what a function that blocked changes does not reach the next", by_a_function_that_blocks},
    {"nor does it where the system does not let a thread take it back", by_an_ordinary_user},
    {"a first timer that a nice thread starts does not make later ones nice", first_by_a_nice_ordinary_user},
    {"a function that begins late to change something is found out", after_a_long_time},
    {"a cancellation that a function does not meet does not end the next", cancelled_late},
};

int main(int argc, char **argv)
{
    read_state(&found);
    another_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    CHECK(another_locale != (locale_t)0);
    return test_run(argc, argv, cases, TEST_COUNT(cases));
}

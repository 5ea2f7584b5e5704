/* Timer: the thread state in which each function begins (signal mask, scheduling, CPU affinity, floating-point
 * environment, locale, cancellation, name) depends neither on the thread that starts a timer nor on other functions. */
#include "child.h"

#include <errno.h>
#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* ----------------------------------------------------------------------------------------------- the state */

/* The main thread's state at the start of main, which is also its state when the library was loaded. */
static struct state {
    sigset_t mask;
    cpu_set_t cpus;
    int policy, priority, nice;
} initial;

static pid_t own_native_id(void)
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
    state->nice = getpriority(PRIO_PROCESS, (id_t)own_native_id());
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
        CHECK_INT(sigismember(&state.mask, signal), sigismember(&initial.mask, signal));
    CHECK(CPU_EQUAL(&state.cpus, &initial.cpus));
    CHECK_INT(state.policy, initial.policy);
    CHECK_INT(state.priority, initial.priority);
    CHECK_INT(state.nice, initial.nice);
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

/* ------------------------------------------------------------------------------------------------- changes */

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void pin_to_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &initial.cpus))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void raise_nice_value(void)
{
    setpriority(PRIO_PROCESS, (id_t)own_native_id(), initial.nice + 3);
}

static void set_real_time(void)
{
    struct sched_param parameters = {.sched_priority = 1};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters); /* fails without privileges */
}

static void set_batch(void)
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
    block_signals,  pin_to_one_cpu,       raise_nice_value,          set_real_time,       set_batch,
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

/* --------------------------------------------------------------------------------------------------- cases */

static void *start_first_timer(void *arg)
{
    /* Not the signal stack: at thread exit a sanitizer unmaps the current one, which it takes for its own. */
    for (size_t i = 0; arg != NULL && i < TEST_COUNT(changes); i++)
        if (changes[i] != set_signal_stack)
            changes[i]();
    CHECK_PTR(join_timer_and_free(timer_start(0, check_state, &initial)), &initial);
    return arg;
}

static void first_by_changed_thread(void)
{
    CHECK_PTR(join_foreign(spawn_foreign(start_first_timer, &initial)), &initial);
    CHECK_PTR(start_first_timer(NULL), NULL);
}

static void any_thread_starts_first(void)
{
    run_in_child(first_by_changed_thread);
}

/* Changes that main makes to its own state after its start do not affect timers. */
static void first_by_changed_main(void)
{
    start_first_timer(&initial);
}

static void main_changes_its_state(void)
{
    run_in_child(first_by_changed_main);
}

static void changed_by_function(void)
{
    for (int i = 0; i < test_many(20); i++) {
        CHECK_PTR(join_timer_and_free(timer_start(0, change_all, &initial)), &initial);
        CHECK_PTR(join_timer_and_free(timer_start(0, check_state, &initial)), &initial);
    }
}

/* All timers have the same deadline: no thread parks between two functions, and the functions run from warm caches, as
 * fast as they can. */
static void with_same_deadline(void)
{
    enum { PAIRS = 200 };
    static threading_timer *changing[PAIRS], *checking[PAIRS];
    int pairs = test_many(PAIRS);
    for (size_t i = 0; i < TEST_COUNT(changes); i++) {
        double due = now() + 0.05;
        for (int pair = 0; pair < pairs; pair++) {
            changing[pair] = timer_start(due - now(), change_one, (void *)&changes[i]);
            checking[pair] = timer_start(due - now(), check_state, &initial);
        }
        for (int pair = 0; pair < pairs; pair++) {
            CHECK_PTR(join_timer_and_free(changing[pair]), &changes[i]);
            CHECK_PTR(join_timer_and_free(checking[pair]), &initial);
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

static void changed_by_destructor(void)
{
    for (int i = 0; i < test_many(50); i++) {
        threading_timer *timer = threading_timer_new(0, set_local, &initial);
        CHECK(timer != NULL);
        CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), change_in_a_destructor),
                     THREADING_OK);
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        CHECK_PTR(join_timer_and_free(timer), &initial);
        CHECK_PTR(join_timer_and_free(timer_start(0, check_state, &initial)), &initial);
    }
    CHECK((local = threading_local_new(change_in_a_destructor)) != NULL);
    for (int i = 0; i < test_many(50); i++) {
        CHECK_PTR(join_timer_and_free(timer_start(0, set_local, &initial)), &initial);
        CHECK_PTR(join_timer_and_free(timer_start(0, check_state, &initial)), &initial);
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

/* A thread that another has replaced as leader returns from its function with its state changed. */
static void changed_by_blocked_function(void)
{
    enum { BLOCKED = 5 };
    threading_timer *blocked[BLOCKED];
    for (int i = 0; i < test_many(5); i++) {
        threading_event *event = threading_event_new();
        CHECK(event != NULL);
        for (int k = 0; k < BLOCKED; k++)
            blocked[k] = timer_start(0, change_and_wait, event);
        CHECK_PTR(join_timer_and_free(timer_start(0.002, check_state, &initial)), &initial);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        for (int k = 0; k < BLOCKED; k++) {
            CHECK_PTR(join_timer_and_free(blocked[k]), event);
            CHECK_PTR(join_timer_and_free(timer_start(0, check_state, &initial)), &initial);
        }
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
    }
}

/* Without privileges a nice value cannot be lowered again, so the library replaces the thread. */
static void change_unprivileged(void)
{
    if (!drop_privileges())
        return;
    changed_by_function();
    with_same_deadline();
    changed_by_blocked_function();
}

static void changed_without_privileges(void)
{
    SKIP_FORK_IF_PORTABLE();
    run_in_child(change_unprivileged);
}

/* The worker that serves the first timer is created by a thread with a raised nice value, which it inherits and cannot
 * lower. */
static void *start_with_nice_value(void *arg)
{
    raise_nice_value();
    join_timer_and_free(timer_start(0, NULL, NULL));
    return arg;
}

static void first_by_nice_thread_unprivileged(void)
{
    if (!drop_privileges())
        return;
    CHECK_PTR(join_foreign(spawn_foreign(start_with_nice_value, &initial)), &initial);
    join_timer_and_free(timer_start(0.05, check_state, &initial));
    changed_by_function();
}

static void first_by_nice_thread(void)
{
    SKIP_FORK_IF_PORTABLE();
    run_in_child(first_by_nice_thread_unprivileged);
}

static atomic_int changes_enabled;

static void *change_if_enabled(void *arg)
{
    if (atomic_load(&changes_enabled))
        change_all(NULL);
    else
        syscall(SYS_gettid);
    return arg;
}

/* After enough calls without a change, the library trusts a function and no longer checks the state after each call. */
enum { CALLS_UNTIL_TRUSTED = 64 };

static void changed_after_many_calls(void)
{
    enum { MORE_CALLS = 472 };
    static threading_timer *timers[CALLS_UNTIL_TRUSTED + MORE_CALLS];
    int calls = CALLS_UNTIL_TRUSTED + test_many(MORE_CALLS);
    for (int round = 0; round < 4; round++) {
        atomic_store(&changes_enabled, round % 2);
        double due = now() + 0.02;
        for (int i = 0; i < calls; i++)
            timers[i] = timer_start(due - now(), change_if_enabled, &initial);
        for (int i = 0; i < calls; i++)
            CHECK_PTR(join_timer_and_free(timers[i]), &initial);
        CHECK_PTR(join_timer_and_free(timer_start(0.01, check_state, &initial)), &initial);
    }
    with_same_deadline();
}

/* Functions whose first call with a change comes after many calls without one. */
#define CHANGE_WITH_ARGUMENT(name)                                                                           \
    static void *name(void *changed)                                                                         \
    {                                                                                                        \
        if (changed != NULL)                                                                                 \
            change_one(changed);                                                                             \
        else                                                                                                 \
            syscall(SYS_gettid);                                                                             \
        return changed;                                                                                      \
    }
CHANGE_WITH_ARGUMENT(change_a)
CHANGE_WITH_ARGUMENT(change_b)
CHANGE_WITH_ARGUMENT(change_c)
CHANGE_WITH_ARGUMENT(change_d)

/* The library checks the state only now and then between two calls of a function that it trusts, but always before it
 * calls another function. */
static void changed_before_another_function(void)
{
    enum { MORE_CALLS = 1872 };
    static void *(*const functions[])(void *) = {change_a, change_b, change_c, change_d};
    static threading_timer *timers[CALLS_UNTIL_TRUSTED + MORE_CALLS];
    int calls = CALLS_UNTIL_TRUSTED + test_many(MORE_CALLS);
    void *change = (void *)&changes[0];
    for (size_t i = 0; i < TEST_COUNT(functions); i++) {
        double due = now() + 0.05;
        for (int call = 0; call < calls; call++)
            timers[call] = timer_start(due - now(), functions[i], NULL);
        double later = due + 20e-6; /* in the past when the calls have ended, so that the thread does not park */
        threading_timer *changing = timer_start(later - now(), functions[i], change);
        threading_timer *checking = timer_start(later + 20e-6 - now(), check_state, &initial);
        for (int call = 0; call < calls; call++)
            CHECK_PTR(join_timer_and_free(timers[call]), NULL);
        CHECK_PTR(join_timer_and_free(changing), change);
        CHECK_PTR(join_timer_and_free(checking), &initial);
    }
}

static void *cancel_itself(void *arg)
{
    pthread_cancel(pthread_self());
    return arg;
}

static void *cancel_itself_while_disabled(void *arg)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return cancel_itself(arg);
}

static void *pass_cancellation_point(void *arg)
{
    pthread_testcancel();
    sleep_for(0.001);
    return arg;
}

static void pending_cancellation(void)
{
    for (int i = 0; i < test_many(50); i++) {
        threading_timer *late = timer_start(0, i % 2 ? cancel_itself : cancel_itself_while_disabled, &late);
        threading_timer *next = timer_start(0, pass_cancellation_point, &next);
        CHECK_PTR(join_timer_and_free(late), &late);
        CHECK_PTR(join_timer_and_free(next), &next);
    }
}

static const struct test_case cases[] = {
    {"a function begins in the initial state of main, whichever thread starts the first timer",
     any_thread_starts_first},
    {"a function begins in the initial state of main, even if main has changed its state", main_changes_its_state},
    {"state that a function changes is restored for the next function", changed_by_function},
    {"state that a function changes is restored for the next function with the same deadline", with_same_deadline},
    {"state that a destructor changes is restored for the next function", changed_by_destructor},
    {"state that a blocked function changes is restored for the next function", changed_by_blocked_function},
    {"state that cannot be restored without privileges does not affect the next function", changed_without_privileges},
    {"the nice value of the thread that starts the first timer does not affect later timers", first_by_nice_thread},
    {"a change is found even if the function makes it after many calls without one", changed_after_many_calls},
    {"a change does not affect another function even if it is the first change after many calls",
     changed_before_another_function},
    {"a cancellation that is pending when a function returns does not end the next function", pending_cancellation},
};

int main(int argc, char **argv)
{
    read_state(&initial);
    another_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    CHECK(another_locale != (locale_t)0);
    return test_run(argc, argv, cases, TEST_COUNT(cases));
}

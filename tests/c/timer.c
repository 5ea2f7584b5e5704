/* Timer: intervals, order, cancel, its thread, references, and what is destroyed after its function. How timers share
 * threads is in timer_worker.c and timer_state.c, and exits in timers in timer_exit.c. */
#include "child.h"
#include "timer.h"

#include <setjmp.h>

static threading_timer *timer_new(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    return timer;
}

static void *result_of(threading_timer *timer)
{
    CHECK_STATUS(threading_thread_join_timeout(thread_of(timer), TEST_LIMIT), THREADING_OK);
    return threading_thread_result(thread_of(timer));
}

static size_t enumerate_position(threading_thread *thread)
{
    threading_thread_list *list = threading_enumerate();
    size_t i = 0, length = threading_thread_list_len(list);
    CHECK(list != NULL);
    while (i < length && threading_thread_list_get(list, i) != thread)
        i++;
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    return i < length ? i : SIZE_MAX;
}

/* ---------------------------------------------------------------------------------------------- intervals */

static void after_the_interval(void)
{
    static const double intervals[] = {0.2, 0.05, 0.001, 1e-9};
    threading_timer *timers[TEST_COUNT(intervals)];
    double begun[TEST_COUNT(intervals)], fired[TEST_COUNT(intervals)];
    for (size_t i = 0; i < TEST_COUNT(intervals); i++) {
        begun[i] = now();
        timers[i] = timer_start(intervals[i], store_time, &fired[i]);
        CHECK(threading_timer_interval(timers[i]) == intervals[i]);
    }
    for (size_t i = 0; i < TEST_COUNT(intervals); i++) {
        CHECK_PTR(join_timer_and_free(timers[i]), &fired[i]);
        CHECK_AT_LEAST(fired[i] - begun[i], intervals[i]);
    }
}

struct turn_taker {
    atomic_int *turn;
    int position;
};

static void *take_turn(void *arg)
{
    struct turn_taker *turn_taker = arg;
    turn_taker->position = atomic_fetch_add(turn_taker->turn, 1);
    return NULL;
}

/* Returns whether timers that are due 0.2 s after each other run in this order. */
static bool timers_run_in_order(void)
{
    static const double intervals[] = {0.65, 0.05, 0.85, 0.45, 0.25};
    double scale = test_slowness() < 5 ? test_slowness() : 5;
    static const int expected[] = {3, 0, 4, 2, 1};
    bool in_order = true;
    atomic_int turn = 0;
    struct turn_taker takers[TEST_COUNT(intervals)];
    threading_timer *timers[TEST_COUNT(intervals)], *late = timer_start(3600, NULL, NULL);
    for (size_t i = 0; i < TEST_COUNT(intervals); i++) {
        takers[i].turn = &turn;
        timers[i] = timer_start(scale * intervals[i], take_turn, &takers[i]);
    }
    for (size_t i = 0; i < TEST_COUNT(intervals); i++)
        join_timer_and_free(timers[i]);
    for (size_t i = 0; i < TEST_COUNT(intervals); i++)
        in_order &= takers[i].position == expected[i];
    CHECK_STATUS(threading_timer_cancel(late), THREADING_OK);
    CHECK_STATUS(threading_timer_free(late), THREADING_OK);
    return in_order;
}

static void order_of_deadlines(void)
{
    /* A busy machine may delay a start or a function by more than 0.2 s, but hardly in each of eight attempts. */
    int tries = 0;
    while (!timers_run_in_order())
        CHECK(++tries < 8);
}

static void due_immediately_or_never(void)
{
    static const double immediate[] = {0, -0.0, -1e-300, -5, THREADING_FOREVER, -INFINITY, -1e300};
    static const double never[] = {INFINITY, THREADING_TIMEOUT_MAX};
    atomic_int fired = 0;
    threading_timer *timers[TEST_COUNT(never)];
    for (size_t i = 0; i < TEST_COUNT(never); i++)
        timers[i] = timer_start(never[i], count, &fired);
    for (size_t i = 0; i < TEST_COUNT(immediate); i++) {
        threading_timer *timer = timer_start(immediate[i], return_arg, &fired);
        CHECK(threading_timer_interval(timer) == immediate[i]);
        CHECK_PTR(join_timer_and_free(timer), &fired);
    }
    for (size_t i = 0; i < TEST_COUNT(never); i++) {
        CHECK(threading_timer_interval(timers[i]) == never[i]);
        CHECK_STATUS(threading_thread_join_timeout(thread_of(timers[i]), 0.02), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_timer_cancel(timers[i]), THREADING_OK);
        CHECK_PTR(join_timer_and_free(timers[i]), NULL);
    }
    CHECK_INT(atomic_load(&fired), 0);
    CHECK_FAILS(threading_timer_new(NAN, count, &fired), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_timer_new(9223372037.0, count, &fired), THREADING_ERR_OVERFLOW);
    CHECK_FAILS(threading_timer_new(1e300, count, &fired), THREADING_ERR_OVERFLOW);
}

/* ------------------------------------------------------------------------------------------------- cancel */

static struct {
    atomic_int calls;
    _Atomic(threading_thread *) by;
    _Atomic(void *) value;
} destroyed;

static void destroy(void *value)
{
    atomic_store(&destroyed.by, threading_current_thread());
    atomic_store(&destroyed.value, value);
    sleep_for(0.02); /* so that a join or cancel that does not wait for the destructor fails the test */
    atomic_fetch_add(&destroyed.calls, 1);
}

static threading_timer *new_with_destructor(double interval, threading_target function, void *arg)
{
    threading_timer *timer = timer_new(interval, function, arg);
    atomic_store(&destroyed.calls, 0);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread_of(timer), destroy), THREADING_OK);
    return timer;
}

static void check_destroyed(threading_thread *by, void *value)
{
    CHECK_INT(atomic_load(&destroyed.calls), 1);
    CHECK_PTR(atomic_load(&destroyed.by), by);
    CHECK_PTR(atomic_load(&destroyed.value), value);
}

static void cancel_before_start(void)
{
    atomic_int fired = 0;
    threading_timer *timer = new_with_destructor(0, count, &fired);
    CHECK_STATUS_KEEPS_ERROR(threading_timer_cancel(timer), THREADING_OK);
    check_destroyed(threading_main_thread(), &fired);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK(!threading_thread_is_alive(thread_of(timer)));
    CHECK_STATUS(threading_thread_join(thread_of(timer)), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_PTR(result_of(timer), NULL);
    CHECK(!threading_thread_is_alive(thread_of(timer)));
    CHECK_INT(enumerate_position(thread_of(timer)), SIZE_MAX);
    CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);

    /* It ends at its start, however long its interval is. */
    timer = timer_new(INFINITY, count, &fired);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread_of(timer)), THREADING_OK);
    join_timer_and_free(timer);
    CHECK_INT(atomic_load(&fired), 0);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
}

static void argument_destroyed_once(void)
{
    int arg;
    for (int starts = 0; starts < 2; starts++) {
        threading_timer *timer = new_with_destructor(0, return_arg, &arg);
        CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
        CHECK_STATUS(threading_thread_set_arg_destructor(thread_of(timer), destroy), THREADING_OK);
        if (starts) {
            CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
            CHECK_STATUS(threading_thread_join(thread_of(timer)), THREADING_OK);
        }
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), 1);

        /* No destructor is set at the cancel. One that is set later is called by the last free. */
        timer = timer_new(0, return_arg, &arg);
        atomic_store(&destroyed.calls, 0);
        CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
        CHECK_STATUS(threading_thread_set_arg_destructor(thread_of(timer), destroy), THREADING_OK);
        if (starts)
            CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), starts);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
        check_destroyed(threading_main_thread(), &arg);
    }
}

/* Returns a timer that was cancelled while it was pending. Its interval is 0.3 s. */
static threading_timer *cancelled_while_pending(atomic_int *fired)
{
    for (int tries = 0;; tries++) {
        threading_timer *timer = new_with_destructor(0.3, count, fired);
        threading_status status;
        double begin = now();
        int destroyed_before;
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        destroyed_before = atomic_load(&destroyed.calls);
        (void)threading_event_set(NULL);
        status = threading_timer_cancel(timer);
        if (now() - begin < 0.3) {
            CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
            CHECK_RESULT(status, THREADING_OK);
            CHECK_INT(destroyed_before, 0);
            return timer;
        }
        /* It may have run before the cancel. A busy machine may cause that, but hardly in each of eight attempts. */
        CHECK(tries < 7);
        join_timer_and_free(timer);
        atomic_store(fired, 0);
    }
}

static void cancel_while_pending(void)
{
    atomic_int fired = 0;
    threading_timer *timer = cancelled_while_pending(&fired);
    check_destroyed(threading_main_thread(), &fired);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_PTR(result_of(timer), NULL);
    CHECK(!threading_thread_is_alive(thread_of(timer)));
    CHECK_INT(enumerate_position(thread_of(timer)), SIZE_MAX);
    sleep_for(0.4);
    CHECK_INT(atomic_load(&fired), 0);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    check_destroyed(threading_main_thread(), &fired);
}

static void *cancel_itself(void *arg)
{
    threading_timer **timer = arg;
    CHECK_STATUS(threading_timer_cancel(*timer), THREADING_TOO_LATE);
    return arg;
}

static void cancel_too_late(void)
{
    struct busy busy = {0, event_new()};
    threading_timer *timer = new_with_destructor(0, begin_and_wait, &busy);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    wait_until(is_nonzero, &busy.begun);
    CHECK_STATUS_KEEPS_ERROR(threading_timer_cancel(timer), THREADING_TOO_LATE); /* without waiting for the function */
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_event_set(busy.event), THREADING_OK);
    CHECK_PTR(result_of(timer), busy.event);
    check_destroyed(thread_of(timer), &busy);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_TOO_LATE);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_event_free(busy.event), THREADING_OK);

    timer = timer_new(0, cancel_itself, &timer);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_PTR(join_timer_and_free(timer), &timer);
}

static void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed.calls, 1);
}

/* cancel races with the deadline: either it succeeds or the function runs, and in both cases the argument is destroyed
 * once. */
static void cancel_at_deadline(void)
{
    for (int round = 0; round < test_many(3000); round++) {
        atomic_int fired = 0;
        threading_timer *timer = timer_new(round % 100 * 1e-6, count, &fired);
        threading_status status;
        atomic_store(&destroyed.calls, 0);
        CHECK_STATUS(threading_thread_set_arg_destructor(thread_of(timer), count_destroyed), THREADING_OK);
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        status = threading_timer_cancel(timer);
        CHECK(status == THREADING_OK || status == THREADING_TOO_LATE);
        join_timer_and_free(timer);
        CHECK_INT(atomic_load(&fired), status == THREADING_TOO_LATE);
        CHECK_INT(atomic_load(&destroyed.calls), 1);
    }
}

/* -------------------------------------------------------------------------------------------- the thread of a timer */

static bool timer_is_gone(void *timer)
{
    return threading_timer_cancel(timer) == THREADING_ERR_HANDLE;
}

struct identity {
    threading_timer *timer;
    uint64_t ident, native_id;
    char system_name[32];
    bool new_is_daemon;
};

static void *check_identity(void *arg)
{
    struct identity *identity = arg;
    threading_thread *self = threading_current_thread(), *created;
    CHECK_PTR(self, thread_of(identity->timer));
    CHECK_STR(threading_thread_name(self), "the timer");
    CHECK(threading_thread_is_alive(self));
    CHECK(enumerate_position(self) != SIZE_MAX);
    CHECK_PTR(threading_thread_result(self), NULL);
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(self, 0.01), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_timer_start(identity->timer), THREADING_ERR_ALREADY_STARTED);
    identity->ident = threading_get_ident();
    identity->native_id = threading_get_native_id();
    CHECK_INT(threading_thread_native_id(self), identity->native_id);
    created = threading_thread_new(NULL, NULL);
    CHECK(created != NULL);
    identity->new_is_daemon = threading_thread_is_daemon(created);
    CHECK_STATUS(threading_thread_free(created), THREADING_OK);
#if defined(__linux__)
    FILE *file = fopen("/proc/thread-self/comm", "r");
    CHECK_INT(identity->native_id, syscall(SYS_gettid));
    CHECK(file != NULL && fgets(identity->system_name, sizeof identity->system_name, file) != NULL);
    fclose(file);
#endif
    return arg;
}

static void current_thread_in_function(void)
{
    for (int daemon = 0; daemon < 2; daemon++) {
        struct identity identity = {0};
        threading_thread *thread;
        uint64_t ident;
        identity.timer = timer_new(0.1, check_identity, &identity);
        thread = thread_of(identity.timer);
        CHECK_PTR(threading_timer_thread(identity.timer), thread);
        CHECK(!threading_thread_is_daemon(thread));
        CHECK_STATUS(threading_thread_set_daemon(thread, daemon), THREADING_OK);
        CHECK_STATUS(threading_thread_set_name(thread, "the timer"), THREADING_OK);
        CHECK_PTR(threading_thread_arg(thread), &identity);
        CHECK_INT(threading_thread_ident(thread), 0);
        CHECK(!threading_thread_is_alive(thread));
        CHECK_INT(enumerate_position(thread), SIZE_MAX);
        CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
        CHECK_STATUS(threading_timer_start(identity.timer), THREADING_OK);
        ident = threading_thread_ident(thread);
        CHECK(ident != 0);
        CHECK_STATUS(threading_thread_set_daemon(thread, !daemon), THREADING_ERR_ALREADY_STARTED);
        CHECK_PTR(result_of(identity.timer), &identity);
        CHECK_INT(identity.ident, ident);
        CHECK_INT(threading_thread_ident(thread), ident);
        CHECK_INT(threading_thread_native_id(thread), identity.native_id);
        CHECK_INT(threading_thread_is_daemon(thread), daemon);
        CHECK_INT(identity.new_is_daemon, daemon);
        CHECK(strcmp(identity.system_name, "the timer\n") != 0);
        CHECK(identity.native_id != (uint64_t)getpid());
        CHECK(!threading_thread_is_alive(thread));
        CHECK_STATUS(threading_timer_free(identity.timer), THREADING_OK);
        wait_until(is_gone, thread); /* the thread that ran it may release its reference later */
    }
}

static void pending_timer(void)
{
    threading_event *event = event_new();
    threading_timer *timer = timer_new(3600, NULL, NULL);
    threading_thread *thread = thread_of(timer), *before = spawn(wait_for_event, event), *after;
    size_t alive = threading_active_count();
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_INT(threading_active_count(), alive + 1);
    after = spawn(wait_for_event, event);
    CHECK(enumerate_position(before) < enumerate_position(thread));
    CHECK(enumerate_position(thread) < enumerate_position(after));
    CHECK(threading_thread_is_alive(thread));
    threading_clear_last_error();
    CHECK_INT(threading_thread_native_id(thread), 0);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK(threading_thread_ident(thread) != 0);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0.05), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_INT(enumerate_position(thread), SIZE_MAX);
    CHECK_INT(threading_active_count(), alive + 1);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(before);
    join(after);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static void *new_timer_is_daemon(void *arg)
{
    threading_timer *timer = timer_new(0, NULL, NULL);
    bool daemon = threading_thread_is_daemon(thread_of(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    return daemon ? arg : NULL;
}

static void daemon_and_name(void)
{
    threading_thread *creator = threading_thread_new(new_timer_is_daemon, &creator), *named;
    threading_timer *started = timer_new(0, NULL, NULL), *unstarted = timer_new(0, NULL, NULL);
    long number, next;
    CHECK_STATUS(threading_thread_set_daemon(creator, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(creator), THREADING_OK);
    CHECK_PTR(join(creator), &creator);
    CHECK_PTR(join_foreign(spawn_foreign(new_timer_is_daemon, &creator)), NULL);

    CHECK_INT(sscanf(threading_thread_name(thread_of(unstarted)), "Thread-%ld", &number), 1);
    named = threading_thread_new(NULL, NULL);
    CHECK(named != NULL);
    CHECK_INT(sscanf(threading_thread_name(named), "Thread-%ld", &next), 1);
    CHECK_INT(next, number + 1);
    CHECK_STATUS(threading_timer_start(started), THREADING_OK);
    CHECK_INT(sscanf(threading_thread_name(thread_of(started)), "Thread-%ld", &next), 1);
    CHECK_INT(next, number + 2);
    CHECK_STATUS(threading_thread_free(named), THREADING_OK);
    join_timer_and_free(started);
    CHECK_STATUS(threading_timer_free(unstarted), THREADING_OK);
}

static void *overridden(threading_thread *self, void *arg)
{
    struct turn_taker *turn_taker = arg;
    CHECK_PTR(self, threading_current_thread());
    CHECK_PTR(threading_thread_run(self), NULL);
    return turn_taker->turn;
}

static void start_once(void)
{
    atomic_int turn = 7;
    struct turn_taker turn_taker = {&turn, 0};
    double begin = now();
    threading_timer *timer = timer_new(0.05, take_turn, &turn_taker);
    CHECK_STATUS(threading_thread_set_run(thread_of(timer), overridden), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread_of(timer)), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_start(thread_of(timer)), THREADING_ERR_ALREADY_STARTED);
    CHECK_PTR(result_of(timer), &turn);
    CHECK_AT_LEAST(now() - begin, 0.05);
    CHECK_INT(turn_taker.position, 7);
    CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_run(thread_of(timer), NULL), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_PTR(join_timer_and_free(timer_start(0, NULL, &turn)), NULL);
}

/* --------------------------------------------------------------------------------------------- references */

static void *free_itself(void *arg)
{
    struct identity *identity = arg;
    threading_thread *self = thread_of(identity->timer);
    CHECK_STATUS(threading_timer_free(identity->timer), THREADING_OK);
    CHECK_PTR(threading_current_thread(), self);
    CHECK(threading_thread_is_alive(self));
    CHECK_STATUS(threading_timer_free(identity->timer), THREADING_ERR_HANDLE);
    CHECK_STR(threading_thread_name(self), "unowned");
    return NULL;
}

static void free_while_started(void)
{
    atomic_int fired = 0;
    struct identity identity = {0};
    threading_timer *timer = new_with_destructor(0.05, count, &fired);
    threading_thread *thread;
    CHECK_PTR(threading_timer_ref(timer), timer);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_ERR_HANDLE);
    wait_until(is_nonzero, &destroyed.calls);
    wait_until(main_is_alone, NULL);
    CHECK_INT(atomic_load(&fired), 1);

    timer = identity.timer = new_with_destructor(0.02, free_itself, &identity);
    CHECK_STATUS(threading_thread_set_name(thread_of(timer), "unowned"), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    wait_until(is_nonzero, &destroyed.calls);
    wait_until(main_is_alone, NULL);
    wait_until(timer_is_gone, timer); /* its thread removes the last reference after it has ended */

    timer = new_with_destructor(0.02, count, &fired);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    check_destroyed(threading_main_thread(), &fired);

    /* A reference to its thread keeps the timer alive. */
    timer = new_with_destructor(0.02, count, &fired);
    thread = threading_thread_ref(thread_of(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &fired);
    CHECK_INT(atomic_load(&fired), 2);
    CHECK_INT(atomic_load(&destroyed.calls), 1);

    timer = new_with_destructor(0.02, count, &fired);
    thread = threading_thread_ref(thread_of(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    check_destroyed(threading_main_thread(), &fired);
}

/* ---------------------------------------------------------------------------------- locals and pthread_exit */

static void *set_locals(void *local)
{
    void *value;
    CHECK_STATUS(threading_local_lookup(local, &value), THREADING_NO_VALUE);
    CHECK_STATUS(threading_local_get_attr(local, "name", &value), THREADING_NO_VALUE);
    CHECK_STATUS(threading_local_set(local, &destroyed), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "name", &destroyed), THREADING_OK);
    return local;
}

static void *set_locals_and_exit(void *local)
{
    pthread_exit(set_locals(local));
}

static void locals_destroyed_at_end(void)
{
    threading_local *local = threading_local_new(destroy);
    CHECK(local != NULL);
    for (int i = 0; i < 6; i++) {
        threading_timer *timer;
        atomic_store(&destroyed.calls, 0);
        timer = timer_start(0, i % 3 == 1 ? set_locals_and_exit : set_locals, local);
        CHECK_PTR(result_of(timer), i % 3 == 1 ? NULL : (void *)local);
        CHECK_INT(atomic_load(&destroyed.calls), 2);
        CHECK_PTR(atomic_load(&destroyed.by), thread_of(timer));
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 2);
}

static void pthread_exit_in_function(void)
{
    for (int i = 0; i < 50; i++) {
        threading_timer *timer = new_with_destructor(0, exit_with_arg, &timer);
        threading_timer *other = timer_start(0.001, return_arg, &other);
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        CHECK_PTR(result_of(timer), NULL);
        check_destroyed(thread_of(timer), &timer);
        CHECK(!threading_thread_is_alive(thread_of(timer)));
        CHECK_INT(enumerate_position(thread_of(timer)), SIZE_MAX);
        CHECK_STATUS(threading_timer_cancel(timer), THREADING_TOO_LATE);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
        CHECK_PTR(join_timer_and_free(other), &other);
    }
}

/* --------------------------------------------------------------------------------------- destructors that are left */

static jmp_buf before_cancel;

static void leave_destructor(void *arg)
{
    (void)arg;
    longjmp(before_cancel, 1);
}

static void check_left_destructor(void)
{
    threading_timer *left = threading_timer_new(3600, NULL, &before_cancel), *other;
    CHECK_STATUS(threading_thread_set_daemon(threading_timer_thread(left), 1), THREADING_OK);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(left), leave_destructor), THREADING_OK);
    CHECK_STATUS(threading_timer_start(left), THREADING_OK);
    if (setjmp(before_cancel) == 0) {
        (void)threading_timer_cancel(left);
        CHECK(false);
    }
    overwrite_stack();
    other = threading_timer_new(0.001, NULL, NULL);
    CHECK_STATUS(threading_timer_start(other), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(other), TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(left), 0.001), THREADING_TIMED_OUT);
    exit(0);
}

static void destructor_that_is_left(void)
{
    SKIP_FORK_IF_PORTABLE();
    if (TEST_SANITIZED || test_slowness() != 1)
        SKIP("tools report that the library reads what is left on the stack");
    CHECK(run_in_child(check_left_destructor));
}

static const struct test_case cases[] = {
    {"a timer does not run before its interval has passed", after_the_interval},
    {"timers run in the order of their deadlines", order_of_deadlines},
    {"an interval of 0 or less is due immediately, infinity never; NaN and overflow are errors",
     due_immediately_or_never},
    {"a timer that was cancelled before its start ends at the start", cancel_before_start},
    {"the argument is destroyed once, also if a destructor is set after a cancel", argument_destroyed_once},
    {"cancel of a pending timer ends it, and may be repeated", cancel_while_pending},
    {"cancel is TOO_LATE once the function has begun, and does not wait", cancel_too_late},
    {"cancel at the deadline either prevents the call or is TOO_LATE", cancel_at_deadline},
    {"the current thread in a timer's function is the timer's, with its name, ident and daemon flag",
     current_thread_in_function},
    {"a pending timer is alive, enumerated in order of its start and has no native id", pending_timer},
    {"the daemon flag and the default name of a timer are set as for a thread", daemon_and_name},
    {"a timer starts once, by its handle or its thread's, and calls its run override", start_once},
    {"a started timer stays alive without references, and may be freed in its own function", free_while_started},
    {"the values of a timer's locals are destroyed before its join returns", locals_destroyed_at_end},
    {"a process whose thread has left a destructor by longjmp uses other timers, and exits", destructor_that_is_left},
    {"pthread_exit in a function makes the result NULL and does not affect other timers", pthread_exit_in_function},
};

TEST_MAIN(cases)

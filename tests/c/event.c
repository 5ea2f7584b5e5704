/* Event: a flag that threads wait for. */
#include "stepwise.h"
#include "test.h"

static void free_event(threading_event *event)
{
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static threading_status wait_event(void *event)
{
    return threading_event_wait(event);
}

static threading_status wait_infinity(void *event)
{
    return threading_event_wait_timeout(event, INFINITY);
}

static threading_status wait_forever(void *event)
{
    return threading_event_wait_timeout(event, THREADING_FOREVER);
}

static threading_status wait_max(void *event)
{
    return threading_event_wait_timeout(event, THREADING_TIMEOUT_MAX);
}

static threading_status wait_shortly(void *event)
{
    return threading_event_wait_timeout(event, 0.01);
}

static void set_and_clear(void)
{
    threading_event *event = event_new();
    threading_clear_last_error();
    CHECK(!threading_event_is_set(event));
    CHECK_LAST_ERROR(THREADING_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS_KEEPS_ERROR(threading_event_set(event), THREADING_OK);
        CHECK(threading_event_is_set(event));
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK(threading_event_is_set(event));
        CHECK_STATUS_KEEPS_ERROR(threading_event_clear(event), THREADING_OK);
        CHECK(!threading_event_is_set(event));
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        CHECK(!threading_event_is_set(event));
    }
    free_event(event);
}

static void wait_for_a_set_event(void)
{
    threading_event *event = event_new();
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_event_wait(event), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_event_wait_timeout(event, 0), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(event, 1), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(event, THREADING_FOREVER), THREADING_OK);
    CHECK(threading_event_is_set(event));
    CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(event, 0.01), THREADING_TIMED_OUT);
    free_event(event);
}

static void timeout_zero_does_not_block(void)
{
    threading_event *event = event_new();
    CHECK_STATUS_KEEPS_ERROR(threading_event_wait_timeout(event, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_wait_timeout(event, -0.0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_wait_timeout(event, 5e-324), THREADING_TIMED_OUT);
    free_event(event);
}

static void timeout_is_not_shortened(void)
{
    static const double seconds[] = {1e-9, 0.0005, 0.02, 0.15};
    threading_event *event = event_new();
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_event_wait_timeout(event, seconds[i]), THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        CHECK(!threading_event_is_set(event));
    }
    free_event(event);
}

static void invalid_timeouts(void)
{
    threading_event *event = event_new();
    CHECK_BAD_TIMEOUTS(threading_event_wait_timeout(event, seconds));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_event_wait_timeout(event, seconds));
    CHECK(threading_event_is_set(event));
    free_event(event);
}

static void waits_until_set(void)
{
    threading_status (*const calls[])(void *) = {wait_event, wait_infinity, wait_forever, wait_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_event *event = event_new();
        struct call call;
        call_blocked(&call, calls[i], event);
        CHECK_STATUS(threading_event_clear(event), THREADING_OK); /* wakes no waiter */
        CHECK(call_still_blocked(&call));
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        CHECK(threading_event_is_set(event));
        free_event(event);
    }
}

static void set_wakes_all(void)
{
    threading_event *event = event_new();
    struct call calls[6];
    pthread_t foreign = spawn_foreign(wait_for_event, event);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_blocked(&calls[i], wait_event, event);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_OK);
    CHECK_PTR(join_foreign(foreign), event);
    free_event(event);
}

static threading_status wait_long(void *event)
{
    return threading_event_wait_timeout(event, TEST_LIMIT / 2);
}

static void clear_right_after_set(void)
{
    threading_event *event = event_new();
    struct call calls[4];
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < TEST_COUNT(calls); i++)
            call_blocked(&calls[i], i % 2 == 0 ? wait_event : wait_long, event);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        for (size_t i = 0; i < TEST_COUNT(calls); i++)
            CHECK_CALL(&calls[i], THREADING_OK);
        CHECK(!threading_event_is_set(event));
        CHECK_STATUS(threading_event_wait_timeout(event, 0), THREADING_TIMED_OUT);
    }
    free_event(event);
}

static void wait_after_clear_blocks(void)
{
    threading_event *event = event_new();
    struct call call;
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    call_blocked(&call, wait_event, event);
    CHECK(call_still_blocked(&call));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_event(event);
}

static void free_after_timeouts(void)
{
    threading_event *event = event_new();
    struct call calls[8];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_start(&calls[i], wait_shortly, event);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_TIMED_OUT);
    free_event(event);
}

static void free_with_waiters(void)
{
    threading_event *event = event_new();
    struct call call;
    CHECK_PTR(threading_event_ref(event), event);
    call_blocked(&call, wait_event, event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_event_free(event), THREADING_ERR_BUSY);
    CHECK(!threading_event_is_set(event));
    CHECK(call_still_blocked(&call));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_event(event);
    CHECK_STATUS(threading_event_free(event), THREADING_ERR_HANDLE);
}

static void free_after_set(void)
{
    for (int i = 0; i < 20; i++) {
        threading_event *event = event_new();
        struct call calls[3];
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_event, event);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        if (i % 2 == 1) /* a clear does not affect waiters that set has woken */
            CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
        CHECK_FAILS(threading_event_is_set(event), THREADING_ERR_HANDLE);
    }
}

/* When the generations of all slots of a block have been used, the library returns the block's memory to the system. A
 * woken waiter must not access it. */
static void free_after_set_returns_memory(void)
{
    enum { OBJECTS = 64300 }; /* a block serves 1023 * 63 objects in its lifetime */
    const int rounds = test_many(300);
    for (int i = 0; i < OBJECTS; i++)
        CHECK_STATUS(threading_event_free(event_new()), THREADING_OK);
    for (int i = 0; i < rounds; i++) {
        threading_event *event = event_new();
        struct call call;
        call_blocked(&call, wait_event, event);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
    }
}

static atomic_int handler_runs, handler_may_return;

static void interrupt_the_wait(int signum)
{
    (void)signum;
    atomic_store(&handler_runs, 1);
    while (!atomic_load(&handler_may_return))
        sleep_for(0.001);
}

struct interrupted {
    threading_event *event;
    test_blocker blocker;
    _Atomic pthread_t thread;
    atomic_int got;
};

static void *wait_and_be_interrupted(void *arg)
{
    struct interrupted *call = arg;
    atomic_store(&call->thread, pthread_self());
    about_to_block(&call->blocker);
    atomic_store(&call->got, threading_event_wait(call->event));
    return NULL;
}

/* A waiter that runs late must not take another event in the same memory for its own. 65 blocks serve so many objects
 * in their lifetime, and then the first one is used again. */
static void a_waiter_runs_late(void)
{
    const int objects = test_many(66 * 1023 * 63);
    const uintptr_t address = UINTPTR_MAX >> (UINTPTR_MAX > UINT32_MAX ? 16 : 0); /* without the block's generation */
    struct sigaction handler = {.sa_handler = interrupt_the_wait, .sa_flags = SA_RESTART}, former;
    threading_event *event = event_new(), *other;
    struct interrupted call = {.event = event};
    threading_thread *thread = spawn(wait_and_be_interrupted, &call);
    CHECK_INT(sigaction(SIGUSR1, &handler, &former), 0);
    wait_until_blocked(&call.blocker);
    CHECK_INT(pthread_kill(call.thread, SIGUSR1), 0);
    while (!atomic_load(&handler_runs))
        sleep_for(0.001);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    free_event(event);
    other = event_new();
    for (int i = 0; i < objects && (((uintptr_t)other ^ (uintptr_t)event) & address) != 0; i++) {
        free_event(other);
        other = event_new();
    }
    atomic_store(&handler_may_return, 1);
    join(thread);
    CHECK_INT(atomic_load(&call.got), THREADING_OK);
    free_event(other);
    CHECK_INT(sigaction(SIGUSR1, &former, NULL), 0);
}

/* The waiter frees the event, perhaps before set has returned. Neither thread may access the freed memory. */
static void freed_by_a_woken_waiter(void)
{
    for (int i = 0; i < 300; i++) {
        threading_event *event = event_new();
        threading_thread *setter = spawn(set_event, event);
        CHECK_STATUS(threading_event_wait(event), THREADING_OK);
        free_event(event);
        join(setter);
    }
}

static void reinit_clears(void)
{
    threading_event *event = event_new();
    struct call call;
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_event_at_fork_reinit(event), THREADING_OK);
    CHECK(!threading_event_is_set(event));
    call_blocked(&call, wait_event, event);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_event(event);
}

struct cancelled {
    threading_event *event;
    test_blocker blocker;
    atomic_int got;
};

static void *wait_and_be_cancelled(void *arg)
{
    struct cancelled *c = arg;
    about_to_block(&c->blocker);
    atomic_store(&c->got, threading_event_wait(c->event));
    pthread_testcancel();
    return NULL;
}

static void blocked_wait_is_not_cancelled(void)
{
    struct cancelled c = {.event = event_new(), .got = 99};
    pthread_t thread = spawn_foreign(wait_and_be_cancelled, &c);
    wait_until_blocked(&c.blocker);
    CHECK_INT(pthread_cancel(thread), 0);
    sleep_for(0.03);
    CHECK_INT(atomic_load(&c.got), 99);
    CHECK_STATUS(threading_event_set(c.event), THREADING_OK);
    CHECK_PTR(join_foreign(thread), PTHREAD_CANCELED);
    CHECK_INT(atomic_load(&c.got), THREADING_OK);
    free_event(c.event);
}

/* Two threads increment a plain number in turn. */
struct ping_pong {
    threading_event *ping, *pong;
    long value;
};

static void *answer_pings(void *arg)
{
    struct ping_pong *ping_pong = arg;
    for (long i = 0; i < 5000; i++) {
        CHECK_STATUS(threading_event_wait(ping_pong->ping), THREADING_OK);
        CHECK_STATUS(threading_event_clear(ping_pong->ping), THREADING_OK);
        CHECK_INT(ping_pong->value, 2 * i + 1);
        ping_pong->value++;
        CHECK_STATUS(threading_event_set(ping_pong->pong), THREADING_OK);
    }
    return NULL;
}

static void set_happens_before_wait_returns(void)
{
    struct ping_pong ping_pong = {.ping = event_new(), .pong = event_new()};
    threading_thread *thread = spawn(answer_pings, &ping_pong);
    for (long i = 0; i < 5000; i++) {
        CHECK_INT(ping_pong.value, 2 * i);
        ping_pong.value++;
        CHECK_STATUS(threading_event_set(ping_pong.ping), THREADING_OK);
        CHECK_STATUS(threading_event_wait(ping_pong.pong), THREADING_OK);
        CHECK_STATUS(threading_event_clear(ping_pong.pong), THREADING_OK);
    }
    join(thread);
    free_event(ping_pong.ping);
    free_event(ping_pong.pong);
}

/* Concurrent sets, clears and waits with and without timeouts. Then a last set must wake all waiters. */
struct stress {
    threading_event *event, *end;
    atomic_long released;
};

static void *set_and_clear_often(void *arg)
{
    struct stress *stress = arg;
    for (int i = 0; i < 10000; i++) {
        CHECK_STATUS(threading_event_set(stress->event), THREADING_OK);
        CHECK_STATUS(threading_event_clear(stress->event), THREADING_OK);
    }
    return NULL;
}

static void *wait_under_stress(void *arg)
{
    struct stress *stress = arg;
    for (unsigned i = 0; !threading_event_is_set(stress->end); i++) {
        threading_status status = i % 2 == 0 ? threading_event_wait_timeout(stress->event, 1e-5)
                                             : threading_event_wait(stress->event);
        if (status == THREADING_OK)
            atomic_fetch_add(&stress->released, 1);
        else
            CHECK_RESULT(status, THREADING_TIMED_OUT);
    }
    return NULL;
}

static void every_wait_returns(void)
{
    struct stress stress = {.event = event_new(), .end = event_new()};
    threading_thread *setters[3], *waiters[4];
    spawn_all(waiters, wait_under_stress, &stress);
    spawn_all(setters, set_and_clear_often, &stress);
    join_all(setters);
    CHECK_STATUS(threading_event_set(stress.end), THREADING_OK);
    CHECK_STATUS(threading_event_set(stress.event), THREADING_OK);
    join_all(waiters);
    CHECK(atomic_load(&stress.released) > 0);
    free_event(stress.event);
    free_event(stress.end);
}

/* One thread stores an item and sets the event, which may be set already. The other waits, clears the event and loads
 * the item. */
struct mailbox {
    threading_event *filled;
    atomic_long item; /* relaxed: only the event orders the accesses */
};

enum { ITEMS = 200000 };

static void *fill(void *arg)
{
    struct mailbox *mailbox = arg;
    for (long i = 1; i <= ITEMS; i++) {
        atomic_store_explicit(&mailbox->item, i, memory_order_relaxed);
        CHECK_STATUS(threading_event_set(mailbox->filled), THREADING_OK);
    }
    return NULL;
}

static void repeated_set_is_not_missed(void)
{
    struct mailbox mailbox = {.filled = event_new()};
    threading_thread *filler = spawn(fill, &mailbox);
    while (atomic_load_explicit(&mailbox.item, memory_order_relaxed) < ITEMS) {
        CHECK_STATUS(threading_event_wait_timeout(mailbox.filled, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_event_clear(mailbox.filled), THREADING_OK);
    }
    join(filler);
    free_event(mailbox.filled);
}

#ifdef STEPWISE
static void *event_for_waking_call(void)
{
    return threading_event_new();
}

static threading_status set_for_waking_call(void *event)
{
    return threading_event_set(event);
}

static threading_status free_for_waking_call(void *event)
{
    return threading_event_free(event);
}

static void *full_semaphore(void)
{
    return threading_semaphore_new(THREADING_SEMAPHORE_MAX);
}

static void check_and_free_full_semaphore(void *semaphore)
{
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_ERR_OVERFLOW);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static void freed_during_a_set(void)
{
    check_freed_during_waking_call(&(struct waking_call){
        event_for_waking_call, wait_event, set_for_waking_call, free_for_waking_call, full_semaphore,
        check_and_free_full_semaphore});
}
#endif

static const struct test_case cases[] = {
    {"a new event is not set; a second set or clear changes nothing", set_and_clear},
    {"a wait for a set event is OK and leaves the event set", wait_for_a_set_event},
    {"a wait with timeout 0 does not block", timeout_zero_does_not_block},
    {"a wait does not time out early", timeout_is_not_shortened},
    {"an invalid timeout is an error, whether the event is set or not", invalid_timeouts},
    {"wait, FOREVER, infinity and TIMEOUT_MAX wait until set", waits_until_set},
    {"set wakes all waiters", set_wakes_all},
    {"a set that is followed by a clear still wakes all waiters", clear_right_after_set},
    {"a wait that begins after a clear blocks, whatever was set before", wait_after_clear_blocks},
    {"a free of an event whose waiters have timed out is OK", free_after_timeouts},
    {"a free of an event that a thread is blocked on is ERR_BUSY and frees nothing", free_with_waiters},
    {"a free right after the set that wakes the waiters is OK, and the waits return", free_after_set},
    {"a free after set that also returns the event's memory to the system is OK, and the waits return",
     free_after_set_returns_memory},
    {"a waiter that runs late returns, even if other events have used the memory of its own", a_waiter_runs_late},
    {"a free by a woken waiter is OK before set has returned", freed_by_a_woken_waiter},
#ifdef STEPWISE
    {"a set does not write to the memory of an event that is freed during the call", freed_during_a_set},
#endif
    {"at_fork_reinit clears a set event", reinit_clears},
    {"a blocked wait is not a cancellation point", blocked_wait_is_not_cancelled},
    {"a set happens before the return of the wait that it ends", set_happens_before_wait_returns},
    {"a load after wait and clear sees what was stored before the last set", repeated_set_is_not_missed},
    {"every wait returns among concurrent sets, clears and timeouts", every_wait_returns},
};

TEST_MAIN(cases)

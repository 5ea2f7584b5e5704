/* Event: a flag that threads wait for. */
#include "test.h"

static threading_event *new_event(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    return event;
}

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
    threading_event *event = new_event();
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

static void wait_for_a_set_one(void)
{
    threading_event *event = new_event();
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

static void timeout_zero_asks_once(void)
{
    threading_event *event = new_event();
    CHECK_STATUS_KEEPS_ERROR(threading_event_wait_timeout(event, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_wait_timeout(event, -0.0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_wait_timeout(event, 5e-324), THREADING_TIMED_OUT);
    free_event(event);
}

static void timeout_is_not_shortened(void)
{
    static const double seconds[] = {1e-9, 0.0005, 0.02, 0.15};
    threading_event *event = new_event();
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_event_wait_timeout(event, seconds[i]), THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        CHECK(!threading_event_is_set(event));
    }
    free_event(event);
}

static void bad_timeouts(void)
{
    threading_event *event = new_event();
    CHECK_BAD_TIMEOUTS(threading_event_wait_timeout(event, seconds));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_event_wait_timeout(event, seconds));
    CHECK(threading_event_is_set(event));
    free_event(event);
}

static void waits_for_ever(void)
{
    threading_status (*const calls[])(void *) = {wait_event, wait_infinity, wait_forever, wait_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_event *event = new_event();
        struct call call;
        call_blocked(&call, calls[i], event);
        CHECK_STATUS(threading_event_clear(event), THREADING_OK); /* wakes nobody */
        CHECK(call_still_blocked(&call));
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        CHECK(threading_event_is_set(event));
        free_event(event);
    }
}

static void *foreign_wait(void *event)
{
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    return event;
}

static void set_wakes_all(void)
{
    threading_event *event = new_event();
    struct call calls[6];
    pthread_t foreign = spawn_foreign(foreign_wait, event);
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
    threading_event *event = new_event();
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

static void set_clear_in_a_later_wait(void)
{
    threading_event *event = new_event();
    struct call call;
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_event_clear(event), THREADING_OK);
    call_blocked(&call, wait_event, event);
    CHECK(call_still_blocked(&call));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_event(event);
}

static void timed_out_waiters_are_gone(void)
{
    threading_event *event = new_event();
    struct call calls[8];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_start(&calls[i], wait_shortly, event);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_TIMED_OUT);
    free_event(event);
}

static void busy_while_blocked(void)
{
    threading_event *event = new_event();
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

static void set_then_free(void)
{
    for (int i = 0; i < 20; i++) {
        threading_event *event = new_event();
        struct call calls[3];
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_event, event);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        if (i % 2 == 1) /* a clear takes back nothing from those that are woken */
            CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
        CHECK_REFUSED(threading_event_is_set(event), THREADING_ERR_HANDLE);
    }
}

/* When the last slot of a block is used up, its memory returns to the system: no waiter reads there any more. */
static void set_then_free_while_blocks_return(void)
{
    enum { OBJECTS = 64300, ROUNDS = 300 }; /* a block serves 1023 * 63 objects */
    for (int i = 0; i < OBJECTS; i++)
        CHECK_STATUS(threading_event_free(new_event()), THREADING_OK);
    for (int i = 0; i < ROUNDS; i++) {
        threading_event *event = new_event();
        struct call call;
        call_blocked(&call, wait_event, event);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        CHECK_STATUS(threading_event_free(event), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
    }
}

/* The waiter of an event frees it, the setter does not know when: neither may touch what is gone. */
static void *set_once(void *event)
{
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return NULL;
}

static void freed_by_the_woken(void)
{
    for (int i = 0; i < 300; i++) {
        threading_event *event = new_event();
        threading_thread *setter = spawn(set_once, event);
        CHECK_STATUS(threading_event_wait(event), THREADING_OK);
        free_event(event);
        join(setter);
    }
}

static void reinit_clears(void)
{
    threading_event *event = new_event();
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

static void no_cancel_point(void)
{
    struct cancelled c = {.event = new_event(), .got = 99};
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

/* Two threads hand a plain number to and fro. */
struct rally {
    threading_event *ping, *pong;
    long value;
};

static void *return_pings(void *arg)
{
    struct rally *rally = arg;
    for (long i = 0; i < 5000; i++) {
        CHECK_STATUS(threading_event_wait(rally->ping), THREADING_OK);
        CHECK_STATUS(threading_event_clear(rally->ping), THREADING_OK);
        CHECK_INT(rally->value, 2 * i + 1);
        rally->value++;
        CHECK_STATUS(threading_event_set(rally->pong), THREADING_OK);
    }
    return NULL;
}

static void orders_memory(void)
{
    struct rally rally = {.ping = new_event(), .pong = new_event()};
    threading_thread *thread = spawn(return_pings, &rally);
    for (long i = 0; i < 5000; i++) {
        CHECK_INT(rally.value, 2 * i);
        rally.value++;
        CHECK_STATUS(threading_event_set(rally.ping), THREADING_OK);
        CHECK_STATUS(threading_event_wait(rally.pong), THREADING_OK);
        CHECK_STATUS(threading_event_clear(rally.pong), THREADING_OK);
    }
    join(thread);
    free_event(rally.ping);
    free_event(rally.pong);
}

/* Set, clear and timed waits from all sides; then a last set must release whoever waits without limit. */
struct turmoil {
    threading_event *event, *end;
    atomic_long released;
};

static void *stir(void *arg)
{
    struct turmoil *turmoil = arg;
    for (int i = 0; i < 10000; i++) {
        CHECK_STATUS(threading_event_set(turmoil->event), THREADING_OK);
        CHECK_STATUS(threading_event_clear(turmoil->event), THREADING_OK);
    }
    return NULL;
}

static void *wait_in_turmoil(void *arg)
{
    struct turmoil *turmoil = arg;
    for (unsigned i = 0; !threading_event_is_set(turmoil->end); i++) {
        threading_status status = i % 2 == 0 ? threading_event_wait_timeout(turmoil->event, 1e-5)
                                             : threading_event_wait(turmoil->event);
        if (status == THREADING_OK)
            atomic_fetch_add(&turmoil->released, 1);
        else
            CHECK_RESULT(status, THREADING_TIMED_OUT);
    }
    return NULL;
}

static void survives_turmoil(void)
{
    struct turmoil turmoil = {.event = new_event(), .end = new_event()};
    threading_thread *stirring[3], *waiting[4];
    for (size_t i = 0; i < TEST_COUNT(waiting); i++)
        waiting[i] = spawn(wait_in_turmoil, &turmoil);
    for (size_t i = 0; i < TEST_COUNT(stirring); i++)
        stirring[i] = spawn(stir, &turmoil);
    for (size_t i = 0; i < TEST_COUNT(stirring); i++)
        join(stirring[i]);
    CHECK_STATUS(threading_event_set(turmoil.end), THREADING_OK);
    CHECK_STATUS(threading_event_set(turmoil.event), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(waiting); i++)
        join(waiting[i]);
    CHECK(atomic_load(&turmoil.released) > 0);
    free_event(turmoil.event);
    free_event(turmoil.end);
}

/* Stores, and sets an event that may be set already; the other waits, clears, and looks. */
struct mailbox {
    threading_event *filled;
    atomic_long item; /* relaxed: only the event orders it */
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

static void set_again_is_not_missed(void)
{
    struct mailbox mailbox = {.filled = new_event()};
    threading_thread *filler = spawn(fill, &mailbox);
    while (atomic_load_explicit(&mailbox.item, memory_order_relaxed) < ITEMS) {
        CHECK_STATUS(threading_event_wait_timeout(mailbox.filled, 20), THREADING_OK);
        CHECK_STATUS(threading_event_clear(mailbox.filled), THREADING_OK);
    }
    join(filler);
    free_event(mailbox.filled);
}

static const struct test_case cases[] = {
    {"a new event is not set; set and clear do so, once or twice alike", set_and_clear},
    {"a wait for a set event is OK at once and leaves it set", wait_for_a_set_one},
    {"a timeout of 0 asks once", timeout_zero_asks_once},
    {"a wait times out not before its time", timeout_is_not_shortened},
    {"a bad timeout is refused, whether the event is set or not", bad_timeouts},
    {"wait, FOREVER, infinity and TIMEOUT_MAX wait until the set", waits_for_ever},
    {"set wakes all that wait", set_wakes_all},
    {"a clear right after the set still releases all that waited", clear_right_after_set},
    {"a wait that begins after the clear has nothing of the set before", set_clear_in_a_later_wait},
    {"waiters that timed out leave nothing behind", timed_out_waiters_are_gone},
    {"freeing an event that a thread is blocked on is BUSY and frees nothing", busy_while_blocked},
    {"an event may be freed right after the set that wakes its waiters", set_then_free},
    {"so it may when its memory returns to the system", set_then_free_while_blocks_return},
    {"a woken waiter may free the event while set has not returned", freed_by_the_woken},
    {"at_fork_reinit makes a set event as new", reinit_clears},
    {"a blocked wait is no cancellation point", no_cancel_point},
    {"what happens before set is seen after the wait that it ends", orders_memory},
    {"a wait after clear misses nothing that was stored before a set", set_again_is_not_missed},
    {"no wait is lost among sets, clears and timeouts from all sides", survives_turmoil},
};

TEST_MAIN(cases)

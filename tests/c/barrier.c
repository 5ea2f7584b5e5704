/* Barrier: a number of threads wait for each other; the last to come runs the action and opens it for all. */
#include "test.h"

#define NO_INDEX ((size_t)-7)

static threading_barrier *new_barrier(size_t parties, threading_action action, void *arg)
{
    threading_barrier *barrier = threading_barrier_new(parties, action, arg);
    CHECK(barrier != NULL);
    return barrier;
}

static void free_barrier(threading_barrier *barrier)
{
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

/* A thread that comes to the barrier, and what became of it. */
struct party {
    threading_barrier *barrier;
    double seconds, start; /* seconds are NAN for the wait without timeout */
    size_t index;
    threading_status status;
    atomic_int returned;
    test_blocker blocker;
    threading_thread *thread;
};

static void *come(void *arg)
{
    struct party *p = arg;
    p->start = now();
    about_to_block(&p->blocker);
    p->status = isnan(p->seconds) ? threading_barrier_wait(p->barrier, &p->index)
                                  : threading_barrier_wait_timeout(p->barrier, p->seconds, &p->index);
    if (p->status < 0)
        CHECK_LAST_ERROR(p->status);
    atomic_store(&p->returned, 1);
    return NULL;
}

static void start_party(struct party *p, threading_barrier *barrier, double seconds)
{
    *p = (struct party){.barrier = barrier, .seconds = seconds, .index = NO_INDEX};
    p->thread = spawn(come, p);
}

static bool still_waits(struct party *p)
{
    sleep_for(0.03);
    return !atomic_load(&p->returned);
}

/* Lets count threads come one after the other, until all of them wait. */
static void gather(struct party *parties, size_t count, threading_barrier *barrier, double seconds)
{
    for (size_t i = 0; i < count; i++) {
        double end = now() + TEST_LIMIT;
        size_t before = threading_barrier_n_waiting(barrier);
        start_party(&parties[i], barrier, seconds);
        while (threading_barrier_n_waiting(barrier) != before + 1 && now() < end)
            sleep_for(0.001);
        CHECK_INT(threading_barrier_n_waiting(barrier), before + 1);
    }
}

static void part(struct party *p, threading_status status, size_t index)
{
    join(p->thread);
    CHECK_RESULT(p->status, status);
    CHECK_INT(p->index, index);
}

static void all_broken(struct party *parties, size_t count)
{
    for (size_t i = 0; i < count; i++)
        part(&parties[i], THREADING_ERR_BROKEN_BARRIER, NO_INDEX);
}

static void new_is_empty(void)
{
    static const size_t parties[] = {1, 2, 1000, 100000};
    for (size_t i = 0; i < TEST_COUNT(parties); i++) {
        threading_barrier *b = new_barrier(parties[i], NULL, NULL);
        threading_clear_last_error();
        CHECK_INT(threading_barrier_parties(b), parties[i]);
        CHECK_INT(threading_barrier_n_waiting(b), 0);
        CHECK(!threading_barrier_broken(b));
        CHECK_LAST_ERROR(THREADING_OK);
        free_barrier(b);
    }
    CHECK_REFUSED(threading_barrier_new(0, NULL, NULL), THREADING_ERR_VALUE);
}

static void one_party_waits_for_nobody(void)
{
    threading_barrier *b = new_barrier(1, NULL, NULL);
    for (int i = 0; i < 10; i++) {
        size_t index = NO_INDEX;
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_wait(b, &index), THREADING_OK);
        CHECK_INT(index, 0);
        index = NO_INDEX;
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_wait_timeout(b, 0, &index), THREADING_OK);
        CHECK_INT(index, 0);
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
        CHECK_INT(threading_barrier_n_waiting(b), 0);
    }
    free_barrier(b);
}

static void index_in_order_of_arrival(void)
{
    const double seconds[] = {NAN, THREADING_FOREVER, INFINITY, THREADING_TIMEOUT_MAX, TEST_LIMIT};
    threading_barrier *b = new_barrier(6, NULL, NULL);
    struct party parties[5];
    for (size_t round = 0; round < TEST_COUNT(seconds); round++) {
        size_t index;
        gather(parties, 5, b, seconds[round]);
        CHECK(still_waits(&parties[0]) && still_waits(&parties[4]));
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0, &index), THREADING_OK);
        CHECK_INT(index, 5);
        for (size_t i = 0; i < 5; i++)
            part(&parties[i], THREADING_OK, i);
        CHECK_INT(threading_barrier_n_waiting(b), 0);
        CHECK(!threading_barrier_broken(b));
    }
    free_barrier(b);
}

/* What an action is to do and what it has seen. */
struct act {
    threading_barrier *barrier;
    struct party *parties;
    int calls, result;
    uint64_t ident;
    size_t n_waiting;
    threading_status (*inside)(threading_barrier *);
    threading_status inside_status;
};

static int act(void *arg)
{
    struct act *a = arg;
    a->calls++;
    a->ident = threading_get_ident();
    a->n_waiting = threading_barrier_n_waiting(a->barrier);
    if (a->parties != NULL)
        for (size_t i = 0; i + 1 < threading_barrier_parties(a->barrier); i++)
            CHECK(still_waits(&a->parties[i]));
    if (a->inside != NULL)
        a->inside_status = a->inside(a->barrier);
    return a->result;
}

/* A barrier of 3 with such an action; two threads wait already. */
static void prepare(struct act *a, struct party *parties)
{
    a->barrier = new_barrier(3, act, a);
    gather(parties, 2, a->barrier, NAN);
}

static void round_of_three(threading_barrier *barrier)
{
    struct party parties[2];
    size_t index = NO_INDEX;
    gather(parties, 2, barrier, NAN);
    CHECK_STATUS(threading_barrier_wait(barrier, &index), THREADING_OK);
    CHECK_INT(index, 2);
    part(&parties[0], THREADING_OK, 0);
    part(&parties[1], THREADING_OK, 1);
}

static void last_one_runs_the_action(void)
{
    struct party parties[3];
    struct act a = {.parties = parties};
    prepare(&a, parties);
    CHECK_INT(a.calls, 0);
    CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_OK);
    CHECK_INT(a.calls, 1);
    CHECK(a.ident == threading_get_ident());
    CHECK_INT(a.n_waiting, 3);
    part(&parties[0], THREADING_OK, 0);
    part(&parties[1], THREADING_OK, 1);
    /* The next time another thread is the last. */
    a.parties = NULL;
    gather(parties, 2, a.barrier, NAN);
    start_party(&parties[2], a.barrier, NAN);
    part(&parties[2], THREADING_OK, 2);
    CHECK_INT(a.calls, 2);
    CHECK(a.ident != threading_get_ident());
    part(&parties[0], THREADING_OK, 0);
    part(&parties[1], THREADING_OK, 1);
    free_barrier(a.barrier);
}

static void failing_action_breaks(void)
{
    static const int results[] = {1, -1, 42};
    for (size_t i = 0; i < TEST_COUNT(results); i++) {
        struct party parties[2];
        struct act a = {.result = results[i]};
        size_t index = NO_INDEX;
        prepare(&a, parties);
        CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_ERR_CALLBACK);
        CHECK_INT(index, NO_INDEX);
        all_broken(parties, 2);
        CHECK(threading_barrier_broken(a.barrier));
        CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_INT(a.calls, 1);
        a.result = 0;
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_reset(a.barrier), THREADING_OK);
        CHECK(!threading_barrier_broken(a.barrier));
        round_of_three(a.barrier);
        CHECK_INT(a.calls, 2);
        free_barrier(a.barrier);
    }
}

static void timeout_breaks_it_for_all(void)
{
    threading_barrier *b = new_barrier(4, NULL, NULL);
    struct party parties[2];
    for (int round = 0; round < 2; round++) {
        size_t index = NO_INDEX;
        double start;
        gather(parties, 2, b, round == 0 ? NAN : TEST_LIMIT);
        start = now();
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0.1, &index), THREADING_ERR_BROKEN_BARRIER);
        CHECK_AT_LEAST(now() - start, 0.1);
        CHECK_INT(index, NO_INDEX);
        all_broken(parties, 2);
        CHECK(threading_barrier_broken(b));
        CHECK_INT(threading_barrier_n_waiting(b), 0);
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    }
    gather(parties, 2, b, NAN);
    CHECK_STATUS(threading_barrier_wait_timeout(b, 0, NULL), THREADING_ERR_BROKEN_BARRIER);
    all_broken(parties, 2);
    CHECK(threading_barrier_broken(b));
    free_barrier(b);
}

static void bad_timeouts(void)
{
    threading_barrier *b = new_barrier(2, NULL, NULL), *alone = new_barrier(1, NULL, NULL);
    struct party party;
    size_t index = NO_INDEX;
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(b, seconds, &index));
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(alone, seconds, &index));
    CHECK_INT(index, NO_INDEX);
    gather(&party, 1, b, NAN);
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(b, seconds, &index));
    CHECK_BAD_TIMEOUTS(threading_barrier_set_timeout(b, seconds));
    CHECK_INT(threading_barrier_n_waiting(b), 1);
    CHECK(!threading_barrier_broken(b));
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    all_broken(&party, 1);
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(b, seconds, &index));
    CHECK_BAD_TIMEOUTS(threading_barrier_set_timeout(b, seconds));
    free_barrier(b);
    free_barrier(alone);
}

static void default_timeout(void)
{
    threading_barrier *b = new_barrier(2, NULL, NULL);
    struct party party;
    double start = now();
    CHECK_STATUS_KEEPS_ERROR(threading_barrier_set_timeout(b, 0.1), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_barrier_set_timeout(b, seconds));
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_AT_LEAST(now() - start, 0.1);
    CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    /* It serves only the wait that names none. */
    gather(&party, 1, b, THREADING_FOREVER);
    while (now() < party.start + 0.2)
        sleep_for(0.01);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    part(&party, THREADING_OK, 0);
    CHECK_STATUS(threading_barrier_set_timeout(b, 0), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    CHECK_STATUS(threading_barrier_set_timeout(b, THREADING_FOREVER), THREADING_OK);
    gather(&party, 1, b, NAN);
    CHECK(still_waits(&party));
    CHECK_STATUS(threading_barrier_set_timeout(b, INFINITY), THREADING_OK);
    CHECK_STATUS(threading_barrier_set_timeout(b, THREADING_TIMEOUT_MAX), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    part(&party, THREADING_OK, 0);
    free_barrier(b);
}

struct slow {
    struct party party;
    int calls;
};

static int outlast_the_timeout(void *arg)
{
    struct slow *slow = arg;
    slow->calls++;
    while (now() < slow->party.start + 0.4)
        sleep_for(0.01);
    CHECK(!atomic_load(&slow->party.returned));
    return 0;
}

static void time_that_runs_out_during_the_action(void)
{
    struct slow slow = {.calls = 0};
    threading_barrier *b = new_barrier(2, outlast_the_timeout, &slow);
    while (slow.calls == 0) { /* on a busy machine this thread may come too late */
        threading_status status;
        start_party(&slow.party, b, 0.3);
        while (threading_barrier_n_waiting(b) == 0 && !threading_barrier_broken(b))
            sleep_for(0.001);
        status = threading_barrier_wait_timeout(b, 0.3, NULL);
        if (slow.calls > 0)
            CHECK_RESULT(status, THREADING_OK);
        part(&slow.party, status, status == THREADING_OK ? 0 : NO_INDEX);
        CHECK_INT(threading_barrier_broken(b), slow.calls == 0);
        CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    }
    free_barrier(b);
}

static void reset_with_waiters(void)
{
    threading_barrier *b = new_barrier(3, NULL, NULL);
    struct party parties[2];
    CHECK_STATUS_KEEPS_ERROR(threading_barrier_reset(b), THREADING_OK);
    for (int round = 0; round < 3; round++) {
        gather(parties, 2, b, NAN);
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_reset(b), THREADING_OK);
        CHECK(!threading_barrier_broken(b));
        /* Those that come now belong to the next round, even if the others have not left yet. */
        round_of_three(b);
        all_broken(parties, 2);
    }
    free_barrier(b);
}

static void abort_with_waiters(void)
{
    threading_barrier *b = new_barrier(3, NULL, NULL);
    struct party parties[2];
    gather(parties, 2, b, NAN);
    CHECK_STATUS_KEEPS_ERROR(threading_barrier_abort(b), THREADING_OK);
    CHECK(threading_barrier_broken(b));
    all_broken(parties, 2);
    CHECK_INT(threading_barrier_n_waiting(b), 0);
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    CHECK(!threading_barrier_broken(b));
    round_of_three(b);
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    CHECK(threading_barrier_broken(b));
    free_barrier(b);
}

/* Abort or reset from inside the action, which may fail as well. */
static void spoil(threading_status (*inside)(threading_barrier *), bool broken)
{
    for (int result = 0; result < 2; result++) {
        struct party parties[2];
        struct act a = {.inside = inside, .inside_status = 99, .result = result};
        size_t index = NO_INDEX;
        prepare(&a, parties);
        CHECK_STATUS(threading_barrier_wait(a.barrier, &index),
                     result == 0 ? THREADING_ERR_BROKEN_BARRIER : THREADING_ERR_CALLBACK);
        CHECK_INT(index, NO_INDEX);
        CHECK_RESULT(a.inside_status, THREADING_OK);
        all_broken(parties, 2);
        if (result == 0)
            CHECK_INT(threading_barrier_broken(a.barrier), broken);
        a.inside = NULL;
        a.result = 0;
        if (broken || result != 0)
            CHECK_STATUS(threading_barrier_reset(a.barrier), THREADING_OK);
        round_of_three(a.barrier);
        CHECK_INT(a.calls, 2);
        free_barrier(a.barrier);
    }
}

static void abort_inside_the_action(void)
{
    spoil(threading_barrier_abort, true);
}

static void reset_inside_the_action(void)
{
    spoil(threading_barrier_reset, false);
}

static threading_status wait_inside(threading_barrier *barrier)
{
    size_t index = NO_INDEX;
    CHECK_STATUS(threading_barrier_wait(barrier, &index), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, 0, NULL), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, 1, &index), THREADING_ERR_DEADLOCK);
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(barrier, seconds, &index));
    CHECK_INT(index, NO_INDEX);
    return THREADING_OK;
}

static void wait_inside_the_action(void)
{
    struct party parties[2];
    struct act a = {.inside = wait_inside, .inside_status = 99};
    prepare(&a, parties);
    CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_OK);
    CHECK_RESULT(a.inside_status, THREADING_OK);
    part(&parties[0], THREADING_OK, 0);
    part(&parties[1], THREADING_OK, 1);
    CHECK(!threading_barrier_broken(a.barrier));
    round_of_three(a.barrier);
    free_barrier(a.barrier);
}

struct gate {
    atomic_int entered, open;
    int result;
};

static int pass_gate(void *arg)
{
    struct gate *gate = arg;
    atomic_store(&gate->entered, 1);
    wait_until(is_nonzero, &gate->open);
    return gate->result;
}

/* A third thread comes while the action of the two before runs, which ends with the result. */
static void come_during_the_action(struct gate *gate, int result)
{
    threading_barrier *b = new_barrier(2, pass_gate, gate);
    struct party first[2], second;
    *gate = (struct gate){.result = result};
    gather(first, 1, b, NAN);
    start_party(&first[1], b, NAN);
    wait_until(is_nonzero, &gate->entered);
    start_party(&second, b, NAN);
    wait_until_blocked(&second.blocker);
    CHECK(!atomic_load(&first[0].returned) && !atomic_load(&second.returned));
    atomic_store(&gate->open, 1);
    part(&first[0], result == 0 ? THREADING_OK : THREADING_ERR_BROKEN_BARRIER, result == 0 ? 0 : NO_INDEX);
    part(&first[1], result == 0 ? THREADING_OK : THREADING_ERR_CALLBACK, result == 0 ? 1 : NO_INDEX);
    if (result == 0) {
        CHECK(still_waits(&second));
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
        part(&second, THREADING_OK, 0);
    } else {
        part(&second, THREADING_ERR_BROKEN_BARRIER, NO_INDEX);
    }
    free_barrier(b);
}

static void newcomers_during_the_action(void)
{
    struct gate gate;
    come_during_the_action(&gate, 0);
    come_during_the_action(&gate, 1);
}

static void busy_while_blocked(void)
{
    threading_barrier *b = new_barrier(3, NULL, NULL);
    struct party parties[2];
    gather(parties, 2, b, NAN);
    CHECK_PTR(threading_barrier_ref(b), b);
    CHECK_STATUS(threading_barrier_free(b), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_BUSY);
    CHECK_INT(threading_barrier_n_waiting(b), 2);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    part(&parties[0], THREADING_OK, 0);
    part(&parties[1], THREADING_OK, 1);
    free_barrier(b);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_HANDLE);
}

/* The last to come, abort and reset wake the others; all three may be followed by free. */
static void wake_then_free(void)
{
    for (int i = 0; i < 30; i++) {
        threading_barrier *b = new_barrier(4, NULL, NULL);
        struct party parties[3];
        gather(parties, 3, b, NAN);
        CHECK_STATUS(i % 3 == 0   ? threading_barrier_wait(b, NULL)
                     : i % 3 == 1 ? threading_barrier_abort(b)
                                  : threading_barrier_reset(b),
                     THREADING_OK);
        free_barrier(b);
        if (i % 3 != 0)
            all_broken(parties, 3);
        else
            for (size_t k = 0; k < 3; k++)
                part(&parties[k], THREADING_OK, k);
        CHECK_REFUSED(threading_barrier_parties(b), THREADING_ERR_HANDLE);
    }
}

static void free_inside_the_action(void)
{
    struct act a = {.inside = threading_barrier_free, .inside_status = 99};
    size_t index = NO_INDEX;
    a.barrier = new_barrier(1, act, &a);
    CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_OK);
    CHECK_INT(index, 0);
    CHECK_RESULT(a.inside_status, THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_ERR_HANDLE);
}

static void *wait_and_be_cancelled(void *arg)
{
    come(arg);
    pthread_testcancel();
    return NULL;
}

static bool somebody_waits(void *barrier)
{
    return threading_barrier_n_waiting(barrier) > 0;
}

static void no_cancel_point(void)
{
    struct party p = {.barrier = new_barrier(2, NULL, NULL), .seconds = NAN};
    pthread_t thread = spawn_foreign(wait_and_be_cancelled, &p);
    wait_until(somebody_waits, p.barrier);
    CHECK_INT(pthread_cancel(thread), 0);
    CHECK(still_waits(&p));
    CHECK_STATUS(threading_barrier_wait(p.barrier, NULL), THREADING_OK);
    CHECK_PTR(join_foreign(thread), PTHREAD_CANCELED);
    CHECK_RESULT(p.status, THREADING_OK);
    free_barrier(p.barrier);
}

/* Round after round: each index once, one action before anyone goes on, and every thread sees what all have
 * written before they came. */
struct march {
    threading_barrier *barrier;
    long steps[5], indices[5], actions;
    atomic_int places;
};

static int count_round(void *arg)
{
    struct march *march = arg;
    march->actions++;
    for (size_t i = 0; i < TEST_COUNT(march->steps); i++)
        CHECK_INT(march->steps[i], march->actions);
    return 0;
}

static void *march_along(void *arg)
{
    struct march *march = arg;
    int place = atomic_fetch_add(&march->places, 1);
    for (long step = 1; step <= test_many(10000); step++) {
        size_t index = NO_INDEX;
        march->steps[place] = step;
        CHECK_STATUS(threading_barrier_wait(march->barrier, &index), THREADING_OK);
        CHECK_INT(march->actions, step);
        CHECK(index < TEST_COUNT(march->indices));
        march->indices[index]++; /* its own in this round */
    }
    return NULL;
}

static void rounds_stay_apart(void)
{
    struct march march = {.places = 0};
    threading_thread *threads[4];
    pthread_t foreign;
    march.barrier = new_barrier(5, count_round, &march);
    foreign = spawn_foreign(march_along, &march);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(march_along, &march);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        join(threads[i]);
    join_foreign(foreign);
    CHECK_INT(march.actions, test_many(10000));
    for (size_t i = 0; i < TEST_COUNT(march.indices); i++)
        CHECK_INT(march.indices[i], test_many(10000));
    free_barrier(march.barrier);
}

/* Waits with and without timeouts among aborts and resets: each ends, and ends well or broken. */
struct turmoil {
    threading_barrier *barrier;
    atomic_int over;
    atomic_long passed, broken;
};

static void *wait_in_turmoil(void *arg)
{
    struct turmoil *turmoil = arg;
    for (unsigned i = 0; !atomic_load(&turmoil->over); i++) {
        size_t index = NO_INDEX;
        threading_status status = i % 4 == 0
                                      ? threading_barrier_wait_timeout(turmoil->barrier, 1e-4, &index)
                                      : threading_barrier_wait(turmoil->barrier, &index);
        if (status == THREADING_OK) {
            CHECK(index < 3);
            atomic_fetch_add(&turmoil->passed, 1);
        } else {
            CHECK_RESULT(status, THREADING_ERR_BROKEN_BARRIER);
            atomic_fetch_add(&turmoil->broken, 1);
        }
    }
    return NULL;
}

static void survives_turmoil(void)
{
    struct turmoil turmoil = {.barrier = new_barrier(3, NULL, NULL)};
    threading_thread *threads[6];
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(wait_in_turmoil, &turmoil);
    for (double stop = now() + 1; now() < stop; sleep_for(0.0001)) {
        if (atomic_load(&turmoil.broken) % 3 == 0)
            CHECK_STATUS(threading_barrier_abort(turmoil.barrier), THREADING_OK);
        CHECK_STATUS(threading_barrier_reset(turmoil.barrier), THREADING_OK);
    }
    atomic_store(&turmoil.over, 1);
    CHECK_STATUS(threading_barrier_abort(turmoil.barrier), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        join(threads[i]);
    CHECK(atomic_load(&turmoil.passed) > 0);
    CHECK(atomic_load(&turmoil.broken) > 0);
    CHECK_STATUS(threading_barrier_reset(turmoil.barrier), THREADING_OK);
    round_of_three(turmoil.barrier);
    free_barrier(turmoil.barrier);
}

static const struct test_case cases[] = {
    {"a new barrier is empty and not broken; 0 parties are ERR_VALUE", new_is_empty},
    {"a barrier of one waits for nobody", one_party_waits_for_nobody},
    {"nobody passes before the last has come; the index is the order of arrival", index_in_order_of_arrival},
    {"the last to come runs the action before anyone returns", last_one_runs_the_action},
    {"a failing action is CALLBACK for the last and breaks the others' wait", failing_action_breaks},
    {"a time that runs out breaks the barrier for all, for itself included", timeout_breaks_it_for_all},
    {"a bad timeout is refused in every state and changes nothing", bad_timeouts},
    {"the default timeout serves the wait that names none", default_timeout},
    {"a time that runs out during the action does not matter", time_that_runs_out_during_the_action},
    {"reset breaks those that wait, and the barrier is as new", reset_with_waiters},
    {"abort breaks those that wait and all later waits, until reset", abort_with_waiters},
    {"abort inside the action breaks the round for all", abort_inside_the_action},
    {"reset inside the action breaks the round for all, not the barrier", reset_inside_the_action},
    {"wait inside the action is DEADLOCK, and the round succeeds", wait_inside_the_action},
    {"who comes during the action waits for the next round, or finds it broken", newcomers_during_the_action},
    {"freeing a barrier that threads are blocked on is BUSY and frees nothing", busy_while_blocked},
    {"a barrier may be freed right after what wakes its waiters", wake_then_free},
    {"a barrier may be freed inside its own action", free_inside_the_action},
    {"a blocked wait is no cancellation point", no_cancel_point},
    {"ten thousand rounds stay apart", rounds_stay_apart},
    {"every wait ends among aborts, resets and timeouts", survives_turmoil},
};

TEST_MAIN(cases)

/* Barrier: a fixed number of threads wait for each other. The last to arrive runs the action and releases all. */
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

/* A thread that waits at the barrier, and what its wait returned. */
struct party {
    threading_barrier *barrier;
    double seconds, start; /* `seconds` is NAN for threading_barrier_wait */
    size_t index;
    threading_status status;
    atomic_int returned;
    test_blocker blocker;
    threading_thread *thread;
};

static void *arrive(void *arg)
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
    p->thread = spawn(arrive, p);
}

static bool still_waits(struct party *p)
{
    sleep_for(0.03);
    return !atomic_load(&p->returned);
}

/* Starts `count` threads one after the other and returns when all of them wait. */
static void start_waiting(struct party *parties, size_t count, threading_barrier *barrier, double seconds)
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

static void finish(struct party *p, threading_status status, size_t index)
{
    join(p->thread);
    CHECK_RESULT(p->status, status);
    CHECK_INT(p->index, index);
}

static void finish_passed(struct party *parties, size_t count)
{
    for (size_t i = 0; i < count; i++)
        finish(&parties[i], THREADING_OK, i);
}

static void finish_broken(struct party *parties, size_t count)
{
    for (size_t i = 0; i < count; i++)
        finish(&parties[i], THREADING_ERR_BROKEN_BARRIER, NO_INDEX);
}

static void new_has_no_waiters(void)
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
    CHECK_FAILS(threading_barrier_new(0, NULL, NULL), THREADING_ERR_VALUE);
}

static void one_party_does_not_wait(void)
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
    for (size_t generation = 0; generation < TEST_COUNT(seconds); generation++) {
        size_t index;
        start_waiting(parties, 5, b, seconds[generation]);
        CHECK(still_waits(&parties[0]) && still_waits(&parties[4]));
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0, &index), THREADING_OK);
        CHECK_INT(index, 5);
        finish_passed(parties, 5);
        CHECK_INT(threading_barrier_n_waiting(b), 0);
        CHECK(!threading_barrier_broken(b));
    }
    free_barrier(b);
}

/* What the action does, and what it has observed. */
struct action {
    threading_barrier *barrier;
    struct party *parties;
    int calls, result;
    uint64_t ident;
    size_t n_waiting;
    threading_status (*inside)(threading_barrier *);
    threading_status inside_status;
};

static int run_action(void *arg)
{
    struct action *a = arg;
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

/* Creates a barrier for 3 threads with this action and starts 2 of them, which wait. */
static void start_two_of_three(struct action *a, struct party *parties)
{
    a->barrier = new_barrier(3, run_action, a);
    start_waiting(parties, 2, a->barrier, NAN);
}

static void pass_with_three(threading_barrier *barrier)
{
    struct party parties[2];
    size_t index = NO_INDEX;
    start_waiting(parties, 2, barrier, NAN);
    CHECK_STATUS(threading_barrier_wait(barrier, &index), THREADING_OK);
    CHECK_INT(index, 2);
    finish_passed(parties, 2);
}

static void last_arrival_runs_the_action(void)
{
    struct party parties[3];
    struct action a = {.parties = parties};
    start_two_of_three(&a, parties);
    CHECK_INT(a.calls, 0);
    CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_OK);
    CHECK_INT(a.calls, 1);
    CHECK(a.ident == threading_get_ident());
    CHECK_INT(a.n_waiting, 3);
    finish_passed(parties, 2);
    /* In the next generation another thread is the last. */
    a.parties = NULL;
    start_waiting(parties, 2, a.barrier, NAN);
    start_party(&parties[2], a.barrier, NAN);
    finish(&parties[2], THREADING_OK, 2);
    CHECK_INT(a.calls, 2);
    CHECK(a.ident != threading_get_ident());
    finish_passed(parties, 2);
    free_barrier(a.barrier);
}

static void failing_action_breaks(void)
{
    static const int results[] = {1, -1, 42};
    for (size_t i = 0; i < TEST_COUNT(results); i++) {
        struct party parties[2];
        struct action a = {.result = results[i]};
        size_t index = NO_INDEX;
        start_two_of_three(&a, parties);
        CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_ERR_CALLBACK);
        CHECK_INT(index, NO_INDEX);
        finish_broken(parties, 2);
        CHECK(threading_barrier_broken(a.barrier));
        CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_INT(a.calls, 1);
        a.result = 0;
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_reset(a.barrier), THREADING_OK);
        CHECK(!threading_barrier_broken(a.barrier));
        pass_with_three(a.barrier);
        CHECK_INT(a.calls, 2);
        free_barrier(a.barrier);
    }
}

static void timeout_breaks_the_barrier(void)
{
    threading_barrier *b = new_barrier(4, NULL, NULL);
    struct party parties[2];
    for (int generation = 0; generation < 2; generation++) {
        size_t index = NO_INDEX;
        double start;
        start_waiting(parties, 2, b, generation == 0 ? NAN : TEST_LIMIT);
        start = now();
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0.1, &index), THREADING_ERR_BROKEN_BARRIER);
        CHECK_AT_LEAST(now() - start, 0.1);
        CHECK_INT(index, NO_INDEX);
        finish_broken(parties, 2);
        CHECK(threading_barrier_broken(b));
        CHECK_INT(threading_barrier_n_waiting(b), 0);
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_wait_timeout(b, 0, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    }
    start_waiting(parties, 2, b, NAN);
    CHECK_STATUS(threading_barrier_wait_timeout(b, 0, NULL), THREADING_ERR_BROKEN_BARRIER);
    finish_broken(parties, 2);
    CHECK(threading_barrier_broken(b));
    free_barrier(b);
}

static void invalid_timeouts(void)
{
    threading_barrier *b = new_barrier(2, NULL, NULL), *alone = new_barrier(1, NULL, NULL);
    struct party party;
    size_t index = NO_INDEX;
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(b, seconds, &index));
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(alone, seconds, &index));
    CHECK_INT(index, NO_INDEX);
    start_waiting(&party, 1, b, NAN);
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(b, seconds, &index));
    CHECK_BAD_TIMEOUTS(threading_barrier_set_timeout(b, seconds));
    CHECK_INT(threading_barrier_n_waiting(b), 1);
    CHECK(!threading_barrier_broken(b));
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    finish_broken(&party, 1);
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
    /* The default does not apply to a wait with a timeout of its own. */
    start_waiting(&party, 1, b, THREADING_FOREVER);
    while (now() < party.start + 0.2)
        sleep_for(0.01);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    finish(&party, THREADING_OK, 0);
    CHECK_STATUS(threading_barrier_set_timeout(b, 0), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    CHECK_STATUS(threading_barrier_set_timeout(b, THREADING_FOREVER), THREADING_OK);
    start_waiting(&party, 1, b, NAN);
    CHECK(still_waits(&party));
    CHECK_STATUS(threading_barrier_set_timeout(b, INFINITY), THREADING_OK);
    CHECK_STATUS(threading_barrier_set_timeout(b, THREADING_TIMEOUT_MAX), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    finish(&party, THREADING_OK, 0);
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

static void timeout_expires_during_the_action(void)
{
    struct slow slow = {.calls = 0};
    threading_barrier *b = new_barrier(2, outlast_the_timeout, &slow);
    while (slow.calls == 0) { /* on a loaded machine this thread may arrive too late */
        threading_status status;
        start_party(&slow.party, b, 0.3);
        while (threading_barrier_n_waiting(b) == 0 && !threading_barrier_broken(b))
            sleep_for(0.001);
        status = threading_barrier_wait_timeout(b, 0.3, NULL);
        if (slow.calls > 0)
            CHECK_RESULT(status, THREADING_OK);
        finish(&slow.party, status, status == THREADING_OK ? 0 : NO_INDEX);
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
    for (int generation = 0; generation < 3; generation++) {
        start_waiting(parties, 2, b, NAN);
        CHECK_STATUS_KEEPS_ERROR(threading_barrier_reset(b), THREADING_OK);
        CHECK(!threading_barrier_broken(b));
        /* New arrivals belong to the next generation, even if waiters of the last one have not returned yet. */
        pass_with_three(b);
        finish_broken(parties, 2);
    }
    free_barrier(b);
}

static void abort_with_waiters(void)
{
    threading_barrier *b = new_barrier(3, NULL, NULL);
    struct party parties[2];
    start_waiting(parties, 2, b, NAN);
    CHECK_STATUS_KEEPS_ERROR(threading_barrier_abort(b), THREADING_OK);
    CHECK(threading_barrier_broken(b));
    finish_broken(parties, 2);
    CHECK_INT(threading_barrier_n_waiting(b), 0);
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_STATUS(threading_barrier_reset(b), THREADING_OK);
    CHECK(!threading_barrier_broken(b));
    pass_with_three(b);
    CHECK_STATUS(threading_barrier_abort(b), THREADING_OK);
    CHECK(threading_barrier_broken(b));
    free_barrier(b);
}

/* Calls abort or reset in the action, which then succeeds or fails. */
static void break_in_the_action(threading_status (*inside)(threading_barrier *), bool broken)
{
    for (int result = 0; result < 2; result++) {
        struct party parties[2];
        struct action a = {.inside = inside, .inside_status = 99, .result = result};
        size_t index = NO_INDEX;
        start_two_of_three(&a, parties);
        CHECK_STATUS(threading_barrier_wait(a.barrier, &index),
                     result == 0 ? THREADING_ERR_BROKEN_BARRIER : THREADING_ERR_CALLBACK);
        CHECK_INT(index, NO_INDEX);
        CHECK_RESULT(a.inside_status, THREADING_OK);
        finish_broken(parties, 2);
        if (result == 0)
            CHECK_INT(threading_barrier_broken(a.barrier), broken);
        a.inside = NULL;
        a.result = 0;
        if (broken || result != 0)
            CHECK_STATUS(threading_barrier_reset(a.barrier), THREADING_OK);
        pass_with_three(a.barrier);
        CHECK_INT(a.calls, 2);
        free_barrier(a.barrier);
    }
}

static threading_status abort_and_check(threading_barrier *barrier)
{
    CHECK_INT(threading_barrier_n_waiting(barrier), 3);
    CHECK_STATUS(threading_barrier_abort(barrier), THREADING_OK);
    CHECK_INT(threading_barrier_n_waiting(barrier), 0);
    return THREADING_OK;
}

static void abort_in_the_action(void)
{
    break_in_the_action(abort_and_check, true);
}

static void reset_in_the_action(void)
{
    break_in_the_action(threading_barrier_reset, false);
}

static threading_status wait_in_action(threading_barrier *barrier)
{
    size_t index = NO_INDEX;
    CHECK_STATUS(threading_barrier_wait(barrier, &index), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, 0, NULL), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, 1, &index), THREADING_ERR_DEADLOCK);
    CHECK_BAD_TIMEOUTS(threading_barrier_wait_timeout(barrier, seconds, &index));
    CHECK_INT(index, NO_INDEX);
    return THREADING_OK;
}

static void wait_in_the_action(void)
{
    struct party parties[2];
    struct action a = {.inside = wait_in_action, .inside_status = 99};
    start_two_of_three(&a, parties);
    CHECK_STATUS(threading_barrier_wait(a.barrier, NULL), THREADING_OK);
    CHECK_RESULT(a.inside_status, THREADING_OK);
    finish_passed(parties, 2);
    CHECK(!threading_barrier_broken(a.barrier));
    pass_with_three(a.barrier);
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

/* A third thread arrives while the action of the first two runs. The action then returns `result`. */
static void arrive_during_the_action(struct gate *gate, int result)
{
    threading_barrier *b = new_barrier(2, pass_gate, gate);
    struct party first[2], second;
    *gate = (struct gate){.result = result};
    start_waiting(first, 1, b, NAN);
    start_party(&first[1], b, NAN);
    wait_until(is_nonzero, &gate->entered);
    start_party(&second, b, NAN);
    wait_until_blocked(&second.blocker);
    CHECK(!atomic_load(&first[0].returned) && !atomic_load(&second.returned));
    atomic_store(&gate->open, 1);
    finish(&first[0], result == 0 ? THREADING_OK : THREADING_ERR_BROKEN_BARRIER, result == 0 ? 0 : NO_INDEX);
    finish(&first[1], result == 0 ? THREADING_OK : THREADING_ERR_CALLBACK, result == 0 ? 1 : NO_INDEX);
    if (result == 0) {
        CHECK(still_waits(&second));
        CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
        finish(&second, THREADING_OK, 0);
    } else {
        finish(&second, THREADING_ERR_BROKEN_BARRIER, NO_INDEX);
    }
    free_barrier(b);
}

static void arrivals_during_the_action(void)
{
    struct gate gate;
    arrive_during_the_action(&gate, 0);
    arrive_during_the_action(&gate, 1);
}

static void free_with_waiters(void)
{
    threading_barrier *b = new_barrier(3, NULL, NULL);
    struct party parties[2];
    start_waiting(parties, 2, b, NAN);
    CHECK_PTR(threading_barrier_ref(b), b);
    CHECK_STATUS(threading_barrier_free(b), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_BUSY);
    CHECK_INT(threading_barrier_n_waiting(b), 2);
    CHECK_STATUS(threading_barrier_wait(b, NULL), THREADING_OK);
    finish_passed(parties, 2);
    free_barrier(b);
    CHECK_STATUS(threading_barrier_free(b), THREADING_ERR_HANDLE);
}

/* The last arrival, an abort and a reset wake the waiters. After each of them the barrier may be freed. */
static void free_after_wake(void)
{
    for (int i = 0; i < 30; i++) {
        threading_barrier *b = new_barrier(4, NULL, NULL);
        struct party parties[3];
        start_waiting(parties, 3, b, NAN);
        CHECK_STATUS(i % 3 == 0   ? threading_barrier_wait(b, NULL)
                     : i % 3 == 1 ? threading_barrier_abort(b)
                                  : threading_barrier_reset(b),
                     THREADING_OK);
        free_barrier(b);
        if (i % 3 != 0)
            finish_broken(parties, 3);
        else
            finish_passed(parties, 3);
        CHECK_FAILS(threading_barrier_parties(b), THREADING_ERR_HANDLE);
    }
}

static void free_in_the_action(void)
{
    struct action a = {.inside = threading_barrier_free, .inside_status = 99};
    size_t index = NO_INDEX;
    a.barrier = new_barrier(1, run_action, &a);
    CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_OK);
    CHECK_INT(index, 0);
    CHECK_RESULT(a.inside_status, THREADING_OK);
    CHECK_STATUS(threading_barrier_wait(a.barrier, &index), THREADING_ERR_HANDLE);
}

static void *wait_and_be_cancelled(void *arg)
{
    arrive(arg);
    pthread_testcancel();
    return NULL;
}

static bool has_waiters(void *barrier)
{
    return threading_barrier_n_waiting(barrier) > 0;
}

static void blocked_wait_is_not_cancelled(void)
{
    struct party p = {.barrier = new_barrier(2, NULL, NULL), .seconds = NAN};
    pthread_t thread = spawn_foreign(wait_and_be_cancelled, &p);
    wait_until(has_waiters, p.barrier);
    CHECK_INT(pthread_cancel(thread), 0);
    CHECK(still_waits(&p));
    CHECK_STATUS(threading_barrier_wait(p.barrier, NULL), THREADING_OK);
    CHECK_PTR(join_foreign(thread), PTHREAD_CANCELED);
    CHECK_RESULT(p.status, THREADING_OK);
    free_barrier(p.barrier);
}

/* In each generation each index is returned once, the action runs once before any wait returns, and every thread sees
 * what all threads wrote before they arrived. */
struct generations {
    threading_barrier *barrier;
    long steps[5], indices[5], actions;
    atomic_int threads_started;
};

static int count_generation(void *arg)
{
    struct generations *generations = arg;
    generations->actions++;
    for (size_t i = 0; i < TEST_COUNT(generations->steps); i++)
        CHECK_INT(generations->steps[i], generations->actions);
    return 0;
}

static void *pass_generations(void *arg)
{
    struct generations *generations = arg;
    int thread = atomic_fetch_add(&generations->threads_started, 1);
    for (long step = 1; step <= test_many(10000); step++) {
        size_t index = NO_INDEX;
        generations->steps[thread] = step;
        CHECK_STATUS(threading_barrier_wait(generations->barrier, &index), THREADING_OK);
        CHECK_INT(generations->actions, step);
        CHECK(index < TEST_COUNT(generations->indices));
        generations->indices[index]++; /* no other thread has this index in this generation */
    }
    return NULL;
}

static void generations_do_not_mix(void)
{
    struct generations generations = {.threads_started = 0};
    threading_thread *threads[4];
    pthread_t foreign;
    generations.barrier = new_barrier(5, count_generation, &generations);
    foreign = spawn_foreign(pass_generations, &generations);
    spawn_all(threads, pass_generations, &generations);
    join_all(threads);
    join_foreign(foreign);
    CHECK_INT(generations.actions, test_many(10000));
    for (size_t i = 0; i < TEST_COUNT(generations.indices); i++)
        CHECK_INT(generations.indices[i], test_many(10000));
    free_barrier(generations.barrier);
}

/* Waits with and without timeouts, concurrent with aborts and resets: each returns OK or ERR_BROKEN_BARRIER. */
struct stress {
    threading_barrier *barrier;
    atomic_int over;
    atomic_long passed, broken;
};

static void *wait_under_stress(void *arg)
{
    struct stress *stress = arg;
    for (unsigned i = 0; !atomic_load(&stress->over); i++) {
        size_t index = NO_INDEX;
        threading_status status = i % 4 == 0
                                      ? threading_barrier_wait_timeout(stress->barrier, 1e-4, &index)
                                      : threading_barrier_wait(stress->barrier, &index);
        if (status == THREADING_OK) {
            CHECK(index < 3);
            atomic_fetch_add(&stress->passed, 1);
        } else {
            CHECK_RESULT(status, THREADING_ERR_BROKEN_BARRIER);
            atomic_fetch_add(&stress->broken, 1);
        }
    }
    return NULL;
}

static void every_wait_returns(void)
{
    struct stress stress = {.barrier = new_barrier(3, NULL, NULL)};
    threading_thread *threads[6];
    spawn_all(threads, wait_under_stress, &stress);
    for (double stop = now() + 1; now() < stop; sleep_for(0.0001)) {
        if (atomic_load(&stress.broken) % 3 == 0)
            CHECK_STATUS(threading_barrier_abort(stress.barrier), THREADING_OK);
        CHECK_STATUS(threading_barrier_reset(stress.barrier), THREADING_OK);
    }
    atomic_store(&stress.over, 1);
    CHECK_STATUS(threading_barrier_abort(stress.barrier), THREADING_OK);
    join_all(threads);
    CHECK(atomic_load(&stress.passed) > 0);
    CHECK(atomic_load(&stress.broken) > 0);
    CHECK_STATUS(threading_barrier_reset(stress.barrier), THREADING_OK);
    pass_with_three(stress.barrier);
    free_barrier(stress.barrier);
}

static const struct test_case cases[] = {
    {"a new barrier has no waiters and is not broken; a barrier for 0 threads is ERR_VALUE", new_has_no_waiters},
    {"a wait at a barrier for one thread returns OK without waiting", one_party_does_not_wait},
    {"a wait returns after the last thread has arrived, with the order of arrival as index", index_in_order_of_arrival},
    {"the last thread to arrive runs the action before any wait returns", last_arrival_runs_the_action},
    {"a failing action is ERR_CALLBACK for its thread and ERR_BROKEN_BARRIER for the others", failing_action_breaks},
    {"a wait that times out breaks the barrier, also for its own thread", timeout_breaks_the_barrier},
    {"an invalid timeout is an error in every state and changes nothing", invalid_timeouts},
    {"the default timeout applies to a wait without timeout", default_timeout},
    {"a timeout that expires while the action runs has no effect", timeout_expires_during_the_action},
    {"reset with waiters is ERR_BROKEN_BARRIER for them and leaves the barrier usable", reset_with_waiters},
    {"abort is ERR_BROKEN_BARRIER for the waiters and for all later waits until reset", abort_with_waiters},
    {"abort in the action breaks the barrier for all threads", abort_in_the_action},
    {"reset in the action is ERR_BROKEN_BARRIER for all threads and leaves the barrier usable", reset_in_the_action},
    {"a wait in the action is ERR_DEADLOCK and does not break the barrier", wait_in_the_action},
    {"a thread that arrives while the action runs waits for the next generation, if the action succeeds",
     arrivals_during_the_action},
    {"a free of a barrier with waiters is ERR_BUSY and frees nothing", free_with_waiters},
    {"a free right after the call that wakes the waiters is OK, and the waits return", free_after_wake},
    {"a free in the barrier's own action is OK, and the wait returns", free_in_the_action},
    {"a blocked wait is not a cancellation point", blocked_wait_is_not_cancelled},
    {"in each of 10,000 generations, a thread sees all earlier writes, and the action runs once",
     generations_do_not_mix},
    {"every wait returns among concurrent aborts, resets and timeouts", every_wait_returns},
};

TEST_MAIN(cases)

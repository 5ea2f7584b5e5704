/* Deadlocks, in children of fork: rings of two to five threads, each of which waits for the next one by a lock, an
 * RLock, a condition after a notify, or a join. Other threads wait in a ring with a timeout, which is no deadlock, and
 * for a thread of a ring. Each dump must show the rings as deadlocks, and no others. */
#ifndef DUMPS_DEADLOCKS_H
#define DUMPS_DEADLOCKS_H

#include "dumps_load.h"

enum { MAX_RINGS = 3, MAX_MEMBERS = 5 };

/* How a thread waits for the next one. */
enum edge { BY_LOCK, BY_RLOCK, BY_CONDITION, BY_JOIN, EDGES };

struct ring;

struct member {
    struct ring *ring;
    unsigned number;
    enum edge edge;
    /* What the thread before this one waits for. */
    bool is_reentrant;
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    bool has_timeout, is_freed;
    _Atomic int runs, owns, waits;
    threading_thread *thread;
};

static struct ring {
    unsigned size, first;
    struct member members[MAX_MEMBERS];
} rings[MAX_RINGS];
static unsigned ring_count, deadlocked_count;

static atomic_uint hang_reports;

static inline struct member *next_member(struct member *member)
{
    return &member->ring->members[(member->number + 1) % member->ring->size];
}

static inline struct member *previous_member(struct member *member)
{
    return &member->ring->members[(member->number + member->ring->size - 1) % member->ring->size];
}

static inline void await_flag(_Atomic int *flag)
{
    while (!atomic_load(flag))
        sleep_for(50e-6);
}

static inline void acquire_of(struct member *member)
{
    OK(member->is_reentrant ? threading_rlock_acquire(member->rlock) : threading_lock_acquire(member->lock));
}

static inline void *ring_thread(void *arg)
{
    struct member *member = arg, *next = next_member(member), *previous = previous_member(member);
    atomic_store(&member->runs, true);
    if (previous->edge != BY_JOIN) {
        if (previous->edge == BY_CONDITION)
            await_flag(&previous->waits);
        acquire_of(member);
        if (previous->edge == BY_CONDITION) {
            OK(threading_condition_notify_all(member->condition));
            if (member->is_freed)
                OK(threading_condition_free(member->condition));
        }
        atomic_store(&member->owns, true);
    }
    switch (member->edge) {
    case BY_JOIN:
        await_flag(&next->runs);
        OK(threading_thread_join(next->thread));
        break;
    case BY_CONDITION:
        acquire_of(next);
        atomic_store(&member->waits, true);
        OK(next->has_timeout ? threading_condition_wait_timeout(next->condition, 100000)
                             : threading_condition_wait(next->condition));
        break;
    default:
        await_flag(&next->owns);
        acquire_of(next);
        break;
    }
    torture_fail(__FILE__, __LINE__, "a deadlocked thread runs");
}

static inline void ring_new(struct ring *ring, struct random *random)
{
    char name[32];
    bool all_join = true;
    ring->size = 2 + (unsigned)random_below(random, MAX_MEMBERS - 1);
    /* One wait is not for a condition, because the first thread must own its lock before the next one waits. Two
     * threads that join each other are an error. */
    ring->first = (unsigned)random_below(random, ring->size);
    for (unsigned i = 0; i < ring->size; i++) {
        struct member *member = &ring->members[i];
        *member = (struct member){.ring = ring, .number = i, .edge = (enum edge)random_below(random, EDGES)};
        if (i == ring->first && member->edge == BY_CONDITION)
            member->edge = BY_RLOCK;
        all_join = all_join && member->edge == BY_JOIN;
    }
    if (all_join)
        ring->members[0].edge = BY_LOCK;
    for (unsigned i = 0; i < ring->size; i++) {
        struct member *member = &ring->members[i];
        enum edge edge = previous_member(member)->edge;
        member->is_reentrant = edge == BY_RLOCK || (edge == BY_CONDITION && random_one_in(random, 2));
        member->lock = threading_lock_new();
        member->rlock = threading_rlock_new();
        member->has_timeout = random_one_in(random, 2);
        /* The lock of a freed condition is known only for waits without a timeout. */
        member->is_freed = !member->has_timeout && random_one_in(random, 2);
        member->condition = member->is_reentrant ? threading_condition_new_with_rlock(member->rlock)
                                                 : threading_condition_new_with_lock(member->lock);
        TORTURE_CHECK(member->lock != NULL && member->rlock != NULL && member->condition != NULL);
        TORTURE_CHECK((member->thread = threading_thread_new(ring_thread, member)) != NULL);
        snprintf(name, sizeof name, "ring-%u-%u", (unsigned)(ring - rings), i);
        OK(threading_thread_set_name(member->thread, name));
        if (random_one_in(random, 2))
            OK(threading_lock_set_name(member->lock, name));
    }
    for (unsigned i = 0; i < ring->size; i++)
        OK(threading_thread_start(ring->members[(ring->first + 1 + i) % ring->size].thread));
}

/* ------------------------------------------------------------------------------------- what is no deadlock */

static threading_lock *timed_locks[2];
static _Atomic int timed_owns[2];

/* Two threads that wait for each other, one of them with a timeout. */
static inline void *timed_ring_thread(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;
    OK(threading_lock_acquire(timed_locks[number]));
    atomic_store(&timed_owns[number], true);
    await_flag(&timed_owns[1 - number]);
    if (number == 0)
        (void)threading_lock_acquire_timeout(timed_locks[1], 100000);
    else
        OK(threading_lock_acquire(timed_locks[0]));
    return arg;
}

static inline void *tail_thread(void *member)
{
    OK(threading_thread_join(((struct member *)member)->thread));
    return NULL;
}

static inline void *locks_thread(void *seed)
{
    struct random random = {(uintptr_t)seed};
    for (;;)
        use_locks(&random);
    return NULL;
}

static inline void *waits_thread(void *event)
{
    OK(threading_event_wait(event));
    return NULL;
}

static inline void others_new(struct random *random)
{
    for (unsigned i = 0; i < 2; i++)
        TORTURE_CHECK((timed_locks[i] = threading_lock_new()) != NULL);
    for (unsigned i = 0; i < 2; i++)
        start(timed_ring_thread, (void *)(uintptr_t)i);
    start(tail_thread, &rings[random_below(random, ring_count)].members[0]);
    threading_event *event = threading_event_new();
    TORTURE_CHECK(event != NULL);
    start(waits_thread, event);
    for (unsigned i = 0; i < LOCKS; i++)
        TORTURE_CHECK((load.locks[i] = threading_lock_new()) != NULL);
    for (unsigned i = 0; i < RLOCKS; i++)
        TORTURE_CHECK((load.rlocks[i] = threading_rlock_new()) != NULL);
    for (unsigned i = 0; i < 3; i++)
        start(locks_thread, (void *)(uintptr_t)random_next(random));
}

/* --------------------------------------------------------------------------------------------- the checks */

/* Returns whether the dump shows each ring once, in its order. Fails if it shows another deadlock, and, with `all`, if
 * a ring is missing. */
static inline bool shows_rings(const struct dump *dump, bool all)
{
    bool shown[MAX_RINGS] = {false};
    unsigned rings_shown = 0;
    for (unsigned line = 0; line < dump->cycle_lines;) {
        unsigned number, at;
        if (sscanf(dump->cycles[line].thread, "ring-%u-%u", &number, &at) != 2 || number >= ring_count ||
            shown[number])
            torture_fail(__FILE__, __LINE__, "a dump shows a false deadlock of \"%s\"", dump->cycles[line].thread);
        shown[number] = true;
        rings_shown++;
        for (unsigned i = 0; i < rings[number].size; i++, line++) {
            char thread[32], next[32];
            snprintf(thread, sizeof thread, "ring-%u-%u", number, (at + i) % rings[number].size);
            snprintf(next, sizeof next, "ring-%u-%u", number, (at + i + 1) % rings[number].size);
            if (line >= dump->cycle_lines || strcmp(dump->cycles[line].thread, thread) != 0 ||
                strcmp(dump->cycles[line].waits_for, next) != 0)
                torture_fail(__FILE__, __LINE__, "a deadlock shows \"%s\" that waits for \"%s\", expected \"%s\"",
                             dump->cycles[line].thread, dump->cycles[line].waits_for, thread);
        }
    }
    bool shows_all = rings_shown == ring_count && dump->deadlocked == deadlocked_count;
    if (all && !shows_all)
        torture_fail(__FILE__, __LINE__, "a dump shows %u of %u deadlocks, and %" PRIu64 " of %u deadlocked threads",
                     rings_shown, ring_count, dump->deadlocked, deadlocked_count);
    return shows_all;
}

static inline void check_rings(const struct dump *dump)
{
    shows_rings(dump, true);
    atomic_fetch_add(&dump_counts->found, ring_count);
}

static inline void count_report(int kind, const char *report, void *arg)
{
    (void)report;
    if (kind != THREADING_HANG_DEADLOCK || arg != &hang_reports)
        torture_fail(__FILE__, __LINE__, "the hang hook is called for a hang of kind %d", kind);
    atomic_fetch_add(&hang_reports, 1);
}

static inline void *dump_in_foreign_thread(void *count)
{
    static _Thread_local struct dump dump;
    int fd = memory_file();
    for (unsigned i = 0; i < *(unsigned *)count; i++) {
        make_dump(fd, &dump);
        check_rings(&dump);
    }
    return NULL;
}

_Noreturn static inline void deadlock_in_child(struct random *random)
{
    static struct dump dump;
    unsigned count = 12;
    bool has_hook = random_one_in(random, 2);
    pthread_t foreign;
    alarm(100);
    dump_slots_new(true);
    int fd = memory_file();
    if (has_hook)
        OK(threading_set_hang_hook(0.02, count_report, &hang_reports));
    ring_count = 1 + (unsigned)random_below(random, MAX_RINGS);
    deadlocked_count = 0;
    for (unsigned i = 0; i < ring_count; i++) {
        ring_new(&rings[i], random);
        deadlocked_count += rings[i].size;
    }
    others_new(random);
    double end = now() + 20;
    do {
        make_dump(fd, &dump);
        if (now() > end)
            shows_rings(&dump, true);
    } while (!shows_rings(&dump, false));
    /* From here on, each dump shows all of them. */
    signals_start(random);
    TORTURE_CHECK(pthread_create(&foreign, NULL, dump_in_foreign_thread, &count) == 0);
    for (unsigned i = 0; i < count; i++) {
        make_dump(fd, &dump);
        check_rings(&dump);
        take_dumps_of_handlers(check_rings);
    }
    TORTURE_CHECK(pthread_join(foreign, NULL) == 0);
    signals_stop();
    take_dumps_of_handlers(check_rings);
    if (has_hook) {
        for (end = now() + 20; atomic_load(&hang_reports) < ring_count && now() < end;)
            sleep_for(0.002);
        sleep_for(0.05);
        if (atomic_load(&hang_reports) != ring_count)
            torture_fail(__FILE__, __LINE__, "the hang hook was called %u times for %u deadlocks",
                         atomic_load(&hang_reports), ring_count);
    }
    atomic_fetch_add(&dump_counts->deadlocks, ring_count);
    _exit(0);
}

#endif

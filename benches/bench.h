/* What the parts of the benchmark share: the table of a peer's functions, the description of a case, and
 * helpers.
 *
 * A peer is one file in peers/, a case one entry of a table in cases/. main.c starts a process of this program
 * for each case and round, in which measure.c takes the peers in turn.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#define CACHE_LINE 64

/* ---- what a peer is ---- */

/* Does something n times with an object. Instantiated by peers/loops.h for each peer, so that the loop
 * calls the peer's functions as a user's program does: through the PLT, with no pointer to a function in
 * between. */
typedef void batch(void *object, long n);

/* A chain of locks; who has one learns which is next. */
struct cold_link {
    void *lock;
    struct cold_link *next;
};

/* Threads that fight for one lock: what they share, and what each has for itself. */
struct contention {
    void *lock;
    alignas(CACHE_LINE) atomic_bool stop;
    alignas(CACHE_LINE) uint64_t counter; /* guarded by the lock */
    uint64_t sum;
};

struct contender {
    alignas(CACHE_LINE) struct contention *shared;
    atomic_long taken;
    double worst_wait; /* ns */
};

struct lock_functions {
    void *(*new)(void);
    void (*free)(void *lock);
    void (*acquire)(void *lock);
    void (*release)(void *lock);
    batch *pair;
    batch *try_pair;
    batch *try_fails;
    batch *timed_pair;
    batch *cold; /* object: a pointer to the first link, which it moves n links on */
    void (*contend)(struct contender *self);
    void (*contend_timed)(struct contender *self);
};

struct rlock_functions {
    void *(*new)(void);
    void (*free)(void *rlock);
    void (*acquire)(void *rlock);
    void (*release)(void *rlock);
    batch *pair;
};

struct condition_functions {
    void *(*new)(void *lock);
    void (*free)(void *condition);
    void (*wait)(void *condition, void *lock);
    void (*notify)(void *condition);
    void (*notify_all)(void *condition);
    batch *notify_loop;
};

struct event_functions {
    void *(*new)(void);
    void (*free)(void *event);
    void (*set)(void *event);
    void (*clear)(void *event);
    void (*wait)(void *event);
    batch *is_set_loop;
    batch *wait_loop;
    batch *set_loop;
};

/* What goes through a bounded buffer of either make, and the buffer itself. */
#define BUFFER_SIZE 128

struct ring {
    alignas(CACHE_LINE) unsigned long items[BUFFER_SIZE];
    unsigned long put;
    unsigned long got;
};

struct semaphore_functions {
    void *(*new)(long value);
    void (*free)(void *semaphore);
    void (*acquire)(void *semaphore);
    void (*release)(void *semaphore);
    batch *pair;
};

/* The peer's own way to a bounded buffer: semaphores and a lock, or a lock and conditions. */
struct buffer_functions {
    void *(*new)(void);
    void (*free)(void *buffer);
    void (*put)(void *buffer, unsigned long item);
    unsigned long (*get)(void *buffer);
};

struct barrier_functions {
    void *(*new)(unsigned parties);
    void (*free)(void *barrier);
    void (*wait)(void *barrier);
};

/* Where a peer keeps a thread: a number, a pointer... */
struct thread_place {
    void *words[2];
};

struct thread_functions {
    void (*start)(struct thread_place *place, void *arg); /* the thread runs thread_body(arg) */
    void (*join)(struct thread_place *place);
};

void thread_body(void *arg); /* cases/thread.c */

struct local_functions {
    void *(*new)(void);
    void (*free)(void *local);
    batch *get_loop; /* gets what is set, and checks that it is the local's own address */
};

struct timer_functions {
    long most;                               /* how many may be pending; 0: the peer has no timers */
    void *(*arm)(double seconds, void *arg); /* timer_due(arg) will run */
    void (*cancel)(void *timer);             /* one that has not run, and forget it */
    void (*drop)(void *timer);               /* forget one that has run */
    /* Waits until *left is 0, in the loop where the timers run if they need one. */
    void (*serve)(atomic_long *left);
    batch *pair; /* object: a double, the seconds */
};

void timer_due(void *arg); /* cases/timer.c */

struct peer {
    const char *name;
    bool baseline;   /* shows what could be reached; not in the race */
    bool interpreter; /* measured by python.py; not in the race either */
    const char *(*version)(void);
    void (*begin)(void); /* before anything else; may be NULL */
    /* Objects that a peer has not, nor can build from what it has, are left out. */
    struct lock_functions lock;
    struct rlock_functions rlock;
    struct condition_functions condition;
    struct event_functions event;
    struct semaphore_functions semaphore;
    struct buffer_functions buffer;
    struct barrier_functions barrier;
    struct thread_functions thread;
    struct local_functions local;
    struct timer_functions timer;
};

extern const struct peer *const peers[]; /* ends with NULL; the first is ours */

/* Whether python.py measures this case: there is an interpreter, and it has something to measure. */
bool cpython_can(const char *case_name);

const struct peer *peer_find(const char *name, size_t length);

/* ---- what a case is ---- */

struct bench_case {
    const char *name;
    const char *unit;
    const char *what;
    bool more_is_better;
    bool two_cores;  /* makes no sense on one */
    bool alone;      /* each peer in a process of its own: for what the process as a whole uses */
    int rounds_most; /* 0: as many as there are */
    double seconds;  /* that a peer may take in one round until it is given up; 0: the usual */
    long n;          /* how many threads, pending timers... */

    bool (*can)(const struct peer *peer); /* NULL: a peer that has the loop can */

    /* Either a loop of nanoseconds, in batches that alternate between the peers... */
    size_t loop; /* offsetof(struct peer, ...) of a batch */
    void *(*prepare)(const struct peer *peer);
    void (*finish)(const struct peer *peer, void *object);
    /* ...or a measurement that gives the figure of one round. */
    double (*measure)(const struct peer *peer, const struct bench_case *bench_case);
};

extern const struct bench_case *const case_tables[]; /* tables end with a case without a name, the list with NULL */

batch *case_loop(const struct bench_case *bench_case, const struct peer *peer);
bool case_can(const struct bench_case *bench_case, const struct peer *peer);
const struct bench_case *case_find(const char *name);

/* One round of a case with these peers, in this process. Tells the results by report_value(). */
void measure_case(const struct bench_case *bench_case, const struct peer *const chosen[], int count);

/* ---- helpers ---- */

/* Ends the measurement with a report if what must be is not; it stays out of the way of what is measured. */
#define check(held) (__builtin_expect(!!(held), 1) ? (void)0 : check_failed(#held, __FILE__, __LINE__))
noreturn void check_failed(const char *what, const char *file, int line) __attribute__((cold));

/* What the measuring process tells its parent, one line each. */
void report_begin(const struct peer *peer);
void report_value(const struct peer *peer, double value);

double now(void); /* ns, monotonic */
void sleep_for(double ns);
void await_zero(atomic_long *left); /* sleeps until it is */
void pin(int core); /* the calling thread: to the n-th of the cores that the process may use */
void unpin(void);
int cores(void);
double resident_bytes(void);

/* Memory on cache lines of its own, zeroed; it is not given back, the process ends soon. */
void *line_alloc(size_t size);

/* The figures of many short batches. */
enum { BATCHES_MOST = 4096 };
struct batches {
    int count;
    double values[BATCHES_MOST];
};
void batches_add(struct batches *batches, double value);
double batches_at(struct batches *batches, double part); /* the value below which this part lies */
double lower_quintile(struct batches *batches);
double upper_quintile(struct batches *batches);

/* A cheap generator of random numbers, the same for all peers. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

double random_between(uint64_t *state, double low, double high);

/* System threads for the cases whose subject is not the thread; the peers' own are measured by the cases
 * "thread". */
struct crew;
struct crew *crew_start(int count, void (*function)(void *context, int index), void *context);
void crew_join(struct crew *crew);

#endif

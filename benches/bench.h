/* The shared declarations of the benchmark: the functions of a peer, the description of a case, and helpers.
 *
 * A peer is a file in peers/, and a case is an entry of a table in cases/. For each case and round, main.c
 * starts a process of this program, in which measure.c measures the peers in turn.
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

/* ---- peers ---- */

/* Performs an operation n times on an object. peers/loops.h instantiates the loop for each peer, so that
 * it calls the functions of the peer as a user's program does: through the PLT, not through function
 * pointers. */
typedef void batch(void *object, long n);

/* A list of locks. A thread reads the next link while it holds the lock. */
struct cold_link {
    void *lock;
    struct cold_link *next;
};

/* Threads that contend for one lock: the shared data, and the data of each thread. */
struct contention {
    void *lock;
    alignas(CACHE_LINE) atomic_bool stop;
    alignas(CACHE_LINE) uint64_t counter; /* guarded by the lock */
    uint64_t sum;
};

struct contender {
    alignas(CACHE_LINE) struct contention *shared;
    atomic_long acquires;
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
    batch *cold; /* the object is a pointer to a link, which the loop advances by n links */
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
    batch *notify_all_loop;
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

/* The items of a bounded buffer. */
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

/* The bounded buffer that users of the peer would write: with semaphores and a lock, or with a lock and
 * conditions. */
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

/* Storage for the peer's thread: an ID, a pointer... */
struct thread_storage {
    void *words[2];
};

struct thread_functions {
    void (*start)(struct thread_storage *storage, void *arg); /* the thread runs thread_body(arg) */
    void (*join)(struct thread_storage *storage);
};

void thread_body(void *arg); /* cases/thread.c */

struct local_functions {
    void *(*new)(void);
    void (*free)(void *local);
    batch *get_loop; /* gets the value, and checks that it is the address of the local */
    batch *set_loop; /* sets another value each time */
    batch *set_attr_loop;
    batch *get_attr_loop;
};

/* Each loop creates and frees objects, on the heap; its object is not used. */
struct create_functions {
    batch *lock;
    batch *rlock;
    batch *event;
    batch *semaphore;
    batch *condition; /* with its lock */
    batch *barrier;
    batch *local;
    batch *thread; /* not started */
};

struct timer_functions {
    long max_pending;                        /* the maximum number of pending timers; 0: the peer has no timers */
    void *(*arm)(double seconds, void *arg); /* timer_due(arg) will run */
    void (*cancel)(void *timer);             /* cancels and frees a timer that has not run */
    void (*drop)(void *timer);               /* frees a timer that has run */
    /* Waits until *left is 0. If the peer's timers need an event loop, runs it. */
    void (*serve)(atomic_long *left);
    batch *pair; /* the object is a double: the seconds */
    bool any_thread; /* several threads may arm and cancel at the same time */
};

void timer_due(void *arg); /* cases/timer.c */

/* What a program finds out about its own locks and threads. */
struct report_functions {
    bool (*exist)(void);          /* returns false if the library is an older one, without these functions */
    void (*count_waits)(bool on); /* statistics of contention, for all locks of the process */
    void (*dump)(int fd);         /* writes what each thread of the process waits for */
    batch *owner_loop;            /* the object is a lock that is held */
    batch *set_name_loop;         /* the object is a lock */
};

struct peer {
    const char *name;
    bool baseline;    /* a lower bound; not compared */
    bool interpreter; /* measured by python.py; not compared */
    bool other;       /* the libthreading.so of the option --beside, in processes of its own; not compared */
    const char *(*version)(void);
    const char *(*library)(void); /* the path of its shared library, for the cases "load"; may be NULL */
    void (*begin)(void); /* called first; may be NULL */
    /* The functions are NULL for objects that the peer neither has nor can build. */
    struct lock_functions lock;
    struct rlock_functions rlock;
    struct condition_functions condition;
    struct event_functions event;
    struct semaphore_functions semaphore;
    struct buffer_functions buffer;
    struct barrier_functions barrier;
    struct thread_functions thread;
    struct local_functions local;
    struct create_functions create;
    struct timer_functions timer;
    struct report_functions report;
};

extern const struct peer *const peers[]; /* ends with NULL; the first is libthreading */

/* Returns true if there is an interpreter and python.py has this case. */
bool cpython_can(const char *case_name);

const struct peer *peer_find(const char *name, size_t length);

/* ---- cases ---- */

struct bench_case {
    const char *name;
    const char *unit;
    const char *what;
    bool more_is_better;
    bool two_cores;  /* requires two cores */
    bool alone;      /* measure each peer in its own process: for the resources of a whole process */
    int max_rounds;  /* 0: no maximum */
    double seconds;  /* the time limit of a peer in one round; 0: the default */
    long n;          /* the number of threads, pending timers... */

    bool (*can)(const struct peer *peer); /* NULL: the peer must have the loop */

    /* Either a loop of some nanoseconds, in batches that alternate between the peers... */
    size_t loop; /* offsetof(struct peer, ...) of a batch */
    void *(*prepare)(const struct peer *peer);
    void (*finish)(const struct peer *peer, void *object);
    /* ...or a function that measures and returns the value of one round. */
    double (*measure)(const struct peer *peer, const struct bench_case *bench_case);
};

extern const struct bench_case *const case_tables[]; /* tables end with a case without a name, the list with NULL */

batch *case_loop(const struct bench_case *bench_case, const struct peer *peer);
bool case_can(const struct bench_case *bench_case, const struct peer *peer);
const struct bench_case *case_find(const char *name);

/* Measures one round of a case with these peers, in this process, and reports the values with
 * report_value(). */
void measure_case(const struct bench_case *bench_case, const struct peer *const chosen[], int count);

/* ---- helpers ---- */

/* Reports a failure and exits if the condition is false. The cold path is kept out of the measured code. */
#define check(condition)                                                                                     \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
noreturn void check_failed(const char *what, const char *file, int line) __attribute__((cold));

/* The reports of the measuring process to its parent, one line each. */
void report_begin(const struct peer *peer);
void report_value(const struct peer *peer, double value);

double now(void); /* ns, monotonic */
void sleep_for(double ns);
void await_zero(atomic_long *left); /* sleeps until *left is 0 */
void pin(int core); /* pins the calling thread to one of the cores that the process may use; 0 is the first */
void unpin(void);
int cores(void);
double resident_bytes(void);
const char *path_of_library(const char *function); /* the path of the library that has this function */

/* Returns zeroed memory on separate cache lines. It is never freed, because the process is short-lived. */
void *cache_line_alloc(size_t size);

/* The values of many short batches. */
enum { MAX_BATCHES = 4096 };
struct batches {
    int count;
    double values[MAX_BATCHES];
};
void batches_add(struct batches *batches, double value);
double batches_quantile(struct batches *batches, double fraction);
int compare_doubles(const void *a, const void *b); /* for qsort */
double lower_quintile(struct batches *batches);
double upper_quintile(struct batches *batches);

/* A cheap random number generator, the same for all peers. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

double random_between(uint64_t *state, double low, double high);

/* POSIX threads, for cases that do not measure threads. The threads of the peers are measured by the cases
 * "thread". */
struct crew;
struct crew *crew_start(int count, void (*function)(void *context, int index), void *context);
void crew_join(struct crew *crew);

/* Lets several threads run a loop at the same time. Returns the time of one operation on one core: if the threads do not
 * disturb each other, the time that a single thread needs. */
double measure_together(batch *loop, void *object, long threads, long operations);

#endif

/* Forks: tens of thousands of them while other threads use every kind of object. Main forks, and so do workers,
 * timers, foreign threads and callbacks, also with locks held. In each child the forking thread is the main thread
 * and the only thread. Its locks are still held, and so are those of other threads; waiters are gone; and all
 * objects, old and new, can be used. Some children fork again. Fork handlers registered before those of the library use
 * the library, too, and lock a mutex that other threads hold while they use it. No child hangs. Dumps in the parent show
 * a deadlock that is there, and no other; those in children show none. */
#include "torture.h"

#include "child.h"
#include "dumps_beside.h"

#include <math.h>
#include <sys/mman.h>

static const double SHORT_TIMEOUT = 0.0003;

/* Counters of all processes. */
static struct shared {
    _Atomic uint64_t forks, calls;
} *shared;

#define CHECK(cond) (atomic_fetch_add_explicit(&shared->calls, 1, memory_order_relaxed), TORTURE_CHECK(cond))
#define CHECK_STATUS(expr, status)                                                                                     \
    (atomic_fetch_add_explicit(&shared->calls, 1, memory_order_relaxed), TORTURE_STATUS(expr, status))
#define OK(expr) CHECK_STATUS(expr, THREADING_OK)
#define WAIT_LIMIT (TORTURE_HANG / 3)

static void *return_arg(void *arg)
{
    return arg;
}

#include "../objects.h"

/* ------------------------------------------------------------------------------------------------ the objects */

static struct objects busy;    /* used by several threads concurrently */
static struct objects blocked; /* threads of the parent are blocked on each of them indefinitely */
static struct objects held;    /* a thread of the parent holds its locks and sleeps */

static threading_thread *holder, *joiner, *unstarted;
static threading_timer *pending, *unstarted_timer;

/* -------------------------------------------------------------------------------------------------- the load */

static atomic_bool stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* locked by the fork handlers */

static void use_threads(struct random *random)
{
    char name[24];
    threading_thread *thread;
    threading_timer *timer = threading_timer_new(SHORT_TIMEOUT / 2, return_arg, random);
    CHECK(timer != NULL);
    snprintf(name, sizeof name, "name %u", (unsigned)random_below(random, 4));
    OK(threading_thread_set_name(threading_current_thread(), name));
    thread = start_thread(return_arg, random);
    OK(threading_timer_start(timer));
    OK(threading_thread_list_free(threading_enumerate()));
    if (random_one_in(random, 2))
        threading_timer_cancel(timer);
    OK(threading_thread_join_timeout(threading_timer_thread(timer), WAIT_LIMIT));
    finish_thread(thread, random);
    OK(threading_timer_free(timer));
}

static void *use_busy_objects(void *number)
{
    struct random random = random_of((uint64_t)(uintptr_t)number + 1000);
    while (!atomic_load(&stop)) {
        struct objects fresh;
        switch (random_below(&random, 5)) {
        case 0:
            objects_new(&fresh, 1);
            OK(threading_local_set(fresh.local, &fresh));
            objects_free(&fresh);
            break;
        case 1:
        case 2:
            use_shared_objects(&busy, &random, SHORT_TIMEOUT / 2);
            break;
        case 3:
            /* Rarely, because a fork handler that waits for the mutex delays the fork. */
            if (random_one_in(&random, 100)) {
                CHECK(pthread_mutex_lock(&mutex) == 0);
                use_threads(&random);
                CHECK(pthread_mutex_unlock(&mutex) == 0);
            }
            break;
        default:
            use_threads(&random);
        }
    }
    return number;
}

/* ------------------------------------------------------------------------------------------------ blocked threads */

static atomic_int blocked_count;

static void *hold_locks(void *arg)
{
    acquire_locks(&held);
    OK(threading_lock_acquire(blocked.lock));
    OK(threading_rlock_acquire(blocked.rlock));
    atomic_fetch_add(&blocked_count, 1);
    OK(threading_sleep(THREADING_FOREVER));
    return arg;
}

/* The first of the threads that wait for the condition. They are counted while they own it. */
enum { FIRST_OF_CONDITION = 7 };

static void *block(void *number)
{
    if ((uintptr_t)number >= FIRST_OF_CONDITION)
        OK(threading_condition_acquire(blocked.condition));
    atomic_fetch_add(&blocked_count, 1);
    switch ((uintptr_t)number) {
    case 0:
        return threading_lock_acquire(blocked.lock) == THREADING_OK ? number : NULL;
    case 1:
        return threading_rlock_acquire(blocked.rlock) == THREADING_OK ? number : NULL;
    case 2:
        OK(threading_semaphore_acquire(blocked.semaphore));
        return NULL;
    case 3:
        OK(threading_event_wait(blocked.event));
        return NULL;
    case 4:
        OK(threading_thread_join(holder));
        return NULL;
    case 5:
    case 6:
        OK(threading_barrier_wait(blocked.barrier, NULL));
        return NULL;
    default:
        OK(threading_condition_wait(blocked.condition));
        return NULL;
    }
}

static void start_blocked_threads(void)
{
    enum { BLOCKERS = 9 };
    objects_new(&busy, 2);
    objects_new(&blocked, 3);
    objects_new(&held, 2);
    holder = start_daemon(hold_locks, NULL);
    while (atomic_load(&blocked_count) < 1)
        usleep(100);
    for (uintptr_t i = 0; i < BLOCKERS; i++) {
        threading_thread *thread = start_daemon(block, (void *)i);
        if (i == 4)
            joiner = thread;
        else
            OK(threading_thread_free(thread));
    }
    while (atomic_load(&blocked_count) < 1 + BLOCKERS || threading_barrier_n_waiting(blocked.barrier) < 2)
        usleep(100);
    /* All of them have been counted, so it can only be acquired when they have released it in their waits. Otherwise a
     * child could find it owned by a thread that does not exist there. */
    OK(threading_condition_acquire(blocked.condition));
    OK(threading_condition_release(blocked.condition));
    unstarted = threading_thread_new(return_arg, &unstarted);
    unstarted_timer = threading_timer_new(0, return_arg, &unstarted_timer);
    pending = threading_timer_new(3600, return_arg, NULL);
    CHECK(unstarted != NULL && unstarted_timer != NULL && pending != NULL);
    OK(threading_thread_set_daemon(threading_timer_thread(pending), 1));
    OK(threading_timer_start(pending));
}

/* ----------------------------------------------------------------------------------------------- in the child */

/* A thread that forks, and its objects. */
struct forker {
    struct random random;
    struct objects own;
    threading_local *exit_local; /* its values' destructor forks */
    bool holds; /* the locks of `own`, during the fork */
    struct identity identity;
    int generation; /* number of forks that led to this process */
};

/* Uses the objects of the parent. A child of a child has done this before and does not do it again. */
static void use_old(struct forker *forker)
{
    check_has_ended(holder);
    check_has_ended(joiner);
    check_has_ended(threading_timer_thread(pending));
    OK(threading_timer_cancel(pending));
    OK(threading_timer_free(pending));
    OK(threading_thread_free(holder));
    check_locks_held(&held);
    CHECK(threading_lock_locked(blocked.lock) && threading_rlock_locked(blocked.rlock));
    CHECK(threading_semaphore_value(blocked.semaphore) == 0 && !threading_event_is_set(blocked.event));
    CHECK(threading_barrier_n_waiting(blocked.barrier) == 0 && !threading_barrier_broken(blocked.barrier));
    if (random_one_in(&forker->random, 4)) {
        objects_free(&blocked);
    } else {
        /* No release, unit or notification goes to a waiter of the parent. */
        OK(threading_lock_release(blocked.lock));
        CHECK(!threading_lock_locked(blocked.lock));
        OK(threading_rlock_at_fork_reinit(blocked.rlock));
        OK(threading_semaphore_release(blocked.semaphore));
        OK(threading_semaphore_try_acquire(blocked.semaphore));
        OK(threading_condition_acquire(blocked.condition));
        OK(threading_condition_notify(blocked.condition, 1));
        OK(threading_condition_release(blocked.condition));
        use_objects(&blocked, 2);
        objects_free(&blocked);
    }
    OK(threading_thread_start(unstarted));
    finish_thread(unstarted, &unstarted);
    OK(threading_timer_start(unstarted_timer));
    OK(threading_thread_join_timeout(threading_timer_thread(unstarted_timer), WAIT_LIMIT));
    CHECK(threading_thread_result(threading_timer_thread(unstarted_timer)) == &unstarted_timer);
    OK(threading_timer_free(unstarted_timer));
    objects_reinit(&busy);
    use_objects(&busy, 1);
    objects_free(&busy);
    objects_reinit(&held);
    use_objects(&held, 1);
    objects_free(&held);
}

static void fork_here(struct forker *forker);

static void check_child(struct forker *forker)
{
    forker->generation++;
    dumps_beside_make_one();
    check_is_only_thread(&forker->identity);
    CHECK(threading_local_get(forker->own.local) == forker);
    if (forker->holds) {
        finish_thread(start_thread(check_locks_held, &forker->own), &forker->own);
        release_locks(&forker->own);
    }
    if (forker->generation == 1 && random_one_in(&forker->random, 3))
        use_old(forker);
    if (random_one_in(&forker->random, 2))
        use_new_objects();
    if (forker->generation < 3 && random_one_in(&forker->random, 8)) {
        forker->identity.self = threading_current_thread();
        forker->holds = false;
        fork_here(forker);
        return; /* the child of this child returns, too */
    }
    use_objects(&forker->own, 1);
}

/* --------------------------------------------------------------------- fork handlers older than the library's */

static void use_in_handler(int phase)
{
    static _Atomic uint64_t count;
    struct random random = random_of(atomic_fetch_add(&count, 1) * 3 + (uint64_t)phase);
    threading_timer *timer;
    struct objects fresh;
    if (shared == NULL)
        return;
    switch (random_below(&random, 12)) {
    case 0:
        objects_new(&fresh, 1);
        OK(threading_local_set(fresh.local, &fresh));
        OK(threading_barrier_wait(fresh.barrier, NULL));
        objects_free(&fresh);
        break;
    case 1:
        finish_thread(start_thread(return_arg, &fresh), &fresh);
        break;
    case 2:
        timer = threading_timer_new(random_one_in(&random, 2) ? 0 : 3600, return_arg, &fresh);
        OK(threading_timer_start(timer));
        threading_timer_cancel(timer);
        OK(threading_thread_join_timeout(threading_timer_thread(timer), WAIT_LIMIT));
        OK(threading_timer_free(timer));
        break;
    case 3:
        OK(threading_thread_list_free(threading_enumerate()));
        CHECK(threading_active_count() >= 1);
        break;
    case 4:
        if (getpid() == torture.pid) { /* children may have freed it */
            OK(threading_lock_acquire_timeout(busy.lock, WAIT_LIMIT));
            OK(threading_lock_release(busy.lock));
        }
        break;
    case 5:
        OK(threading_sleep(SHORT_TIMEOUT));
        break;
    case 6:
        dumps_beside_make_one();
        break;
    default:
        break;
    }
}

static void handle_prepare(void)
{
    use_in_handler(0);
    CHECK(pthread_mutex_lock(&mutex) == 0);
}

static void handle_parent(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    use_in_handler(1);
}

static void handle_child(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    use_in_handler(2);
}

static void register_handlers(void)
{
    pthread_atfork(handle_prepare, handle_parent, handle_child);
}

/* Runs before the constructor of the library. */
__attribute__((section(".preinit_array"), used)) static void (*const early_constructor)(void) = register_handlers;

/* --------------------------------------------------------------------------------------------------- forking */

/* In a child, every function returns as soon as possible, and the thread ends. */
static bool is_child(void)
{
    return getpid() != torture.pid;
}

static void fork_here(struct forker *forker)
{
    uint64_t way = random_below(&forker->random, 3);
    pid_t pid;
    if (forker->holds)
        acquire_locks(&forker->own);
    OK(threading_local_set(forker->own.local, forker));
    atomic_fetch_add(&shared->forks, 1);
    pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) {
        wait_for_child(pid);
        torture_step(1);
        random_next(&forker->random);
        if (forker->holds)
            release_locks(&forker->own);
        return;
    }
    check_child(forker);
    if (way == 0)
        _exit(0);
    if (way == 1)
        exit(0);
}

static void *fork_in_target(void *arg)
{
    struct forker *forker = arg;
    forker->identity = own_identity();
    fork_here(forker);
    return arg;
}

static void *fork_in_foreign(void *arg)
{
    struct forker *forker = arg;
    if (random_one_in(&forker->random, 2))
        CHECK(strncmp(threading_thread_name(threading_current_thread()), "Dummy-", 6) == 0);
    forker->identity = (struct identity){NULL, "MainThread", threading_get_ident(), false};
    fork_here(forker);
    return arg;
}

static int fork_in_predicate(void *arg)
{
    fork_here(arg);
    return 1;
}

static int fork_in_action(void *arg)
{
    fork_here(arg);
    return 0;
}

static void fork_in_destructor(void *arg)
{
    /* In a child that calls exit(), the destructor may be called for the child's value. */
    if (!is_child())
        fork_in_target(arg);
}

static void fork_in_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    (void)thread, (void)type, (void)arg;
    struct forker *forker;
    sscanf(message, "%p", (void **)&forker);
    fork_here(forker);
}

static void *set_exit_local(void *arg)
{
    struct forker *forker = arg;
    OK(threading_local_set(forker->exit_local, arg));
    return arg;
}

/* Forks once, in one of many contexts. Returns in the child, too, which must then end. */
static void fork_in_random_context(struct forker *forker)
{
    char message[24];
    forker->holds = random_one_in(&forker->random, 2);
    forker->generation = 0;
    forker->identity = own_identity();
    switch (random_below(&forker->random, 12)) {
    case 0:
    case 1: {
        threading_thread *thread = threading_thread_new(fork_in_target, forker);
        if (random_one_in(&forker->random, 2))
            OK(threading_thread_set_name(thread, "a worker"));
        OK(threading_thread_set_daemon(thread, (int)random_below(&forker->random, 2)));
        OK(threading_thread_start(thread));
        finish_thread(thread, forker);
        break;
    }
    case 2:
    case 3: {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, fork_in_foreign, forker) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        break;
    }
    case 4: {
        threading_timer *timer = threading_timer_new(SHORT_TIMEOUT, fork_in_target, forker);
        CHECK(timer != NULL);
        OK(threading_timer_start(timer));
        OK(threading_thread_join(threading_timer_thread(timer)));
        CHECK(threading_thread_result(threading_timer_thread(timer)) == forker);
        OK(threading_timer_free(timer));
        break;
    }
    case 5: {
        threading_condition *condition = threading_condition_new();
        OK(threading_condition_acquire(condition));
        OK(threading_condition_wait_for(condition, fork_in_predicate, forker));
        CHECK(threading_condition_is_owned(condition));
        OK(threading_condition_release(condition));
        OK(threading_condition_free(condition));
        break;
    }
    case 6: {
        threading_barrier *barrier = threading_barrier_new(1, fork_in_action, forker);
        OK(threading_barrier_wait(barrier, NULL));
        OK(threading_barrier_free(barrier));
        break;
    }
    case 7: {
        threading_local *local = threading_local_new_with_init(fork_in_target, forker, NULL);
        CHECK(threading_local_get(local) == forker);
        OK(threading_local_free(local));
        break;
    }
    case 8: {
        threading_local *local = threading_local_new(fork_in_destructor);
        OK(threading_local_set(local, forker));
        OK(random_one_in(&forker->random, 2) ? threading_local_del(local) : threading_local_set(local, NULL));
        OK(threading_local_free(local));
        break;
    }
    case 9: {
        /* The last action of the thread: its argument's destructor, or that of a value. */
        bool argument = random_one_in(&forker->random, 2);
        threading_thread *thread = threading_thread_new(argument ? return_arg : set_exit_local, forker);
        forker->exit_local = threading_local_new(fork_in_destructor);
        if (argument)
            OK(threading_thread_set_arg_destructor(thread, fork_in_destructor));
        OK(threading_thread_start(thread));
        finish_thread(thread, forker);
        OK(threading_local_free(forker->exit_local));
        break;
    }
    case 10:
        snprintf(message, sizeof message, "%p", (void *)forker);
        OK(threading_report_exception("Fork", message));
        break;
    default:
        fork_here(forker);
    }
}

/* Forks until the time is over. A child that returns here has one thread, which then ends. */
static void *fork_repeatedly(void *number)
{
    struct forker *forker = calloc(1, sizeof *forker);
    CHECK(forker != NULL);
    forker->random = random_of((uint64_t)(uintptr_t)number);
    while (torture_running() && !is_child()) {
        objects_new(&forker->own, 2);
        fork_in_random_context(forker);
        if (!is_child())
            objects_free(&forker->own);
    }
    free(forker);
    return number;
}

int main(int argc, char **argv)
{
    enum { BUSY_THREADS = 3, FORKERS = 2 };
    const char *park = getenv("THREADING_PARK");
    threading_thread *busy_threads[BUSY_THREADS], *forkers[FORKERS];
    torture_begin("forks", argc, argv);
    if (park != NULL && strcmp(park, "portable") == 0) {
        printf("forks: skipped: the portable backend does not survive a fork while threads sleep\n");
        return torture_end();
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    TORTURE_CHECK(shared != MAP_FAILED);
    threading_set_excepthook(fork_in_hook, NULL);
    dumps_beside_start();
    start_blocked_threads();
    for (uintptr_t i = 0; i < BUSY_THREADS; i++)
        busy_threads[i] = start_thread(use_busy_objects, (void *)i);
    for (uintptr_t i = 0; i < FORKERS; i++)
        forkers[i] = start_thread(fork_repeatedly, (void *)(i + 1));
    fork_repeatedly(NULL);
    if (is_child())
        return 0;
    for (uintptr_t i = 0; i < FORKERS; i++)
        finish_thread(forkers[i], (void *)(i + 1));
    atomic_store(&stop, true);
    for (uintptr_t i = 0; i < BUSY_THREADS; i++)
        finish_thread(busy_threads[i], (void *)i);
    objects_free(&busy);
    dumps_beside_stop();
    torture_figure("forks", (double)atomic_load(&shared->forks));
    torture_figure("calls and checks", (double)atomic_load(&shared->calls));
    return torture_end();
}

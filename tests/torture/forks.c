/* Forks: tens of thousands of them while other threads hammer every kind of object. Main forks, and so do
 * workers, timers and foreign threads, in callbacks and with locks held. In each child the forker is the main
 * thread and alone, what it held it holds, what others held is held, who waited is forgotten, and all that is
 * old and all that is new can be used. Some children fork again. Fork handlers that are older than the library's use
 * it, too, and take a mutex under which other threads use it. No child hangs. */
#include "torture.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const double MOMENT = 0.0003, LIMIT = TORTURE_HANG / 3;

/* Counted for all processes together. */
static struct shared {
    _Atomic uint64_t forks, calls;
} *shared;

#define CHECK(cond) (atomic_fetch_add_explicit(&shared->calls, 1, memory_order_relaxed), TORTURE_CHECK(cond))
#define STATUS(expr, status)                                                                                 \
    (atomic_fetch_add_explicit(&shared->calls, 1, memory_order_relaxed), TORTURE_STATUS(expr, status))
#define OK(expr) STATUS(expr, THREADING_OK)

/* ------------------------------------------------------------------------------------------------ the objects */

struct objects {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    threading_local *local;
};

static void leave_alone(void *value)
{
    (void)value;
}

static void objects_new(struct objects *objects, size_t parties)
{
    objects->lock = threading_lock_new();
    objects->rlock = threading_rlock_new();
    objects->condition = threading_condition_new();
    objects->semaphore = threading_semaphore_new(0);
    objects->event = threading_event_new();
    objects->barrier = threading_barrier_new(parties, NULL, NULL);
    objects->local = threading_local_new(leave_alone);
    CHECK(objects->lock != NULL && objects->rlock != NULL && objects->condition != NULL);
    CHECK(objects->semaphore != NULL && objects->event != NULL && objects->barrier != NULL);
    CHECK(objects->local != NULL);
}

/* Never BUSY: nobody is blocked on them, or nobody that is there. */
static void objects_free(struct objects *objects)
{
    OK(threading_lock_free(objects->lock));
    OK(threading_rlock_free(objects->rlock));
    OK(threading_condition_free(objects->condition));
    OK(threading_semaphore_free(objects->semaphore));
    OK(threading_event_free(objects->event));
    OK(threading_barrier_free(objects->barrier));
    OK(threading_local_free(objects->local));
}

static struct objects hammered; /* by several threads at once */
static struct objects blocked;  /* on each of them, threads of the parent's are blocked for ever */
static struct objects held;     /* its locks, by a thread that does nothing else */

static threading_thread *holder, *joiner, *unstarted;
static threading_timer *pending, *unstarted_timer;

static void *return_arg(void *arg)
{
    return arg;
}

static void start(threading_thread *thread)
{
    CHECK(thread != NULL);
    OK(threading_thread_start(thread));
}

static void join(threading_thread *thread, const void *result)
{
    OK(threading_thread_join_timeout(thread, LIMIT));
    CHECK(threading_thread_result(thread) == result);
    OK(threading_thread_free(thread));
}

/* --------------------------------------------------------------------------------------------- the hammering */

static atomic_bool stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* taken by fork handlers */

static void hammer_locks(struct random *random)
{
    OK(threading_lock_acquire(hammered.lock));
    OK(threading_rlock_acquire(hammered.rlock));
    OK(threading_rlock_acquire(hammered.rlock));
    OK(threading_rlock_release(hammered.rlock));
    OK(threading_rlock_release(hammered.rlock));
    OK(threading_lock_release(hammered.lock));
    OK(threading_condition_acquire(hammered.condition));
    if (random_one_in(random, 2))
        threading_condition_wait_timeout(hammered.condition, MOMENT);
    OK(threading_condition_notify(hammered.condition, 1));
    OK(threading_condition_release(hammered.condition));
}

static void hammer_others(struct random *random)
{
    OK(threading_semaphore_release(hammered.semaphore));
    OK(threading_semaphore_acquire(hammered.semaphore));
    threading_event_wait_timeout(hammered.event, MOMENT / 2);
    OK(threading_event_set(hammered.event));
    OK(threading_event_clear(hammered.event));
    if (threading_barrier_wait_timeout(hammered.barrier, MOMENT, NULL) != THREADING_OK)
        OK(threading_barrier_reset(hammered.barrier));
    OK(threading_local_set(hammered.local, random));
    OK(threading_local_set_attr(hammered.local, "name", random));
    OK(threading_local_del_attr(hammered.local, "name"));
}

static void hammer_threads(struct random *random)
{
    char name[24];
    threading_thread *thread = threading_thread_new(return_arg, random);
    threading_timer *timer = threading_timer_new(MOMENT / 2, return_arg, random);
    CHECK(timer != NULL);
    snprintf(name, sizeof name, "name %u", (unsigned)random_below(random, 4));
    OK(threading_thread_set_name(threading_current_thread(), name));
    start(thread);
    OK(threading_timer_start(timer));
    OK(threading_thread_list_free(threading_enumerate()));
    if (random_one_in(random, 2))
        threading_timer_cancel(timer);
    OK(threading_thread_join_timeout(threading_timer_thread(timer), LIMIT));
    join(thread, random);
    OK(threading_timer_free(timer));
}

static void *hammer(void *number)
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
            hammer_locks(&random);
            break;
        case 2:
            hammer_others(&random);
            break;
        case 3:
            /* A fork's handler that waits for the mutex stands still for a while then. */
            if (random_one_in(&random, 100)) {
                CHECK(pthread_mutex_lock(&mutex) == 0);
                hammer_threads(&random);
                CHECK(pthread_mutex_unlock(&mutex) == 0);
            }
            break;
        default:
            hammer_threads(&random);
        }
    }
    return number;
}

/* ------------------------------------------------------------------------------------- the holder and the waiters */

static atomic_int settled;

static void *hold(void *arg)
{
    OK(threading_lock_acquire(held.lock));
    OK(threading_lock_acquire(blocked.lock));
    OK(threading_rlock_acquire(held.rlock));
    OK(threading_rlock_acquire(blocked.rlock));
    OK(threading_condition_acquire(held.condition));
    atomic_fetch_add(&settled, 1);
    OK(threading_sleep(THREADING_FOREVER));
    return arg;
}

static void *block(void *number)
{
    atomic_fetch_add(&settled, 1);
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
        OK(threading_condition_acquire(blocked.condition));
        OK(threading_condition_wait(blocked.condition));
        return NULL;
    }
}

static threading_thread *start_daemon(threading_target target, uintptr_t number)
{
    threading_thread *thread = threading_thread_new(target, (void *)number);
    OK(threading_thread_set_daemon(thread, 1));
    start(thread);
    return thread;
}

static void settle(void)
{
    enum { BLOCKERS = 9 };
    objects_new(&hammered, 2);
    objects_new(&blocked, 3);
    objects_new(&held, 2);
    holder = start_daemon(hold, 0);
    while (atomic_load(&settled) < 1)
        usleep(100);
    for (uintptr_t i = 0; i < BLOCKERS; i++) {
        threading_thread *thread = start_daemon(block, i);
        if (i == 4)
            joiner = thread;
        else
            OK(threading_thread_free(thread));
    }
    while (atomic_load(&settled) < 1 + BLOCKERS || threading_barrier_n_waiting(blocked.barrier) < 2)
        usleep(100);
    usleep(20000);
    unstarted = threading_thread_new(return_arg, &unstarted);
    unstarted_timer = threading_timer_new(0, return_arg, &unstarted_timer);
    pending = threading_timer_new(3600, return_arg, NULL);
    CHECK(unstarted != NULL && unstarted_timer != NULL && pending != NULL);
    OK(threading_thread_set_daemon(threading_timer_thread(pending), 1));
    OK(threading_timer_start(pending));
}

/* ----------------------------------------------------------------------------------------------- in the child */

/* Who forks, and what it has. */
struct forker {
    struct random random;
    struct objects own;
    threading_local *at_end; /* its values' destructor forks */
    bool holds;
    threading_thread *self; /* NULL: a foreign thread that has not asked */
    char name[32];
    uint64_t ident;
    bool daemon;
    int generation; /* how many forks led to this process */
};

static void check_identity(const struct forker *forker)
{
    threading_thread *self = threading_current_thread();
    threading_thread_list *list = threading_enumerate();
    CHECK(self != NULL && list != NULL);
    if (forker->self != NULL)
        CHECK(self == forker->self);
    CHECK(threading_main_thread() == self);
    CHECK(strcmp(threading_thread_name(self), forker->name) == 0);
    CHECK(threading_thread_is_daemon(self) == forker->daemon);
    CHECK(threading_thread_is_alive(self));
    CHECK(threading_get_ident() == forker->ident && threading_thread_ident(self) == forker->ident);
    CHECK(threading_get_native_id() == (uint64_t)getpid());
    CHECK(threading_thread_native_id(self) == (uint64_t)getpid());
    CHECK(threading_active_count() == 1);
    CHECK(threading_thread_list_len(list) == 1 && threading_thread_list_get(list, 0) == self);
    OK(threading_thread_list_free(list));
    STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    STATUS(threading_thread_start(self), THREADING_ERR_ALREADY_STARTED);
}

static void *find_held(void *arg)
{
    const struct objects *objects = arg;
    CHECK(threading_lock_locked(objects->lock) && threading_rlock_locked(objects->rlock));
    STATUS(threading_lock_try_acquire(objects->lock), THREADING_WOULD_BLOCK);
    STATUS(threading_lock_acquire_timeout(objects->lock, MOMENT), THREADING_TIMED_OUT);
    STATUS(threading_rlock_try_acquire(objects->rlock), THREADING_WOULD_BLOCK);
    STATUS(threading_rlock_acquire_timeout(objects->rlock, MOMENT), THREADING_TIMED_OUT);
    STATUS(threading_rlock_release(objects->rlock), THREADING_ERR_NOT_OWNER);
    STATUS(threading_condition_acquire_timeout(objects->condition, MOMENT), THREADING_TIMED_OUT);
    STATUS(threading_condition_notify(objects->condition, 1), THREADING_ERR_NOT_OWNER);
    return arg;
}

static void hold_own(struct forker *forker)
{
    OK(threading_lock_acquire(forker->own.lock));
    OK(threading_rlock_acquire(forker->own.rlock));
    OK(threading_rlock_acquire(forker->own.rlock));
    OK(threading_condition_acquire(forker->own.condition));
}

static void release_own(struct forker *forker)
{
    CHECK(threading_rlock_is_owned(forker->own.rlock));
    CHECK(threading_rlock_recursion_count(forker->own.rlock) == 2);
    CHECK(threading_condition_is_owned(forker->own.condition));
    OK(threading_lock_release(forker->own.lock));
    OK(threading_rlock_release(forker->own.rlock));
    OK(threading_rlock_release(forker->own.rlock));
    STATUS(threading_rlock_release(forker->own.rlock), THREADING_ERR_NOT_OWNER);
    OK(threading_condition_release(forker->own.condition));
}

static void *wait_for_all(void *arg)
{
    struct objects *objects = arg;
    OK(threading_lock_acquire(objects->lock));
    OK(threading_lock_release(objects->lock));
    OK(threading_rlock_acquire(objects->rlock));
    OK(threading_rlock_release(objects->rlock));
    OK(threading_condition_acquire(objects->condition));
    OK(threading_semaphore_release(objects->semaphore));
    OK(threading_condition_wait_timeout(objects->condition, LIMIT));
    OK(threading_condition_release(objects->condition));
    OK(threading_event_wait_timeout(objects->event, LIMIT));
    OK(threading_barrier_wait_timeout(objects->barrier, LIMIT, NULL));
    return arg;
}

/* Objects that nobody holds, with a barrier for two, or three: a thread or two wait for each of them. */
static void use(struct objects *objects, size_t others)
{
    threading_thread *threads[2];
    OK(threading_lock_acquire(objects->lock));
    OK(threading_rlock_acquire(objects->rlock));
    for (size_t i = 0; i < others; i++)
        start(threads[i] = threading_thread_new(wait_for_all, objects));
    if (getpid() % 4 == 0)
        usleep(100);
    OK(threading_lock_release(objects->lock));
    OK(threading_rlock_release(objects->rlock));
    for (size_t i = 0; i < others; i++)
        OK(threading_semaphore_acquire_timeout(objects->semaphore, LIMIT));
    OK(threading_condition_acquire(objects->condition));
    OK(threading_condition_notify(objects->condition, (int64_t)others));
    OK(threading_condition_release(objects->condition));
    OK(threading_event_set(objects->event));
    CHECK(!threading_barrier_broken(objects->barrier));
    OK(threading_barrier_wait_timeout(objects->barrier, LIMIT, NULL));
    for (size_t i = 0; i < others; i++)
        join(threads[i], objects);
    CHECK(threading_barrier_n_waiting(objects->barrier) == 0);
    CHECK(threading_semaphore_value(objects->semaphore) == 0);
    OK(threading_local_set(objects->local, objects));
    OK(threading_local_set_attr(objects->local, "name", objects));
    CHECK(threading_local_get(objects->local) == objects);
}

static void use_new(void)
{
    struct objects new;
    threading_timer *timer = threading_timer_new(0, return_arg, &new);
    CHECK(timer != NULL);
    OK(threading_timer_start(timer));
    objects_new(&new, 2);
    use(&new, 1);
    objects_free(&new);
    OK(threading_thread_join_timeout(threading_timer_thread(timer), LIMIT));
    CHECK(threading_thread_result(threading_timer_thread(timer)) == &new);
    OK(threading_timer_free(timer));
    CHECK(threading_active_count() == 1);
}

static void reinit(struct objects *objects)
{
    OK(threading_lock_at_fork_reinit(objects->lock));
    OK(threading_rlock_at_fork_reinit(objects->rlock));
    OK(threading_condition_at_fork_reinit(objects->condition));
    OK(threading_event_at_fork_reinit(objects->event));
    OK(threading_barrier_reset(objects->barrier));
    while (threading_semaphore_try_acquire(objects->semaphore) == THREADING_OK)
        continue;
}

static void check_ended(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    OK(threading_thread_join(thread));
    STATUS(threading_thread_start(thread), THREADING_ERR_ALREADY_STARTED);
    CHECK(threading_thread_ident(thread) != 0);
}

/* What the parent had. In a child of a child it has been through this before, and is left alone. */
static void use_old(struct forker *forker)
{
    check_ended(holder);
    check_ended(joiner);
    check_ended(threading_timer_thread(pending));
    OK(threading_timer_cancel(pending));
    OK(threading_timer_free(pending));
    OK(threading_thread_free(holder));
    find_held(&held);
    CHECK(threading_lock_locked(blocked.lock) && threading_rlock_locked(blocked.rlock));
    CHECK(threading_semaphore_value(blocked.semaphore) == 0 && !threading_event_is_set(blocked.event));
    CHECK(threading_barrier_n_waiting(blocked.barrier) == 0 && !threading_barrier_broken(blocked.barrier));
    if (random_one_in(&forker->random, 4)) {
        objects_free(&blocked);
    } else {
        /* The release goes to nobody, nor does the unit, nor the notify. */
        OK(threading_lock_release(blocked.lock));
        CHECK(!threading_lock_locked(blocked.lock));
        OK(threading_rlock_at_fork_reinit(blocked.rlock));
        OK(threading_semaphore_release(blocked.semaphore));
        OK(threading_semaphore_try_acquire(blocked.semaphore));
        OK(threading_condition_acquire(blocked.condition));
        OK(threading_condition_notify(blocked.condition, 1));
        OK(threading_condition_release(blocked.condition));
        use(&blocked, 2);
        objects_free(&blocked);
    }
    start(unstarted);
    join(unstarted, &unstarted);
    OK(threading_timer_start(unstarted_timer));
    OK(threading_thread_join_timeout(threading_timer_thread(unstarted_timer), LIMIT));
    CHECK(threading_thread_result(threading_timer_thread(unstarted_timer)) == &unstarted_timer);
    OK(threading_timer_free(unstarted_timer));
    reinit(&hammered);
    CHECK(threading_barrier_n_waiting(hammered.barrier) == 0);
    use(&hammered, 1);
    objects_free(&hammered);
    reinit(&held);
    use(&held, 1);
    objects_free(&held);
}

static void fork_here(struct forker *forker);

static void check_child(struct forker *forker)
{
    forker->generation++;
    check_identity(forker);
    CHECK(threading_local_get(forker->own.local) == forker);
    if (forker->holds) {
        threading_thread *finder = threading_thread_new(find_held, &forker->own);
        start(finder);
        join(finder, &forker->own);
        release_own(forker);
    }
    if (forker->generation == 1 && random_one_in(&forker->random, 3))
        use_old(forker);
    if (random_one_in(&forker->random, 2))
        use_new();
    if (forker->generation < 3 && random_one_in(&forker->random, 8)) {
        forker->self = threading_current_thread();
        forker->holds = false;
        fork_here(forker);
        return; /* that child, and this one, go on */
    }
    use(&forker->own, 1);
}

/* --------------------------------------------------------------------------------------------- older handlers */

static void use_in_handler(int phase)
{
    static _Atomic uint64_t count;
    struct random random = random_of(atomic_fetch_add(&count, 1) * 3 + (uint64_t)phase);
    threading_thread *thread;
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
        start(thread = threading_thread_new(return_arg, &fresh));
        join(thread, &fresh);
        break;
    case 2:
        timer = threading_timer_new(random_one_in(&random, 2) ? 0 : 3600, return_arg, &fresh);
        OK(threading_timer_start(timer));
        threading_timer_cancel(timer);
        OK(threading_thread_join_timeout(threading_timer_thread(timer), LIMIT));
        OK(threading_timer_free(timer));
        break;
    case 3:
        OK(threading_thread_list_free(threading_enumerate()));
        CHECK(threading_active_count() >= 1);
        break;
    case 4:
        if (getpid() == torture.pid) { /* children may have freed it */
            OK(threading_lock_acquire_timeout(hammered.lock, LIMIT));
            OK(threading_lock_release(hammered.lock));
        }
        break;
    case 5:
        OK(threading_sleep(MOMENT));
        break;
    default:
        break;
    }
}

static void in_prepare(void)
{
    use_in_handler(0);
    CHECK(pthread_mutex_lock(&mutex) == 0);
}

static void in_parent(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    use_in_handler(1);
}

static void in_child(void)
{
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    use_in_handler(2);
}

static void register_early(void)
{
    pthread_atfork(in_prepare, in_parent, in_child);
}

/* Called before the constructor of the library. */
__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = register_early;

/* ------------------------------------------------------------------------------------------------- who forks */

static void wait_for_child(pid_t pid)
{
    double end = torture_now() + TORTURE_HANG * 0.75;
    int status;
    pid_t ended;
    for (useconds_t nap = 100; (ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR);) {
        if (torture_now() > end) {
            kill(pid, SIGABRT);
            torture_fail(__FILE__, __LINE__, "the child %d hangs", (int)pid);
        }
        usleep(nap);
        nap = nap < 2000 ? nap * 2 : nap;
    }
    CHECK(ended == pid);
    if (WIFSIGNALED(status))
        torture_fail(__FILE__, __LINE__, "the child dies of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        torture_fail(__FILE__, __LINE__, "the child exits with %d", WEXITSTATUS(status));
}

/* What is left of a child to do: nothing but to end, by whatever function it is in. */
static bool is_child(void)
{
    return getpid() != torture.pid;
}

static void fork_here(struct forker *forker)
{
    uint64_t way = random_below(&forker->random, 3);
    pid_t pid;
    if (forker->holds)
        hold_own(forker);
    OK(threading_local_set(forker->own.local, forker));
    atomic_fetch_add(&shared->forks, 1);
    pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) {
        wait_for_child(pid);
        torture_step(1);
        random_next(&forker->random);
        if (forker->holds)
            release_own(forker);
        return;
    }
    check_child(forker);
    if (way == 0)
        _exit(0);
    if (way == 1)
        exit(0);
}

static void know_oneself(struct forker *forker)
{
    forker->self = threading_current_thread();
    CHECK(forker->self != NULL);
    snprintf(forker->name, sizeof forker->name, "%s", threading_thread_name(forker->self));
    forker->daemon = threading_thread_is_daemon(forker->self);
    forker->ident = threading_get_ident();
}

static void *fork_in_target(void *arg)
{
    know_oneself(arg);
    fork_here(arg);
    return arg;
}

static void *fork_in_foreign(void *arg)
{
    struct forker *forker = arg;
    if (random_one_in(&forker->random, 2))
        CHECK(strncmp(threading_thread_name(threading_current_thread()), "Dummy-", 6) == 0);
    forker->self = NULL;
    forker->ident = threading_get_ident();
    forker->daemon = false;
    snprintf(forker->name, sizeof forker->name, "MainThread");
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
    /* In a child that leaves by exit, it may be called for what the child has. */
    if (!is_child()) {
        know_oneself(arg);
        fork_here(arg);
    }
}

static void fork_in_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    (void)thread, (void)type, (void)arg;
    struct forker *forker;
    sscanf(message, "%p", (void **)&forker);
    fork_here(forker);
}

static void *leave_value(void *arg)
{
    struct forker *forker = arg;
    OK(threading_local_set(forker->at_end, arg));
    return arg;
}

/* Forks once, in one of many ways. A child that comes back from this is to end. */
static void fork_somewhere(struct forker *forker)
{
    char message[24];
    forker->holds = random_one_in(&forker->random, 2);
    forker->generation = 0;
    know_oneself(forker);
    switch (random_below(&forker->random, 12)) {
    case 0:
    case 1: {
        threading_thread *thread = threading_thread_new(fork_in_target, forker);
        if (random_one_in(&forker->random, 2))
            OK(threading_thread_set_name(thread, "a worker"));
        OK(threading_thread_set_daemon(thread, (int)random_below(&forker->random, 2)));
        start(thread);
        join(thread, forker);
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
        threading_timer *timer = threading_timer_new(MOMENT, fork_in_target, forker);
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
        /* The thread's last act: its argument's destructor, or that of a value. */
        bool argument = random_one_in(&forker->random, 2);
        threading_thread *thread = threading_thread_new(argument ? return_arg : leave_value, forker);
        forker->at_end = threading_local_new(fork_in_destructor);
        if (argument)
            OK(threading_thread_set_arg_destructor(thread, fork_in_destructor));
        start(thread);
        join(thread, forker);
        OK(threading_local_free(forker->at_end));
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

/* Forks as long as there is time. A child that gets here has one thread, which is to end. */
static void *fork_often(void *number)
{
    struct forker *forker = calloc(1, sizeof *forker);
    CHECK(forker != NULL);
    forker->random = random_of((uint64_t)(uintptr_t)number);
    while (torture_running() && !is_child()) {
        objects_new(&forker->own, 2);
        fork_somewhere(forker);
        if (!is_child())
            objects_free(&forker->own);
    }
    free(forker);
    return number;
}

int main(int argc, char **argv)
{
    enum { HAMMERS = 3, FORKERS = 2 };
    const char *park = getenv("THREADING_PARK");
    threading_thread *hammers[HAMMERS], *forkers[FORKERS];
    torture_begin("forks", argc, argv);
    if (park != NULL && strcmp(park, "portable") == 0) {
        printf("forks: skipped: the portable backend does not survive a fork while threads sleep\n");
        return torture_end();
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    TORTURE_CHECK(shared != MAP_FAILED);
    threading_set_excepthook(fork_in_hook, NULL);
    settle();
    for (uintptr_t i = 0; i < HAMMERS; i++)
        start(hammers[i] = threading_thread_new(hammer, (void *)i));
    for (uintptr_t i = 0; i < FORKERS; i++)
        start(forkers[i] = threading_thread_new(fork_often, (void *)(i + 1)));
    fork_often(NULL);
    if (is_child())
        return 0;
    for (uintptr_t i = 0; i < FORKERS; i++)
        join(forkers[i], (void *)(i + 1));
    atomic_store(&stop, true);
    for (uintptr_t i = 0; i < HAMMERS; i++)
        join(hammers[i], (void *)i);
    objects_free(&hammered);
    torture_figure("forks", (double)atomic_load(&shared->forks));
    torture_figure("calls and checks", (double)atomic_load(&shared->calls));
    return torture_end();
}

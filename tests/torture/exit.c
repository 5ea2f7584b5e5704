/* Leaving: processes end in all ways, each many times, whatever their threads are in the middle of. None
 * crashes, none hangs, each exits with the status it was to exit with, and what it says on the way comes in
 * the order that is promised:
 *
 *   handlers of atexit and C++ statics that are newer than the library's first need, the newest first;
 *   callbacks of threading_atexit, the last first; joiners of main go on;
 *   threads and timers that are not daemons end;
 *   main's local values, if main leaves; older handlers and statics.
 *
 * What a process does is decided by one number, so that the parent knows what to expect. */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

/* exit_statics.cpp: an object that says `letter` when it is destroyed, made at the first call. */
void statics_old(void (*say)(char));
void statics_new(void (*say)(char));
/* Uses the old one, and, if the thread ends before that does, an object of the thread's own which uses it too. */
void statics_use(int thread_ends);

enum way {
    RETURN,
    EXIT,
    EXIT_IN_WORKER,
    EXIT_IN_DAEMON,
    EXIT_IN_TIMER,
    EXIT_IN_FOREIGN,
    EXIT_IN_HANDLER,
    EXIT_IN_CALLBACK,
    EXIT_AT_ONCE, /* several threads */
    PTHREAD_EXIT,
    PTHREAD_EXIT_THEN_EXIT, /* of a worker */
    SHUTDOWN,
    SHUTDOWN_IN_WORKER,
    QUICK,
    WAYS
};

static const char *const names[WAYS] = {
    "return from main", "exit in main", "exit in a worker", "exit in a daemon", "exit in a timer",
    "exit in a foreign thread", "exit in a handler", "exit in a callback", "exits at once",
    "pthread_exit in main", "pthread_exit in main, exit in a worker", "shutdown in main",
    "exit during a shutdown in a worker", "_exit",
};

struct plan {
    enum way way;
    int status;
    unsigned hammers, blocked, workers, timers, pending, leavers, cancelled, starters, callbacks;
    bool joiner, foreign, value, fresh;
    struct random random;
};

static struct plan plan_of(uint64_t number)
{
    struct plan plan = {.random = random_of(number)};
    struct random *random = &plan.random;
    plan.way = (enum way)random_below(random, WAYS);
    plan.status = 1 + (int)random_below(random, 250);
    plan.fresh = random_one_in(random, 3);
    plan.hammers = random_one_in(random, 2) ? (unsigned)random_below(random, 4) : 0;
    plan.blocked = random_one_in(random, 2) ? (unsigned)random_below(random, 8) : 0;
    plan.workers = (unsigned)random_below(random, 4);
    plan.timers = (unsigned)random_below(random, 4);
    plan.pending = (unsigned)random_below(random, 3);
    plan.leavers = (unsigned)random_below(random, 2);
    plan.cancelled = (unsigned)random_below(random, 2);
    plan.starters = (unsigned)random_below(random, 2);
    plan.callbacks = (unsigned)random_below(random, 3) + (plan.way == EXIT_IN_CALLBACK);
    plan.joiner = random_one_in(random, 3);
    plan.foreign = random_one_in(random, 3);
    plan.value = random_one_in(random, 2);
    return plan;
}

/* More than one thread calls exit: the end of the process may overtake threads that were to be waited for. */
static bool at_once(const struct plan *plan)
{
    return plan->way == EXIT_AT_ONCE || plan->way == PTHREAD_EXIT_THEN_EXIT;
}

/* ---------------------------------------------------------------------------------------------- the process */

enum { OUT = 3 };
static struct plan plan;

static void say(char letter)
{
    while (write(OUT, &letter, 1) != 1)
        if (errno != EINTR)
            _exit(99);
}

#define OK(expr) TORTURE_STATUS(expr, THREADING_OK)

/* Up to so many microseconds, or none. */
static void linger(uint64_t most)
{
    static _Atomic uint64_t number;
    struct random random = {plan.random.state ^ atomic_fetch_add(&number, 0x9e3779b97f4a7c15)};
    if (!random_one_in(&random, 3))
        usleep((useconds_t)random_below(&random, most));
}

static threading_event *gate; /* opened by a handler: what waits for it, the process has to wait for */

/* The last that a thread does: in the last round of its destructors, after the library's. */
static pthread_key_t key;

static void end_late(void *round)
{
    if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(key, (void *)((uintptr_t)round + 1));
        return;
    }
    linger(500);
    say('k');
}

static void *work_of(void *gated, int thread_ends)
{
    if (thread_ends)
        TORTURE_CHECK(pthread_setspecific(key, (void *)1) == 0);
    if (gated != NULL)
        OK(threading_event_wait(gate));
    linger(1500);
    if (!at_once(&plan))
        statics_use(thread_ends);
    say('w');
    return gated;
}

static void *work(void *gated)
{
    return work_of(gated, 1);
}

/* The system's thread of a timer goes on. */
static void *work_of_timer(void *gated)
{
    return work_of(gated, 0);
}

static void *leave_by_pthread_exit(void *gated)
{
    pthread_exit(work(gated));
}

static _Atomic(pthread_t *) to_cancel;

static void *wait_to_be_cancelled(void *arg)
{
    static pthread_t self;
    self = pthread_self();
    atomic_store(&to_cancel, &self);
    for (;;)
        pause();
    return arg;
}

static threading_thread *begin(threading_target target, void *arg, int daemon)
{
    threading_thread *thread = threading_thread_new(target, arg);
    TORTURE_CHECK(thread != NULL);
    OK(threading_thread_set_daemon(thread, daemon));
    threading_status status = threading_thread_start(thread);
    if (!(status == THREADING_ERR_SHUTDOWN && at_once(&plan))) /* another one's exit may have come so far */
        OK(status);
    return thread;
}

static void let_go(threading_thread *thread)
{
    OK(threading_thread_free(thread));
}

static void *start_another(void *arg)
{
    OK(threading_thread_join(threading_main_thread()));
    linger(500);
    let_go(begin(work, NULL, 0));
    return arg;
}

static void *join_main(void *arg)
{
    OK(threading_thread_join(threading_main_thread()));
    say('j');
    return arg;
}

static threading_lock *lock;
static threading_rlock *rlock;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_event *event;
static threading_barrier *barrier;
static threading_local *local;

static void *nothing(void *arg)
{
    return arg;
}

static void ignore(void *value)
{
    (void)value;
}

/* In the middle of anything when the process ends; starts are refused at some time. */
static void *hammer(void *arg)
{
    for (;;) {
        threading_thread *thread = threading_thread_new(nothing, NULL);
        threading_timer *timer = threading_timer_new(0.0001, nothing, NULL);
        threading_local *own = threading_local_new(ignore);
        threading_local_set(own, &own);
        if (threading_thread_start(thread) == THREADING_OK)
            threading_thread_join_timeout(thread, 0.0005);
        threading_timer_start(timer);
        threading_thread_free(thread);
        threading_timer_free(timer);
        threading_local_free(own);
        threading_lock_acquire(lock);
        threading_rlock_acquire(rlock);
        threading_local_set(local, &thread);
        threading_rlock_release(rlock);
        threading_lock_release(lock);
        threading_condition_acquire(condition);
        threading_condition_wait_timeout(condition, 0.0001);
        threading_condition_notify_all(condition);
        threading_condition_release(condition);
        threading_semaphore_release(semaphore);
        threading_semaphore_acquire(semaphore);
        threading_event_set(event);
        threading_event_wait(event);
        threading_event_clear(event);
        threading_thread_list_free(threading_enumerate());
        threading_current_thread();
    }
    return arg;
}

static void *block(void *number)
{
    static threading_lock *held;
    switch ((uintptr_t)number) {
    case 0:
        held = threading_lock_new();
        threading_lock_acquire(held);
        threading_lock_acquire(held);
        break;
    case 1:
        threading_semaphore_acquire(threading_semaphore_new(0));
        break;
    case 2:
        threading_event_wait(threading_event_new());
        break;
    case 3:
        threading_barrier_wait(barrier, NULL);
        break;
    case 4:
        threading_condition_acquire(condition);
        threading_condition_wait_for(condition, (threading_predicate)NULL, NULL); /* refused */
        threading_condition_release(condition);
        break;
    case 5:
        for (;;) /* some other daemon lets it go, or none */
            threading_condition_acquire(condition), threading_condition_wait(condition),
                threading_condition_release(condition);
    default:
        threading_sleep(THREADING_FOREVER);
    }
    return number;
}

static void *foreign(void *arg)
{
    if (threading_current_thread() != NULL)
        threading_sleep(THREADING_FOREVER);
    return arg;
}

static void destroyed(void *value)
{
    TORTURE_CHECK(threading_current_thread() == threading_main_thread());
    say(*(char *)value);
}

static void old_handler(void)
{
    say('o');
}

static void new_handler(void)
{
    OK(threading_event_set(gate));
    say('n');
    if (plan.way == EXIT_IN_HANDLER)
        exit(plan.status);
}

static unsigned called;

static void callback(void *number)
{
    TORTURE_CHECK(plan.callbacks - called++ == (uintptr_t)number);
    say('c');
    if (plan.way == EXIT_IN_CALLBACK && (uintptr_t)number == 1)
        exit(plan.status);
}

static void *exit_here(void *arg)
{
    linger(1000);
    exit(plan.status);
    return arg;
}

static void *shut_down(void *arg)
{
    while (threading_shutdown_timeout(0.0003) == THREADING_TIMED_OUT)
        continue;
    return arg;
}

static void bring_company(void)
{
    TORTURE_CHECK(pthread_key_create(&key, end_late) == 0);
    gate = threading_event_new();
    lock = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    semaphore = threading_semaphore_new(0);
    event = threading_event_new();
    barrier = threading_barrier_new(2, NULL, NULL);
    local = threading_local_new(ignore);
    for (unsigned i = 0; i < plan.workers; i++)
        let_go(begin(work, i % 2 == 0 ? gate : NULL, 0));
    for (unsigned i = 0; i < plan.leavers; i++)
        let_go(begin(leave_by_pthread_exit, gate, 0));
    for (unsigned i = 0; i < plan.cancelled; i++)
        let_go(begin(wait_to_be_cancelled, NULL, 0));
    for (unsigned i = 0; i < plan.starters; i++)
        let_go(begin(start_another, NULL, 0));
    if (plan.joiner)
        let_go(begin(join_main, NULL, 0));
    for (unsigned i = 0; i < plan.hammers; i++)
        let_go(begin(hammer, NULL, 1));
    for (uintptr_t i = 0; i < plan.blocked; i++)
        let_go(begin(block, (void *)i, 1));
    for (unsigned i = 0; i < plan.timers; i++) {
        threading_timer *timer = threading_timer_new(0.0005 * i, work_of_timer, i % 2 == 0 ? gate : NULL);
        OK(threading_timer_start(timer));
        OK(threading_timer_free(timer));
    }
    for (unsigned i = 0; i < plan.pending; i++) {
        threading_timer *timer = threading_timer_new(3600, work_of_timer, NULL);
        if (i == 0)
            OK(threading_thread_set_daemon(threading_timer_thread(timer), 1));
        OK(threading_timer_start(timer));
        if (i != 0)
            OK(threading_timer_cancel(timer));
        OK(threading_timer_free(timer));
    }
    if (plan.foreign) {
        pthread_t thread;
        TORTURE_CHECK(pthread_create(&thread, NULL, foreign, NULL) == 0 && pthread_detach(thread) == 0);
    }
}

static int leave(void)
{
    static char letter = 'l';
    pthread_t thread;
    threading_timer *timer;
    switch (plan.way) {
    case RETURN:
        return plan.status;
    case EXIT:
    case EXIT_IN_HANDLER:
    case EXIT_IN_CALLBACK:
        exit(plan.way == EXIT ? plan.status : 255);
    case EXIT_IN_WORKER:
        let_go(begin(exit_here, NULL, 0));
        break;
    case EXIT_IN_DAEMON:
        let_go(begin(exit_here, NULL, 1));
        break;
    case EXIT_IN_TIMER:
        timer = threading_timer_new(0.0001, exit_here, NULL);
        OK(threading_timer_start(timer));
        break;
    case EXIT_IN_FOREIGN:
        TORTURE_CHECK(pthread_create(&thread, NULL, exit_here, NULL) == 0);
        break;
    case EXIT_AT_ONCE:
        for (int i = 0; i < 3; i++)
            let_go(begin(exit_here, NULL, i % 2));
        exit_here(NULL);
        break;
    case PTHREAD_EXIT_THEN_EXIT:
        let_go(begin(exit_here, NULL, 0));
        pthread_exit(&letter);
    case PTHREAD_EXIT:
        pthread_exit(&letter);
    case SHUTDOWN:
        OK(threading_event_set(gate));
        linger(300);
        OK(threading_shutdown());
        TORTURE_STATUS(threading_atexit(callback, NULL), THREADING_ERR_SHUTDOWN);
        return plan.status;
    case SHUTDOWN_IN_WORKER:
        let_go(begin(shut_down, NULL, 0));
        linger(300);
        exit(plan.status);
    default:
        _exit(plan.status);
    }
    OK(threading_sleep(THREADING_FOREVER));
    return 255;
}

static int run_process(uint64_t number)
{
    static char letter = 'l';
    plan = plan_of(number);
    TORTURE_CHECK(atexit(old_handler) == 0);
    statics_old(say);
    bring_company();
    for (uintptr_t i = 1; i <= plan.callbacks; i++)
        OK(threading_atexit(callback, (void *)i));
    if (plan.value) {
        threading_local *of_main = threading_local_new(destroyed);
        OK(threading_local_set(of_main, &letter));
    }
    if (plan.workers + plan.leavers + plan.cancelled + plan.starters + plan.joiner + plan.timers == 0)
        let_go(begin(nothing, NULL, 0)); /* the library's own handler is there in any case */
    TORTURE_CHECK(atexit(new_handler) == 0);
    statics_new(say);
    for (unsigned i = 0; i < plan.cancelled; i++) {
        while (atomic_load(&to_cancel) == NULL)
            usleep(20);
        TORTURE_CHECK(pthread_cancel(*atomic_load(&to_cancel)) == 0);
    }
    linger(1500);
    return leave();
}

/* ------------------------------------------------------------------------------------ what it should have said */

static unsigned count(const char *said, char letter)
{
    unsigned n = 0;
    for (; *said != '\0'; said++)
        n += *said == letter;
    return n;
}

/* Each `first` comes before each `then`. */
static bool in_order(const char *said, char first, char then)
{
    const char *last_first = strrchr(said, first), *first_then = strchr(said, then);
    return last_first == NULL || first_then == NULL || last_first < first_then;
}

static const char *wrong(const struct plan *expected, const char *said, int status)
{
    enum way way = expected->way;
    unsigned work = expected->workers + expected->timers + expected->leavers + expected->starters;
    int right = way == PTHREAD_EXIT ? 0 : expected->status;
    if (status != right && !(way == PTHREAD_EXIT_THEN_EXIT && status == 0))
        return "the exit status";
    if (way == QUICK)
        return strpbrk(said, "oOnNclj") == NULL ? NULL : "that something was said by handlers";
    /* C leaves open what comes of exits at once, and one may overtake another that waits. */
    if (at_once(expected))
        return NULL;
    for (const char *letter = "NnOo"; *letter != '\0'; letter++)
        if (count(said, *letter) != 1)
            return "how often handlers and statics were called";
    if (count(said, 'c') != expected->callbacks)
        return "how often callbacks were called";
    if (!in_order(said, 'N', 'n') || !in_order(said, 'n', 'O') || !in_order(said, 'O', 'o'))
        return "the order of handlers and statics";
    if (count(said, 'w') != work)
        return "how many threads and timers were waited for";
    if (count(said, 'k') != work - expected->timers || !in_order(said, 'k', 'l') || !in_order(said, 'k', 'O'))
        return "that the destructors of threads were waited for";
    if (count(said, 'j') != expected->joiner)
        return "how often main was joined";
    bool by_main = way == RETURN || way == EXIT || way == EXIT_IN_HANDLER || way == EXIT_IN_CALLBACK ||
                   way == PTHREAD_EXIT || way == SHUTDOWN || way == SHUTDOWN_IN_WORKER;
    if (count(said, 'l') != (expected->value && by_main))
        return "how often main's value was destroyed";
    if (!in_order(said, 'w', 'l') || !in_order(said, 'w', 'O') || !in_order(said, 'l', 'O'))
        return "that something ended after the joins that should have before";
    if (!in_order(said, 'j', 'O'))
        return "when main's joiner went on";
    if (!in_order(said, 'c', 'j'))
        return "the order of callbacks and main's joiner";
    if (way != SHUTDOWN && way != SHUTDOWN_IN_WORKER && !in_order(said, 'n', 'c'))
        return "the order of handlers and callbacks";
    return NULL;
}

/* ------------------------------------------------------------------------------------------ one after the other */

extern char **environ;
static const char *program; /* not /proc/self/exe, which may be valgrind */

static pid_t spawn(const struct plan *expected, uint64_t number, int out)
{
    char text[2][24], *argv[] = {"exit", "--run", text[0], text[1], NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (!expected->fresh)
        return fork();
    snprintf(text[0], sizeof text[0], "%" PRIu64, number);
    snprintf(text[1], sizeof text[1], "%" PRIu64, torture.seed);
    TORTURE_CHECK(posix_spawn_file_actions_init(&actions) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_adddup2(&actions, out, OUT) == 0);
    TORTURE_CHECK(posix_spawnp(&pid, program, &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static uint64_t processes;
static unsigned times[WAYS];

/* True in the process itself. */
static bool run_one(uint64_t number)
{
    struct plan expected = plan_of(number);
    char said[256] = "";
    size_t size = 0;
    int fds[2], status;
    TORTURE_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = spawn(&expected, number, fds[1]);
    TORTURE_CHECK(pid >= 0);
    if (pid == 0) {
        TORTURE_CHECK(dup2(fds[1], OUT) == OUT);
        return true;
    }
    close(fds[1]);
    double end = torture_now() + TORTURE_HANG / 2;
    for (ssize_t got = 1; got != 0 && size < sizeof said - 1;) {
        struct pollfd ready = {.fd = fds[0], .events = POLLIN};
        if (poll(&ready, 1, 1000) > 0 && (got = read(fds[0], said + size, sizeof said - 1 - size)) > 0)
            size += (size_t)got;
        if (torture_now() > end) {
            kill(pid, SIGABRT);
            torture_fail(__FILE__, __LINE__, "process %" PRIu64 " (%s) hangs, having said \"%s\"", number,
                         names[expected.way], said);
        }
    }
    close(fds[0]);
    while (waitpid(pid, &status, 0) < 0)
        TORTURE_CHECK(errno == EINTR);
    if (WIFSIGNALED(status))
        torture_fail(__FILE__, __LINE__, "process %" PRIu64 " (%s) dies of signal %d, having said \"%s\"", number,
                     names[expected.way], WTERMSIG(status), said);
    const char *what = wrong(&expected, said, WEXITSTATUS(status));
    if (what != NULL)
        torture_fail(__FILE__, __LINE__, "process %" PRIu64 " (%s) exits with %d, having said \"%s\": wrong is %s",
                     number, names[expected.way], WEXITSTATUS(status), said, what);
    times[expected.way]++;
    processes++;
    torture_step(1);
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--run") == 0) {
        torture.name = "exit";
        torture.seed = strtoull(argv[3], NULL, 10);
        return run_process(strtoull(argv[2], NULL, 10));
    }
    program = argv[0];
    torture_begin("exit", argc, argv);
    for (uint64_t number = 0; torture_running(); number++)
        if (run_one(number))
            return run_process(number);
    for (int way = 0; way < WAYS; way++)
        printf("exit: %u times %s\n", times[way], names[way]);
    torture_figure("processes ended", (double)processes);
    torture_figure("ways", WAYS);
    return torture_end();
}

/* Process exit: processes end in all ways, each many times, whatever their threads are doing. None crashes or hangs,
 * each exits with the expected status, and its output comes in the documented order:
 *
 *   atexit handlers and C++ static objects that are newer than the library's handler, the newest first;
 *   callbacks of threading_atexit(), the last one first; joins of the main thread return;
 *   non-daemon threads and timers finish;
 *   local values of main, if main called exit; older handlers and static objects.
 *
 * Dumps are made in all phases, and show a deadlock exactly if there is one.
 *
 * A number determines what a process does, so that the parent process knows what to expect. */
#include "torture.h"

#include "child.h"
#include "dumps_files.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>

/* In exit_statics.cpp: create, at the first call, a static object that reports its letter when it is destroyed. */
void statics_old(void (*report)(char));
void statics_new(void (*report)(char));
/* Uses the old object. If `thread_ends`, also creates a thread_local object whose destructor uses it. */
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
    CONCURRENT_EXITS, /* by several threads */
    PTHREAD_EXIT,
    PTHREAD_EXIT_THEN_EXIT, /* in a worker */
    SHUTDOWN,
    SHUTDOWN_IN_WORKER,
    EXIT_WITHOUT_HANDLERS, /* _exit() */
    WAYS
};

static const char *const names[WAYS] = {
    "return from main",
    "exit in main",
    "exit in a worker",
    "exit in a daemon",
    "exit in a timer",
    "exit in a foreign thread",
    "exit in a handler",
    "exit in a callback",
    "concurrent exits",
    "pthread_exit in main",
    "pthread_exit in main, exit in a worker",
    "shutdown in main",
    "exit during a shutdown in a worker",
    "_exit",
};

struct plan {
    enum way way;
    int status;
    unsigned busy_daemons, blocked, workers, timers, pending, pthread_exits, cancelled, starters, callbacks;
    bool joiner, foreign, value, spawned, dumper;
    struct random random;
};

static struct plan plan_of(uint64_t number)
{
    struct plan plan = {.random = random_of(number)};
    struct random *random = &plan.random;
    plan.way = (enum way)random_below(random, WAYS);
    plan.status = 1 + (int)random_below(random, 250);
    plan.spawned = random_one_in(random, 3);
    plan.busy_daemons = random_one_in(random, 2) ? (unsigned)random_below(random, 4) : 0;
    plan.blocked = random_one_in(random, 2) ? (unsigned)random_below(random, 8) : 0;
    plan.workers = (unsigned)random_below(random, 4);
    plan.timers = (unsigned)random_below(random, 4);
    plan.pending = (unsigned)random_below(random, 3);
    plan.pthread_exits = (unsigned)random_below(random, 2);
    plan.cancelled = (unsigned)random_below(random, 2);
    plan.starters = (unsigned)random_below(random, 2);
    plan.callbacks = (unsigned)random_below(random, 3) + (plan.way == EXIT_IN_CALLBACK);
    plan.joiner = random_one_in(random, 3);
    plan.foreign = random_one_in(random, 3);
    plan.value = random_one_in(random, 2);
    plan.dumper = random_one_in(random, 2);
    return plan;
}

/* More than one thread calls exit(): the process may end before threads that should have been waited for. */
static bool has_concurrent_exits(const struct plan *plan)
{
    return plan->way == CONCURRENT_EXITS || plan->way == PTHREAD_EXIT_THEN_EXIT;
}

/* ---------------------------------------------------------------------------------------------- the process */

enum { OUT = 3, COUNTS = 4 };
static struct plan plan;

static void report(char letter)
{
    while (write(OUT, &letter, 1) != 1)
        if (errno != EINTR)
            _exit(99);
}

#define OK(expr) TORTURE_STATUS(expr, THREADING_OK)

/* Sleeps for up to `max_us` microseconds, or not at all. */
static void random_delay(uint64_t max_us)
{
    static _Atomic uint64_t number;
    struct random random = {plan.random.state ^ atomic_fetch_add(&number, 0x9e3779b97f4a7c15)};
    if (!random_one_in(&random, 3))
        usleep((useconds_t)random_below(&random, max_us));
}

/* A daemon of some processes acquires its lock twice. This is the only deadlock. Once a dump has shown it, all later ones
 * do. */
static void make_and_check_dump(void)
{
    static _Thread_local struct dump dump;
    static atomic_bool was_deadlocked;
    bool must_be_deadlocked = atomic_load(&was_deadlocked);
    int fd = memory_file();
    make_dump(fd, &dump);
    TORTURE_CHECK(close(fd) == 0);
    if (dump.deadlocked != 0 || dump.cycle_lines != 0) {
        if (plan.blocked == 0 || dump.deadlocked != 1 || dump.cycle_lines != 1 ||
            strcmp(dump.cycles[0].thread, dump.cycles[0].waits_for) != 0) {
            (void)threading_dump(2);
            torture_fail(__FILE__, __LINE__, "a dump shows a false deadlock of %" PRIu64 " threads, %s and others",
                         dump.deadlocked, dump.cycle_lines == 0 ? "" : dump.cycles[0].thread);
        }
        atomic_store(&was_deadlocked, true);
        atomic_fetch_add(&dump_counts->found, 1);
    } else {
        TORTURE_CHECK(!must_be_deadlocked);
    }
}

static void *make_dumps(void *arg)
{
    for (;;) {
        make_and_check_dump();
        sleep_for(200e-6);
    }
    return arg;
}

static threading_event *gate; /* set by a handler; exit() must wait for the threads that wait for it */

/* The last action of a thread: in the last round of its destructors, after that of the library. */
static pthread_key_t key;

static void report_in_last_destructor(void *round)
{
    if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(key, (void *)((uintptr_t)round + 1));
        return;
    }
    random_delay(500);
    report('k');
}

static void *finish_work(void *wait_event, int thread_ends)
{
    if (thread_ends)
        TORTURE_CHECK(pthread_setspecific(key, (void *)1) == 0);
    if (wait_event != NULL)
        OK(threading_event_wait(gate));
    random_delay(1500);
    if (!has_concurrent_exits(&plan))
        statics_use(thread_ends);
    report('w');
    return wait_event;
}

static void *work(void *wait_event)
{
    return finish_work(wait_event, 1);
}

/* The OS thread of a timer outlives it, so its destructors are not expected. */
static void *work_in_timer(void *wait_event)
{
    return finish_work(wait_event, 0);
}

static void *work_and_pthread_exit(void *wait_event)
{
    pthread_exit(work(wait_event));
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

static threading_thread *start_thread(threading_target target, void *arg, int daemon)
{
    threading_thread *thread = threading_thread_new(target, arg);
    TORTURE_CHECK(thread != NULL);
    OK(threading_thread_set_daemon(thread, daemon));
    threading_status status = threading_thread_start(thread);
    if (!(status == THREADING_ERR_SHUTDOWN &&
          has_concurrent_exits(&plan))) /* another thread's exit() may have shut the library down */
        OK(status);
    return thread;
}

static void free_thread(threading_thread *thread)
{
    OK(threading_thread_free(thread));
}

static void *start_thread_after_main(void *arg)
{
    OK(threading_thread_join(threading_main_thread()));
    random_delay(500);
    free_thread(start_thread(work, NULL, 0));
    return arg;
}

static void *join_main(void *arg)
{
    OK(threading_thread_join(threading_main_thread()));
    report('j');
    return arg;
}

static threading_lock *lock;
static threading_rlock *rlock;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_event *event;
static threading_barrier *barrier;
static threading_local *local;

static void *return_arg(void *arg)
{
    return arg;
}

static void keep_value(void *value)
{
    (void)value;
}

/* Uses all kinds of objects until the process ends; at some point, starts fail. */
static void *use_everything(void *arg)
{
    for (;;) {
        threading_thread *thread = threading_thread_new(return_arg, NULL);
        threading_timer *timer = threading_timer_new(0.0001, return_arg, NULL);
        threading_local *own = threading_local_new(keep_value);
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
        threading_condition_wait_for(condition, (threading_predicate)NULL, NULL); /* fails immediately */
        threading_condition_release(condition);
        break;
    case 5:
        for (;;) /* another daemon may notify it */
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

static void report_destroyed(void *value)
{
    TORTURE_CHECK(threading_current_thread() == threading_main_thread());
    make_and_check_dump();
    report(*(char *)value);
}

static void old_handler(void)
{
    make_and_check_dump();
    report('o');
}

static void new_handler(void)
{
    make_and_check_dump();
    OK(threading_event_set(gate));
    report('n');
    if (plan.way == EXIT_IN_HANDLER)
        exit(plan.status);
}

static unsigned callbacks_called;

static void callback(void *number)
{
    TORTURE_CHECK(plan.callbacks - callbacks_called++ == (uintptr_t)number);
    make_and_check_dump();
    report('c');
    if (plan.way == EXIT_IN_CALLBACK && (uintptr_t)number == 1)
        exit(plan.status);
}

static void *exit_in_thread(void *arg)
{
    random_delay(1000);
    exit(plan.status);
    return arg;
}

static void *poll_shutdown(void *arg)
{
    while (threading_shutdown_timeout(0.0003) == THREADING_TIMED_OUT)
        continue;
    return arg;
}

static void start_threads(void)
{
    TORTURE_CHECK(pthread_key_create(&key, report_in_last_destructor) == 0);
    gate = threading_event_new();
    lock = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    semaphore = threading_semaphore_new(0);
    event = threading_event_new();
    barrier = threading_barrier_new(2, NULL, NULL);
    local = threading_local_new(keep_value);
    for (unsigned i = 0; i < plan.workers; i++)
        free_thread(start_thread(work, i % 2 == 0 ? gate : NULL, 0));
    for (unsigned i = 0; i < plan.pthread_exits; i++)
        free_thread(start_thread(work_and_pthread_exit, gate, 0));
    for (unsigned i = 0; i < plan.cancelled; i++)
        free_thread(start_thread(wait_to_be_cancelled, NULL, 0));
    for (unsigned i = 0; i < plan.starters; i++)
        free_thread(start_thread(start_thread_after_main, NULL, 0));
    if (plan.joiner)
        free_thread(start_thread(join_main, NULL, 0));
    for (unsigned i = 0; i < plan.busy_daemons; i++)
        free_thread(start_thread(use_everything, NULL, 1));
    for (uintptr_t i = 0; i < plan.blocked; i++)
        free_thread(start_thread(block, (void *)i, 1));
    for (unsigned i = 0; i < plan.timers; i++) {
        threading_timer *timer = threading_timer_new(0.0005 * i, work_in_timer, i % 2 == 0 ? gate : NULL);
        OK(threading_timer_start(timer));
        OK(threading_timer_free(timer));
    }
    for (unsigned i = 0; i < plan.pending; i++) {
        threading_timer *timer = threading_timer_new(3600, work_in_timer, NULL);
        if (i == 0)
            OK(threading_thread_set_daemon(threading_timer_thread(timer), 1));
        OK(threading_timer_start(timer));
        if (i != 0)
            OK(threading_timer_cancel(timer));
        OK(threading_timer_free(timer));
    }
    if (plan.dumper) {
        pthread_t thread;
        TORTURE_CHECK(pthread_create(&thread, NULL, make_dumps, NULL) == 0 && pthread_detach(thread) == 0);
    }
    if (plan.foreign) {
        pthread_t thread;
        TORTURE_CHECK(pthread_create(&thread, NULL, foreign, NULL) == 0 && pthread_detach(thread) == 0);
    }
}

static int end_process(void)
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
        free_thread(start_thread(exit_in_thread, NULL, 0));
        break;
    case EXIT_IN_DAEMON:
        free_thread(start_thread(exit_in_thread, NULL, 1));
        break;
    case EXIT_IN_TIMER:
        timer = threading_timer_new(0.0001, exit_in_thread, NULL);
        OK(threading_timer_start(timer));
        break;
    case EXIT_IN_FOREIGN:
        TORTURE_CHECK(pthread_create(&thread, NULL, exit_in_thread, NULL) == 0);
        break;
    case CONCURRENT_EXITS:
        for (int i = 0; i < 3; i++)
            free_thread(start_thread(exit_in_thread, NULL, i % 2));
        exit_in_thread(NULL);
        break;
    case PTHREAD_EXIT_THEN_EXIT:
        free_thread(start_thread(exit_in_thread, NULL, 0));
        pthread_exit(&letter);
    case PTHREAD_EXIT:
        pthread_exit(&letter);
    case SHUTDOWN:
        OK(threading_event_set(gate));
        random_delay(300);
        OK(threading_shutdown());
        TORTURE_STATUS(threading_atexit(callback, NULL), THREADING_ERR_SHUTDOWN);
        return plan.status;
    case SHUTDOWN_IN_WORKER:
        free_thread(start_thread(poll_shutdown, NULL, 0));
        random_delay(300);
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
    statics_old(report);
    start_threads();
    for (uintptr_t i = 1; i <= plan.callbacks; i++)
        OK(threading_atexit(callback, (void *)i));
    if (plan.value) {
        threading_local *of_main = threading_local_new(report_destroyed);
        OK(threading_local_set(of_main, &letter));
    }
    /* At least one thread is started, so that the library has registered its exit handler. */
    if (plan.workers + plan.pthread_exits + plan.cancelled + plan.starters + plan.joiner + plan.timers == 0)
        free_thread(start_thread(return_arg, NULL, 0));
    TORTURE_CHECK(atexit(new_handler) == 0);
    statics_new(report);
    for (unsigned i = 0; i < plan.cancelled; i++) {
        while (atomic_load(&to_cancel) == NULL)
            usleep(20);
        TORTURE_CHECK(pthread_cancel(*atomic_load(&to_cancel)) == 0);
    }
    random_delay(1500);
    return end_process();
}

/* ----------------------------------------------------------------------------------------- the expected output */

static unsigned count(const char *output, char letter)
{
    unsigned n = 0;
    for (; *output != '\0'; output++)
        n += *output == letter;
    return n;
}

/* Returns true if each `first` comes before each `then`. */
static bool is_ordered(const char *output, char first, char then)
{
    const char *last_first = strrchr(output, first), *first_then = strchr(output, then);
    return last_first == NULL || first_then == NULL || last_first < first_then;
}

static const char *find_error(const struct plan *expected, const char *output, int status)
{
    enum way way = expected->way;
    unsigned work = expected->workers + expected->timers + expected->pthread_exits + expected->starters;
    int expected_status = way == PTHREAD_EXIT ? 0 : expected->status;
    if (status != expected_status && !(way == PTHREAD_EXIT_THEN_EXIT && status == 0))
        return "exit status";
    if (way == EXIT_WITHOUT_HANDLERS)
        return strpbrk(output, "oOnNclj") == NULL ? NULL : "output of handlers";
    /* Concurrent calls of exit() are undefined in C; one may overtake another that waits. */
    if (has_concurrent_exits(expected))
        return NULL;
    for (const char *letter = "NnOo"; *letter != '\0'; letter++)
        if (count(output, *letter) != 1)
            return "number of calls of handlers and destructors of static objects";
    if (count(output, 'c') != expected->callbacks)
        return "number of callbacks";
    if (!is_ordered(output, 'N', 'n') || !is_ordered(output, 'n', 'O') || !is_ordered(output, 'O', 'o'))
        return "order of handlers and static objects";
    if (count(output, 'w') != work)
        return "number of threads and timers that were waited for";
    if (count(output, 'k') != work - expected->timers || !is_ordered(output, 'k', 'l') || !is_ordered(output, 'k', 'O'))
        return "wait for the destructors of threads";
    if (count(output, 'j') != expected->joiner)
        return "number of joins of main";
    bool by_main = way == RETURN || way == EXIT || way == EXIT_IN_HANDLER || way == EXIT_IN_CALLBACK ||
                   way == PTHREAD_EXIT || way == SHUTDOWN || way == SHUTDOWN_IN_WORKER;
    if (count(output, 'l') != (expected->value && by_main))
        return "number of destroyed values of main";
    if (!is_ordered(output, 'w', 'l') || !is_ordered(output, 'w', 'O') || !is_ordered(output, 'l', 'O'))
        return "order of the ends of threads";
    if (!is_ordered(output, 'j', 'O'))
        return "order of the join of main and static objects";
    if (!is_ordered(output, 'c', 'j'))
        return "order of callbacks and the join of main";
    if (way != SHUTDOWN && way != SHUTDOWN_IN_WORKER && !is_ordered(output, 'n', 'c'))
        return "order of handlers and callbacks";
    return NULL;
}

/* ---------------------------------------------------------------------------------------- running the processes */

extern char **environ;
static const char *program; /* not /proc/self/exe, which is Valgrind if the program runs under it */

static int counts_file;

/* The counters of dumps are in a file, because a new process must find them. */
static void counts_new(void)
{
    int fd = memory_file();
    TORTURE_CHECK(ftruncate(fd, sizeof *dump_counts) == 0);
    TORTURE_CHECK((counts_file = fcntl(fd, F_DUPFD_CLOEXEC, 10)) >= 10 && close(fd) == 0);
    dump_counts = mmap(NULL, sizeof *dump_counts, PROT_READ | PROT_WRITE, MAP_SHARED, counts_file, 0);
    TORTURE_CHECK(dump_counts != MAP_FAILED);
}

static pid_t spawn(const struct plan *expected, uint64_t number, int out)
{
    char text[2][24], *argv[] = {"exit", "--run", text[0], text[1], NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    if (!expected->spawned)
        return fork();
    snprintf(text[0], sizeof text[0], "%" PRIu64, number);
    snprintf(text[1], sizeof text[1], "%" PRIu64, torture.seed);
    TORTURE_CHECK(posix_spawn_file_actions_init(&actions) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_adddup2(&actions, out, OUT) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_adddup2(&actions, counts_file, COUNTS) == 0);
    TORTURE_CHECK(posix_spawnp(&pid, program, &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static uint64_t processes;
static unsigned runs[WAYS];

/* Runs one process and checks it. Returns true in a forked child, which must then call run_process(). */
static bool run_and_check(uint64_t number)
{
    struct plan expected = plan_of(number);
    char output[256] = "", description[80];
    int fds[2], status;
    TORTURE_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = spawn(&expected, number, fds[1]);
    TORTURE_CHECK(pid >= 0);
    if (pid == 0) {
        TORTURE_CHECK(dup2(fds[1], OUT) == OUT);
        return true;
    }
    close(fds[1]);
    snprintf(description, sizeof description, "process %" PRIu64 " (%s)", number, names[expected.way]);
    status = read_child(pid, fds[0], description, output, sizeof output);
    if (WIFSIGNALED(status))
        torture_fail(__FILE__, __LINE__, "%s was killed by signal %d, after the output \"%s\"", description,
                     WTERMSIG(status), output);
    const char *error = find_error(&expected, output, WEXITSTATUS(status));
    if (error != NULL)
        torture_fail(__FILE__, __LINE__, "%s exited with status %d, after the output \"%s\"; wrong: %s", description,
                     WEXITSTATUS(status), output, error);
    runs[expected.way]++;
    processes++;
    torture_step(1);
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--run") == 0) {
        torture.name = "exit";
        torture.seed = strtoull(argv[3], NULL, 10);
        dump_counts = mmap(NULL, sizeof *dump_counts, PROT_READ | PROT_WRITE, MAP_SHARED, COUNTS, 0);
        TORTURE_CHECK(dump_counts != MAP_FAILED);
        return run_process(strtoull(argv[2], NULL, 10));
    }
    program = argv[0];
    torture_begin("exit", argc, argv);
    counts_new();
    for (uint64_t number = 0; torture_running(); number++)
        if (run_and_check(number))
            return run_process(number);
    for (int way = 0; way < WAYS; way++)
        printf("exit: %s: %u processes\n", names[way], runs[way]);
    torture_figure("processes ended", (double)processes);
    torture_figure("dumps in them", (double)dump_counts->dumps);
    torture_figure("times a dump showed the deadlock that was there", (double)dump_counts->found);
    torture_figure("ways to end a process", WAYS);
    return torture_end();
}

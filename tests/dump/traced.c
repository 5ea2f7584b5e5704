/* A program that writes traces: traced CASE FILE. The case's threads wait in a known order; ./trace.py reads the file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <threading.h>

#include "../parked.h"

#define OK(call) CHECK((call) == THREADING_OK)

/* How long each wait lasts at least, in seconds. */
static const double WAIT = 0.05;

static threading_lock *lock;
static threading_rlock *rlock;
static threading_condition *condition;
static threading_event *event, *never;
static threading_semaphore *semaphore;
static threading_barrier *barrier;

static int file_new(const char *path, const char *suffix)
{
    char name[4096];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    CHECK(fd >= 0);
    return fd;
}

static threading_thread *start(const char *name, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    OK(threading_thread_set_name(thread, name));
    OK(threading_thread_start(thread));
    return thread;
}

/* Returns when a thread whose name begins like this has waited for WAIT. Not by threading_sleep, which would be in the
 * trace. */
static void let_wait(const char *name, const char *text)
{
    until_thread_waits(name, text);
    sleep_for(WAIT);
}

/* ---------------------------------------------------------------------------------------- each kind of wait */

static void *wait_for_all(void *arg)
{
    OK(threading_lock_acquire(lock));
    OK(threading_lock_release(lock));
    OK(threading_rlock_acquire(rlock));
    OK(threading_rlock_release(rlock));
    OK(threading_event_wait(event));
    OK(threading_semaphore_acquire(semaphore));
    OK(threading_condition_acquire(condition));
    OK(threading_condition_wait(condition));
    OK(threading_condition_release(condition));
    OK(threading_barrier_wait(barrier, NULL));
    CHECK(threading_event_wait_timeout(never, WAIT) == THREADING_TIMED_OUT);
    CHECK(threading_lock_acquire_timeout(lock, WAIT) == THREADING_TIMED_OUT);
    OK(threading_condition_acquire(condition));
    CHECK(threading_condition_wait_timeout(condition, WAIT) == THREADING_TIMED_OUT);
    OK(threading_condition_release(condition));
    OK(threading_sleep(WAIT));
    until_thread_waits("MainThread", "joins \"waiter\"");
    return arg;
}

static void each_kind(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    OK(threading_lock_acquire(lock));
    OK(threading_rlock_acquire(rlock));
    threading_thread *thread = start("waiter", wait_for_all, NULL);
    let_wait("waiter", "waits for lock \"journal\"");
    OK(threading_lock_release(lock));
    let_wait("waiter", "waits for rlock \"accounts\"");
    OK(threading_rlock_release(rlock));
    let_wait("waiter", "waits for event \"go\"");
    OK(threading_event_set(event));
    let_wait("waiter", "waits for semaphore \"connections\"");
    OK(threading_semaphore_release(semaphore));
    let_wait("waiter", "waits for a notify on condition \"queue\"");
    OK(threading_condition_acquire(condition));
    OK(threading_condition_notify(condition, 1));
    sleep_for(WAIT);
    OK(threading_condition_release(condition));
    OK(threading_lock_acquire(lock));
    let_wait("waiter", "waits at barrier \"phase\"");
    OK(threading_barrier_wait(barrier, NULL));
    OK(threading_thread_join(thread));
    OK(threading_trace(-1));
    /* Not in the trace. */
    OK(threading_sleep(WAIT));
}

/* ------------------------------------------------------------------------------------- notified while it runs */

enum { NOTIFIES = 200 };

static int begun_waits; /* protected by the condition's lock */

static void *wait_repeatedly(void *arg)
{
    OK(threading_condition_acquire(condition));
    OK(threading_event_set(event));
    for (begun_waits = 1; begun_waits <= NOTIFIES; begun_waits++)
        OK(threading_condition_wait(condition));
    OK(threading_condition_release(condition));
    return arg;
}

/* Notifies the waiter as soon as it has released the lock, when it has not parked as a rule, and keeps the lock. */
static void notified_before_it_parks(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    threading_thread *thread = start("waiter", wait_repeatedly, NULL);
    OK(threading_event_wait(event));
    for (int notifies = 0; notifies < NOTIFIES;) {
        OK(threading_condition_acquire(condition));
        if (begun_waits == notifies + 1) {
            OK(threading_condition_notify(condition, 1));
            notifies++;
            sleep_for(0.001);
        }
        OK(threading_condition_release(condition));
    }
    OK(threading_thread_join(thread));
    OK(threading_trace(-1));
}

/* -------------------------------------------------------------------------------------------------- names */

static void *wait_for_event(void *arg)
{
    OK(threading_event_wait(event));
    return arg;
}

static void *wait_and_be_joined(void *arg)
{
    OK(threading_event_wait(event));
    until_thread_waits("MainThread", "joins ");
    return arg;
}

static void *foreign(void *arg)
{
    OK(threading_event_wait(never));
    return arg;
}

static void names(const char *path)
{
    threading_event *unnamed = threading_event_new();
    pthread_t other;
    CHECK(unnamed != NULL);
    OK(threading_event_set_name(event, "a \"quoted\" \\ name\n\xc3\xa9\x7f"));
    /* A wait that begins before the trace is not in it, although it is observed for others. */
    OK(threading_set_contention(true));
    OK(threading_trace(file_new(path, ".before")));
    threading_thread *before = start("before the trace", wait_for_event, NULL);
    until_thread_waits("before the trace", "waits for event");
    OK(threading_trace(file_new(path, "")));
    threading_thread *renamed = start("old name", wait_for_event, NULL);
    threading_thread *long_name = start("a name that is longer than 64 bytes, and is cut in a report: "
                                        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", wait_for_event, NULL);
    CHECK(pthread_create(&other, NULL, foreign, NULL) == 0);
    CHECK(threading_event_wait_timeout(unnamed, WAIT) == THREADING_TIMED_OUT);
    until_thread_waits("old name", "waits for event");
    until_thread_waits("a name that is longer", "waits for event");
    until_thread_waits("thread ", "waits for event \"stop\"");
    OK(threading_event_set(event));
    OK(threading_event_set(never));
    OK(threading_thread_join(before));
    OK(threading_thread_join(renamed));
    OK(threading_thread_join(long_name));
    CHECK(pthread_join(other, NULL) == 0);
    OK(threading_event_clear(event));
    renamed = start("old name", wait_for_event, NULL);
    until_thread_waits("old name", "waits for event");
    OK(threading_thread_set_name(renamed, "new\tname"));
    OK(threading_event_set(event));
    OK(threading_thread_join(renamed));
    OK(threading_trace(-1));
}

/* --------------------------------------------------------------------------------------- freed while in use */

static void *wait_for_freed(void *arg)
{
    threading_status status = threading_event_wait(arg);
    CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
    return NULL;
}

/* The waiter writes its slice while the event, with its name, is being freed or is gone. */
static void freed(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    for (int count = 0; count < 500; count++) {
        threading_event *of_one_wait = threading_event_new(), *next = NULL;
        CHECK(of_one_wait != NULL);
        OK(threading_event_set_name(of_one_wait, "freed"));
        threading_thread *waiter = start("waiter", wait_for_freed, of_one_wait);
        sleep_for(0.0002);
        OK(threading_event_set(of_one_wait));
        OK(threading_event_free(of_one_wait));
        if (count % 2 == 0)
            CHECK((next = threading_event_new()) != NULL);
        OK(threading_thread_set_name(waiter, "another name"));
        OK(threading_thread_join(waiter));
        OK(threading_thread_free(waiter));
        CHECK(next == NULL || threading_event_free(next) == THREADING_OK);
    }
    OK(threading_trace(-1));
}

/* --------------------------------------------------------------------------------- load, starts and stops */

static atomic_bool stopping;

static void *work(void *arg)
{
    unsigned random = (unsigned)(size_t)arg;
    while (!atomic_load(&stopping)) {
        random = random * 1103515245 + 12345;
        switch (random >> 16 & 3) {
        case 0:
            OK(threading_lock_acquire(lock));
            OK(threading_sleep(0.00002));
            OK(threading_lock_release(lock));
            break;
        case 1:
            OK(threading_condition_acquire(condition));
            (void)threading_condition_wait_timeout(condition, 0.0001);
            OK(threading_condition_notify_all(condition));
            OK(threading_condition_release(condition));
            break;
        case 2:
            (void)threading_semaphore_acquire_timeout(semaphore, 0.0001);
            OK(threading_semaphore_release(semaphore));
            break;
        default:
            OK(threading_event_set(event));
            OK(threading_event_clear(event));
            (void)threading_event_wait_timeout(event, 0.0001);
            break;
        }
    }
    return arg;
}

static void load(const char *path)
{
    if (getenv("THREADING_DEBUG") == NULL)
        OK(threading_trace(file_new(path, "")));
    threading_thread *threads[8];
    for (size_t index = 0; index < 8; index++)
        threads[index] = start("worker", work, (void *)(index + 1));
    OK(threading_sleep(0.5));
    OK(threading_trace(-1));
    atomic_store(&stopping, true);
    for (size_t index = 0; index < 8; index++)
        OK(threading_thread_join(threads[index]));
}

static const char *restart_path;

static void *restart(void *arg)
{
    for (int count = 0; count < 100; count++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".%s.%d", (const char *)arg, count);
        int fd = file_new(restart_path, suffix);
        OK(threading_trace(fd));
        OK(threading_sleep(0.001));
        if (count % 2 == 0)
            OK(threading_trace(-1));
        else /* another thread may have begun its trace already; this ends the trace to fd in any case */
            OK(threading_trace(file_new(restart_path, ".last")));
        CHECK(close(fd) == 0);
    }
    return arg;
}

/* Traces are started and stopped by several threads. */
static void restarts(const char *path)
{
    restart_path = path;
    threading_thread *threads[8], *restarting[3];
    for (size_t index = 0; index < 4; index++)
        threads[index] = start("worker", work, (void *)(index + 1));
    for (size_t index = 0; index < 3; index++)
        restarting[index] = start("restarting", restart, (void *)(index == 0 ? "a" : index == 1 ? "b" : "c"));
    for (size_t index = 0; index < 3; index++)
        OK(threading_thread_join(restarting[index]));
    atomic_store(&stopping, true);
    for (size_t index = 0; index < 4; index++)
        OK(threading_thread_join(threads[index]));
    OK(threading_trace(-1));
}

/* ------------------------------------------------------------------------------ fork, signals, failing files */

static void forked(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    OK(threading_sleep(WAIT));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        /* The trace is the parent's. */
        OK(threading_sleep(WAIT));
        OK(threading_trace(-1));
        OK(threading_trace(file_new(path, ".child")));
        threading_thread *thread = start("in the child", wait_and_be_joined, NULL);
        let_wait("in the child", "waits for event \"go\"");
        OK(threading_event_set(event));
        OK(threading_thread_join(thread));
        exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    OK(threading_sleep(WAIT));
    OK(threading_trace(-1));
}

static void wait_in_handler(int signum)
{
    (void)signum;
    CHECK(threading_event_wait_timeout(never, WAIT) == THREADING_TIMED_OUT);
}

static void handlers(const char *path)
{
    struct sigaction action = {.sa_handler = wait_in_handler};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    OK(threading_trace(file_new(path, "")));
    threading_thread *thread = start("waiter", wait_for_event, NULL);
    until_thread_waits("waiter", "waits for event");
    CHECK(kill(getpid(), SIGUSR1) == 0);
    OK(threading_event_set(event));
    OK(threading_thread_join(thread));
    OK(threading_trace(-1));
}

/* The trace ends at the first write that fails, without SIGPIPE. */
static void check_failing(int fd, int reader)
{
    OK(threading_trace(fd));
    if (reader >= 0)
        CHECK(close(reader) == 0);
    for (int count = 0; count < 3; count++)
        OK(threading_sleep(0.001));
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
    OK(threading_trace(-1));
    CHECK(close(fd) == 0);
}

static void failing(const char *path)
{
    int pipes[2], sockets[2];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0);
    CHECK(threading_trace(full) == THREADING_ERR_SYSTEM);
    CHECK(threading_trace(9999) == THREADING_ERR_SYSTEM);
    CHECK(threading_trace(-2) == THREADING_ERR_VALUE);
    OK(threading_trace(-1));
    CHECK(pipe(pipes) == 0);
    check_failing(pipes[1], pipes[0]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    check_failing(sockets[1], sockets[0]);
    /* A pipe that is full and does not block. */
    CHECK(pipe2(pipes, O_NONBLOCK) == 0);
    OK(threading_trace(pipes[1]));
    for (int count = 0; count < 2000; count++)
        OK(threading_sleep(0.00002));
    OK(threading_trace(-1));
    /* A signal that was pending before remains so. */
    sigset_t sigpipe, pending;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &sigpipe, NULL) == 0);
    CHECK(pipe(pipes) == 0 && close(pipes[0]) == 0 && raise(SIGPIPE) == 0);
    CHECK(threading_trace(pipes[1]) == THREADING_ERR_SYSTEM);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE));
    /* A file of the size to which the process limits its files. */
    struct rlimit limit, former;
    CHECK(getrlimit(RLIMIT_FSIZE, &former) == 0);
    limit = (struct rlimit){.rlim_cur = 1024, .rlim_max = former.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    OK(threading_trace(file_new(path, "")));
    for (int count = 0; count < 100; count++)
        OK(threading_sleep(0.00002));
    OK(threading_trace(-1));
    CHECK(setrlimit(RLIMIT_FSIZE, &former) == 0);
    /* A trace works after failures. */
    OK(threading_trace(file_new(path, "")));
    OK(threading_sleep(WAIT));
    OK(threading_trace(-1));
}

/* --------------------------------------------------------------------------------------------------- exits */

static void *end_in_the_exit(void *arg)
{
    until_thread_waits("MainThread", "waits in the process exit");
    return arg;
}

/* The array is closed at exit. */
static void exits(const char *path)
{
    if (getenv("THREADING_DEBUG") == NULL)
        OK(threading_trace(file_new(path, "")));
    start("last", end_in_the_exit, NULL);
}

/* A program that closes all its descriptors, as daemons do, closes that of its trace, whose number another file gets. The
 * trace then ends. */
static void closed(const char *path)
{
    static const char text[] = "the program's data";
    char found[sizeof text + 1], own[4096];
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    CHECK(snprintf(own, sizeof own, "%s.own", path) > 0);
    int fd = open(own, O_RDWR | O_CREAT | O_TRUNC, 0666);
    CHECK(fd == 3 && write(fd, text, sizeof text) == sizeof text);
    for (int count = 0; count < 10; count++)
        OK(threading_sleep(0.001));
    OK(threading_trace(-1));
    CHECK(pread(fd, found, sizeof found, 0) == sizeof text && memcmp(found, text, sizeof text) == 0);
    CHECK(fcntl(fd, F_GETFD) >= 0);
}

/* Nothing reads the pipe, which has no room for the end of the array. */
static void full_pipe(const char *path)
{
    static const char zeros[4096];
    int pipes[2];
    (void)path;
    CHECK(pipe2(pipes, O_NONBLOCK) == 0);
    OK(threading_trace(pipes[1]));
    for (size_t size = sizeof zeros; size > 0; size /= 2)
        while (write(pipes[1], zeros, size) > 0)
            continue;
    CHECK(fcntl(pipes[1], F_SETFL, 0) == 0);
}

static void killed(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    OK(threading_sleep(WAIT));
    CHECK(raise(SIGKILL) == 0);
}

/* -------------------------------------------------------------------------- the picture in docs/when-it-hangs.md */

static int items;

/* Reads its input while it owns the lock of the queue. */
static void *produce(void *arg)
{
    for (int count = 0; count < 3; count++) {
        sleep_for(0.004);
        OK(threading_condition_acquire(condition));
        items++;
        OK(threading_condition_notify(condition, 1));
        sleep_for(0.007);
        OK(threading_condition_release(condition));
    }
    return arg;
}

static void *consume(void *arg)
{
    for (int count = 0; count < 3; count++) {
        OK(threading_condition_acquire(condition));
        while (items == 0)
            OK(threading_condition_wait(condition));
        items--;
        OK(threading_condition_release(condition));
        OK(threading_lock_acquire(lock));
        sleep_for(0.002);
        OK(threading_lock_release(lock));
    }
    return arg;
}

static void *write_journal(void *arg)
{
    for (int count = 0; count < 2; count++) {
        OK(threading_lock_acquire(lock));
        sleep_for(0.014);
        OK(threading_lock_release(lock));
        sleep_for(0.001);
    }
    OK(threading_event_set(event));
    return arg;
}

static void picture(const char *path)
{
    OK(threading_trace(file_new(path, "")));
    threading_thread *threads[] = {start("producer", produce, NULL), start("consumer", consume, NULL),
                                   start("writer", write_journal, NULL)};
    OK(threading_event_wait(event));
    for (size_t index = 0; index < 3; index++)
        OK(threading_thread_join(threads[index]));
    OK(threading_trace(-1));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *path);
    } cases[] = {
        {"each_kind", each_kind}, {"names", names},     {"freed", freed}, {"load", load}, {"restarts", restarts},
        {"forked", forked},       {"failing", failing}, {"exits", exits}, {"killed", killed},
        {"handlers", handlers},   {"picture", picture}, {"full_pipe", full_pipe},
        {"closed", closed},       {"notified_before_it_parks", notified_before_it_parks},
    };
    CHECK((lock = threading_lock_new()) != NULL && (rlock = threading_rlock_new()) != NULL);
    CHECK((condition = threading_condition_new()) != NULL && (semaphore = threading_semaphore_new(0)) != NULL);
    CHECK((event = threading_event_new()) != NULL && (never = threading_event_new()) != NULL);
    CHECK((barrier = threading_barrier_new(2, NULL, NULL)) != NULL);
    OK(threading_lock_set_name(lock, "journal"));
    OK(threading_rlock_set_name(rlock, "accounts"));
    OK(threading_condition_set_name(condition, "queue"));
    OK(threading_semaphore_set_name(semaphore, "connections"));
    OK(threading_event_set_name(event, "go"));
    OK(threading_event_set_name(never, "stop"));
    OK(threading_barrier_set_name(barrier, "phase"));
    for (size_t index = 0; argc == 3 && index < sizeof cases / sizeof *cases; index++) {
        if (strcmp(argv[1], cases[index].name) == 0) {
            cases[index].run(argv[2]);
            return 0;
        }
    }
    return 2;
}

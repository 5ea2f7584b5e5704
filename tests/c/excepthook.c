/* The excepthook: the default one, and one that the program sets. */
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>

static struct {
    threading_thread *thread;
    char type[32], message[32];
    void *arg;
    int calls;
} hooked;

static void hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    CHECK_PTR(thread, threading_current_thread());
    hooked.thread = thread;
    snprintf(hooked.type, sizeof hooked.type, "%s", type);
    snprintf(hooked.message, sizeof hooked.message, "%s", message);
    hooked.arg = arg;
    hooked.calls++;
}

static void *report(void *arg)
{
    CHECK_STATUS_KEEPS_ERROR(threading_report_exception("ValueError", "too odd"), THREADING_OK);
    return arg;
}

static void *report_named(void *arg)
{
    CHECK_STATUS(threading_thread_set_name(threading_current_thread(), "Größe"), THREADING_OK);
    return report(arg);
}

static void custom_hook(void)
{
    threading_thread *thread = threading_thread_new(report, &thread);
    threading_timer *timer = threading_timer_new(0, report, &timer);
    void *arg = &arg;
    CHECK(thread != NULL && timer != NULL);
    CHECK(threading_get_excepthook(&arg) == NULL);
    CHECK(threading_get_excepthook(NULL) == NULL);
    threading_set_excepthook(hook, &hooked);
    CHECK(threading_get_excepthook(&arg) == hook);
    CHECK(threading_get_excepthook(NULL) == hook);
    CHECK_PTR(arg, &hooked);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_PTR(hooked.thread, thread);
    CHECK_STR(hooked.type, "ValueError");
    CHECK_STR(hooked.message, "too odd");
    CHECK_PTR(hooked.arg, &hooked);
    CHECK_PTR(join(thread), &thread); /* a report does not end the thread */
    report(NULL);
    CHECK_PTR(hooked.thread, threading_main_thread());
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_PTR(hooked.thread, threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    join_foreign(spawn_foreign(report, NULL));
    CHECK_INT(hooked.calls, 4);
    threading_set_excepthook(NULL, &hooked);
    CHECK(threading_get_excepthook(NULL) == NULL);
}

static void default_hook(void)
{
    char line[256] = "";
    int file = memfd_create("stderr", 0), saved = dup(STDERR_FILENO);
    CHECK(file >= 0 && saved >= 0);
    fflush(stderr);
    CHECK(dup2(file, STDERR_FILENO) >= 0);
    threading_set_excepthook(NULL, NULL);
    report(NULL);
    join(spawn(report_named, NULL));
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    CHECK(pread(file, line, sizeof line - 1, 0) > 0);
    CHECK_STR(line, "Exception in thread MainThread: ValueError: too odd\n"
                    "Exception in thread Größe: ValueError: too odd\n");
    close(file);
}

static atomic_int interruptions;

static void count_interruption(int number)
{
    (void)number;
    atomic_fetch_add(&interruptions, 1);
}

/* Standard error is a full pipe, so that the report blocks. The handler has no SA_RESTART. */
static void default_hook_with_signals(void)
{
    enum { SIGNALS = 20 };
    const char expected[] = "Exception in thread Größe: ValueError: too odd\n";
    struct sigaction action = {.sa_handler = count_interruption}, former;
    char line[sizeof expected] = "", byte = '-';
    int pipe_ends[2], saved = dup(STDERR_FILENO), flags;
    CHECK_INT(pipe(pipe_ends), 0);
    flags = fcntl(pipe_ends[1], F_GETFL);
    CHECK_INT(fcntl(pipe_ends[1], F_SETFL, flags | O_NONBLOCK), 0);
    while (write(pipe_ends[1], &byte, 1) == 1) {
    }
    CHECK_INT(fcntl(pipe_ends[1], F_SETFL, flags), 0);
    CHECK_INT(sigaction(SIGUSR1, &action, &former), 0);
    fflush(stderr);
    CHECK(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    threading_thread *thread = spawn(report_named, NULL);
    pid_t id = (pid_t)threading_thread_native_id(thread);
    double end = now() + TEST_LIMIT;
    while (atomic_load(&interruptions) < SIGNALS && now() < end) {
        (void)syscall(SYS_tgkill, getpid(), id, SIGUSR1); /* fails if the thread has ended */
        sleep_for(0.005);
        if (!threading_thread_is_alive(thread))
            break;
    }
    bool is_waiting = threading_thread_is_alive(thread);
    CHECK_INT(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK), 0);
    for (size_t length = 0; length < sizeof line - 1 && is_waiting && now() < end;)
        if (read(pipe_ends[0], &byte, 1) == 1 && byte != '-')
            line[length++] = byte;
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    join(thread);
    CHECK_INT(sigaction(SIGUSR1, &former, NULL), 0);
    CHECK_STR(line, expected);
    close(saved);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static const struct test_case cases[] = {
    {"an excepthook receives the calling thread, both strings and its argument", custom_hook},
    {"the default excepthook prints one line to stderr", default_hook},
    {"the default excepthook prints the line if signals interrupt its write", default_hook_with_signals},
};

TEST_MAIN(cases)

/* Dumps that a signal makes, and what becomes of the former handler of the signal. */
#include "dump.h"

#include <setjmp.h>
#include <sys/resource.h>
#include <sys/time.h>

static atomic_int former_calls;

static void count_former(int signal)
{
    (void)signal;
    atomic_fetch_add(&former_calls, 1);
}

static void on_a_signal(void)
{
    struct sigaction handler = {.sa_handler = count_former}, found;
    int fd = text_file();
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_INT(sigaction(SIGUSR1, &handler, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(read_masked(fd), "threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
                               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_INT(atomic_load(&former_calls), 1);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
    CHECK_INT(sigaction(SIGUSR1, NULL, &found), 0);
    CHECK(found.sa_handler == count_former);
}

static void count_former_with_info(int signal, siginfo_t *info, void *context)
{
    CHECK(info->si_signo == signal && context != NULL);
    atomic_fetch_add(&former_calls, 1);
}

/* A thread may have received the signal before the former handler was restored, and run the library's handler after it:
 * as if that were still installed. */
static void signal_during_restore(void)
{
    struct sigaction plain = {.sa_handler = count_former};
    struct sigaction with_info = {.sa_sigaction = count_former_with_info, .sa_flags = SA_SIGINFO};
    struct sigaction none = {.sa_handler = SIG_DFL}, *formers[] = {&plain, &with_info, &none}, installed;
    for (int i = 0; i < 3; i++) {
        int fd = text_file();
        atomic_store(&former_calls, 0);
        CHECK_INT(sigaction(SIGUSR1, formers[i], NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &installed), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, &installed, NULL), 0);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), i < 2);
        CHECK_STR(read_masked(fd), "");
        /* It is not its own former handler. */
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), i < 2 ? 2 : 0);
        CHECK_STR(read_masked(fd), "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n");
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &installed), 0);
        CHECK(i == 1 ? installed.sa_sigaction == count_former_with_info
                     : installed.sa_handler == formers[i]->sa_handler);
        CHECK_INT(close(fd), 0);
    }
}

static atomic_bool all_sent;

static void *send_many_signals(void *receiver)
{
    for (int i = 0; i < test_many(5000); i++) {
        CHECK_INT(pthread_kill(*(pthread_t *)receiver, SIGUSR1), 0);
        sleep_for(50e-6);
    }
    atomic_store(&all_sent, true);
    return NULL;
}

/* Under ThreadSanitizer, the handler runs in the next call of the C library, also in one that this library makes. */
static void during_calls(void)
{
    pthread_t main_thread = pthread_self();
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    threading_event *never_set = threading_event_new();
    CHECK(fd >= 0 && never_set != NULL);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    pthread_t sender = spawn_foreign(send_many_signals, &main_thread);
    while (!atomic_load(&all_sent))
        CHECK_STATUS(threading_event_wait_timeout(never_set, 20e-6), THREADING_TIMED_OUT);
    join_foreign(sender);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
    CHECK_STATUS(threading_event_free(never_set), THREADING_OK);
    CHECK_INT(close(fd), 0);
}

/* A thread that has caused a fault repeats it after the handler: the default action must end the process. */
static void cause_fault(void)
{
    const struct rlimit no_core = {0};
    CHECK_INT(setrlimit(RLIMIT_CORE, &no_core), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGSEGV, STDOUT_FILENO), THREADING_OK);
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    *(volatile char *)page = 1;
}

static void after_a_fault(void)
{
    skip_under_tools();
    int ends[2], status;
    char text[TEXT_SIZE], masked[TEXT_SIZE];
    size_t length = 0;
    ssize_t part;
    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_INT(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
        cause_fault();
    }
    CHECK_INT(close(ends[1]), 0);
    while (length < sizeof text - 1 && (part = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)part;
    text[length] = '\0';
    CHECK_INT(close(ends[0]), 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    mask(text, masked);
    CHECK_STR(masked, "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n");
    /* A signal that another process or the program sends ends nothing. */
    int fd = text_file();
    CHECK_STATUS(threading_dump_on_signal(SIGSEGV, fd), THREADING_OK);
    CHECK_INT(raise(SIGSEGV), 0);
    CHECK_INT(raise(SIGSEGV), 0);
}

static sigjmp_buf before_signal;

static void leave_handler(int signal)
{
    (void)signal;
    atomic_fetch_add(&former_calls, 1);
    siglongjmp(before_signal, 1);
}

static void former_flags(void)
{
    skip_under_tools();
    struct sigaction unblocked = {.sa_handler = leave_handler, .sa_flags = SA_NODEFER};
    struct sigaction interrupts = {.sa_handler = count_former};
    struct sigaction once = {.sa_handler = count_former, .sa_flags = SA_RESETHAND}, found;
    /* A signal that arrives before the read is followed by another. */
    const struct itimerval repeated = {{0, 200000}, {0, 200000}}, none = {{0, 0}, {0, 0}};
    int fd = text_file(), ends[2];
    CHECK_INT(sigaction(SIGUSR1, &unblocked, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    for (volatile int signals = 0; signals < 2; signals++) {
        if (sigsetjmp(before_signal, 0) == 0)
            CHECK_INT(raise(SIGUSR1), 0);
    }
    CHECK_INT(atomic_load(&former_calls), 2);
    /* Without SA_RESTART, the signal ends a read. */
    CHECK_INT(sigaction(SIGALRM, &interrupts, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGALRM, fd), THREADING_OK);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &repeated, NULL), 0);
    CHECK_INT(read(ends[0], &(char){0}, 1), -1);
    CHECK_INT(errno, EINTR);
    CHECK_INT(setitimer(ITIMER_REAL, &none, NULL), 0);
    CHECK_AT_LEAST(atomic_load(&former_calls), 3);
    /* With SA_RESETHAND, the first signal restores the default action. A handler of a fault relies on it to end. */
    CHECK_INT(sigaction(SIGUSR2, &once, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR2, fd), THREADING_OK);
    int before = atomic_load(&former_calls);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(atomic_load(&former_calls), before + 1);
    CHECK_INT(sigaction(SIGUSR2, NULL, &found), 0);
    CHECK(found.sa_handler == SIG_DFL);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR2, fd), THREADING_OK);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(atomic_load(&former_calls), before + 1);
}

static struct sigaction replaced_action;

/* A handler of the program that calls the one that it has replaced. */
static void call_replaced(int signal, siginfo_t *info, void *context)
{
    atomic_fetch_add(&former_calls, 10);
    replaced_action.sa_sigaction(signal, info, context);
}

static void replaced_handler(void)
{
    const char *const dump = "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n";
    struct sigaction plain = {.sa_handler = count_former};
    struct sigaction with_info = {.sa_sigaction = count_former_with_info, .sa_flags = SA_SIGINFO};
    struct sigaction chained = {.sa_sigaction = call_replaced, .sa_flags = SA_SIGINFO}, found;
    for (int rounds = 0; rounds < 10; rounds++) {
        int fd = text_file();
        atomic_store(&former_calls, 0);
        CHECK_INT(sigaction(SIGUSR1, &plain, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, &with_info, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), 1);
        CHECK_STR(read_masked(fd), dump);
        CHECK_INT(ftruncate(fd, 0), 0);
        CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
        CHECK_INT(sigaction(SIGUSR1, &chained, &replaced_action), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), 12);
        CHECK_STR(read_masked(fd), dump);
        /* The program's new handler stays. */
        CHECK_INT(sigaction(SIGUSR1, &plain, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &found), 0);
        CHECK(found.sa_handler == count_former);
        CHECK_INT(close(fd), 0);
    }
}

IN_CHILD(on_a_signal)
IN_CHILD(signal_during_restore)
IN_CHILD(after_a_fault)
IN_CHILD(former_flags)
IN_CHILD(replaced_handler)

static const struct test_case cases[] = {
    {"a signal makes a dump and calls the former handler", on_a_signal_case},
    {"a signal that arrives while the former handler is restored is passed to it", signal_during_restore_case},
    {"signals make dumps while the thread calls the library", during_calls},
    {"after a dump on a fault, the default action follows", after_a_fault_case},
    {"the former handler gets signals with the flags that it has asked for", former_flags_case},
    {"a handler that has replaced that of the library can be replaced again", replaced_handler_case},
};

TEST_MAIN(cases)

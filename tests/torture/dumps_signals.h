/* Signals to random threads. Their handlers make dumps, also on alternate stacks of 8 KiB and within each other, or
 * stop their thread, which may hold a mutex of the library, for some milliseconds. */
#ifndef DUMPS_SIGNALS_H
#define DUMPS_SIGNALS_H

#include "dumps_files.h"

#include <dirent.h>
#include <sys/auxv.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* A handler of SIGUSR2 may interrupt one of SIGUSR1, where threads have room for both. */
#define SIGNAL_DUMP SIGUSR1
#define SIGNAL_NESTED_DUMP SIGUSR2
#define SIGNAL_FREEZE (SIGRTMIN + 1)

static pthread_t sender;
static atomic_bool sender_stops;

static inline void on_dump_signal(int number)
{
    (void)number;
    dump_in_handler();
}

static inline void on_freeze_signal(int number)
{
    int saved_errno = errno;
    (void)number;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    errno = saved_errno;
}

static inline void block_signals(int how, bool only_nested)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL_NESTED_DUMP);
    if (!only_nested) {
        sigaddset(&set, SIGNAL_DUMP);
        sigaddset(&set, SIGNAL_FREEZE);
    }
    TORTURE_CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

/* Sets an alternate signal stack of the calling thread: 8 KiB, or 4 KiB more than this processor needs. No memory is
 * mapped below it. */
static inline void use_small_alternate_stack(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    enum { GUARD = 65536 };
    size_t size = getauxval(AT_MINSIGSTKSZ) + 4096;
    if (size < 8192)
        size = 8192;
    char *memory = mmap(NULL, GUARD + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORTURE_CHECK(memory != MAP_FAILED && mprotect(memory, GUARD, PROT_NONE) == 0);
    TORTURE_CHECK(sigaltstack(&(stack_t){.ss_sp = memory + GUARD, .ss_size = size}, NULL) == 0);
#endif
    block_signals(SIG_BLOCK, true);
}

static inline void send_to_a_thread(struct random *random)
{
    int number = random_one_in(random, 2) ? SIGNAL_DUMP : SIGNAL_NESTED_DUMP;
    if (random_one_in(random, 40))
        number = SIGNAL_FREEZE;
    DIR *tasks = opendir("/proc/self/task");
    TORTURE_CHECK(tasks != NULL);
    long chosen = 0;
    uint64_t seen = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        long tid = strtol(task->d_name, NULL, 10);
        if (tid > 0 && random_one_in(random, ++seen))
            chosen = tid;
    }
    closedir(tasks);
    syscall(SYS_tgkill, getpid(), chosen, number);
}

static inline void *send_signals(void *seed)
{
    struct random random = {(uintptr_t)seed};
    while (!atomic_load(&sender_stops)) {
        send_to_a_thread(&random);
        sleep_for((double)random_below(&random, 800) / 1e6);
    }
    return NULL;
}

static inline void signals_install(void)
{
    struct sigaction action = {.sa_handler = on_dump_signal, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    TORTURE_CHECK(sigaction(SIGNAL_NESTED_DUMP, &action, NULL) == 0);
    /* A small stack has room for one handler. */
    action.sa_flags |= SA_RESTART;
    sigaddset(&action.sa_mask, SIGNAL_FREEZE);
    TORTURE_CHECK(sigaction(SIGNAL_DUMP, &action, NULL) == 0);
    sigaddset(&action.sa_mask, SIGNAL_DUMP);
    action.sa_handler = on_freeze_signal;
    TORTURE_CHECK(sigaction(SIGNAL_FREEZE, &action, NULL) == 0);
}

static inline void signals_start(struct random *random)
{
    atomic_store(&handlers_dump, true);
    atomic_store(&sender_stops, false);
    block_signals(SIG_BLOCK, false); /* inherited by the sender */
    TORTURE_CHECK(pthread_create(&sender, NULL, send_signals, (void *)(uintptr_t)random_next(random)) == 0);
    block_signals(SIG_UNBLOCK, false);
}

static inline void signals_stop(void)
{
    atomic_store(&sender_stops, true);
    TORTURE_CHECK(pthread_join(sender, NULL) == 0);
    stop_handlers();
}

#endif

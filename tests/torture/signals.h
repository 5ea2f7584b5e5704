/* Sends thousands of signals per second, with and without SA_RESTART, to all threads of the process. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "dumps_beside.h"
#include "stress.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { SENDERS = 2, ALARM_MICROSECONDS = 700 };

static struct {
    _Atomic uint64_t sent, handled;
    atomic_bool stop, paused;          /* paused: no signals are sent */
    atomic_uint paused_senders;        /* sending threads that have paused */
    atomic_bool handler_enabled;       /* the handler uses the objects of signals_handlers.h */
    _Atomic uint64_t handlers_running; /* handlers that are running */
    pthread_t senders[SENDERS];
} signal_storm;

static void use_objects_in_handler(void);

static inline void handle_signal(int number)
{
    int saved_errno = errno;
    (void)number;
    atomic_fetch_add(&signal_storm.handlers_running, 1);
    if (atomic_load(&signal_storm.handler_enabled)) {
        use_objects_in_handler();
        /* Not in a child of fork, which has the files of its parent. */
        if (getpid() == torture.pid && atomic_load(&signal_storm.handled) % 16 == 0)
            dump_in_handler();
    }
    atomic_fetch_sub(&signal_storm.handlers_running, 1);
    atomic_fetch_add(&signal_storm.handled, 1);
    errno = saved_errno;
}

/* Sends a signal to every thread, including the library's own. Threads that have ended get none. */
static inline void send_to_all(struct random *random)
{
    DIR *tasks = opendir("/proc/self/task");
    TORTURE_CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        long tid = strtol(task->d_name, NULL, 10);
        if (tid > 0 && syscall(SYS_tgkill, getpid(), tid, random_one_in(random, 2) ? SIGUSR1 : SIGUSR2) == 0)
            atomic_fetch_add(&signal_storm.sent, 1);
    }
    closedir(tasks);
}

static inline void *send_continually(void *arg)
{
    struct random random = {(uintptr_t)arg};
    while (!atomic_load(&signal_storm.stop)) {
        if (atomic_load(&signal_storm.paused)) {
            atomic_fetch_add(&signal_storm.paused_senders, 1);
            while (atomic_load(&signal_storm.paused))
                sleep_for(100e-6);
            atomic_fetch_sub(&signal_storm.paused_senders, 1);
        }
        send_to_all(&random);
        sleep_for((double)random_below(&random, 1000) / 1e6);
    }
    return NULL;
}

static inline void change_signal_mask(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGALRM);
    TORTURE_CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static inline void set_alarms(int microseconds)
{
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};
    TORTURE_CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
}

static inline void storm_start(struct random *random)
{
    struct sigaction action = {.sa_handler = handle_signal};
    sigfillset(&action.sa_mask);
    TORTURE_CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    action.sa_flags = SA_RESTART;
    TORTURE_CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    change_signal_mask(SIG_BLOCK); /* inherited by the senders */
    for (unsigned i = 0; i < SENDERS; i++)
        TORTURE_CHECK(pthread_create(&signal_storm.senders[i], NULL, send_continually,
                                     (void *)(uintptr_t)random_next(random)) == 0);
    change_signal_mask(SIG_UNBLOCK);
    set_alarms(ALARM_MICROSECONDS);
}

/* Stops sending signals and waits for running handlers to return; no handler uses the objects until storm_resume(). */
static inline void storm_pause(void)
{
    set_alarms(0);
    atomic_store(&signal_storm.paused, true);
    while (atomic_load(&signal_storm.paused_senders) < SENDERS)
        sleep_for(100e-6);
    atomic_store(&signal_storm.handler_enabled, false);
    while (atomic_load(&signal_storm.handlers_running) > 0)
        sleep_for(100e-6);
}

static inline void storm_resume(void)
{
    atomic_store(&signal_storm.handler_enabled, true);
    atomic_store(&signal_storm.paused, false);
    while (atomic_load(&signal_storm.paused_senders) > 0)
        sleep_for(100e-6);
    set_alarms(ALARM_MICROSECONDS);
}

static inline void storm_stop(void)
{
    set_alarms(0);
    atomic_store(&signal_storm.stop, true);
    atomic_store(&signal_storm.paused, false);
    for (unsigned i = 0; i < SENDERS; i++)
        TORTURE_CHECK(pthread_join(signal_storm.senders[i], NULL) == 0);
}

#endif

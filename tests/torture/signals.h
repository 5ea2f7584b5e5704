/* The storm: signals with and without SA_RESTART to all threads of the process, thousands a second. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "stress.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { SENDERS = 2, ALARM_MICROSECONDS = 700 };

static struct {
    _Atomic uint64_t sent, handled;
    atomic_bool over, calm;   /* calm: no signal is sent */
    atomic_uint calm_senders; /* who know that */
    atomic_bool acts;         /* the handler acts on the objects of signals_handlers.h */
    _Atomic uint64_t acting;  /* handlers that are about it */
    pthread_t senders[SENDERS];
} storm;

static void act_in_handler(void);

static inline void handle_signal(int number)
{
    int error = errno;
    (void)number;
    atomic_fetch_add(&storm.acting, 1);
    if (atomic_load(&storm.acts))
        act_in_handler();
    atomic_fetch_sub(&storm.acting, 1);
    atomic_fetch_add(&storm.handled, 1);
    errno = error;
}

/* A signal to every thread there is, the library's own included; one that has ended gets none. */
static inline void send_to_all(struct random *random)
{
    DIR *tasks = opendir("/proc/self/task");
    TORTURE_CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        long tid = strtol(task->d_name, NULL, 10);
        if (tid > 0 && syscall(SYS_tgkill, getpid(), tid, random_one_in(random, 2) ? SIGUSR1 : SIGUSR2) == 0)
            atomic_fetch_add(&storm.sent, 1);
    }
    closedir(tasks);
}

static inline void *send_all_the_time(void *arg)
{
    struct random random = {(uintptr_t)arg};
    while (!atomic_load(&storm.over)) {
        if (atomic_load(&storm.calm)) {
            atomic_fetch_add(&storm.calm_senders, 1);
            while (atomic_load(&storm.calm))
                nap(100e-6);
            atomic_fetch_sub(&storm.calm_senders, 1);
        }
        send_to_all(&random);
        nap((double)random_below(&random, 1000) / 1e6);
    }
    return NULL;
}

static inline void block_signals(int how)
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

static inline void storm_begin(struct random *random)
{
    struct sigaction action = {.sa_handler = handle_signal};
    sigfillset(&action.sa_mask);
    TORTURE_CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    action.sa_flags = SA_RESTART;
    TORTURE_CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    block_signals(SIG_BLOCK); /* for the senders */
    for (unsigned i = 0; i < SENDERS; i++)
        TORTURE_CHECK(pthread_create(&storm.senders[i], NULL, send_all_the_time,
                                     (void *)(uintptr_t)random_next(random)) == 0);
    block_signals(SIG_UNBLOCK);
    set_alarms(ALARM_MICROSECONDS);
}

/* From here on no signal is sent, and no handler acts; those that were under way have ended. */
static inline void storm_calm(void)
{
    set_alarms(0);
    atomic_store(&storm.calm, true);
    while (atomic_load(&storm.calm_senders) < SENDERS)
        nap(100e-6);
    atomic_store(&storm.acts, false);
    while (atomic_load(&storm.acting) > 0)
        nap(100e-6);
}

static inline void storm_again(void)
{
    atomic_store(&storm.acts, true);
    atomic_store(&storm.calm, false);
    while (atomic_load(&storm.calm_senders) > 0)
        nap(100e-6);
    set_alarms(ALARM_MICROSECONDS);
}

static inline void storm_end(void)
{
    set_alarms(0);
    atomic_store(&storm.over, true);
    atomic_store(&storm.calm, false);
    for (unsigned i = 0; i < SENDERS; i++)
        TORTURE_CHECK(pthread_join(storm.senders[i], NULL) == 0);
}

#endif

/* Signal handlers, and an interval timer that sends signals. */
#ifndef TEST_SIGNALS_H
#define TEST_SIGNALS_H

#include "test.h"

#include <sys/time.h>

static _Thread_local volatile sig_atomic_t handled; /* number of signals handled by this thread */

static inline void set_handler(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    CHECK_INT(sigaction(number, &action, NULL), 0);
}

/* Starts an interval timer that sends SIGALRM to the process, or stops it if the period is 0. The period is scaled for
 * slow tools, under which the process would only handle signals otherwise. */
static inline void set_alarm_period(int period_us)
{
    const int period = period_us * test_slowness();
    struct itimerval interval = {{0, period}, {0, period}};
    CHECK_INT(setitimer(ITIMER_REAL, &interval, NULL), 0);
}

#endif

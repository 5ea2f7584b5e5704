/* What the scenarios of the refusals program share. */
#ifndef FAULT_INJECTION_SCENARIOS_H
#define FAULT_INJECTION_SCENARIOS_H

#include "fault_injection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define MOMENT 0.0005
#define LIMIT 60.0

/* Kinds of objects, and other ways to make some. */
enum {
    LOCK, RLOCK, CONDITION, SEMAPHORE, EVENT, BARRIER, LOCAL, THREAD, TIMER, LIST,
    OVER_LOCK, OVER_RLOCK, BOUNDED, WITH_INIT
};

void *make(int kind);
/* Gives back the last reference: nobody has kept another. */
void give_back(int kind, void *object);
threading_status made(const void *object);

static inline threading_status expect_timeout(threading_status status)
{
    return status == THREADING_TIMED_OUT ? THREADING_OK : status;
}

/* What the scenario of this process is about, whatever it is. */
extern void *object;
extern threading_event *event;
extern threading_local *local;
extern const char *name;
/* What threads that `make` makes return. */
extern threading_lock *of_lock;

enum { MANY = 300 };
extern threading_timer *timers[MANY];
/* So many pending timers as the scenario's parameter says. */
void start_timers(void);
void cancel_timers(void);

/* How many threads are alive. */
void count_alive(void);
void as_many_alive(void);

/* For destructors. */
extern atomic_int destroyed;
void count_destroyed(void *value);

extern int hooked;
void hook(threading_thread *thread, const char *type, const char *message, void *arg);

void nothing(void);
void *return_arg(void *arg);
void *wait_for(void *event);
/* `object` is a thread that has not been started; one that waits for `event`. */
void prepare_thread(void);
void prepare_running(void);

#endif

/* What the scenarios of the fault injection program share. */
#ifndef FAULT_INJECTION_SCENARIOS_H
#define FAULT_INJECTION_SCENARIOS_H

#include "fault_injection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SHORT_TIMEOUT 0.0005
#define LONG_TIMEOUT 60.0

/* Kinds of objects, and other ways to create some of them. */
enum {
    LOCK,
    RLOCK,
    CONDITION,
    SEMAPHORE,
    EVENT,
    BARRIER,
    LOCAL,
    THREAD,
    TIMER,
    LIST,
    CONDITION_WITH_LOCK,
    CONDITION_WITH_RLOCK,
    BOUNDED_SEMAPHORE,
    LOCAL_WITH_INIT
};

void *create(int kind);
/* Releases the last reference, and checks that there was no other. */
void release_last(int kind, void *object);
threading_status status_of(const void *object);

static inline threading_status expect_timeout(threading_status status)
{
    return status == THREADING_TIMED_OUT ? THREADING_OK : status;
}

/* The object under test; its type depends on the scenario. */
extern void *object;
extern threading_event *event;
extern threading_local *local;
extern const char *name;
/* The argument and result of threads that create() creates. */
extern int thread_arg;

enum { MAX_OBJECTS = 300 };
extern threading_timer *timers[MAX_OBJECTS];
/* Start and cancel as many pending timers as the scenario's parameter says. */
void start_timers(void);
void cancel_timers(void);

/* Record the number of threads, and check that it is unchanged. */
void record_alive(void);
void check_alive(void);

/* A destructor that counts its calls. */
extern atomic_int destructor_calls;
void count_destroyed(void *value);

extern int hook_calls;
void hook(threading_thread *thread, const char *type, const char *message, void *arg);

void do_nothing(void);
void *return_arg(void *arg);
void *wait_for(void *event);
/* Set `object` to a thread that has not been started, or to one that waits for `event`. */
void prepare_thread(void);
void prepare_running(void);

#endif

/* What the parts of the refusals program share: fault_injection_libc.c refuses what the library asks of the system;
 * fault_injection_objects.c, _threads.c, _locals.c, _waits.c and _others.c have the calls during which it does so;
 * fault_injection.c goes through them. */
#ifndef FAULT_INJECTION_H
#define FAULT_INJECTION_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <threading.h>

/* ---- fault_injection_libc.c ---- */

enum refusing {
    NOTHING,     /* count only */
    ONCE,        /* the n-th */
    FROM_THEN,   /* the n-th and all later ones */
    NOW_AND_THEN /* one in n, by chance */
};

/* From now on so much is refused: to the calling thread, or to everybody. */
void refusals_arm(enum refusing how, long n, uint64_t seed, bool everybody);
/* Nothing is refused any more. Returns how many calls have been since `refusals_arm`. */
long refusals_disarm(void);
/* How many of these were refused. */
long refusals_made(void);
/* What was refused last. */
const char *refusals_last(void);
/* What the library has got and not given back. */
long refusals_blocks(void);
long refusals_mapped(void);
/* Where the memory of an object lies in its block: the same in each process. */
size_t refusals_offset(const void *handle);

/* ---- the scenarios ---- */

enum { NO_MEMORY = 1, SYSTEM = 2 };

struct scenario {
    const char *name;
    const char *functions; /* what `call` calls, without the prefix */
    void (*prepare)(void);
    threading_status (*call)(void); /* during this, things are refused */
    int errors;                     /* how it may end then, if not well */
    void (*unchanged)(void);        /* after an error */
    void (*done)(void);             /* after a success, now or at another try: looks, and gives all back */
    int parameter;
    bool everybody; /* what is started meanwhile is refused things too */
    bool last;      /* the process is past its shutdown then */
};

extern const struct scenario object_scenarios[], thread_scenarios[], local_scenarios[], wait_scenarios[],
    other_scenarios[];
extern const size_t object_scenarios_count, thread_scenarios_count, local_scenarios_count, wait_scenarios_count,
    other_scenarios_count;

/* That which runs in this process, for functions that serve several. */
extern const struct scenario *scenario;

/* Goes through all kinds of objects; all is well if this goes through. */
void use_everything(void);
/* How much of the memory for objects of each kind has been touched. */
enum { KINDS = 10 };
void look_at_slots(size_t used[KINDS]);

/* ---- fault_injection.c ---- */

_Noreturn void refusals_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(cond) ((cond) ? (void)0 : refusals_fail(__FILE__, __LINE__, "%s does not hold", #cond))

static inline void check_status(const char *file, int line, const char *expr, threading_status got,
                                threading_status expected)
{
    if (got != expected)
        refusals_fail(file, line, "%s is %s, expected %s", expr, threading_status_name(got),
                      threading_status_name(expected));
}

#define STATUS(expr, status) check_status(__FILE__, __LINE__, #expr, (expr), (status))
#define OK(expr) STATUS(expr, THREADING_OK)

#endif

/* What the parts of the fault injection program share. fault_injection.c runs the scenarios; fault_injection_libc.c
 * makes calls of libc fail; the other files contain the scenarios. */
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

enum fault_mode {
    NO_FAULTS,    /* only count the calls */
    FAIL_ONE,     /* call n fails */
    FAIL_FROM,    /* call n and all later ones fail */
    FAIL_RANDOMLY /* one in n calls fails, at random */
};

/* From now on, calls of the calling thread, or of all threads, fail as `mode` says. */
void inject_faults(enum fault_mode mode, long n, uint64_t seed, bool all_threads);
/* No call fails any more. Returns the number of calls since inject_faults(). */
long stop_faults(void);
/* Returns how many of them were not for files. */
long memory_calls(void);
/* Returns how many of them have failed. */
long injected_faults(void);
/* Returns the name of the function that failed last. */
const char *last_fault(void);
/* Return what the library has allocated or mapped and not freed. */
long live_blocks(void);
long mapped_bytes(void);
/* Returns the offset of an object's slot in its block, which is the same in each process. */
size_t slot_offset(const void *handle);

/* ---- the scenarios ---- */

enum { NO_MEMORY = 1, SYSTEM = 2 };

struct scenario {
    const char *name;
    const char *functions; /* the functions that `call` calls, without their prefix */
    void (*prepare)(void);
    threading_status (*call)(void); /* the calls that fail are made during this */
    int errors;                     /* errors that it may return */
    void (*check_unchanged)(void);  /* called after an error */
    void (*finish)(void);           /* called after a success: checks the result and frees everything */
    int parameter;
    bool all_threads;  /* calls of threads that it starts fail, too */
    bool ends_process; /* the process has been shut down afterwards */
};

extern const struct scenario object_scenarios[], thread_scenarios[], local_scenarios[], wait_scenarios[],
    process_scenarios[];
extern const size_t object_scenarios_count, thread_scenarios_count, local_scenarios_count, wait_scenarios_count,
    process_scenarios_count;

/* The scenario of this process, for functions that serve several scenarios. */
extern const struct scenario *scenario;

/* Uses all kinds of objects and checks that they work. */
void use_everything(void);
/* Measures how much memory has been used for objects of each kind. */
enum { KINDS = 10 };
void measure_slots(size_t used[KINDS]);

/* ---- fault_injection.c ---- */

_Noreturn void scenario_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define CHECK(cond) ((cond) ? (void)0 : scenario_fail(__FILE__, __LINE__, "%s does not hold", #cond))

static inline void check_status(const char *file, int line, const char *expr, threading_status got,
                                threading_status expected)
{
    if (got != expected)
        scenario_fail(file, line, "%s is %s, expected %s", expr, threading_status_name(got),
                      threading_status_name(expected));
}

#define STATUS(expr, status) check_status(__FILE__, __LINE__, #expr, (expr), (status))
#define OK(expr) STATUS(expr, THREADING_OK)

#endif

/* Calls that take no handle. */
#ifndef MISUSE_MODULE_H
#define MISUSE_MODULE_H

#include "timers.h"

/* Sets the choice for a call that takes no object. */
static inline void choose_no_object(struct actor *a)
{
    a->choice = (struct choice){NULL, NULL, OWN};
}

static inline bool check_result(struct actor *a, bool is_expected)
{
    choose_no_object(a);
    check_last_error(a, THREADING_OK);
    EXPECT(a, is_expected);
    return true;
}

/* ------------------------------------------------------------------------------------------------------- library */

static bool call_version(struct actor *a)
{
    return check_result(a, strcmp(threading_version(), THREADING_VERSION) == 0);
}

static bool call_version_number(struct actor *a)
{
    return check_result(a, threading_version_number() == (THREADING_VERSION_MAJOR << 16 | THREADING_VERSION_MINOR << 8 |
                                                          THREADING_VERSION_PATCH));
}

static bool call_status_name(struct actor *a)
{
    int32_t number = (int32_t)next_count(&a->bytes);
    bool is_status = is_one_of(number, ~NONE);
    const char *name = threading_status_name(number);
    return check_result(a, is_status ? strncmp(name, "THREADING_", 10) == 0 : strcmp(name, "unknown status") == 0);
}

static bool call_status_message(struct actor *a)
{
    int32_t number = (int32_t)next_count(&a->bytes);
    bool is_status = is_one_of(number, ~NONE);
    const char *message = threading_status_message(number);
    return check_result(a, message[0] != '\0' && is_status == (strcmp(message, "unknown status") != 0));
}

static bool call_last_error(struct actor *a)
{
    return check_result(a, threading_last_error() == a->error);
}

static bool call_last_error_message(struct actor *a)
{
    return check_result(a, strcmp(threading_last_error_message(), a->message) == 0);
}

static bool call_clear_last_error(struct actor *a)
{
    clear_error(a);
    return check_result(a, threading_last_error() == THREADING_OK && threading_last_error_message()[0] == '\0');
}

/* ---------------------------------------------------------------------------------------------------- threads */

static bool call_current_thread(struct actor *a)
{
    threading_thread *self = threading_current_thread();
    if (a->self.handle == NULL)
        a->self = (struct object){
            .handle = self, .is_foreign = true, .stage = RUNNING, .daemon = !a->is_started && !a->is_main};
    return check_result(a, self != NULL && self == a->self.handle);
}

static bool call_main_thread(struct actor *a)
{
    threading_thread *main = threading_main_thread();
    bool is_expected = main != NULL && threading_thread_ident(main) != 0;
    if (a->world->shared[THREAD] != NULL)
        is_expected &= main == a->world->shared[THREAD];
    return check_result(a, is_expected);
}

static bool call_active_count(struct actor *a)
{
    size_t at_least = 1;
    for (unsigned i = 0; i < SLOTS; i++)
        at_least += a->own[THREAD][i].stage == PENDING || a->own[THREAD][i].stage == RUNNING;
    return check_result(a, threading_active_count() + a->world->is_shut_down >= at_least);
}

static bool call_get_ident(struct actor *a)
{
    uint64_t ident = threading_get_ident();
    return check_result(a, ident != 0 && (a->self.handle == NULL || ident == threading_thread_ident(a->self.handle)));
}

static bool call_get_native_id(struct actor *a)
{
    return check_result(a, threading_get_native_id() == (uint64_t)gettid());
}

/* ------------------------------------------------------------------------------------------------------ settings */

static const size_t valid_stack_sizes[] = {0, 131072, 131073, 1 << 20, 8 << 20};

static bool call_stack_size(struct actor *a)
{
    size_t size = threading_stack_size();
    bool is_known = false;
    for (size_t i = 0; i < COUNT(valid_stack_sizes); i++)
        is_known |= size == valid_stack_sizes[i];
    return check_result(a, is_known);
}

static bool call_set_stack_size(struct actor *a)
{
    static const size_t invalid_stack_sizes[] = {1, 4096, 32767};
    bool is_invalid = one_in(&a->bytes, 2);
    size_t size = is_invalid ? invalid_stack_sizes[next_byte(&a->bytes) % COUNT(invalid_stack_sizes)]
                             : valid_stack_sizes[next_byte(&a->bytes) % COUNT(valid_stack_sizes)];
    choose_no_object(a);
    check_status(a, threading_set_stack_size(size), ONE(is_invalid ? THREADING_ERR_VALUE : THREADING_OK));
    return true;
}

static bool call_sleep(struct actor *a)
{
    struct seconds seconds = next_seconds(&a->bytes, false);
    choose_no_object(a);
    check_status(a, threading_sleep(seconds.value), seconds.error != NONE ? seconds.error : ONE(THREADING_OK));
    return true;
}

/* ------------------------------------------------------------------------------------------------ the excepthook */

#define HOOKS 2

static unsigned hook_args[HOOKS];
static _Thread_local unsigned hook_calls; /* calls of a hook in this thread */
static const char reported_type[] = "MisuseError", reported_message[] = "a sentence";

static void check_hook_call(unsigned which, threading_thread *thread, const char *type, const char *message, void *arg)
{
    ASSERT(arg == &hook_args[which]);
    ASSERT(thread == threading_current_thread());
    ASSERT(strcmp(type, reported_type) == 0 && strcmp(message, reported_message) == 0);
    hook_calls++;
    if (current_actor != NULL)
        (void)nested_call(current_actor);
}

static void first_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    check_hook_call(0, thread, type, message, arg);
}

static void second_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    check_hook_call(1, thread, type, message, arg);
}

static const threading_excepthook hooks[HOOKS] = {first_hook, second_hook};

/* Never the default hook, because it prints. The program calls it once, at the end of the run. */
static bool call_set_excepthook(struct actor *a)
{
    unsigned which = next_byte(&a->bytes) % HOOKS;
    threading_set_excepthook(hooks[which], &hook_args[which]);
    return check_result(a, true);
}

static bool call_get_excepthook(struct actor *a)
{
    void *arg = NULL;
    bool reads_arg = !one_in(&a->bytes, 4), is_known = false;
    threading_excepthook hook = threading_get_excepthook(reads_arg ? &arg : NULL);
    for (unsigned i = 0; i < HOOKS; i++)
        is_known |= hook == hooks[i] && arg == (reads_arg ? &hook_args[i] : NULL);
    return check_result(a, is_known);
}

static bool call_report_exception(struct actor *a)
{
    const char *type = one_in(&a->bytes, 4) ? NULL : reported_type;
    const char *message = one_in(&a->bytes, 4) ? NULL : reported_message;
    bool is_invalid = type == NULL || message == NULL;
    choose_no_object(a);
    hook_calls = 0;
    check_status(a, threading_report_exception(type, message), ONE(is_invalid ? THREADING_ERR_VALUE : THREADING_OK));
    EXPECT(a, hook_calls == !is_invalid);
    return true;
}

/* -------------------------------------------------------------------------------------------------- the shutdown */

#define MAX_EXITS 10000 /* the library keeps each until the exit */

static atomic_uint exits_registered, exits_called;

static void count_exit(void *arg)
{
    ASSERT(arg == &exits_called);
    atomic_fetch_add(&exits_called, 1);
}

static bool call_atexit(struct actor *a)
{
    bool is_invalid = a->world->is_single || one_in(&a->bytes, 2) || atomic_load(&exits_registered) >= MAX_EXITS;
    choose_no_object(a);
    threading_status got = threading_atexit(is_invalid ? NULL : count_exit, &exits_called);
    check_status(a, got,
                 ONE(is_invalid               ? THREADING_ERR_VALUE
                     : a->world->is_shut_down ? THREADING_ERR_SHUTDOWN
                                              : THREADING_OK));
    if (got == THREADING_OK)
        atomic_fetch_add(&exits_registered, 1);
    return true;
}

/* Before the shutdown only calls with an invalid timeout are made; after it, every shutdown returns immediately. */
static bool call_shutdown_timeout(struct actor *a)
{
    struct seconds seconds = next_seconds(&a->bytes, a->world->is_shut_down);
    if (seconds.error == NONE && !a->world->is_shut_down)
        return false;
    choose_no_object(a);
    check_status(a, threading_shutdown_timeout(seconds.value),
                 seconds.error != NONE ? seconds.error : ONE(THREADING_OK));
    return true;
}

static bool call_shutdown(struct actor *a)
{
    if (!a->world->is_shut_down)
        return false;
    choose_no_object(a);
    check_status(a, threading_shutdown(), ONE(THREADING_OK));
    return true;
}

#endif

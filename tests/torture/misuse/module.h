/* The calls that take no handle. */
#ifndef MISUSE_MODULE_H
#define MISUSE_MODULE_H

#include "timers.h"

/* For a call on nothing. */
static inline void on_nothing(struct actor *a)
{
    a->choice = (struct choice){NULL, NULL, OWN};
}

static inline bool answered(struct actor *a, bool holds)
{
    on_nothing(a);
    expect_last_error(a, THREADING_OK);
    EXPECT(a, holds);
    return true;
}

/* ------------------------------------------------------------------------------------------------------- library */

static bool call_version(struct actor *a)
{
    return answered(a, strcmp(threading_version(), THREADING_VERSION) == 0);
}

static bool call_version_number(struct actor *a)
{
    return answered(a, threading_version_number() ==
                           (THREADING_VERSION_MAJOR << 16 | THREADING_VERSION_MINOR << 8 | THREADING_VERSION_PATCH));
}

static bool call_status_name(struct actor *a)
{
    int32_t number = (int32_t)next_count(&a->bytes);
    bool is_status = is_one_of(number, ~NONE);
    const char *name = threading_status_name(number);
    return answered(a, is_status ? strncmp(name, "THREADING_", 10) == 0 : strcmp(name, "unknown status") == 0);
}

static bool call_status_message(struct actor *a)
{
    int32_t number = (int32_t)next_count(&a->bytes);
    bool is_status = is_one_of(number, ~NONE);
    const char *message = threading_status_message(number);
    return answered(a, message[0] != '\0' && is_status == (strcmp(message, "unknown status") != 0));
}

static bool call_last_error(struct actor *a)
{
    return answered(a, threading_last_error() == a->error);
}

static bool call_last_error_message(struct actor *a)
{
    return answered(a, strcmp(threading_last_error_message(), a->message) == 0);
}

static bool call_clear_last_error(struct actor *a)
{
    forget_error(a);
    return answered(a, threading_last_error() == THREADING_OK && threading_last_error_message()[0] == '\0');
}

/* ----------------------------------------------------------------------------------------------- who there is */

static bool call_current_thread(struct actor *a)
{
    threading_thread *self = threading_current_thread();
    if (a->itself.handle == NULL)
        a->itself = (struct object){.handle = self,
                                    .is_foreign = true,
                                    .stage = GATED,
                                    .daemon = !a->is_started && !a->is_main};
    return answered(a, self != NULL && self == a->itself.handle);
}

static bool call_main_thread(struct actor *a)
{
    threading_thread *main = threading_main_thread();
    bool is_right = main != NULL && threading_thread_ident(main) != 0;
    if (a->world->common[THREAD] != NULL)
        is_right &= main == a->world->common[THREAD];
    return answered(a, is_right);
}

static bool call_active_count(struct actor *a)
{
    size_t least = 1;
    for (unsigned i = 0; i < PLACES; i++)
        least += a->own[THREAD][i].stage == PENDING || a->own[THREAD][i].stage == GATED;
    return answered(a, threading_active_count() + a->world->closed >= least);
}

static bool call_get_ident(struct actor *a)
{
    uint64_t ident = threading_get_ident();
    return answered(a, ident != 0 &&
                           (a->itself.handle == NULL || ident == threading_thread_ident(a->itself.handle)));
}

static bool call_get_native_id(struct actor *a)
{
    return answered(a, threading_get_native_id() == (uint64_t)gettid());
}

/* ------------------------------------------------------------------------------------------------------ settings */

static const size_t good_stacks[] = {0, 131072, 131073, 1 << 20, 8 << 20};

static bool call_stack_size(struct actor *a)
{
    size_t size = threading_stack_size();
    bool is_known = false;
    for (size_t i = 0; i < COUNT(good_stacks); i++)
        is_known |= size == good_stacks[i];
    return answered(a, is_known);
}

static bool call_set_stack_size(struct actor *a)
{
    static const size_t bad_stacks[] = {1, 4096, 32767};
    bool is_bad = one_in(&a->bytes, 2);
    size_t size = is_bad ? bad_stacks[next_byte(&a->bytes) % COUNT(bad_stacks)]
                         : good_stacks[next_byte(&a->bytes) % COUNT(good_stacks)];
    on_nothing(a);
    expect_status(a, threading_set_stack_size(size), ONE(is_bad ? THREADING_ERR_VALUE : THREADING_OK));
    return true;
}

static bool call_sleep(struct actor *a)
{
    struct seconds seconds = next_seconds(&a->bytes, false);
    on_nothing(a);
    expect_status(a, threading_sleep(seconds.value), seconds.error != NONE ? seconds.error : ONE(THREADING_OK));
    return true;
}

/* ------------------------------------------------------------------------------------------------ the excepthook */

#define HOOKS 2

static unsigned hook_args[HOOKS];
static _Thread_local unsigned hooked; /* calls of a hook in this thread */
static const char reported_type[] = "MisuseError", reported_message[] = "a sentence";

static void hook_with(unsigned which, threading_thread *thread, const char *type, const char *message, void *arg)
{
    HOLDS(arg == &hook_args[which]);
    HOLDS(thread == threading_current_thread());
    HOLDS(strcmp(type, reported_type) == 0 && strcmp(message, reported_message) == 0);
    hooked++;
    if (here != NULL)
        (void)nested(here);
}

static void first_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    hook_with(0, thread, type, message, arg);
}

static void second_hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    hook_with(1, thread, type, message, arg);
}

static const threading_excepthook hooks[HOOKS] = {first_hook, second_hook};

/* Never the default one: that prints. The end of the run is silent and has that too. */
static bool call_set_excepthook(struct actor *a)
{
    unsigned which = next_byte(&a->bytes) % HOOKS;
    threading_set_excepthook(hooks[which], &hook_args[which]);
    return answered(a, true);
}

static bool call_get_excepthook(struct actor *a)
{
    void *arg = NULL;
    bool asks_arg = !one_in(&a->bytes, 4), is_known = false;
    threading_excepthook hook = threading_get_excepthook(asks_arg ? &arg : NULL);
    for (unsigned i = 0; i < HOOKS; i++)
        is_known |= hook == hooks[i] && arg == (asks_arg ? &hook_args[i] : NULL);
    return answered(a, is_known);
}

static bool call_report_exception(struct actor *a)
{
    const char *type = one_in(&a->bytes, 4) ? NULL : reported_type;
    const char *message = one_in(&a->bytes, 4) ? NULL : reported_message;
    bool is_bad = type == NULL || message == NULL;
    on_nothing(a);
    hooked = 0;
    expect_status(a, threading_report_exception(type, message),
                  ONE(is_bad ? THREADING_ERR_VALUE : THREADING_OK));
    EXPECT(a, hooked == !is_bad);
    return true;
}

/* -------------------------------------------------------------------------------------------------- the shutdown */

#define MOST_EXITS 10000 /* each is remembered to the end */

static atomic_uint exits_registered, exits_called;

static void count_exit(void *arg)
{
    HOLDS(arg == &exits_called);
    atomic_fetch_add(&exits_called, 1);
}

static bool call_atexit(struct actor *a)
{
    bool is_bad = a->world->alone || one_in(&a->bytes, 2) || atomic_load(&exits_registered) >= MOST_EXITS;
    on_nothing(a);
    threading_status got = threading_atexit(is_bad ? NULL : count_exit, &exits_called);
    expect_status(a, got,
                  ONE(is_bad             ? THREADING_ERR_VALUE
                      : a->world->closed ? THREADING_ERR_SHUTDOWN
                                         : THREADING_OK));
    if (got == THREADING_OK)
        atomic_fetch_add(&exits_registered, 1);
    return true;
}

/* While the others work, only what is refused; once it is done, it is done for ever. */
static bool call_shutdown_timeout(struct actor *a)
{
    struct seconds seconds = next_seconds(&a->bytes, a->world->closed);
    if (seconds.error == NONE && !a->world->closed)
        return false;
    on_nothing(a);
    expect_status(a, threading_shutdown_timeout(seconds.value),
                  seconds.error != NONE ? seconds.error : ONE(THREADING_OK));
    return true;
}

static bool call_shutdown(struct actor *a)
{
    if (!a->world->closed)
        return false;
    on_nothing(a);
    expect_status(a, threading_shutdown(), ONE(THREADING_OK));
    return true;
}

#endif

/* Thread: names, daemons, stack size, arguments, run, start, join, results and references. */
#include "test.h"

static threading_thread *thread_new(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    return thread;
}

static void *foreign_dummy(void *arg)
{
    void (*check)(threading_thread *);
    memcpy(&check, arg, sizeof check);
    check(threading_current_thread());
    return NULL;
}

/* Calls a check with the Dummy of a foreign thread, in that thread. */
static void with_dummy(void (*check)(threading_thread *))
{
    join_foreign(spawn_foreign(foreign_dummy, &check));
}

/* -------------------------------------------------------------------------------------------------- names */

static long number_of(threading_thread *thread)
{
    const char *name = threading_thread_name(thread);
    long number;
    char rest;
    CHECK(name != NULL);
    CHECK_INT(sscanf(name, "Thread-%ld%c", &number, &rest), 1);
    return number;
}

static void first_name(void)
{
    threading_thread *thread;
    if (test_state.current > 0)
        SKIP("earlier cases of this process have used the number");
    thread = thread_new(NULL, NULL);
    CHECK_STR(threading_thread_name(thread), "Thread-1");
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* The size of a stack that no address space has room for, not even one of 4 GiB for a program with 32-bit addresses. */
#define TOO_LARGE_STACK (SIZE_MAX / 8 * 7)

static void failed_starts_consume_no_number(void)
{
    threading_thread *name_read = thread_new(NULL, NULL), *name_unread = thread_new(NULL, NULL);
    threading_thread *next = thread_new(NULL, NULL);
    long first = number_of(name_read);
    CHECK_STATUS(threading_thread_set_stack_size(name_read, TOO_LARGE_STACK), THREADING_OK);
    CHECK_STATUS(threading_thread_set_stack_size(name_unread, TOO_LARGE_STACK), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(name_unread), THREADING_ERR_SYSTEM);
        CHECK_STATUS(threading_thread_start(name_read), THREADING_ERR_SYSTEM);
    }
    CHECK_STATUS(threading_thread_start(next), THREADING_OK);
    CHECK_INT(number_of(next), first + 1);
    CHECK_INT(number_of(name_unread), first + 2);
    CHECK_STATUS(threading_thread_start(name_unread), THREADING_ERR_SYSTEM);
    CHECK_INT(number_of(name_unread), first + 2);
    CHECK_INT(number_of(name_read), first);
    CHECK_STATUS(threading_thread_join(next), THREADING_OK);
    CHECK_STATUS(threading_thread_free(next), THREADING_OK);
    CHECK_STATUS(threading_thread_free(name_unread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(name_read), THREADING_OK);
}

static void numbers_are_assigned_late(void)
{
    threading_thread *read_last = thread_new(NULL, NULL), *started = thread_new(NULL, NULL);
    threading_thread *named = thread_new(NULL, NULL), *read_first = thread_new(NULL, NULL);
    long first = number_of(read_first);
    CHECK_STATUS(threading_thread_set_name(named, "named"), THREADING_OK);
    CHECK_STATUS(threading_thread_start(named), THREADING_OK);
    CHECK_STATUS(threading_thread_start(started), THREADING_OK);
    CHECK_INT(number_of(read_last), first + 2);
    CHECK_INT(number_of(started), first + 1);
    CHECK_INT(number_of(read_first), first);
    CHECK_STR(threading_thread_name(named), "named");
    join(named);
    join(started);
    CHECK_STATUS(threading_thread_free(read_first), THREADING_OK);
    CHECK_STATUS(threading_thread_free(read_last), THREADING_OK);
}

static void renaming(void)
{
    threading_event *event = event_new();
    threading_thread *thread = thread_new(wait_for_event, event);
    char name[] = "before";
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_name(thread, name), THREADING_OK);
    name[0] = 'x';
    CHECK_STR(threading_thread_name(thread), "before");
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STR(threading_thread_name(thread), "before");
    CHECK_STATUS(threading_thread_set_name(thread, "während"), THREADING_OK);
    CHECK_STR(threading_thread_name(thread), "während");
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STR(threading_thread_name(thread), "während");
    CHECK_STATUS(threading_thread_set_name(thread, "after"), THREADING_OK);
    CHECK_STR(threading_thread_name(thread), "after");
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void names_must_be_utf8(void)
{
    static const char *const bad[] = {
        "\xff", "cut\xc3", "\xc0\x80", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80z", NULL,
    };
    static const char *const good[] = {
        "\x7f", "\xc2\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf", " ",
    };
    threading_thread *thread = thread_new(NULL, NULL);
    CHECK_STATUS(threading_thread_set_name(thread, "kept"), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        threading_clear_last_error();
        CHECK_STATUS(threading_thread_set_name(thread, bad[i]), THREADING_ERR_VALUE);
        CHECK_STR(threading_thread_name(thread), "kept");
    }
    for (size_t i = 0; i < TEST_COUNT(good); i++) {
        CHECK_STATUS(threading_thread_set_name(thread, good[i]), THREADING_OK);
        CHECK_STR(threading_thread_name(thread), good[i]);
    }
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* Sets the name of a thread while another thread releases its last reference. */
struct freed_thread {
    _Atomic(threading_thread *) thread;
    atomic_bool done;
};

static void *rename_freed(void *arg)
{
    struct freed_thread *freed_thread = arg;
    while (!atomic_load(&freed_thread->done)) {
        threading_thread *thread = atomic_load(&freed_thread->thread);
        threading_status status = threading_thread_set_name(thread, "doomed");
        CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
        (void)threading_thread_name(thread); /* may be freed, so it is not read */
    }
    return NULL;
}

static void renamed_while_freed(void)
{
    struct freed_thread freed_thread = {.thread = NULL};
    threading_thread *renamers[2] = {spawn(rename_freed, &freed_thread), spawn(rename_freed, &freed_thread)};
    for (int i = 0; i < test_many(100000); i++) {
        threading_thread *thread = thread_new(NULL, NULL);
        atomic_store(&freed_thread.thread, thread);
        if (i % 2 == 0)
            CHECK_STATUS(threading_thread_set_name(thread, "one of many names"), THREADING_OK);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
    atomic_store(&freed_thread.done, true);
    join(renamers[0]);
    join(renamers[1]);
}

static void names_stay_readable(void)
{
    enum { NAMES = 300 };
    const char *names[NAMES];
    char name[400];
    threading_thread *thread = thread_new(NULL, NULL);
    const char *first = threading_thread_name(thread);
    long number = number_of(thread);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%0*d", i + 1, i);
        CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
        names[i] = threading_thread_name(thread);
    }
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%0*d", i + 1, i);
        CHECK_STR(names[i], name);
        CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
        CHECK_PTR(threading_thread_name(thread), names[i]);
    }
    snprintf(name, sizeof name, "Thread-%ld", number);
    CHECK_STR(first, name);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* A thread that sets a name for each job: a name that was never returned to a caller is freed when it is replaced. */
static void unread_names_are_freed(void)
{
    enum { NAMES = 100000, READ_NAMES = 5000 };
    static const char *read_names[READ_NAMES];
    threading_thread *thread = thread_new(NULL, NULL);
    char name[256];
    for (int i = 0; i < test_many(NAMES); i++) {
        snprintf(name, sizeof name, "%0200d", i);
        CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
    }
    CHECK_STR(threading_thread_name(thread), name);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < READ_NAMES; i++) {
            snprintf(name, sizeof name, "read %d", i);
            CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
            if (round == 0)
                read_names[i] = threading_thread_name(thread);
            CHECK_STATUS(threading_thread_set_name(thread, "between"), THREADING_OK);
            CHECK_STR(read_names[i], name);
            CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
            CHECK_PTR(threading_thread_name(thread), read_names[i]);
        }
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* Several threads set the name of one thread in a loop, and others read it. */
static struct {
    threading_thread *thread;
    atomic_bool done;
} renamed;

static void *rename_in_a_loop(void *arg)
{
    char name[64];
    for (int i = 0; !atomic_load(&renamed.done); i++) {
        snprintf(name, sizeof name, "%s %d", (char *)arg, i % 1000);
        CHECK_STATUS(threading_thread_set_name(renamed.thread, name), THREADING_OK);
    }
    return arg;
}

static void *read_in_a_loop(void *arg)
{
    const char *kept[64] = {NULL};
    char copies[64][64];
    for (int i = 0; !atomic_load(&renamed.done); i++) {
        int at = i % 64;
        if (kept[at] != NULL)
            CHECK_STR(kept[at], copies[at]);
        kept[at] = threading_thread_name(renamed.thread);
        snprintf(copies[at], sizeof copies[at], "%s", kept[at]);
        CHECK(strncmp(kept[at], "one ", 4) == 0 || strncmp(kept[at], "other ", 6) == 0
              || strncmp(kept[at], "Thread-", 7) == 0);
    }
    return arg;
}

static void renamed_while_read(void)
{
    threading_thread *threads[4];
    renamed.thread = thread_new(NULL, NULL);
    atomic_store(&renamed.done, false);
    threads[0] = spawn(rename_in_a_loop, "one");
    threads[1] = spawn(rename_in_a_loop, "other");
    threads[2] = spawn(read_in_a_loop, NULL);
    threads[3] = spawn(read_in_a_loop, NULL);
    sleep_for(0.3);
    atomic_store(&renamed.done, true);
    for (int i = 0; i < 4; i++)
        join(threads[i]);
    CHECK_STATUS(threading_thread_free(renamed.thread), THREADING_OK);
}

#if !defined(__linux__)
static const char linux_only[] = "the test can read a thread's system name on Linux only";
#else
struct system_name {
    uint64_t native_id;
    const char *expected;
};

static void read_system_name(uint64_t native_id, char name[32])
{
    char path[64];
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%" PRIu64 "/comm", native_id);
    file = fopen(path, "r");
    CHECK(file != NULL && fgets(name, 32, file) != NULL);
    name[strcspn(name, "\n")] = '\0';
    fclose(file);
}

static bool has_system_name(void *arg)
{
    const struct system_name *wanted = arg;
    char name[32];
    read_system_name(wanted->native_id, name);
    return strcmp(name, wanted->expected) == 0;
}

static void *rename_itself(void *arg)
{
    struct system_name wanted = {threading_get_native_id(), "by itself"};
    (void)arg;
    CHECK_STATUS(threading_thread_set_name(threading_current_thread(), "by itself"), THREADING_OK);
    wait_until(has_system_name, &wanted);
    return NULL;
}
#endif

static void system_name_follows(void)
{
#if defined(__linux__)
    static const struct {
        const char *name, *cut;
    } names[] = {
        {"short", "short"},
        {"fifteen-bytes-x", "fifteen-bytes-x"},
        {"sixteen-bytes-xy", "sixteen-bytes-x"},
        {"thirteen-byteé", "thirteen-byteé"},
        {"fourteen-bytesé", "fourteen-bytes"},
        {"twelve-bytes\xf0\x9f\x99\x82", "twelve-bytes"},
        {"日本語日本語", "日本語日本"},
    };
    threading_event *event = event_new();
    threading_thread *thread = thread_new(wait_for_event, event);
    struct system_name wanted = {0, "set before star"};
    char main_before[32], main_after[32];
    CHECK_STATUS(threading_thread_set_name(thread, "set before start"), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    wanted.native_id = threading_thread_native_id(thread);
    wait_until(has_system_name, &wanted);
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        wanted.expected = names[i].cut;
        CHECK_STATUS(threading_thread_set_name(thread, names[i].name), THREADING_OK);
        wait_until(has_system_name, &wanted);
        CHECK_STR(threading_thread_name(thread), names[i].name);
    }
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(thread);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    join(spawn(rename_itself, NULL));

    event = event_new();
    thread = spawn(wait_for_event, event);
    wanted = (struct system_name){threading_thread_native_id(thread), threading_thread_name(thread)};
    wait_until(has_system_name, &wanted);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(thread);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);

    read_system_name((uint64_t)getpid(), main_before);
    CHECK_STATUS(threading_thread_set_name(threading_main_thread(), "renamed"), THREADING_OK);
    read_system_name((uint64_t)getpid(), main_after);
    CHECK_STR(main_after, main_before);
    CHECK_STR(threading_thread_name(threading_main_thread()), "renamed");
    CHECK_STATUS(threading_thread_set_name(threading_main_thread(), "MainThread"), THREADING_OK);
#else
    SKIP(linux_only);
#endif
}

static void system_name_of_a_dummy(void)
{
#if defined(__linux__)
    join_foreign(spawn_foreign(rename_itself, NULL));
#else
    SKIP(linux_only);
#endif
}

/* ---------------------------------------------------------------------------------- settings before start */

static void *new_is_daemon(void *arg)
{
    threading_thread *thread = thread_new(NULL, NULL);
    bool daemon = threading_thread_is_daemon(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    return daemon ? arg : NULL;
}

static void dummy_does_not_pass_on_daemon(threading_thread *dummy)
{
    CHECK(threading_thread_is_daemon(dummy));
    CHECK_PTR(new_is_daemon(dummy), NULL);
}

static void *start_arg(void *thread)
{
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK(!threading_thread_is_daemon(thread));
    return NULL;
}

static void daemon_is_inherited(void)
{
    int yes;
    threading_thread *thread = thread_new(new_is_daemon, &yes), *starter;
    CHECK(!threading_thread_is_daemon(threading_main_thread()));
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_daemon(thread, 256), THREADING_OK);
    CHECK(threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_OK);
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_thread_set_daemon(thread, -1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &yes);
    CHECK_PTR(join(spawn(new_is_daemon, &yes)), NULL);
    CHECK_PTR(join_foreign(spawn_foreign(new_is_daemon, &yes)), NULL);
    with_dummy(dummy_does_not_pass_on_daemon);

    /* The daemon flag is inherited from the creating thread, not from the starting one. */
    thread = thread_new(NULL, NULL);
    starter = thread_new(start_arg, thread);
    CHECK_STATUS(threading_thread_set_daemon(starter, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(starter), THREADING_OK);
    join(starter);
    join(thread);
}

static void destroy_nothing(void *value)
{
    (void)value;
}

static void *run_nothing(threading_thread *self, void *arg)
{
    (void)self;
    return arg;
}

static void check_already_started(threading_thread *thread)
{
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, destroy_nothing), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_run(thread, run_nothing), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_ALREADY_STARTED);
}

static void settings_after_start(void)
{
    threading_event *event = event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    check_already_started(thread);
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    check_already_started(thread);
    CHECK_PTR(threading_thread_result(thread), event);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    check_already_started(threading_main_thread());
    with_dummy(check_already_started);
}

/* Uses all but the last 64 KiB of its stack, and stores the size of the stack. */
static void *use_stack(void *arg)
{
    size_t *size = arg, used = *size - 65536;
    volatile char *bytes = __builtin_alloca(used);
    for (size_t i = 0; i < used; i += 4096)
        bytes[i] = 1;
#if defined(__linux__)
    pthread_attr_t attributes;
    void *base;
    CHECK_INT(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT(pthread_attr_getstack(&attributes, &base, size), 0);
    pthread_attr_destroy(&attributes);
#endif
    return NULL;
}

static void stack_sizes(void)
{
    size_t wanted = (size_t)32 << 20, got = wanted;
    threading_thread *thread = thread_new(use_stack, &got);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 4096), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_stack_size(thread, wanted), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    join(thread);
    CHECK_AT_LEAST((double)got, (double)wanted);

    thread = thread_new(return_arg, &got);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_stack_size(thread, 3 * test_smallest_stack() + 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &got);
}

/* ---------------------------------------------------------------------------------------------- arguments */

static struct {
    atomic_int calls, ran;
    _Atomic(threading_thread *) by;
    _Atomic(void *) value;
} destroyed;

static void reset_destroyed(void)
{
    atomic_store(&destroyed.calls, 0);
    atomic_store(&destroyed.ran, 0);
}

static void destroy(void *value)
{
    atomic_store(&destroyed.by, threading_current_thread());
    atomic_store(&destroyed.value, value);
    CHECK(atomic_load(&destroyed.ran) != -1);
    sleep_for(0.02); /* so that a join that does not wait for the destructor fails the test */
    atomic_fetch_add(&destroyed.calls, 1);
}

/* destroyed.ran is -1 while it runs and 1 after that. */
static void *slow_run(void *arg)
{
    atomic_store(&destroyed.ran, -1);
    sleep_for(0.02);
    atomic_store(&destroyed.ran, 1);
    return arg;
}

static void *run_without_target(threading_thread *self, void *arg)
{
    (void)self;
    return slow_run(arg);
}

static void *exit_in_target(void *arg)
{
    slow_run(arg);
    pthread_exit(arg);
}

static void *cancel_itself(void *arg)
{
    slow_run(arg);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return arg;
}

static threading_thread *new_with_destructor(threading_target target, void *arg)
{
    threading_thread *thread = thread_new(target, arg);
    reset_destroyed();
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_arg_destructor(thread, destroy), THREADING_OK);
    return thread;
}

static void arg_destroyed_by_the_thread(void)
{
    static const threading_target targets[] = {slow_run, NULL, exit_in_target, cancel_itself};
    int arg;
    for (size_t i = 0; i <= TEST_COUNT(targets); i++) {
        threading_thread *thread = new_with_destructor(targets[i % TEST_COUNT(targets)], &arg);
        if (i == TEST_COUNT(targets))
            CHECK_STATUS(threading_thread_set_run(thread, run_without_target), THREADING_OK);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), 1);
        CHECK_PTR(atomic_load(&destroyed.by), thread);
        CHECK_PTR(atomic_load(&destroyed.value), &arg);
        CHECK_PTR(threading_thread_arg(thread), &arg);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), 1);
    }
}

static void arg_destroyed_by_the_last_free(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(slow_run, &arg);
    CHECK_PTR(threading_thread_ref(thread), thread);
    CHECK_PTR(threading_thread_run(thread), &arg); /* a direct call of run does not start the thread */
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
    CHECK_PTR(atomic_load(&destroyed.by), threading_current_thread());
    CHECK_PTR(atomic_load(&destroyed.value), &arg);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
}

static void null_arg_or_destructor(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(slow_run, NULL);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    thread = new_with_destructor(slow_run, NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    join(thread);
    thread = new_with_destructor(slow_run, &arg);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, NULL), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
}

/* ------------------------------------------------------------------------------------------ run and start */

static void *run_twice(threading_thread *self, void *arg)
{
    int *count = arg;
    CHECK_PTR(self, threading_current_thread());
    CHECK_PTR(threading_thread_run(self), NULL);
    CHECK_PTR(threading_thread_run(self), NULL);
    return *count == 2 ? self : NULL;
}

static void *count_up(void *count)
{
    ++*(int *)count;
    return NULL;
}

static void run_override(void)
{
    int count = 0;
    threading_thread *thread = thread_new(count_up, &count);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_run(thread, run_twice), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), thread);
    CHECK_INT(count, 2);

    thread = thread_new(count_up, &count);
    CHECK_STATUS(threading_thread_set_run(thread, run_twice), THREADING_OK);
    CHECK_STATUS(threading_thread_set_run(thread, NULL), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), NULL);
    CHECK_INT(count, 3);
}

static void run_called_directly(void)
{
    int count = 0;
    threading_thread *thread = thread_new(return_arg, &count), *empty = thread_new(NULL, &count);
    CHECK_STATUS(threading_thread_set_run(thread, run_twice), THREADING_OK);
    threading_clear_last_error();
    CHECK_PTR(threading_thread_run(thread), &count);
    CHECK_PTR(threading_thread_run(empty), NULL);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_start(empty), THREADING_OK);
    CHECK_PTR(join(empty), NULL);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void *start_together(void *arg)
{
    void **shared = arg;
    CHECK(threading_barrier_wait_timeout(shared[0], TEST_LIMIT, NULL) == THREADING_OK);
    return threading_thread_start(shared[1]) == THREADING_OK ? arg : NULL;
}

static void concurrent_starts(void)
{
    threading_barrier *barrier = threading_barrier_new(4, NULL, NULL);
    CHECK(barrier != NULL);
    for (int round = 0; round < 100; round++) {
        threading_thread *starters[4], *thread = thread_new(return_arg, barrier);
        void *shared[] = {barrier, thread};
        int started = 0;
        for (int i = 0; i < 4; i++)
            starters[i] = spawn(start_together, shared);
        for (int i = 0; i < 4; i++)
            started += join(starters[i]) != NULL;
        CHECK_INT(started, 1);
        CHECK_PTR(join(thread), barrier);
    }
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static void failed_start(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(return_arg, &arg);
    size_t count = threading_active_count();
    CHECK_STATUS(threading_thread_set_stack_size(thread, TOO_LARGE_STACK), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
        CHECK(!threading_thread_is_alive(thread));
        CHECK_INT(threading_thread_ident(thread), 0);
        CHECK_INT(threading_thread_native_id(thread), 0);
        CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
        CHECK_INT(threading_active_count(), count);
        CHECK_STATUS(threading_thread_set_daemon(thread, i % 2), THREADING_OK);
    }
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);
    CHECK_INT(atomic_load(&destroyed.calls), 1);

    thread = new_with_destructor(return_arg, &arg);
    CHECK_STATUS(threading_thread_set_stack_size(thread, TOO_LARGE_STACK), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
}

/* --------------------------------------------------------------------------------------------------- join */

static void *join_itself(void *arg)
{
    threading_thread *self = threading_current_thread();
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(self, 0), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(self, NAN), THREADING_ERR_VALUE);
    return arg;
}

static void dummy_is_not_joinable(threading_thread *dummy)
{
    CHECK_STATUS(threading_thread_join(dummy), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_join_timeout(dummy, 0.01), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_join_timeout(dummy, -2.0), THREADING_ERR_VALUE);
}

static void *join_main(void *arg)
{
    double begin = now();
    CHECK_STATUS(threading_thread_join_timeout(threading_main_thread(), 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_thread_join_timeout(threading_main_thread(), 0.05), THREADING_TIMED_OUT);
    CHECK_AT_LEAST(now() - begin, 0.05);
    return arg;
}

static void invalid_joins(void)
{
    threading_thread *thread = thread_new(NULL, NULL);
    CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_join_timeout(thread, THREADING_FOREVER), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_ERR_DEADLOCK);
    join(spawn(join_itself, NULL));
    with_dummy(dummy_is_not_joinable);
    join(spawn(join_main, NULL));
    join_foreign(spawn_foreign(join_main, NULL));
}

static void check_invalid_timeouts(threading_thread *thread)
{
    CHECK_STATUS(threading_thread_join_timeout(thread, NAN), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, -INFINITY), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, -0.5), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, 9223372037.0), THREADING_ERR_OVERFLOW);
}

static void join_timeouts(void)
{
    threading_event *event = event_new();
    threading_thread *thread = thread_new(wait_for_event, event);
    double begin;
    check_invalid_timeouts(thread);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    check_invalid_timeouts(thread);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join_timeout(thread, 0), THREADING_TIMED_OUT);
    begin = now();
    CHECK_STATUS(threading_thread_join_timeout(thread, 0.1), THREADING_TIMED_OUT);
    CHECK_AT_LEAST(now() - begin, 0.1);
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join_timeout(thread, THREADING_FOREVER), THREADING_OK);
    check_invalid_timeouts(thread);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, THREADING_TIMEOUT_MAX), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, INFINITY), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

struct joiner {
    threading_thread *thread;
    test_blocker blocker;
    double timeout;
};

static void *join_blocking(void *arg)
{
    struct joiner *joiner = arg;
    about_to_block(&joiner->blocker);
    CHECK_STATUS(threading_thread_join_timeout(joiner->thread, joiner->timeout), THREADING_OK);
    CHECK(!threading_thread_is_alive(joiner->thread));
    return threading_thread_result(joiner->thread);
}

static void concurrent_joins(void)
{
    const double timeouts[] = {THREADING_FOREVER, TEST_LIMIT, INFINITY, THREADING_TIMEOUT_MAX};
    threading_event *event = event_new();
    threading_thread *thread = spawn(wait_for_event, event), *ours[4];
    struct joiner joiners[8] = {{0}};
    pthread_t foreign[4];
    for (int i = 0; i < 8; i++) {
        joiners[i].thread = thread;
        joiners[i].timeout = timeouts[i / 2];
        if (i % 2 == 0)
            ours[i / 2] = spawn(join_blocking, &joiners[i]);
        else
            foreign[i / 2] = spawn_foreign(join_blocking, &joiners[i]);
    }
    for (int i = 0; i < 8; i++)
        wait_until_blocked(&joiners[i].blocker);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < 4; i++) {
        CHECK_PTR(join(ours[i]), event);
        CHECK_PTR(join_foreign(foreign[i]), event);
    }
    CHECK_PTR(join(thread), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

/* A destructor that the system calls after the target has returned: of a pthread key or of a C++ thread_local. */
static struct {
    pthread_key_t key;
    atomic_int begun, may_end, ended;
} late_destructor;

static void destroy_late(void *arg)
{
    (void)arg;
    atomic_store(&late_destructor.begun, 1);
    wait_until(is_nonzero, &late_destructor.may_end);
    sleep_for(0.02); /* so that a join that does not wait fails the test */
    atomic_store(&late_destructor.ended, 1);
}

static void *destroy_late_by_key(void *arg)
{
    CHECK_INT(pthread_setspecific(late_destructor.key, arg), 0);
    return arg;
}

#if defined(__GLIBC__)
/* C++ compilers register the destructor of a thread_local with it. */
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void *__dso_handle;

static void *destroy_late_by_thread_local(void *arg)
{
    CHECK_INT(__cxa_thread_atexit_impl(destroy_late, arg, &__dso_handle), 0);
    return arg;
}
#endif

static void join_waits_for_destructors(void)
{
    static const threading_target targets[] = {
        destroy_late_by_key,
#if defined(__GLIBC__)
        destroy_late_by_thread_local,
#endif
    };
    int arg;
    CHECK_INT(pthread_key_create(&late_destructor.key, destroy_late), 0);
    for (size_t i = 0; i < TEST_COUNT(targets); i++) {
        threading_thread *thread = spawn(targets[i], &arg);
        wait_until(is_nonzero, &late_destructor.begun);
        CHECK(threading_thread_is_alive(thread));
        CHECK_STATUS(threading_thread_join_timeout(thread, 0.02), THREADING_TIMED_OUT);
        atomic_store(&late_destructor.may_end, 1);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        CHECK_INT(atomic_load(&late_destructor.ended), 1);
        CHECK(!threading_thread_is_alive(thread));
        CHECK_PTR(join(thread), &arg);
        atomic_store(&late_destructor.begun, 0);
        atomic_store(&late_destructor.may_end, 0);
        atomic_store(&late_destructor.ended, 0);
    }
    CHECK_INT(pthread_key_delete(late_destructor.key), 0);
}

/* ------------------------------------------------------------------------------------- states and results */

struct identity {
    uint64_t ident, native_id;
    threading_event *event;
};

static void *store_identity(void *arg)
{
    struct identity *identity = arg;
    identity->ident = threading_get_ident();
    identity->native_id = threading_get_native_id();
    CHECK(threading_thread_is_alive(threading_current_thread()));
    CHECK_INT(threading_thread_ident(threading_current_thread()), identity->ident);
    CHECK_INT(threading_thread_native_id(threading_current_thread()), identity->native_id);
    CHECK_PTR(threading_thread_result(threading_current_thread()), NULL);
    return wait_for_event(identity->event);
}

static void states_over_lifetime(void)
{
    struct identity identity = {0, 0, event_new()};
    threading_thread *thread = thread_new(store_identity, &identity);
    uint64_t ident, native_id;
    threading_clear_last_error();
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(threading_thread_ident(thread), 0);
    CHECK_INT(threading_thread_native_id(thread), 0);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK_PTR(threading_thread_arg(thread), &identity);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_start(thread), THREADING_OK);
    CHECK(threading_thread_is_alive(thread));
    ident = threading_thread_ident(thread);
    native_id = threading_thread_native_id(thread);
    CHECK(ident != 0 && native_id != 0);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK_STATUS(threading_event_set(identity.event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(identity.ident, ident);
    CHECK_INT(identity.native_id, native_id);
    CHECK_INT(threading_thread_ident(thread), ident);
    CHECK_INT(threading_thread_native_id(thread), native_id);
    CHECK_PTR(threading_thread_arg(thread), &identity);
    CHECK_PTR(join(thread), identity.event);
    CHECK_STATUS(threading_event_free(identity.event), THREADING_OK);
}

static void *exit_in_run(threading_thread *self, void *arg)
{
    (void)self;
    pthread_exit(arg);
}

static _Atomic pthread_t cancelled;

static void *wait_for_cancel(void *arg)
{
    cancelled = pthread_self();
    atomic_store((atomic_int *)arg, 1);
    while (pause() != 0)
        continue;
    return arg;
}

static void pthread_exit_and_cancel(void)
{
    int arg;
    atomic_int ready = 0;
    threading_thread *thread = spawn(exit_in_target, &arg);
    CHECK_PTR(join(thread), &arg);

    thread = thread_new(NULL, &arg);
    CHECK_STATUS(threading_thread_set_run(thread, exit_in_run), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);

    thread = spawn(wait_for_cancel, &ready);
    wait_until(is_nonzero, &ready);
    CHECK_INT(pthread_cancel(cancelled), 0);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_PTR(join(thread), PTHREAD_CANCELED);

    CHECK_PTR(join(spawn(NULL, &arg)), NULL);
    CHECK_INT(threading_active_count(), 1);
}

/* --------------------------------------------------------------------------------------------- references */

struct freed {
    threading_event *event;
    atomic_int ended;
};

static void *run_after_free(void *arg)
{
    struct freed *freed = arg;
    wait_for_event(freed->event);
    CHECK(threading_thread_is_alive(threading_current_thread()));
    CHECK_STATUS(threading_thread_free(threading_current_thread()), THREADING_ERR_HANDLE);
    CHECK_STR(threading_thread_name(threading_current_thread()), "freed");
    atomic_store(&freed->ended, 1);
    return NULL;
}

static void free_of_a_running_thread(void)
{
    /* Static, since no join guarantees that the thread no longer accesses it. */
    static struct freed freed;
    threading_thread *thread;
    freed.event = event_new();
    atomic_store(&freed.ended, 0);
    thread = spawn(run_after_free, &freed);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    /* A running thread holds a reference to its own object, so the handle stays valid. */
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_set_name(thread, "freed"), THREADING_OK);
    CHECK_INT(atomic_load(&freed.ended), 0);
    CHECK_STATUS(threading_event_set(freed.event), THREADING_OK);
    wait_until(is_nonzero, &freed.ended);
    wait_until(main_is_alone, NULL);
    CHECK_STATUS(threading_event_free(freed.event), THREADING_OK);
}

static void references(void)
{
    threading_thread *thread = thread_new(return_arg, &destroyed);
    for (int i = 0; i < 1000; i++)
        CHECK_PTR(threading_thread_ref(thread), thread);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    for (int i = 0; i < 1000; i++)
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), &destroyed);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    wait_until(is_gone, thread); /* another exiting thread may still hold a reference */
    CHECK_FAILS(threading_thread_result(thread), THREADING_ERR_HANDLE);
    CHECK_FAILS(threading_thread_ref(thread), THREADING_ERR_HANDLE);
    /* Only the library owns a reference to the main thread. */
    CHECK_STATUS(threading_thread_free(threading_main_thread()), THREADING_ERR_HANDLE);
    CHECK(threading_thread_is_alive(threading_main_thread()));
}

struct message {
    int before[64], after[64];
};

static void *write_reply(void *arg)
{
    struct message *message = arg;
    for (int i = 0; i < 64; i++)
        message->after[i] = message->before[i] + 1;
    return message;
}

static void orders_memory(void)
{
    struct message message;
    for (int round = 0; round < test_many(2000); round++) {
        threading_thread *thread = thread_new(write_reply, &message);
        for (int i = 0; i < 64; i++)
            message.before[i] = round + i;
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        for (int i = 0; i < 64; i++)
            CHECK_INT(message.after[i], round + i + 1);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
}

static atomic_int finished_count;

static void *finish(void *semaphore)
{
    atomic_fetch_add(&finished_count, 1);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    return NULL;
}

static void threads_without_join(void)
{
    int threads = test_many(4000);
    threading_semaphore *semaphore = threading_semaphore_new(200);
    CHECK(semaphore != NULL);
    atomic_store(&finished_count, 0);
    for (int i = 0; i < threads; i++) {
        CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_thread_free(spawn(finish, semaphore)), THREADING_OK);
    }
    wait_until(main_is_alone, NULL);
    CHECK_INT(atomic_load(&finished_count), threads);
    CHECK_INT(threading_semaphore_value(semaphore), 200);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static const struct test_case cases[] = {
    {"the first unnamed thread of a process is Thread-1", first_name},
    {"a start that fails consumes no number, unless the name has been read", failed_starts_consume_no_number},
    {"a number is assigned when the name is first read or the thread starts, and none if a name was set",
     numbers_are_assigned_late},
    {"a thread can be renamed before its start, while it runs and after its end", renaming},
    {"a name that is not valid UTF-8 is ERR_VALUE and changes nothing", names_must_be_utf8},
    {"a returned name stays readable until the last free, and equal names share a string", names_stay_readable},
    {"a thread may be renamed while another thread frees it", renamed_while_freed},
    {"names that were never returned are not kept, and thousands of returned ones are found again",
     unread_names_are_freed},
    {"several threads may rename a thread while others read its name", renamed_while_read},
    {"the system name follows the name, cut to 15 bytes at a character, except main's", system_name_follows},
    {"the system name of a foreign thread follows the name of its Dummy", system_name_of_a_dummy},
    {"the daemon flag is inherited from the creator, unless that is foreign", daemon_is_inherited},
    {"settings after the start, of main and of a Dummy are ERR_ALREADY_STARTED", settings_after_start},
    {"a stack is at least as large as the requested size", stack_sizes},
    {"the thread destroys its argument once, after run and before join returns", arg_destroyed_by_the_thread},
    {"the last free of an unstarted thread destroys its argument", arg_destroyed_by_the_last_free},
    {"with a NULL argument or a NULL destructor nothing is destroyed", null_arg_or_destructor},
    {"a run override receives the thread and the argument, and may call run", run_override},
    {"a direct call of run only calls the target", run_called_directly},
    {"of several concurrent starts one succeeds", concurrent_starts},
    {"a start that fails in the system changes nothing and may be repeated", failed_start},
    {"a join of an unstarted thread, of the caller or of a Dummy is an error; other threads may join main",
     invalid_joins},
    {"join_timeout does not time out early, and checks its timeout in any state", join_timeouts},
    {"several threads may join a thread concurrently and repeatedly", concurrent_joins},
    {"join waits for the destructors of pthread keys and of thread_local objects", join_waits_for_destructors},
    {"is_alive, ident, native_id and result are right before, during and after the run", states_over_lifetime},
    {"after pthread_exit and pthread_cancel a thread is joinable and has its result", pthread_exit_and_cancel},
    {"a free of a running thread releases the caller's reference and does not end the thread",
     free_of_a_running_thread},
    {"a thread is freed by the free of its last reference", references},
    {"writes before start are visible to run, and the writes of run after join", orders_memory},
    {"thousands of threads run to their end without a join", threads_without_join},
};

TEST_MAIN(cases)

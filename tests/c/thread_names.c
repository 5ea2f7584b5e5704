/* Names of threads: the default ones, renaming, how long a name can be read, and the name that system tools show. */
#include "thread.h"

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
};

TEST_MAIN(cases)

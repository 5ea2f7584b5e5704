/* Thread stacks in a program with much static thread-local storage, which occupies part of each stack. */
#include "test.h"

enum { TLS_SIZE = 300000, FRAME_SIZE = 12 * 1024 };

static _Thread_local char thread_local_bytes[TLS_SIZE];

static void *use_stack_and_tls(void *arg)
{
    volatile char frame[FRAME_SIZE];
    for (size_t i = 0; i < sizeof frame; i += 64)
        frame[i] = 1;
    memset(thread_local_bytes, 2, sizeof thread_local_bytes);
    CHECK_INT(thread_local_bytes[TLS_SIZE - 1], 2);
    return frame[0] == 1 ? arg : NULL;
}

static const size_t sizes[] = {32768, 65536, 131072, 262144, 524288, 1048576, 2097152, 8388608, 0};

/* Either set_stack_size rejects a size, or a thread can use a stack of this size. */
static void thread_sizes(void)
{
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        threading_thread *thread = threading_thread_new(use_stack_and_tls, &thread_local_bytes);
        threading_status status;
        CHECK(thread != NULL);
        status = threading_thread_set_stack_size(thread, sizes[i]);
        CHECK(status == THREADING_OK || status == THREADING_ERR_VALUE);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_PTR(join(thread), &thread_local_bytes);
    }
}

static void default_sizes(void)
{
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        threading_status status = threading_set_stack_size(sizes[i]);
        CHECK(status == THREADING_OK || status == THREADING_ERR_VALUE);
        for (int j = 0; j < 20; j++)
            CHECK_PTR(join(spawn(use_stack_and_tls, &thread_local_bytes)), &thread_local_bytes);
    }
    CHECK_STATUS(threading_set_stack_size(0), THREADING_OK);
}

static void tls_in_a_timer(void)
{
    threading_timer *timer = timer_start(0, use_stack_and_tls, &thread_local_bytes);
    CHECK_PTR(join_timer_and_free(timer), &thread_local_bytes);
}

static const struct test_case cases[] = {
    {"a thread can use its stack with each stack size that set_stack_size accepts", thread_sizes},
    {"a thread can use its stack with each default size that set_stack_size accepts", default_sizes},
    {"a timer's function can use its stack and the thread-local storage", tls_in_a_timer},
};

TEST_MAIN(cases)

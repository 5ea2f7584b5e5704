/* Stacks of threads in a program with much static thread-local storage, which lies on them. */
#include "test.h"

enum { MUCH = 300000, USED = 12 * 1024 };

static _Thread_local char large[MUCH];

static void *touch(void *arg)
{
    volatile char here[USED];
    for (size_t i = 0; i < sizeof here; i += 64)
        here[i] = 1;
    memset(large, 2, sizeof large);
    CHECK_INT(large[MUCH - 1], 2);
    return here[0] == 1 ? arg : NULL;
}

static const size_t sizes[] = {32768, 65536, 131072, 262144, 524288, 1048576, 2097152, 8388608, 0};

/* A size is either refused, or a thread can use a stack of this size. */
static void each_size(void)
{
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        threading_thread *thread = threading_thread_new(touch, &large);
        threading_status status;
        CHECK(thread != NULL);
        status = threading_thread_set_stack_size(thread, sizes[i]);
        CHECK(status == THREADING_OK || status == THREADING_ERR_VALUE);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_PTR(join(thread), &large);
    }
}

static void size_of_all(void)
{
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        threading_status status = threading_set_stack_size(sizes[i]);
        CHECK(status == THREADING_OK || status == THREADING_ERR_VALUE);
        for (int j = 0; j < 20; j++)
            CHECK_PTR(join(spawn(touch, &large)), &large);
    }
    CHECK_STATUS(threading_set_stack_size(0), THREADING_OK);
}

static void in_a_timer(void)
{
    threading_timer *timer = threading_timer_new(0, touch, &large);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(timer), TEST_LIMIT), THREADING_OK);
    CHECK_PTR(threading_thread_result(threading_timer_thread(timer)), &large);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a thread starts with each stack size that is accepted", each_size},
    {"so it does if the size is that of all threads", size_of_all},
    {"a timer's function finds the storage, too", in_a_timer},
};

TEST_MAIN(cases)

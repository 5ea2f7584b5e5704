/* A baseline: calls of an empty function in a shared library, as many as a peer needs. */
#include "../bench.h"
#include "../empty/empty.h"

static const char *version(void)
{
    return "through the PLT";
}

static void *object_new(void)
{
    return cache_line_alloc(1);
}

static void object_free(void *object)
{
    (void)object;
}

static void one_call(void *object, long n)
{
    for (; n > 0; n--)
        check(empty_call(object) == object);
}

static void two_calls(void *object, long n)
{
    for (; n > 0; n--) {
        check(empty_call(object) == object);
        check(empty_call(object) == object);
    }
}

static void nothing(void *object)
{
    (void)object;
}

static void *semaphore_new(long value)
{
    (void)value;
    return cache_line_alloc(1);
}

static void *condition_new(void *lock)
{
    return lock;
}

const struct peer peer_empty_call = {
    .name = "empty call",
    .baseline = true,
    .version = version,
    .lock = {.new = object_new,
             .free = object_free,
             .acquire = nothing,
             .release = nothing,
             .pair = two_calls,
             .try_pair = two_calls,
             .try_fails = one_call,
             .timed_pair = two_calls},
    .rlock =
        {.new = object_new, .free = object_free, .acquire = nothing, .release = nothing, .pair = two_calls},
    .condition =
        {.new = condition_new, .free = object_free, .notify_loop = one_call, .notify_all_loop = one_call},
    .event = {.new = object_new,
              .free = object_free,
              .set = nothing,
              .is_set_loop = one_call,
              .wait_loop = one_call,
              .set_loop = one_call},
    .semaphore = {.new = semaphore_new, .free = object_free, .pair = two_calls},
    .local = {.new = object_new,
              .free = object_free,
              .get_loop = one_call,
              .set_loop = one_call,
              .set_attr_loop = one_call,
              .get_attr_loop = one_call},
    .create = {.lock = two_calls,
               .rlock = two_calls,
               .event = two_calls,
               .semaphore = two_calls,
               .condition = two_calls},
    .report = {.owner_loop = one_call, .set_name_loop = one_call},
};

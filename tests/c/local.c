/* Local: the value and the attributes of each thread, and init. When and in which thread values are destroyed is in
 * local_destructors.c. */
#include "local.h"

static void check_no_value(threading_local *local)
{
    void *value = &local;
    CHECK_STATUS_KEEPS_ERROR(threading_local_lookup(local, &value), THREADING_NO_VALUE);
    CHECK_PTR(value, &local);
    CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_NO_VALUE);
    CHECK_PTR(threading_local_get(local), NULL);
    CHECK_LAST_ERROR(THREADING_OK);
}

static void check_no_attr(threading_local *local, const char *name)
{
    void *value = &local;
    CHECK_STATUS_KEEPS_ERROR(threading_local_get_attr(local, name, &value), THREADING_NO_VALUE);
    CHECK_PTR(value, &local);
}

static void check_attr(threading_local *local, const char *name, void *expected)
{
    void *value = &value;
    CHECK_STATUS_KEEPS_ERROR(threading_local_get_attr(local, name, &value), THREADING_OK);
    CHECK_PTR(value, expected);
}

/* ----------------------------------------------------------------------------------- value and attributes */

static void *check_empty_then_set(void *local)
{
    check_no_value(local);
    check_no_attr(local, "value");
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    check_value(local, &three);
    return local;
}

static void values_are_per_thread(void)
{
    threading_local *local = local_new(NULL), *other = local_new(NULL);
    check_no_value(local);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del(local), THREADING_NO_VALUE);
    CHECK_STATUS_KEEPS_ERROR(threading_local_set(local, &one), THREADING_OK);
    check_value(local, &one);
    check_no_value(other);
    join(spawn(check_empty_then_set, local));
    join_foreign(spawn_foreign(check_empty_then_set, local));
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_value(local, &two);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    check_value(local, NULL);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del(local), THREADING_OK);
    check_no_value(local);
    CHECK_STATUS(threading_local_del(local), THREADING_NO_VALUE);
    local_free(local);
    local_free(other);
}

static void attributes_are_independent(void)
{
    threading_local *local = local_new(NULL);
    char name[] = "value";
    check_no_attr(local, "value");
    CHECK_STATUS_KEEPS_ERROR(threading_local_del_attr(local, "value"), THREADING_NO_VALUE);
    CHECK_STATUS_KEEPS_ERROR(threading_local_set_attr(local, name, &one), THREADING_OK);
    name[0] = 'V';
    check_attr(local, "value", &one);
    check_no_attr(local, name);
    check_no_value(local);
    CHECK_STATUS(threading_local_set_attr(local, name, NULL), THREADING_OK);
    check_attr(local, "Value", NULL);
    join(spawn(check_empty_then_set, local));
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "value", &three), THREADING_OK);
    check_attr(local, "value", &three);
    check_value(local, &two);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del_attr(local, "Value"), THREADING_OK);
    check_no_attr(local, "Value");
    check_attr(local, "value", &three);
    CHECK_STATUS(threading_local_set_attr(local, NULL, &one), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_local_del_attr(local, NULL), THREADING_ERR_VALUE);
    local_free(local);
}

/* --------------------------------------------------------------------------------------------------- init */

static atomic_int initialized;
static void *initial_value;

static void *initialize(void *arg)
{
    CHECK_PTR(arg, &initialized);
    atomic_fetch_add(&initialized, 1);
    return initial_value;
}

static threading_local *local_with_init(threading_local_init init)
{
    threading_local *local = threading_local_new_with_init(init, &initialized, destroy);
    CHECK(local != NULL);
    atomic_store(&initialized, 0);
    atomic_store(&destroyed.calls, 0);
    return local;
}

static void *first_get(void *local)
{
    CHECK_PTR(threading_local_get(local), initial_value);
    return NULL;
}

static void *first_lookup(void *local)
{
    check_value(local, initial_value);
    return NULL;
}

static void *first_set(void *local)
{
    int before = atomic_load(&destroyed.calls);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_value(local, &two);
    CHECK_INT(atomic_load(&destroyed.calls), before + (initial_value != NULL));
    return NULL;
}

static void *first_del(void *local)
{
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    check_no_value(local);
    return NULL;
}

static void *first_set_attr(void *local)
{
    CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
    check_value(local, initial_value);
    return NULL;
}

static void *first_get_attr(void *local)
{
    check_no_attr(local, "name");
    CHECK_INT(atomic_load(&initialized), 1);
    return NULL;
}

static void *first_del_attr(void *local)
{
    CHECK_STATUS(threading_local_del_attr(local, "name"), THREADING_NO_VALUE);
    CHECK_INT(atomic_load(&initialized), 1);
    return NULL;
}

static void *make_no_call(void *local)
{
    return local;
}

static void init_once_per_thread(void)
{
    static const struct {
        threading_target first_call;
        int destroyed; /* with an initial value that is not NULL */
    } threads[] = {
        {first_get, 1},      {first_lookup, 1},   {first_set, 2},      {first_del, 1},
        {first_set_attr, 2}, {first_get_attr, 1}, {first_del_attr, 1},
    };
    for (int with_null = 0; with_null < 2; with_null++) {
        initial_value = with_null ? NULL : &one;
        for (size_t i = 0; i < TEST_COUNT(threads); i++) {
            threading_local *local = local_with_init(initialize);
            join(spawn(threads[i].first_call, local));
            CHECK_INT(atomic_load(&initialized), 1);
            CHECK_INT(atomic_load(&destroyed.calls), threads[i].destroyed - with_null);
            join(spawn(make_no_call, local));
            CHECK_INT(atomic_load(&initialized), 1);
            atomic_store(&initialized, 0);
            join_foreign(spawn_foreign(threads[i].first_call, local));
            CHECK_INT(atomic_load(&initialized), 1);
            CHECK_INT(atomic_load(&destroyed.calls), 2 * (threads[i].destroyed - with_null));
            local_free(local);
        }
    }
    CHECK_FAILS(threading_local_new_with_init(NULL, &initialized, destroy), THREADING_ERR_VALUE);
}

static threading_local *own_local, *other_local;

static void *set_in_init(void *arg)
{
    initialize(arg);
    check_no_value(own_local);
    CHECK_STATUS(threading_local_set(own_local, &two), THREADING_OK);
    check_value(own_local, &two);
    CHECK_STATUS(threading_local_set_attr(own_local, "kept", &three), THREADING_OK);
    return &one;
}

static void *set_and_return_same(void *arg)
{
    set_in_init(arg);
    return &two;
}

static void *use_other_local(void *arg)
{
    initialize(arg);
    return threading_local_get(other_local);
}

static void init_uses_locals(void)
{
    initial_value = &three;
    own_local = local_with_init(set_in_init);
    CHECK_STATUS(threading_local_lookup(own_local, NULL), THREADING_OK);
    check_value(own_local, &one);
    check_attr(own_local, "kept", &three);
    CHECK_INT(atomic_load(&initialized), 1);
    check_destroyed(1, &two);
    local_free(own_local);

    own_local = local_with_init(set_and_return_same);
    CHECK_STATUS(threading_local_lookup(own_local, NULL), THREADING_OK);
    check_value(own_local, &two);
    check_destroyed(0, NULL);
    local_free(own_local);

    other_local = local_with_init(initialize);
    own_local = local_with_init(use_other_local);
    check_value(own_local, &three);
    CHECK_INT(atomic_load(&initialized), 2);
    local_free(own_local);
    local_free(other_local);
}

static void *free_in_init(void *arg)
{
    local_free(own_local);
    return initialize(arg);
}

static void *free_own_local(void *arg)
{
    local_free(own_local);
    return arg;
}

static void *free_by_another_thread_in_init(void *arg)
{
    join(spawn(free_own_local, NULL));
    return initialize(arg);
}

static void *first_get_of_freed(void *local)
{
    CHECK_FAILS(threading_local_get(local), THREADING_ERR_HANDLE);
    return NULL;
}

static void *first_set_of_freed(void *local)
{
    CHECK_STATUS(threading_local_set(local, &two), THREADING_ERR_HANDLE);
    return NULL;
}

static void *set_then_free_in_init(void *arg)
{
    CHECK_STATUS(threading_local_set(own_local, &one), THREADING_OK);
    return free_in_init(arg);
}

/* No call returns the value that init returns for a local that has been freed. */
static void init_frees_its_local(void)
{
    static const threading_local_init frees[] = {free_in_init, free_by_another_thread_in_init};
    static const threading_target first_calls[] = {first_get_of_freed, first_set_of_freed};
    for (size_t i = 0; i < TEST_COUNT(frees); i++) {
        for (size_t k = 0; k < TEST_COUNT(first_calls); k++) {
            initial_value = &one;
            own_local = local_with_init(frees[i]);
            first_calls[k](own_local);
            CHECK_INT(atomic_load(&initialized), 1);
            check_destroyed(1, &one);
            initial_value = NULL;
            own_local = local_with_init(frees[i]);
            first_calls[k](own_local);
            check_destroyed(0, NULL);
        }
    }
    /* A value that init sets and returns is destroyed once. */
    initial_value = &one;
    own_local = local_with_init(set_then_free_in_init);
    first_get_of_freed(own_local);
    check_destroyed(1, &one);
}

/* ------------------------------------------------------------------------------- many locals and attributes */

enum { MANY = 5000 };

/* An even number, so that its half is exact. */
static size_t many_count(void)
{
    return (size_t)test_many(MANY) / 2 * 2;
}

static threading_local *many[MANY];
static char value_addresses[MANY + 1];

static void *use_many_locals(void *arg)
{
    size_t shift = arg != NULL;
    for (size_t i = 0; i < many_count(); i++) {
        CHECK_PTR(threading_local_get(many[i]), NULL);
        CHECK_STATUS(threading_local_set(many[i], &value_addresses[i + shift]), THREADING_OK);
    }
    for (size_t i = 0; i < many_count(); i++)
        CHECK_PTR(threading_local_get(many[i]), &value_addresses[i + shift]);
    return NULL;
}

static void many_locals(void)
{
    threading_thread *thread;
    for (size_t i = 0; i < many_count(); i++)
        many[i] = local_new(count_destroyed);
    atomic_store(&destroyed_count, 0);
    thread = spawn(use_many_locals, many);
    use_many_locals(NULL);
    join(thread);
    CHECK_INT(atomic_load(&destroyed_count), many_count());
    join_foreign(spawn_foreign(use_many_locals, many));
    CHECK_INT(atomic_load(&destroyed_count), 2 * many_count());
    for (size_t i = 0; i < many_count(); i++) {
        CHECK_PTR(threading_local_get(many[i]), &value_addresses[i]);
        local_free(many[i]);
    }
    CHECK_INT(atomic_load(&destroyed_count), 3 * many_count());
}

static void *use_many_attributes(void *local)
{
    char name[32];
    for (size_t i = 0; i < many_count(); i++) {
        snprintf(name, sizeof name, "attribute %zu", i);
        CHECK_STATUS(threading_local_set_attr(local, name, &value_addresses[i]), THREADING_OK);
    }
    for (size_t i = 0; i < many_count(); i++) {
        void *value = NULL;
        snprintf(name, sizeof name, "attribute %zu", i);
        CHECK_STATUS(threading_local_get_attr(local, name, &value), THREADING_OK);
        CHECK_PTR(value, &value_addresses[i]);
        if (i % 2 == 1)
            CHECK_STATUS(threading_local_del_attr(local, name), THREADING_OK);
    }
    for (size_t i = 0; i < many_count(); i += 999) {
        snprintf(name, sizeof name, "attribute %zu", i);
        if (i % 2 == 1)
            check_no_attr(local, name);
        else
            check_attr(local, name, &value_addresses[i]);
    }
    CHECK_INT(atomic_load(&destroyed_count), many_count() / 2);
    return NULL;
}

static void many_attributes(void)
{
    threading_local *local = local_new(count_destroyed);
    atomic_store(&destroyed_count, 0);
    join(spawn(use_many_attributes, local));
    CHECK_INT(atomic_load(&destroyed_count), many_count());
    atomic_store(&destroyed_count, 0);
    use_many_attributes(local);
    local_free(local);
    CHECK_INT(atomic_load(&destroyed_count), many_count());
}

static void new_locals_are_empty(void)
{
    for (int i = 0; i < test_many(20000); i++) {
        threading_local *local = local_new(NULL);
        CHECK_PTR(threading_local_get(local), NULL);
        CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_NO_VALUE);
        CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
        if (i % 100 == 0) {
            check_no_attr(local, "name");
            CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
        }
        local_free(local);
    }
}

/* ---------------------------------------------------------------------------------------------------- costs */

enum { VERY_MANY = 100000 };

static threading_local **very_many;

static void *use_very_many(void *arg)
{
    size_t count = *(size_t *)arg;
    for (size_t i = 0; i < count; i++) {
        CHECK_STATUS(threading_local_set_attr(very_many[i], "name", &one), THREADING_OK);
        CHECK_STATUS(threading_local_set(very_many[i], &two), THREADING_OK);
    }
    return NULL;
}

/* This takes a fraction of a second with linear costs, and minutes with quadratic costs. */
static void very_many_locals(void)
{
    size_t count = (size_t)test_many(VERY_MANY);
    threading_thread *thread;
    very_many = calloc(count, sizeof(threading_local *));
    CHECK(very_many != NULL);
    for (size_t i = 0; i < count; i++)
        very_many[i] = local_new(count_destroyed);
    atomic_store(&destroyed_count, 0);
    thread = spawn(use_very_many, &count);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed_count), 2 * count);
    join(thread);
    use_very_many(&count);
    for (size_t i = 0; i < count; i++)
        local_free(very_many[i]);
    CHECK_INT(atomic_load(&destroyed_count), 4 * count);
    free(very_many);
}

/* ------------------------------------------------------------------------------------------ invalid handles */

/* No invalid handle may match the marks of empty cells and of tombstones in a thread's table. */
static void invalid_handles_match_no_cell(void)
{
    threading_local *locals[64];
    int value;
    for (size_t i = 0; i < TEST_COUNT(locals); i++) {
        locals[i] = threading_local_new(NULL);
        CHECK_STATUS(threading_local_set(locals[i], &value), THREADING_OK);
        for (uintptr_t bits = 0; bits < 256; bits++)
            CHECK_FAILS(threading_local_get((threading_local *)bits), THREADING_ERR_HANDLE);
    }
    for (size_t i = 0; i < TEST_COUNT(locals); i++) {
        CHECK_STATUS(threading_local_free(locals[i]), THREADING_OK);
        for (uintptr_t bits = 0; bits < 256; bits++)
            CHECK_FAILS(threading_local_get((threading_local *)bits), THREADING_ERR_HANDLE);
    }
}

static const struct test_case cases[] = {
    {"each thread has its own value, which may be NULL", values_are_per_thread},
    {"attributes are independent of the value and of each other", attributes_are_independent},
    {"init runs once in each thread, in the thread's first call on the local", init_once_per_thread},
    {"init may use locals, and its result replaces a value that it set itself", init_uses_locals},
    {"the result of an init during which the local is freed is destroyed", init_frees_its_local},
    {"thousands of locals each keep their own value", many_locals},
    {"a get of NULL or of an invalid handle is ERR_HANDLE in a thread that has or had values",
     invalid_handles_match_no_cell},
    {"thousands of attributes each keep their own value", many_attributes},
    {"a new local has no value, whatever an earlier local held", new_locals_are_empty},
    {"100,000 locals with values and attributes cost no more per local than one", very_many_locals},
    {"all cases pass where the kernel forbids membarrier", membarrier_fails_always},
};

TEST_MAIN(cases)

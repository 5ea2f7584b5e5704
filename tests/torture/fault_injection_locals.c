/* Fault injection while threads set values of locals. */
#include "fault_injection_scenarios.h"

#include <stdio.h>

threading_local *local;

static int init_calls;

static void *init(void *arg)
{
    init_calls++;
    return arg;
}

static threading_local *locals[MAX_OBJECTS];

/* The thread has values of `parameter` other locals. */
static void prepare_local(void)
{
    local = threading_local_new(count_destroyed);
    OK(status_of(local));
    for (int i = 0; i < scenario->parameter; i++) {
        locals[i] = threading_local_new(count_destroyed);
        OK(status_of(locals[i]));
        OK(threading_local_set(locals[i], &locals[i]));
    }
}

static void prepare_init(void)
{
    local = threading_local_new_with_init(init, &thread_arg, count_destroyed);
    OK(status_of(local));
}

static threading_status call_set(void)
{
    return threading_local_set(local, &local);
}

static void check_no_value(void)
{
    CHECK(destructor_calls == 0);
    CHECK(init_calls == 0);
}

static void finish_local(void)
{
    CHECK(threading_local_get(local) == &local);
    release_last(LOCAL, local);
    CHECK(destructor_calls == 1);
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_local_get(locals[i]) == &locals[i]);
        release_last(LOCAL, locals[i]);
        CHECK(destructor_calls == i + 2);
    }
}

static threading_status call_get(void)
{
    threading_clear_last_error();
    object = threading_local_get(local);
    return object != NULL ? THREADING_OK : threading_last_error();
}

static threading_status call_lookup(void)
{
    return threading_local_lookup(local, &object);
}

static void finish_init(void)
{
    CHECK(object == &thread_arg && threading_local_get(local) == &thread_arg);
    CHECK(init_calls == 1 && destructor_calls == 0);
    release_last(LOCAL, local);
    CHECK(init_calls == 1 && destructor_calls == 1);
}

static threading_status call_del(void)
{
    return threading_local_del(local);
}

/* The value that init returned has been deleted or replaced, and destroyed. */
static void finish_init_replaced(void)
{
    CHECK(init_calls == 1 && destructor_calls == 1);
    release_last(LOCAL, local);
    CHECK(init_calls == 1 && destructor_calls == 1 + scenario->parameter);
}

static char attribute[32];

static void prepare_attributes(void)
{
    local = threading_local_new(count_destroyed);
    OK(status_of(local));
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_set_attr(local, attribute, &local));
    }
}

static threading_status call_set_attr(void)
{
    return threading_local_set_attr(local, "name", &attribute);
}

static void check_no_attribute(void)
{
    CHECK(destructor_calls == 0);
}

static void finish_attributes(void)
{
    void *value = NULL;
    OK(threading_local_get_attr(local, "name", &value));
    CHECK(value == &attribute);
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_get_attr(local, attribute, &value));
        CHECK(value == &local);
    }
    CHECK(destructor_calls == 0);
    release_last(LOCAL, local);
    CHECK(destructor_calls == scenario->parameter + 1);
}

static threading_status call_get_attr(void)
{
    threading_status status = threading_local_get_attr(local, "name", &object);
    return status == THREADING_NO_VALUE ? THREADING_OK : status;
}

static threading_status call_del_attr(void)
{
    threading_status status = threading_local_del_attr(local, "name");
    return status == THREADING_NO_VALUE ? THREADING_OK : status;
}

static void finish_init_called(void)
{
    CHECK(init_calls == 1 && destructor_calls == 0);
    release_last(LOCAL, local);
    CHECK(init_calls == 1 && destructor_calls == 1);
}

const struct scenario local_scenarios[] = {
    {"the first value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, check_no_value, finish_local, 0,
     false, false},
    {"the seventh value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, check_no_value, finish_local, 6,
     false, false},
    {"the 193rd value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, check_no_value, finish_local, 192,
     false, false},
    {"init by get", "local_get", prepare_init, call_get, NO_MEMORY | SYSTEM, check_no_value, finish_init, 0, false,
     false},
    {"init by lookup", "local_lookup", prepare_init, call_lookup, NO_MEMORY | SYSTEM, check_no_value, finish_init, 0,
     false, false},
    {"init by del", "local_del", prepare_init, call_del, NO_MEMORY | SYSTEM, check_no_value, finish_init_replaced, 0,
     false, false},
    {"init by set", "local_set", prepare_init, call_set, NO_MEMORY | SYSTEM, check_no_value, finish_init_replaced, 1,
     false, false},
    {"init by get_attr", "local_get_attr", prepare_init, call_get_attr, NO_MEMORY | SYSTEM, check_no_value,
     finish_init_called, 0, false, false},
    {"init by del_attr", "local_del_attr", prepare_init, call_del_attr, NO_MEMORY | SYSTEM, check_no_value,
     finish_init_called, 0, false, false},
    {"the first attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM, check_no_attribute,
     finish_attributes, 0, false, false},
    {"the fourth attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     check_no_attribute, finish_attributes, 3, false, false},
    {"the 113th attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM, check_no_attribute,
     finish_attributes, 112, false, false},
};

const size_t local_scenarios_count = COUNT(local_scenarios);

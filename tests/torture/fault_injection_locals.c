/* Refusals while threads get values of their own. */
#include "fault_injection_scenarios.h"

#include <stdio.h>

threading_local *local;

static int inits;

static void *init(void *arg)
{
    inits++;
    return arg;
}

static threading_local *locals[MANY];

/* Values for so many locals are there. */
static void prepare_local(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    for (int i = 0; i < scenario->parameter; i++) {
        locals[i] = threading_local_new(count_destroyed);
        OK(made(locals[i]));
        OK(threading_local_set(locals[i], &locals[i]));
    }
}

static void prepare_init(void)
{
    local = threading_local_new_with_init(init, &of_lock, count_destroyed);
    OK(made(local));
}

static threading_status call_set(void)
{
    return threading_local_set(local, &local);
}

static void no_value(void)
{
    CHECK(destroyed == 0);
    CHECK(inits == 0);
}

static void done_local(void)
{
    CHECK(threading_local_get(local) == &local);
    give_back(LOCAL, local);
    CHECK(destroyed == 1);
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_local_get(locals[i]) == &locals[i]);
        give_back(LOCAL, locals[i]);
        CHECK(destroyed == i + 2);
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

static void done_init(void)
{
    CHECK(object == &of_lock && threading_local_get(local) == &of_lock);
    CHECK(inits == 1 && destroyed == 0);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1);
}

static threading_status call_del(void)
{
    return threading_local_del(local);
}

/* init's value, deleted or replaced, has been destroyed. */
static void done_init_replaced(void)
{
    CHECK(inits == 1 && destroyed == 1);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1 + scenario->parameter);
}

static char attribute[32];

static void prepare_attributes(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_set_attr(local, attribute, &local));
    }
}

static threading_status call_set_attr(void)
{
    return threading_local_set_attr(local, "name", &attribute);
}

static void no_attribute(void)
{
    CHECK(destroyed == 0);
}

static void done_attributes(void)
{
    void *value = NULL;
    OK(threading_local_get_attr(local, "name", &value));
    CHECK(value == &attribute);
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_get_attr(local, attribute, &value));
        CHECK(value == &local);
    }
    CHECK(destroyed == 0);
    give_back(LOCAL, local);
    CHECK(destroyed == scenario->parameter + 1);
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

static void done_init_met(void)
{
    CHECK(inits == 1 && destroyed == 0);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1);
}

const struct scenario local_scenarios[] = {
    {"the first value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 0,
     false, false},
    {"the seventh value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 6,
     false, false},
    {"the 193rd value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 192,
     false, false},
    {"init by get", "local_get", prepare_init, call_get, NO_MEMORY | SYSTEM, no_value, done_init, 0, false,
     false},
    {"init by lookup", "local_lookup", prepare_init, call_lookup, NO_MEMORY | SYSTEM, no_value, done_init, 0,
     false, false},
    {"init by del", "local_del", prepare_init, call_del, NO_MEMORY | SYSTEM, no_value, done_init_replaced, 0,
     false, false},
    {"init by set", "local_set", prepare_init, call_set, NO_MEMORY | SYSTEM, no_value,
     done_init_replaced, 1, false, false},
    {"init by get_attr", "local_get_attr", prepare_init, call_get_attr, NO_MEMORY | SYSTEM, no_value,
     done_init_met, 0, false, false},
    {"init by del_attr", "local_del_attr", prepare_init, call_del_attr, NO_MEMORY | SYSTEM, no_value,
     done_init_met, 0, false, false},
    {"the first attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 0, false, false},
    {"the fourth attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 3, false, false},
    {"the 113th attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 112, false, false},
};

const size_t local_scenarios_count = COUNT(local_scenarios);

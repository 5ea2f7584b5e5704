/* Calls on locals. Each value of a local with a destructor must be destroyed exactly once. */
#ifndef MISUSE_LOCALS_H
#define MISUSE_LOCALS_H

#include "handles.h"

DEFINE_FREE_WHEN_NOT_BUSY(local)
REF_CALL(LOCAL, local)

/* -------------------------------------------------------------------------------------------------------- values */

#define TOKEN_IN_USE UINT64_C(0x746f6b656e)

struct token {
    uint64_t in_use;
};

static atomic_uint_fast64_t tokens_created, tokens_destroyed;

/* In this thread, during the current call: how many values have been destroyed, and how many should have been. */
static _Thread_local unsigned values_destroyed, expected_destroyed;

static inline struct token *new_token(void)
{
    struct token *token = malloc(sizeof *token);
    ASSERT(token != NULL);
    token->in_use = TOKEN_IN_USE;
    atomic_fetch_add_explicit(&tokens_created, 1, memory_order_relaxed);
    return token;
}

static void destroy_token(void *value)
{
    struct token *token = value;
    ASSERT(token != NULL && token->in_use == TOKEN_IN_USE);
    token->in_use = 0;
    free(token);
    values_destroyed++;
    atomic_fetch_add_explicit(&tokens_destroyed, 1, memory_order_relaxed);
    if (current_actor != NULL)
        (void)nested_call(current_actor);
}

/* Returns a value to set: NULL, the current value, or a new one. */
static inline void *next_value(struct actor *a, bool has_destructor, void *current)
{
    static char static_values[8];
    uint8_t byte = next_byte(&a->bytes);
    if (byte < 32)
        return NULL;
    if (byte < 64)
        return current;
    return has_destructor ? (void *)new_token() : static_values + byte % 8;
}

/* Destroys a value that could not be set. */
static inline void destroy_unset(void *value, void *current, bool has_destructor)
{
    if (has_destructor && value != NULL && value != current)
        destroy_token(value);
}

static inline void expect_destroyed(const struct object *o, void *value)
{
    expected_destroyed += o->has_destructor && value != NULL;
}

static inline void reset_destroyed(void)
{
    values_destroyed = expected_destroyed = 0;
}

/* -------------------------------------------------------------------------------------------------------- locals */

static inline bool record_local(struct actor *a, struct object *slot, threading_local *local, bool has_destructor,
                                bool has_init, statuses errors)
{
    a->choice = (struct choice){local, NULL, OWN};
    if (check_getter(a, local == NULL, errors)) {
        EXPECT(a, local != NULL);
        *slot = (struct object){
            .handle = local, .refs = 1, .has_destructor = has_destructor, .has_init = has_init, .actor = a};
    }
    return true;
}

static bool call_local_new(struct actor *a)
{
    struct object *slot = free_slot(a, LOCAL);
    bool has_destructor = one_in(&a->bytes, 2);
    return slot != NULL && record_local(a, slot, threading_local_new(has_destructor ? destroy_token : NULL),
                                        has_destructor, false, NONE);
}

/* The init function of an actor's own local. It may use the local itself. */
static void *init_value(void *arg)
{
    struct object *o = arg;
    struct actor *a = o->actor;
    ASSERT(current_actor == a && !o->init_called);
    o->init_called = true;
    (void)nested_call(a);
    if (one_in(&a->bytes, 2)) {
        void *value = next_value(a, o->has_destructor, NULL);
        EXPECT(a, threading_local_set(o->handle, value) == THREADING_OK);
        EXPECT(a, threading_local_get(o->handle) == value);
        expect_destroyed(o, value); /* replaced by the return value */
    }
    o->has_value = true;
    return o->current_value = next_value(a, o->has_destructor, NULL);
}

static bool call_local_new_with_init(struct actor *a)
{
    struct object *slot = free_slot(a, LOCAL);
    bool has_destructor = one_in(&a->bytes, 2), is_null = one_in(&a->bytes, 4);
    if (slot == NULL)
        return false;
    threading_local *local =
        threading_local_new_with_init(is_null ? NULL : init_value, slot, has_destructor ? destroy_token : NULL);
    return record_local(a, slot, local, has_destructor, true, is_null ? ONE(THREADING_ERR_VALUE) : NONE);
}

static bool call_local_free(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    if (choice.origin == CHURNED || (choice.origin == SHARED && o->refs == 0))
        return false;
    reset_destroyed();
    if (check_call(a, threading_local_free(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && --o->refs == 0 && own) {
        expect_destroyed(o, o->has_value ? o->current_value : NULL);
        for (unsigned i = 0; i < ATTRIBUTES; i++)
            expect_destroyed(o, o->has_attribute[i] ? o->attribute[i] : NULL);
        forget_if_freed(a, LOCAL, o);
    }
    EXPECT(a, values_destroyed == expected_destroyed);
    return true;
}

/* After a call with valid arguments on an actor's own local: init has been called, and all values that had to be
 * destroyed have been. */
static inline void check_local(struct actor *a, const struct object *o)
{
    if (o == NULL)
        return;
    EXPECT(a, !o->has_init || o->init_called);
    EXPECT(a, values_destroyed == expected_destroyed);
}

static inline statuses expected_lookup(bool is_set)
{
    return ONE(is_set ? THREADING_OK : THREADING_NO_VALUE);
}

static bool call_local_set(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    void *current = o != NULL && o->has_value ? o->current_value : NULL;
    bool has_destructor = o == NULL || o->has_destructor;
    void *value = next_value(a, has_destructor, current);
    reset_destroyed();
    threading_status got = threading_local_set(h, value);
    if (!check_call(a, got, NONE, ONE(THREADING_OK), ONE(THREADING_OK))) {
        destroy_unset(value, current, has_destructor);
    } else if (o != NULL) {
        if (o->has_value && o->current_value != value)
            expect_destroyed(o, o->current_value);
        o->has_value = true;
        o->current_value = value;
        check_local(a, o);
    }
    return true;
}

static bool call_local_get(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    reset_destroyed();
    void *value = threading_local_get(h);
    if (check_getter(a, value == NULL, NONE) && o != NULL) {
        EXPECT(a, value == (o->has_value ? o->current_value : NULL));
        check_local(a, o);
    }
    return true;
}

static bool call_local_lookup(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    void *untouched = &choice, *value = untouched, **to = one_in(&a->bytes, 4) ? NULL : &value;
    reset_destroyed();
    threading_status got = threading_local_lookup(h, to);
    statuses expected = o == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : expected_lookup(o->has_value);
    if (!check_call(a, got, NONE, expected, expected) || to == NULL)
        EXPECT(a, value == untouched);
    else if (o != NULL)
        EXPECT(a, value == o->current_value);
    check_local(a, o);
    return true;
}

static bool call_local_del(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    reset_destroyed();
    threading_status got = threading_local_del(h);
    statuses expected = o == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : expected_lookup(o->has_value);
    if (check_call(a, got, NONE, expected, expected) && o != NULL) {
        expect_destroyed(o, o->current_value);
        o->has_value = false;
    }
    check_local(a, o);
    return true;
}

/* ---------------------------------------------------------------------------------------------------- attributes */

/* Returns one of the attribute names that the model records, or NULL, which is an error. */
static inline const char *next_attribute(struct actor *a, unsigned *which)
{
    static const char *const names[ATTRIBUTES] = {"", "name", "\xff" LONG_3072};
    *which = next_byte(&a->bytes) % (ATTRIBUTES + 1);
    return *which < ATTRIBUTES ? names[*which] : NULL;
}

static bool call_local_set_attr(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    unsigned which;
    const char *name = next_attribute(a, &which);
    void *current = o != NULL && name != NULL && o->has_attribute[which] ? o->attribute[which] : NULL;
    bool has_destructor = o == NULL || o->has_destructor;
    void *value = next_value(a, has_destructor, current);
    reset_destroyed();
    threading_status got = threading_local_set_attr(h, name, value);
    if (!check_call(a, got, name == NULL ? ONE(THREADING_ERR_VALUE) : NONE, ONE(THREADING_OK), ONE(THREADING_OK))) {
        destroy_unset(value, current, has_destructor);
    } else if (o != NULL) {
        if (current != value)
            expect_destroyed(o, current);
        o->has_attribute[which] = true;
        o->attribute[which] = value;
        check_local(a, o);
    }
    return true;
}

static bool call_local_get_attr(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    unsigned which;
    const char *name = next_attribute(a, &which);
    void *untouched = &choice, *value = untouched, **to = one_in(&a->bytes, 4) ? NULL : &value;
    reset_destroyed();
    threading_status got = threading_local_get_attr(h, name, to);
    statuses errors = name == NULL ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses expected =
        o == NULL || name == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : expected_lookup(o->has_attribute[which]);
    if (!check_call(a, got, errors, expected, expected) || to == NULL)
        EXPECT(a, value == untouched);
    else if (o != NULL)
        EXPECT(a, value == o->attribute[which]);
    if (errors == NONE)
        check_local(a, o);
    return true;
}

static bool call_local_del_attr(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    unsigned which;
    const char *name = next_attribute(a, &which);
    reset_destroyed();
    threading_status got = threading_local_del_attr(h, name);
    statuses errors = name == NULL ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses expected =
        o == NULL || name == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : expected_lookup(o->has_attribute[which]);
    if (check_call(a, got, errors, expected, expected) && o != NULL) {
        expect_destroyed(o, o->attribute[which]);
        o->has_attribute[which] = false;
    }
    if (errors == NONE)
        check_local(a, o);
    return true;
}

#endif

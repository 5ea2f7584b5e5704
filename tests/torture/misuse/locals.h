/* The calls on locals, and the values in them, each of which must be destroyed once. */
#ifndef MISUSE_LOCALS_H
#define MISUSE_LOCALS_H

#include "handles.h"

FREE_AT_LAST(local)
REF_CALL(LOCAL, local)

/* -------------------------------------------------------------------------------------------------------- values */

#define IN_USE UINT64_C(0x746f6b656e)

struct token {
    uint64_t in_use;
};

static atomic_uint_fast64_t tokens_made, tokens_destroyed;

/* In this thread, during the call that is being made: how many values have been destroyed, and how many had to be. */
static _Thread_local unsigned destroyed_now, owed_now;

static inline struct token *new_token(void)
{
    struct token *token = malloc(sizeof *token);
    HOLDS(token != NULL);
    token->in_use = IN_USE;
    atomic_fetch_add_explicit(&tokens_made, 1, memory_order_relaxed);
    return token;
}

static void destroy_token(void *value)
{
    struct token *token = value;
    HOLDS(token != NULL && token->in_use == IN_USE);
    token->in_use = 0;
    free(token);
    destroyed_now++;
    atomic_fetch_add_explicit(&tokens_destroyed, 1, memory_order_relaxed);
    if (here != NULL)
        (void)nested(here);
}

/* A value to set: NULL, the one that is there, or a new one. */
static inline void *next_value(struct actor *a, bool destroys, void *present)
{
    static char nobodys[8];
    uint8_t byte = next_byte(&a->bytes);
    if (byte < 32)
        return NULL;
    if (byte < 64)
        return present;
    return destroys ? (void *)new_token() : nobodys + byte % 8;
}

/* The value that was not taken. */
static inline void take_back(void *value, void *present, bool destroys)
{
    if (destroys && value != NULL && value != present)
        destroy_token(value);
}

static inline void owe(const struct object *o, void *value)
{
    owed_now += o->destroys && value != NULL;
}

static inline void begin_owing(void)
{
    destroyed_now = owed_now = 0;
}

/* -------------------------------------------------------------------------------------------------------- locals */

static inline bool made_local(struct actor *a, struct object *place, threading_local *made, bool destroys,
                              bool has_init, statuses errors)
{
    a->choice = (struct choice){made, NULL, OWN};
    if (expect_answer(a, made == NULL, errors)) {
        EXPECT(a, made != NULL);
        *place = (struct object){
            .handle = made, .refs = 1, .destroys = destroys, .has_init = has_init, .actor = a};
    }
    return true;
}

static bool call_local_new(struct actor *a)
{
    struct object *place = empty_place(a, LOCAL);
    bool destroys = one_in(&a->bytes, 2);
    return place != NULL &&
           made_local(a, place, threading_local_new(destroys ? destroy_token : NULL), destroys, false, NONE);
}

/* Makes the value of an own local; may use the local before. */
static void *init_value(void *arg)
{
    struct object *o = arg;
    struct actor *a = o->actor;
    HOLDS(here == a && !o->met);
    o->met = true;
    (void)nested(a);
    if (one_in(&a->bytes, 2)) {
        void *value = next_value(a, o->destroys, NULL);
        EXPECT(a, threading_local_set(o->handle, value) == THREADING_OK);
        EXPECT(a, threading_local_get(o->handle) == value);
        owe(o, value); /* replaced by the result */
    }
    o->has_value = true;
    return o->value_set = next_value(a, o->destroys, NULL);
}

static bool call_local_new_with_init(struct actor *a)
{
    struct object *place = empty_place(a, LOCAL);
    bool destroys = one_in(&a->bytes, 2), has_none = one_in(&a->bytes, 4);
    if (place == NULL)
        return false;
    threading_local *made =
        threading_local_new_with_init(has_none ? NULL : init_value, place, destroys ? destroy_token : NULL);
    return made_local(a, place, made, destroys, true, has_none ? ONE(THREADING_ERR_VALUE) : NONE);
}

static bool call_local_free(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    if (choice.whose == CHURNED || (choice.whose == COMMON && o->refs == 0))
        return false;
    begin_owing();
    if (expect(a, threading_local_free(h), NONE, ONE(THREADING_OK), ONE(THREADING_OK)) && --o->refs == 0 && own) {
        owe(o, o->has_value ? o->value_set : NULL);
        for (unsigned i = 0; i < ATTRIBUTES; i++)
            owe(o, o->has_attribute[i] ? o->attribute[i] : NULL);
        review(a, LOCAL, o);
    }
    EXPECT(a, destroyed_now == owed_now);
    return true;
}

/* After a call that was made with good arguments on a local of which all is known: init has run, and all has been
 * destroyed that had to be. */
static inline void expect_met(struct actor *a, const struct object *o)
{
    if (o == NULL)
        return;
    EXPECT(a, !o->has_init || o->met);
    EXPECT(a, destroyed_now == owed_now);
}

static inline statuses finds(bool found)
{
    return ONE(found ? THREADING_OK : THREADING_NO_VALUE);
}

static bool call_local_set(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    void *present = o != NULL && o->has_value ? o->value_set : NULL;
    bool destroys = o == NULL || o->destroys;
    void *value = next_value(a, destroys, present);
    begin_owing();
    threading_status got = threading_local_set(h, value);
    if (!expect(a, got, NONE, ONE(THREADING_OK), ONE(THREADING_OK))) {
        take_back(value, present, destroys);
    } else if (o != NULL) {
        if (o->has_value && o->value_set != value)
            owe(o, o->value_set);
        o->has_value = true;
        o->value_set = value;
        expect_met(a, o);
    }
    return true;
}

static bool call_local_get(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    begin_owing();
    void *value = threading_local_get(h);
    if (expect_answer(a, value == NULL, NONE) && o != NULL) {
        EXPECT(a, value == (o->has_value ? o->value_set : NULL));
        expect_met(a, o);
    }
    return true;
}

static bool call_local_lookup(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    void *untouched = &choice, *value = untouched, **to = one_in(&a->bytes, 4) ? NULL : &value;
    begin_owing();
    threading_status got = threading_local_lookup(h, to);
    statuses known = o == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : finds(o->has_value);
    if (!expect(a, got, NONE, known, known) || to == NULL)
        EXPECT(a, value == untouched);
    else if (o != NULL)
        EXPECT(a, value == o->value_set);
    expect_met(a, o);
    return true;
}

static bool call_local_del(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    begin_owing();
    threading_status got = threading_local_del(h);
    statuses known = o == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE) : finds(o->has_value);
    if (expect(a, got, NONE, known, known) && o != NULL) {
        owe(o, o->value_set);
        o->has_value = false;
    }
    expect_met(a, o);
    return true;
}

/* ---------------------------------------------------------------------------------------------------- attributes */

/* One of the names that the model follows; NULL is none, and an error. */
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
    void *present = o != NULL && name != NULL && o->has_attribute[which] ? o->attribute[which] : NULL;
    bool destroys = o == NULL || o->destroys;
    void *value = next_value(a, destroys, present);
    begin_owing();
    threading_status got = threading_local_set_attr(h, name, value);
    if (!expect(a, got, name == NULL ? ONE(THREADING_ERR_VALUE) : NONE, ONE(THREADING_OK), ONE(THREADING_OK))) {
        take_back(value, present, destroys);
    } else if (o != NULL) {
        if (present != value)
            owe(o, present);
        o->has_attribute[which] = true;
        o->attribute[which] = value;
        expect_met(a, o);
    }
    return true;
}

static bool call_local_get_attr(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    unsigned which;
    const char *name = next_attribute(a, &which);
    void *untouched = &choice, *value = untouched, **to = one_in(&a->bytes, 4) ? NULL : &value;
    begin_owing();
    threading_status got = threading_local_get_attr(h, name, to);
    statuses errors = name == NULL ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses known = o == NULL || name == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE)
                                               : finds(o->has_attribute[which]);
    if (!expect(a, got, errors, known, known) || to == NULL)
        EXPECT(a, value == untouched);
    else if (o != NULL)
        EXPECT(a, value == o->attribute[which]);
    if (errors == NONE)
        expect_met(a, o);
    return true;
}

static bool call_local_del_attr(struct actor *a)
{
    CHOOSE(a, LOCAL, local);
    unsigned which;
    const char *name = next_attribute(a, &which);
    begin_owing();
    threading_status got = threading_local_del_attr(h, name);
    statuses errors = name == NULL ? ONE(THREADING_ERR_VALUE) : NONE;
    statuses known = o == NULL || name == NULL ? EITHER(THREADING_OK, THREADING_NO_VALUE)
                                               : finds(o->has_attribute[which]);
    if (expect(a, got, errors, known, known) && o != NULL) {
        owe(o, o->attribute[which]);
        o->has_attribute[which] = false;
    }
    if (errors == NONE)
        expect_met(a, o);
    return true;
}

#endif

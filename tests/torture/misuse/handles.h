/* On which object a call is made, and what is no object: handles that are stale, or never were any. */
#ifndef MISUSE_HANDLES_H
#define MISUSE_HANDLES_H

#include "model.h"

/* A handle that no object will ever have again. */
static inline void publish_stale(struct actor *a, enum kind kind, void *handle)
{
    unsigned at = atomic_fetch_add_explicit(&a->world->next_published[kind], 1, memory_order_relaxed);
    a->stale[kind][a->next_stale[kind]++ % STALE] = handle;
    atomic_store_explicit(&a->world->published[kind][at % PUBLISHED], handle, memory_order_relaxed);
}

static inline struct object *any_own(struct actor *a, enum kind kind)
{
    unsigned first = next_byte(&a->bytes);
    for (unsigned i = 0; i < PLACES; i++) {
        struct object *object = &a->own[kind][(first + i) % PLACES];
        if (object->handle != NULL)
            return object;
    }
    return NULL;
}

static inline struct object *empty_place(struct actor *a, enum kind kind)
{
    for (unsigned i = 0; i < PLACES; i++)
        if (a->own[kind][i].handle == NULL)
            return &a->own[kind][i];
    return NULL;
}

static inline void *bad_handle(struct actor *a, enum kind kind)
{
    static char at_rest[64];
    struct bytes *bytes = &a->bytes;
    struct object *object;
    uint8_t byte = next_byte(bytes);
    uintptr_t bits;
    switch (byte % 12) {
    case 0:
        return NULL;
    case 1:
    case 2:
    case 3:
        return a->stale[kind][byte / 12 % STALE];
    case 4:
    case 5:
        return atomic_load_explicit(&a->world->published[kind][next_byte(bytes) % PUBLISHED],
                                    memory_order_relaxed);
    case 6:
    case 7: { /* of another kind; a stale one of that kind too */
        enum kind other = (enum kind)((kind + 1 + byte / 12 % (KINDS - 1)) % KINDS);
        object = any_own(a, other);
        return object != NULL ? object->handle : a->stale[other][0];
    }
    case 8: /* a living one with another generation */
    case 9: /* its neighbours, of generation 0, which none has */
        object = any_own(a, kind);
        if (object == NULL)
            return NULL;
        bits = (uintptr_t)object->handle;
        if (byte % 12 == 8)
            return (void *)(bits ^ (1 + byte / 12 % 63));
        return (void *)((bits & ~(uintptr_t)63) + 64 * (uintptr_t)(next_byte(bytes) - 128));
    case 10:
        bits = (uintptr_t)next_bits(bytes);
        return (void *)(byte & 64 ? bits : byte & 128 ? bits >> 17 : bits & 0xffff);
    default:
        switch (byte / 12 % 6) {
        case 0:
            return a->on_stack;
        case 1:
            return a; /* static, or the heap */
        case 2:
            return (char *)a + 1;
        case 3:
            return at_rest;
        case 4:
            return (void *)(uintptr_t)&memcpy;
        default:
            return (void *)(uintptr_t)&threading_lock_free;
        }
    }
}

/* On which object the next call is made. */
static inline struct choice choose(struct actor *a, enum kind kind)
{
    struct choice choice = {NULL, NULL, BAD};
    uint8_t byte = a->only_bad ? 255 : next_byte(&a->bytes);
    if (byte < 160) {
        choice.object = any_own(a, kind);
        choice.whose = OWN;
        if (kind == THREAD && byte < 16 && a->itself.handle != NULL && !a->world->closed)
            choice.object = &a->itself;
    } else if (byte < 176 && a->world->common[kind] != NULL) {
        choice.object = &a->common[kind];
        choice.whose = COMMON;
    } else if (byte < 200 && !a->world->alone) {
        choice.handle = atomic_load(&a->world->churned[kind][byte % CHURNED_PLACES]);
        choice.whose = choice.handle != NULL ? CHURNED : BAD;
        forget_error(a);
    }
    if (choice.object != NULL) {
        choice.handle = choice.object->handle;
    } else if (choice.whose != CHURNED) {
        choice.whose = BAD;
        choice.handle = bad_handle(a, kind);
        a->bad_calls++;
    }
    return a->choice = choice;
}

/* In a call's function: the handle as `h`, what is known of the object as `o`, NULL if nothing is, and whether that
 * is all there is to know. */
#define CHOOSE(a, kind, type)                                                                                \
    struct choice choice = choose((a), (kind));                                                              \
    threading_##type *h = choice.handle;                                                                     \
    struct object *o = choice.object;                                                                        \
    bool own = choice.whose == OWN;                                                                          \
    (void)h, (void)o, (void)own

/* A new object, with one reference of the actor's. */
static inline struct object *begin_life(struct actor *a, struct object *place, void *handle)
{
    EXPECT(a, handle != NULL);
    expect_last_error(a, THREADING_OK);
    *place = (struct object){.handle = handle, .refs = 1};
    return place;
}

/* The object is gone, if nobody keeps it. */
static inline void review(struct actor *a, enum kind kind, struct object *object)
{
    if (object->refs > 0 || object->kept > 0)
        return;
    publish_stale(a, kind, object->handle);
    *object = (struct object){.handle = NULL};
}

/* The calls that take a reference and give it back. A common object's last reference is not the actor's, and a
 * churned one's is its owner's. */
#define REF_CALL(KIND, type)                                                                                 \
    static bool call_##type##_ref(struct actor *a)                                                           \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        threading_##type *got = threading_##type##_ref(h);                                                   \
        if (!expect_answer(a, got == NULL, NONE))                                                            \
            return true;                                                                                     \
        EXPECT(a, got == h);                                                                                 \
        if (o != NULL)                                                                                       \
            o->refs++;                                                                                       \
        else                                                                                                 \
            free_##type(h);                                                                                  \
        return true;                                                                                         \
    }
#define FREE_CALL(KIND, type)                                                                                \
    static bool call_##type##_free(struct actor *a)                                                          \
    {                                                                                                        \
        CHOOSE(a, KIND, type);                                                                               \
        if (choice.whose == CHURNED || (choice.whose == COMMON && o->refs == 0))                             \
            return false;                                                                                    \
        statuses known = o != NULL && o->refs == 0 ? ONE(THREADING_ERR_HANDLE) : ONE(THREADING_OK);          \
        if (expect(a, threading_##type##_free(h), NONE, known, known)) {                                     \
            o->refs--;                                                                                       \
            if (own)                                                                                         \
                review(a, KIND, o);                                                                          \
        }                                                                                                    \
        return true;                                                                                         \
    }
/* A reference of one's own to an object that others may be blocked on, for a moment. */
#define FREE_AT_LAST(type)                                                                                   \
    static inline void free_##type(void *handle)                                                             \
    {                                                                                                        \
        threading_status status;                                                                             \
        do                                                                                                   \
            status = threading_##type##_free(handle);                                                        \
        while (status == THREADING_ERR_BUSY);                                                                \
        HOLDS(status == THREADING_OK);                                                                       \
        if (here != NULL)                                                                                    \
            forget_error(here);                                                                              \
    }

#endif

/* How the object of a call is chosen, and the invalid handles. */
#ifndef MISUSE_HANDLES_H
#define MISUSE_HANDLES_H

#include "model.h"

/* Records a handle that no object will have again. */
static inline void publish_stale(struct actor *a, enum kind kind, void *handle)
{
    unsigned at = atomic_fetch_add_explicit(&a->world->next_published[kind], 1, memory_order_relaxed);
    a->stale[kind][a->next_stale[kind]++ % STALE] = handle;
    atomic_store_explicit(&a->world->published[kind][at % PUBLISHED], handle, memory_order_relaxed);
}

static inline struct object *any_own(struct actor *a, enum kind kind)
{
    unsigned first = next_byte(&a->bytes);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct object *object = &a->own[kind][(first + i) % SLOTS];
        if (object->handle != NULL)
            return object;
    }
    return NULL;
}

static inline struct object *free_slot(struct actor *a, enum kind kind)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (a->own[kind][i].handle == NULL)
            return &a->own[kind][i];
    return NULL;
}

static inline void *invalid_handle(struct actor *a, enum kind kind)
{
    static char static_bytes[64];
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
        return atomic_load_explicit(&a->world->published[kind][next_byte(bytes) % PUBLISHED], memory_order_relaxed);
    case 6:
    case 7: { /* of another kind, or a stale handle of another kind */
        enum kind other = (enum kind)((kind + 1 + byte / 12 % (KINDS - 1)) % KINDS);
        object = any_own(a, other);
        return object != NULL ? object->handle : a->stale[other][0];
    }
    case 8: /* a live handle with another generation */
    case 9: /* a neighbour of a live handle, with generation 0, which is never used */
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
            return a; /* static memory or the heap */
        case 2:
            return (char *)a + 1;
        case 3:
            return static_bytes;
        case 4:
            return (void *)(uintptr_t)&memcpy;
        default:
            return (void *)(uintptr_t)&threading_lock_free;
        }
    }
}

/* Chooses the object for the next call. */
static inline struct choice choose(struct actor *a, enum kind kind)
{
    struct choice choice = {NULL, NULL, INVALID};
    uint8_t byte = a->only_invalid ? 255 : next_byte(&a->bytes);
    if (byte < 160) {
        choice.object = any_own(a, kind);
        choice.origin = OWN;
        if (kind == THREAD && byte < 16 && a->self.handle != NULL && !a->world->is_shut_down)
            choice.object = &a->self;
    } else if (byte < 176 && a->world->shared[kind] != NULL) {
        choice.object = &a->shared[kind];
        choice.origin = SHARED;
    } else if (byte < 200 && !a->world->is_single) {
        choice.handle = atomic_load(&a->world->churned[kind][byte % CHURNED_SLOTS]);
        choice.origin = choice.handle != NULL ? CHURNED : INVALID;
        clear_error(a);
    }
    if (choice.object != NULL) {
        choice.handle = choice.object->handle;
    } else if (choice.origin != CHURNED) {
        choice.origin = INVALID;
        choice.handle = invalid_handle(a, kind);
        a->invalid_calls++;
    }
    return a->choice = choice;
}

/* For the functions that make a call: declares the handle `h`, the object's record `o`, which is NULL if nothing is
 * known about the object, and `own`, true if everything is known about it. */
#define CHOOSE(a, kind, type)                                                                                          \
    struct choice choice = choose((a), (kind));                                                                        \
    threading_##type *h = choice.handle;                                                                               \
    struct object *o = choice.object;                                                                                  \
    bool own = choice.origin == OWN;                                                                                   \
    (void)h, (void)o, (void)own

/* Records a new object, to which the actor has one reference. */
static inline struct object *record_new(struct actor *a, struct object *slot, void *handle)
{
    EXPECT(a, handle != NULL);
    check_last_error(a, THREADING_OK);
    *slot = (struct object){.handle = handle, .refs = 1};
    return slot;
}

/* Empties the record if the object has been freed with its last reference. */
static inline void forget_if_freed(struct actor *a, enum kind kind, struct object *object)
{
    if (object->refs > 0 || object->internal_refs > 0)
        return;
    publish_stale(a, kind, object->handle);
    *object = (struct object){.handle = NULL};
}

/* Calls of ref and free. An actor must not release the last reference to a shared or a churned object, which belongs
 * to the world. */
#define REF_CALL(KIND, type)                                                                                           \
    static bool call_##type##_ref(struct actor *a)                                                                     \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        threading_##type *got = threading_##type##_ref(h);                                                             \
        if (!check_getter(a, got == NULL, NONE))                                                                       \
            return true;                                                                                               \
        EXPECT(a, got == h);                                                                                           \
        if (o != NULL)                                                                                                 \
            o->refs++;                                                                                                 \
        else                                                                                                           \
            free_##type(h);                                                                                            \
        return true;                                                                                                   \
    }
#define FREE_CALL(KIND, type)                                                                                          \
    static bool call_##type##_free(struct actor *a)                                                                    \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        if (choice.origin == CHURNED || (choice.origin == SHARED && o->refs == 0))                                     \
            return false;                                                                                              \
        statuses expected = o != NULL && o->refs == 0 ? ONE(THREADING_ERR_HANDLE) : ONE(THREADING_OK);                 \
        if (check_call(a, threading_##type##_free(h), NONE, expected, expected)) {                                     \
            o->refs--;                                                                                                 \
            if (own)                                                                                                   \
                forget_if_freed(a, KIND, o);                                                                           \
        }                                                                                                              \
        return true;                                                                                                   \
    }
/* The name of an object is only in dumps. NULL removes it. */
#define SET_NAME_CALL(KIND, type)                                                                                      \
    static bool call_##type##_set_name(struct actor *a)                                                                \
    {                                                                                                                  \
        CHOOSE(a, KIND, type);                                                                                         \
        struct name name = next_name(&a->bytes);                                                                       \
        statuses error = name.is_utf8 || name.text == NULL ? NONE : ONE(THREADING_ERR_VALUE);                          \
        check_call(a, threading_##type##_set_name(h, name.text), error, ONE(THREADING_OK), ONE(THREADING_OK));         \
        return true;                                                                                                   \
    }
/* Releases a reference of the caller, retrying while other threads are briefly blocked on the object. */
#define DEFINE_FREE_WHEN_NOT_BUSY(type)                                                                                \
    static inline void free_##type(void *handle)                                                                       \
    {                                                                                                                  \
        threading_status status;                                                                                       \
        do                                                                                                             \
            status = threading_##type##_free(handle);                                                                  \
        while (status == THREADING_ERR_BUSY);                                                                          \
        ASSERT(status == THREADING_OK);                                                                                \
        if (current_actor != NULL)                                                                                     \
            clear_error(current_actor);                                                                                \
    }

#endif

/* A table of the kinds of objects, for tests that apply to every kind. */
#ifndef TEST_KINDS_H
#define TEST_KINDS_H

#include "test.h"

#define TEST_KIND(kind, arguments)                                                                      \
    static void *test_make_##kind(void)                                                                 \
    {                                                                                                   \
        return threading_##kind##_new arguments;                                                        \
    }                                                                                                   \
    static threading_status test_free_##kind(void *object)                                              \
    {                                                                                                   \
        return threading_##kind##_free(object);                                                         \
    }

TEST_KIND(lock, ())
TEST_KIND(rlock, ())
TEST_KIND(condition, ())
TEST_KIND(semaphore, (1))
TEST_KIND(event, ())
TEST_KIND(barrier, (1, NULL, NULL))
TEST_KIND(local, (NULL))
TEST_KIND(thread, (NULL, NULL))
TEST_KIND(timer, (0, NULL, NULL))

static const struct {
    const char *name;
    void *(*make)(void);
    threading_status (*free)(void *);
} kinds[] = {
    {"lock", test_make_lock, test_free_lock},
    {"rlock", test_make_rlock, test_free_rlock},
    {"condition", test_make_condition, test_free_condition},
    {"semaphore", test_make_semaphore, test_free_semaphore},
    {"event", test_make_event, test_free_event},
    {"barrier", test_make_barrier, test_free_barrier},
    {"local", test_make_local, test_free_local},
    {"thread", test_make_thread, test_free_thread},
    {"timer", test_make_timer, test_free_timer},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

#endif

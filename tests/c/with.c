/* THREADING_WITH: it acquires an object, runs the block, and releases the object however control leaves the block. */
#include "test.h"

static threading_lock *new_lock(void)
{
    threading_lock *lock = threading_lock_new();
    CHECK(lock != NULL);
    return lock;
}

static void block_holds_lock(void)
{
    threading_lock *lock = new_lock();
    int entered = 0;
    for (int i = 0; i < 3; i++) {
        THREADING_WITH(lock) {
            entered++;
            CHECK(threading_lock_locked(lock));
        }
        CHECK(!threading_lock_locked(lock));
    }
    CHECK_INT(entered, 3);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void nested_blocks_hold_rlock(void)
{
    threading_rlock *lock = threading_rlock_new();
    int entered = 0;
    THREADING_WITH(lock) {
        THREADING_WITH(lock) {
            entered++;
            CHECK_INT(threading_rlock_recursion_count(lock), 2);
        }
        CHECK_INT(threading_rlock_recursion_count(lock), 1);
    }
    CHECK_INT(entered, 1);
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static void block_holds_condition(void)
{
    threading_lock *lock = new_lock();
    threading_condition *conditions[] = {threading_condition_new(), threading_condition_new_with_lock(lock)};
    for (size_t i = 0; i < TEST_COUNT(conditions); i++) {
        int entered = 0;
        THREADING_WITH(conditions[i]) {
            entered++;
            CHECK(threading_condition_is_owned(conditions[i]));
            CHECK_STATUS(threading_condition_wait_timeout(conditions[i], 0), THREADING_TIMED_OUT);
        }
        CHECK_INT(entered, 1);
        CHECK(!threading_condition_locked(conditions[i]));
        CHECK_STATUS(threading_condition_free(conditions[i]), THREADING_OK);
    }
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void block_holds_permit(void)
{
    threading_semaphore *semaphore = threading_semaphore_new_bounded(3);
    THREADING_WITH(semaphore) {
        CHECK_INT(threading_semaphore_value(semaphore), 2);
        THREADING_WITH(semaphore)
            CHECK_INT(threading_semaphore_value(semaphore), 1);
        CHECK_INT(threading_semaphore_value(semaphore), 2);
    }
    CHECK_INT(threading_semaphore_value(semaphore), 3);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

/* One object of each of the four kinds. */
struct set {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
};

static struct set new_set(void)
{
    struct set set = {threading_lock_new(), threading_rlock_new(), threading_condition_new(),
                      threading_semaphore_new(1)};
    CHECK(set.lock != NULL && set.rlock != NULL && set.condition != NULL && set.semaphore != NULL);
    return set;
}

static bool all_held(const struct set *set)
{
    return threading_lock_locked(set->lock) && threading_rlock_is_owned(set->rlock) &&
           threading_condition_is_owned(set->condition) && threading_semaphore_value(set->semaphore) == 0;
}

static void check_none_held(const struct set *set)
{
    CHECK(!threading_lock_locked(set->lock));
    CHECK(!threading_rlock_locked(set->rlock));
    CHECK(!threading_condition_locked(set->condition));
    CHECK_INT(threading_semaphore_value(set->semaphore), 1);
}

static void free_set(const struct set *set)
{
    check_none_held(set);
    CHECK_STATUS(threading_lock_free(set->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(set->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(set->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(set->semaphore), THREADING_OK);
}

static int return_from_inside(const struct set *set, int depth)
{
    THREADING_WITH(set->lock) {
        if (depth == 1)
            return 1;
        THREADING_WITH(set->rlock) {
            if (depth == 2)
                return 2;
            THREADING_WITH(set->condition) {
                if (depth == 3)
                    return 3;
                THREADING_WITH(set->semaphore) {
                    if (depth == 4)
                        return all_held(set) ? 4 : -4;
                }
            }
        }
    }
    return 0;
}

static void left_by_return(void)
{
    struct set set = new_set();
    for (int depth = 0; depth <= 4; depth++) {
        CHECK_INT(return_from_inside(&set, depth), depth);
        check_none_held(&set);
    }
    free_set(&set);
}

/* A returned expression is evaluated before the release. */
static bool return_locked(threading_lock *lock)
{
    THREADING_WITH(lock) {
        return threading_lock_locked(lock);
    }
    return false;
}

static void return_value_before_release(void)
{
    threading_lock *lock = new_lock();
    CHECK(return_locked(lock));
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void left_by_goto(void)
{
    struct set set = new_set();
    int times = 0;
again:
    check_none_held(&set);
    THREADING_WITH(set.lock) {
        THREADING_WITH(set.rlock) {
            THREADING_WITH(set.condition) {
                THREADING_WITH(set.semaphore) {
                    CHECK(all_held(&set));
                    if (++times < 3)
                        goto again; /* backwards, out of all four blocks */
                    goto out;
                }
            }
        }
    }
    CHECK(!"reached");
out:
    CHECK_INT(times, 3);
    free_set(&set);
}

static void left_by_break(void)
{
    struct set set = new_set();
    int rounds = 0, after_inner = 0;
    for (int i = 0; i < 3; i++) {
        THREADING_WITH(set.lock) {
            THREADING_WITH(set.semaphore) {
                if (i >= 0)
                    break; /* leaves only the inner block */
                CHECK(!"reached");
            }
            CHECK(threading_lock_locked(set.lock));
            CHECK_INT(threading_semaphore_value(set.semaphore), 1);
            after_inner++;
            if (i >= 0)
                break;
            CHECK(!"reached");
        }
        check_none_held(&set);
        rounds++; /* the enclosing loop continues */
    }
    CHECK_INT(after_inner, 3);
    CHECK_INT(rounds, 3);
    free_set(&set);
}

static void left_by_continue(void)
{
    struct set set = new_set();
    int rounds = 0, entered = 0;
    for (int i = 0; i < 3; i++) {
        THREADING_WITH(set.rlock) {
            THREADING_WITH(set.condition) {
                entered++;
                if (i >= 0)
                    continue;
                CHECK(!"reached");
            }
            CHECK(threading_rlock_is_owned(set.rlock));
            CHECK(!threading_condition_locked(set.condition));
            if (i >= 0)
                continue;
            CHECK(!"reached");
        }
        check_none_held(&set);
        rounds++;
    }
    CHECK_INT(entered, 3);
    CHECK_INT(rounds, 3);
    free_set(&set);
}

/* break and continue in a loop inside the block refer to that loop. */
static void loops_inside_the_block(void)
{
    threading_lock *lock = new_lock();
    int sum = 0, entered = 0;
    THREADING_WITH(lock) {
        entered++;
        for (int i = 0; i < 10; i++) {
            if (i == 2)
                continue;
            if (i == 5)
                break;
            sum += i;
            CHECK(threading_lock_locked(lock));
        }
        CHECK(threading_lock_locked(lock));
    }
    CHECK_INT(sum, 0 + 1 + 3 + 4);
    CHECK_INT(entered, 1);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void nests_without_braces(void)
{
    struct set set = new_set();
    int entered = 0;
    THREADING_WITH(set.lock) THREADING_WITH(set.rlock) THREADING_WITH(set.condition)
    THREADING_WITH(set.semaphore) {
        entered++;
        CHECK(all_held(&set));
    }
    CHECK_INT(entered, 1);
    free_set(&set);
}

/* The expansion of a macro is on one line, however many blocks it contains. */
#define WITH_BOTH(a, b) THREADING_WITH(a) THREADING_WITH(b)

static void several_on_one_line(void)
{
    struct set set = new_set();
    int entered = 0;
    THREADING_WITH(set.lock) { THREADING_WITH(set.rlock) { entered++; } THREADING_WITH(set.rlock) { entered++; } }
    WITH_BOTH(set.condition, set.semaphore) WITH_BOTH(set.lock, set.rlock) {
        entered++;
        CHECK(all_held(&set));
    }
    CHECK_INT(entered, 3);
    free_set(&set);
}

static int one_of_two(struct set *set, bool first)
{
    if (first)
        THREADING_WITH(set->lock) return threading_lock_locked(set->lock) ? 1 : -1;
    else
        THREADING_WITH(set->semaphore) return threading_lock_locked(set->lock) ? -2 : 2;
    return 0;
}

static void block_in_an_if(void)
{
    struct set set = new_set();
    CHECK_INT(one_of_two(&set, true), 1);
    CHECK_INT(one_of_two(&set, false), 2);
    free_set(&set);
}

static threading_lock *next_lock(threading_lock *lock, int *calls)
{
    ++*calls;
    return lock;
}

static void evaluated_once(void)
{
    threading_lock *lock = new_lock(), *chosen = lock;
    int calls = 0;
    THREADING_WITH(next_lock(lock, &calls)) {
        CHECK_INT(calls, 1);
        CHECK(threading_lock_locked(lock));
    }
    CHECK_INT(calls, 1);
    /* The block releases the object that it acquired, even if the block assigns to the variable. */
    THREADING_WITH(chosen) {
        chosen = NULL;
    }
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

/* The acquire must fail, and the block must be skipped. */
#define CHECK_SKIPPED(object)                                                                           \
    do {                                                                                                \
        threading_clear_last_error();                                                                   \
        THREADING_WITH(object) {                                                                        \
            CHECK(!"reached");                                                                          \
        }                                                                                               \
        CHECK_LAST_ERROR(THREADING_ERR_HANDLE);                                                         \
    } while (0)

static void skipped_if_the_acquire_fails(void)
{
    struct set set = new_set();
    free_set(&set);
    CHECK_SKIPPED(set.lock);
    CHECK_SKIPPED(set.rlock);
    CHECK_SKIPPED(set.condition);
    CHECK_SKIPPED(set.semaphore);
    CHECK_SKIPPED((threading_lock *)NULL);
}

/* A skipped block inside a block that runs: only the outer object is released. */
static void skipped_inside_another(void)
{
    threading_lock *lock = new_lock();
    threading_semaphore *none = NULL;
    int entered = 0;
    THREADING_WITH(lock) {
        THREADING_WITH(none) {
            entered++;
        }
        CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
        CHECK(threading_lock_locked(lock));
    }
    CHECK(!threading_lock_locked(lock));
    CHECK_INT(entered, 0);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void keeps_the_last_error(void)
{
    struct set set = new_set();
    CHECK_STATUS(threading_lock_release(NULL), THREADING_ERR_HANDLE);
    THREADING_WITH(set.lock) THREADING_WITH(set.rlock) THREADING_WITH(set.condition)
    THREADING_WITH(set.semaphore) {
        CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
    }
    CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
    free_set(&set);
}

struct counter {
    threading_lock *lock;
    long value;
};

static void *count(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < test_many(25000); i++) {
        THREADING_WITH(counter->lock) {
            counter->value++;
            if (i % 2 == 0)
                continue;
        }
    }
    return NULL;
}

static void blocks_exclude_each_other(void)
{
    struct counter counter = {.lock = new_lock()};
    threading_thread *threads[4];
    spawn_all(threads, count, &counter);
    join_all(threads);
    CHECK_INT(counter.value, 4 * test_many(25000));
    CHECK_STATUS(threading_lock_free(counter.lock), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a lock is held in the block and released at its end", block_holds_lock},
    {"an rlock is held in nested blocks, each of which acquires it once more", nested_blocks_hold_rlock},
    {"the lock of a condition is held in the block", block_holds_condition},
    {"a permit of a semaphore is held in the block", block_holds_permit},
    {"return out of nested blocks releases their objects", left_by_return},
    {"the value of a return statement is evaluated before the release", return_value_before_release},
    {"goto out of nested blocks releases their objects", left_by_goto},
    {"break leaves its block, not the enclosing loop", left_by_break},
    {"continue leaves its block, not the enclosing loop", left_by_continue},
    {"a loop inside the block has its own break and continue", loops_inside_the_block},
    {"blocks nest without braces", nests_without_braces},
    {"several blocks may be on one line", several_on_one_line},
    {"a block without braces may be a branch of an if", block_in_an_if},
    {"the operand is evaluated once", evaluated_once},
    {"the block is skipped if the acquire fails, and the last error says why", skipped_if_the_acquire_fails},
    {"a skipped block has no effect on the enclosing block", skipped_inside_another},
    {"a block that is not skipped does not change the last error", keeps_the_last_error},
    {"blocks of several threads on one lock exclude each other", blocks_exclude_each_other},
};

TEST_MAIN(cases)

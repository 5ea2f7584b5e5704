/* Local: one value and any attributes a thread, init, and who destroys what when. */
#include "child.h"


static threading_local *local_new(threading_destructor destructor)
{
    threading_local *local = threading_local_new(destructor);
    CHECK(local != NULL);
    return local;
}

static void local_free(threading_local *local)
{
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

static void no_value(threading_local *local)
{
    void *value = &local;
    CHECK_STATUS_KEEPS_ERROR(threading_local_lookup(local, &value), THREADING_NO_VALUE);
    CHECK_PTR(value, &local);
    CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_NO_VALUE);
    CHECK_PTR(threading_local_get(local), NULL);
    CHECK_LAST_ERROR(THREADING_OK);
}

static void has_value(threading_local *local, void *expected)
{
    void *value = &value;
    CHECK_STATUS_KEEPS_ERROR(threading_local_lookup(local, &value), THREADING_OK);
    CHECK_PTR(value, expected);
    CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_OK);
    CHECK_PTR(threading_local_get(local), expected);
    CHECK_LAST_ERROR(THREADING_OK);
}

static void no_attr(threading_local *local, const char *name)
{
    void *value = &local;
    CHECK_STATUS_KEEPS_ERROR(threading_local_get_attr(local, name, &value), THREADING_NO_VALUE);
    CHECK_PTR(value, &local);
}

static void has_attr(threading_local *local, const char *name, void *expected)
{
    void *value = &value;
    CHECK_STATUS_KEEPS_ERROR(threading_local_get_attr(local, name, &value), THREADING_OK);
    CHECK_PTR(value, expected);
}

/* ----------------------------------------------------------------------------------- value and attributes */

static int one, two, three;

static void *look_for_nothing(void *local)
{
    no_value(local);
    no_attr(local, "value");
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    has_value(local, &three);
    return local;
}

static void values(void)
{
    threading_local *local = local_new(NULL), *other = local_new(NULL);
    no_value(local);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del(local), THREADING_NO_VALUE);
    CHECK_STATUS_KEEPS_ERROR(threading_local_set(local, &one), THREADING_OK);
    has_value(local, &one);
    no_value(other);
    join(spawn(look_for_nothing, local));
    join_foreign(spawn_foreign(look_for_nothing, local));
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    has_value(local, &two);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    has_value(local, NULL);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del(local), THREADING_OK);
    no_value(local);
    CHECK_STATUS(threading_local_del(local), THREADING_NO_VALUE);
    local_free(local);
    local_free(other);
}

static void attributes(void)
{
    threading_local *local = local_new(NULL);
    char name[] = "value";
    no_attr(local, "value");
    CHECK_STATUS_KEEPS_ERROR(threading_local_del_attr(local, "value"), THREADING_NO_VALUE);
    CHECK_STATUS_KEEPS_ERROR(threading_local_set_attr(local, name, &one), THREADING_OK);
    name[0] = 'V';
    has_attr(local, "value", &one);
    no_attr(local, name);
    no_value(local);
    CHECK_STATUS(threading_local_set_attr(local, name, NULL), THREADING_OK);
    has_attr(local, "Value", NULL);
    join(spawn(look_for_nothing, local));
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "value", &three), THREADING_OK);
    has_attr(local, "value", &three);
    has_value(local, &two);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_local_del_attr(local, "Value"), THREADING_OK);
    no_attr(local, "Value");
    has_attr(local, "value", &three);
    CHECK_STATUS(threading_local_set_attr(local, NULL, &one), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_local_del_attr(local, NULL), THREADING_ERR_VALUE);
    local_free(local);
}

/* -------------------------------------------------------------------------------------------- destruction */

enum { CALLS = 64 };

static struct {
    atomic_int calls;
    struct {
        void *value;
        threading_thread *by;
        uint64_t ident;
    } call[CALLS];
} destroyed;

static void destroy(void *value)
{
    int i = atomic_fetch_add(&destroyed.calls, 1);
    CHECK(i < CALLS);
    destroyed.call[i].value = value;
    destroyed.call[i].by = threading_current_thread();
    destroyed.call[i].ident = threading_get_ident();
}

static void check_destroyed(int calls, void *last)
{
    CHECK_INT(atomic_load(&destroyed.calls), calls);
    if (calls > 0) {
        CHECK_PTR(destroyed.call[calls - 1].value, last);
        CHECK_PTR(destroyed.call[calls - 1].by, threading_current_thread());
    }
}

static void replaced_and_deleted(void)
{
    threading_local *local = local_new(destroy);
    atomic_store(&destroyed.calls, 0);
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    check_destroyed(0, NULL);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_destroyed(1, &one);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    check_destroyed(2, &two);
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    check_destroyed(2, &two);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    check_destroyed(3, &three);
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    check_destroyed(3, &three);

    CHECK_STATUS(threading_local_set_attr(local, "a", &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "a", &one), THREADING_OK);
    check_destroyed(3, &three);
    CHECK_STATUS(threading_local_set_attr(local, "a", &two), THREADING_OK);
    check_destroyed(4, &one);
    CHECK_STATUS(threading_local_set_attr(local, "b", &three), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(local, "a"), THREADING_OK);
    check_destroyed(5, &two);
    CHECK_STATUS(threading_local_set_attr(local, "b", NULL), THREADING_OK);
    check_destroyed(6, &three);
    local_free(local);
    check_destroyed(6, &three);
}

static threading_local *looked_at;
static void *wanted;

static void look_while_destroying(void *value)
{
    has_value(looked_at, wanted);
    destroy(value);
}

static void new_value_in_place_first(void)
{
    threading_local *local = looked_at = local_new(look_while_destroying);
    atomic_store(&destroyed.calls, 0);
    wanted = &two;
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    check_destroyed(1, &one);
    wanted = NULL;
    CHECK_STATUS(threading_local_set(local, NULL), THREADING_OK);
    check_destroyed(2, &two);
    local_free(local);
}

struct ended {
    threading_local *locals[2];
    threading_thread *self;
    uint64_t ident;
    bool ask;
};

static void *leave_values(void *arg)
{
    struct ended *ended = arg;
    ended->ident = threading_get_ident();
    if (ended->ask)
        ended->self = threading_current_thread();
    CHECK_STATUS(threading_local_set(ended->locals[0], &one), THREADING_OK);
    CHECK_STATUS(threading_local_set(ended->locals[1], &two), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(ended->locals[0], "name", &three), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(ended->locals[0], "null", NULL), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    return NULL;
}

static void *leave_values_by_exit(void *arg)
{
    leave_values(arg);
    pthread_exit(arg);
}

static void check_left_values(const struct ended *ended)
{
    int seen[3] = {0};
    CHECK_INT(atomic_load(&destroyed.calls), 3);
    for (int i = 0; i < 3; i++) {
        if (ended->ask)
            CHECK_PTR(destroyed.call[i].by, ended->self);
        CHECK_INT(destroyed.call[i].ident, ended->ident);
        seen[0] += destroyed.call[i].value == &one;
        seen[1] += destroyed.call[i].value == &two;
        seen[2] += destroyed.call[i].value == &three;
    }
    CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
    atomic_store(&destroyed.calls, 0);
}

static void at_thread_end(void)
{
    struct ended ended = {{local_new(destroy), local_new(destroy)}, NULL, 0, true};
    atomic_store(&destroyed.calls, 0);
    join(spawn(leave_values, &ended));
    check_left_values(&ended);
    join(spawn(leave_values_by_exit, &ended));
    check_left_values(&ended);
    join_foreign(spawn_foreign(leave_values, &ended));
    check_left_values(&ended);
    join_foreign(spawn_foreign(leave_values_by_exit, &ended));
    check_left_values(&ended);
    ended.ask = false; /* nor need a foreign thread ever have asked who it is */
    join_foreign(spawn_foreign(leave_values, &ended));
    check_left_values(&ended);
    local_free(ended.locals[0]);
    local_free(ended.locals[1]);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_INT(threading_active_count(), 1);
}

struct holder {
    threading_local *local;
    threading_barrier *barrier;
    bool delete;
};

/* Meets main twice: with its values set, and when main has freed the local. */
static void *hold_values(void *arg)
{
    struct holder *holder = arg;
    CHECK_STATUS(threading_local_set(holder->local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(holder->local, "name", &two), THREADING_OK);
    if (holder->delete)
        CHECK_STATUS(threading_local_del(holder->local), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(holder->barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(holder->barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_local_lookup(holder->local, NULL), THREADING_ERR_HANDLE);
    return NULL;
}

static void at_the_last_free(void)
{
    threading_local *local = local_new(destroy);
    threading_barrier *barrier = threading_barrier_new(5, NULL, NULL);
    struct holder keeping = {local, barrier, false}, deleting = {local, barrier, true};
    threading_thread *ours[2];
    pthread_t foreign[2];
    CHECK(barrier != NULL);
    CHECK_PTR(threading_local_ref(local), local);
    for (int i = 0; i < 2; i++) {
        ours[i] = spawn(hold_values, i == 0 ? &keeping : &deleting);
        foreign[i] = spawn_foreign(hold_values, &keeping);
    }
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    atomic_store(&destroyed.calls, 0);
    local_free(local);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    has_value(local, &three);
    local_free(local);
    CHECK_INT(atomic_load(&destroyed.calls), 8); /* three threads' two, one's attribute, main's value */
    for (int i = 0; i < 8; i++)
        CHECK_PTR(destroyed.call[i].by, threading_main_thread());
    CHECK_STATUS(threading_local_set(local, &one), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    for (int i = 0; i < 2; i++) {
        join(ours[i]);
        join_foreign(foreign[i]);
    }
    CHECK_INT(atomic_load(&destroyed.calls), 8);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static struct {
    threading_local *local;
    threading_event *begun; /* a destructor of the last free runs */
    threading_semaphore *looked;
    atomic_flag waited;
} freeing;

static void wait_for_the_others(void *value)
{
    (void)value;
    /* The first alone: a thread that has looked may end, and destroy its own value. */
    if (atomic_flag_test_and_set(&freeing.waited))
        return;
    CHECK_STATUS(threading_event_set(freeing.begun), THREADING_OK);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(freeing.looked, TEST_LIMIT), THREADING_OK);
}

static void *look_while_it_is_freed(void *barrier)
{
    CHECK_STATUS(threading_local_set(freeing.local, &one), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(freeing.begun, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_local_set(freeing.local, &two), THREADING_ERR_HANDLE);
    CHECK_REFUSED(threading_local_get(freeing.local), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_semaphore_release(freeing.looked), THREADING_OK);
    return NULL;
}

static void gone_while_it_is_freed(void)
{
    threading_barrier *barrier = threading_barrier_new(3, NULL, NULL);
    threading_thread *threads[2];
    freeing.local = local_new(wait_for_the_others);
    atomic_flag_clear(&freeing.waited);
    CHECK(barrier != NULL && (freeing.begun = threading_event_new()) != NULL);
    CHECK((freeing.looked = threading_semaphore_new(0)) != NULL);
    for (int i = 0; i < 2; i++)
        threads[i] = spawn(look_while_it_is_freed, barrier);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    local_free(freeing.local);
    for (int i = 0; i < 2; i++)
        join(threads[i]);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    CHECK_STATUS(threading_event_free(freeing.begun), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(freeing.looked), THREADING_OK);
}

/* A value that names its successor: its destructor sets that, in the same local or in the other. */
struct link {
    threading_local *local;
    struct link *next;
    atomic_int *count;
    bool attribute;
};

static void set_next(void *value)
{
    struct link *link = value;
    atomic_fetch_add(link->count, 1);
    if (link->next == NULL)
        return;
    if (link->next->attribute)
        CHECK_STATUS(threading_local_set_attr(link->local, "next", link->next), THREADING_OK);
    else
        CHECK_STATUS(threading_local_set(link->local, link->next), THREADING_OK);
}

static void *set_first(void *value)
{
    struct link *link = value;
    CHECK_STATUS(threading_local_set(link->local, link), THREADING_OK);
    return NULL;
}

static void new_values_in_destructors(void)
{
    atomic_int count = 0;
    threading_local *local = local_new(set_next), *other = local_new(set_next);
    struct link third = {local, NULL, &count, true}, second = {local, &third, &count, false};
    struct link first = {other, &second, &count, false}, endless = {local, &endless, &count, false};
    join(spawn(set_first, &first));
    CHECK_INT(atomic_load(&count), 3);
    join_foreign(spawn_foreign(set_first, &first));
    CHECK_INT(atomic_load(&count), 6);

    atomic_store(&count, 0);
    join(spawn(set_first, &endless));
    CHECK(atomic_load(&count) >= 3 && atomic_load(&count) <= 4);
    atomic_store(&count, 0);
    join_foreign(spawn_foreign(set_first, &endless));
    CHECK(atomic_load(&count) >= 3 && atomic_load(&count) <= 4);
    local_free(local);
    local_free(other);
}

static void free_the_local(void *value)
{
    threading_local **local = value;
    CHECK_STATUS(threading_local_free(*local), THREADING_OK);
    *local = NULL;
}

static void *leave_local(void *value)
{
    threading_local **local = value;
    CHECK_STATUS(threading_local_set(*local, value), THREADING_OK);
    return NULL;
}

static void uses_locals(void *value)
{
    threading_local **other = value, *another = local_new(NULL);
    CHECK_STATUS(threading_local_set(another, value), THREADING_OK);
    CHECK_STATUS(threading_local_free(another), THREADING_OK);
    CHECK_STATUS(threading_local_free(*other), THREADING_OK);
    *other = NULL;
}

static void locals_in_the_last_free(void)
{
    threading_local *local = local_new(uses_locals), *other = local_new(NULL);
    CHECK_STATUS(threading_local_set(local, &other), THREADING_OK);
    CHECK_STATUS(threading_local_set(other, &local), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_PTR(other, NULL);
}

static void freed_in_its_destructor(void)
{
    threading_local *local = local_new(free_the_local), *old = local;
    join(spawn(leave_local, &local));
    CHECK_PTR(local, NULL);
    CHECK_STATUS(threading_local_set(old, &one), THREADING_ERR_HANDLE);

    local = old = local_new(free_the_local);
    CHECK_STATUS(threading_local_set(local, &local), THREADING_OK);
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    CHECK_PTR(local, NULL);
    CHECK_STATUS(threading_local_set(old, &one), THREADING_ERR_HANDLE);
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
    has_value(local, initial_value);
    return NULL;
}

static void *first_set(void *local)
{
    int before = atomic_load(&destroyed.calls);
    CHECK_STATUS(threading_local_set(local, &two), THREADING_OK);
    has_value(local, &two);
    CHECK_INT(atomic_load(&destroyed.calls), before + (initial_value != NULL));
    return NULL;
}

static void *first_del(void *local)
{
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    no_value(local);
    return NULL;
}

static void *first_set_attr(void *local)
{
    CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
    has_value(local, initial_value);
    return NULL;
}

static void *first_get_attr(void *local)
{
    no_attr(local, "name");
    CHECK_INT(atomic_load(&initialized), 1);
    return NULL;
}

static void *first_del_attr(void *local)
{
    CHECK_STATUS(threading_local_del_attr(local, "name"), THREADING_NO_VALUE);
    CHECK_INT(atomic_load(&initialized), 1);
    return NULL;
}

static void *never_touch(void *local)
{
    return local;
}

static void init_once_a_thread(void)
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
            join(spawn(never_touch, local));
            CHECK_INT(atomic_load(&initialized), 1);
            atomic_store(&initialized, 0);
            join_foreign(spawn_foreign(threads[i].first_call, local));
            CHECK_INT(atomic_load(&initialized), 1);
            CHECK_INT(atomic_load(&destroyed.calls), 2 * (threads[i].destroyed - with_null));
            local_free(local);
        }
    }
    CHECK_REFUSED(threading_local_new_with_init(NULL, &initialized, destroy), THREADING_ERR_VALUE);
}

static threading_local *own, *other_local;

static void *set_own(void *arg)
{
    initialize(arg);
    no_value(own);
    CHECK_STATUS(threading_local_set(own, &two), THREADING_OK);
    has_value(own, &two);
    CHECK_STATUS(threading_local_set_attr(own, "kept", &three), THREADING_OK);
    return &one;
}

static void *set_own_and_return_it(void *arg)
{
    set_own(arg);
    return &two;
}

static void *use_the_other(void *arg)
{
    initialize(arg);
    return threading_local_get(other_local);
}

static void init_uses_locals(void)
{
    initial_value = &three;
    own = local_with_init(set_own);
    CHECK_STATUS(threading_local_lookup(own, NULL), THREADING_OK);
    has_value(own, &one);
    has_attr(own, "kept", &three);
    CHECK_INT(atomic_load(&initialized), 1);
    check_destroyed(1, &two);
    local_free(own);

    own = local_with_init(set_own_and_return_it);
    CHECK_STATUS(threading_local_lookup(own, NULL), THREADING_OK);
    has_value(own, &two);
    check_destroyed(0, NULL);
    local_free(own);

    other_local = local_with_init(initialize);
    own = local_with_init(use_the_other);
    has_value(own, &three);
    CHECK_INT(atomic_load(&initialized), 2);
    local_free(own);
    local_free(other_local);
}

/* --------------------------------------------------------------------------------------------------- many */

enum { MANY = 5000 };

/* An even number, so that half of them is one. */
static size_t many_of_them(void)
{
    return (size_t)test_many(MANY) / 2 * 2;
}

static threading_local *many[MANY];
static char cells[MANY + 1];
static atomic_int count_destroyed;

static void count_one(void *value)
{
    (void)value;
    atomic_fetch_add(&count_destroyed, 1);
}

static void *use_many_locals(void *arg)
{
    size_t shift = arg != NULL;
    for (size_t i = 0; i < many_of_them(); i++) {
        CHECK_PTR(threading_local_get(many[i]), NULL);
        CHECK_STATUS(threading_local_set(many[i], &cells[i + shift]), THREADING_OK);
    }
    for (size_t i = 0; i < many_of_them(); i++)
        CHECK_PTR(threading_local_get(many[i]), &cells[i + shift]);
    return NULL;
}

static void many_locals(void)
{
    threading_thread *thread;
    for (size_t i = 0; i < many_of_them(); i++)
        many[i] = local_new(count_one);
    atomic_store(&count_destroyed, 0);
    thread = spawn(use_many_locals, many);
    use_many_locals(NULL);
    join(thread);
    CHECK_INT(atomic_load(&count_destroyed), many_of_them());
    join_foreign(spawn_foreign(use_many_locals, many));
    CHECK_INT(atomic_load(&count_destroyed), 2 * many_of_them());
    for (size_t i = 0; i < many_of_them(); i++) {
        CHECK_PTR(threading_local_get(many[i]), &cells[i]);
        local_free(many[i]);
    }
    CHECK_INT(atomic_load(&count_destroyed), 3 * many_of_them());
}

static void *use_many_attributes(void *local)
{
    char name[32];
    for (size_t i = 0; i < many_of_them(); i++) {
        snprintf(name, sizeof name, "attribute %zu", i);
        CHECK_STATUS(threading_local_set_attr(local, name, &cells[i]), THREADING_OK);
    }
    for (size_t i = 0; i < many_of_them(); i++) {
        void *value = NULL;
        snprintf(name, sizeof name, "attribute %zu", i);
        CHECK_STATUS(threading_local_get_attr(local, name, &value), THREADING_OK);
        CHECK_PTR(value, &cells[i]);
        if (i % 2 == 1)
            CHECK_STATUS(threading_local_del_attr(local, name), THREADING_OK);
    }
    for (size_t i = 0; i < many_of_them(); i += 999) {
        snprintf(name, sizeof name, "attribute %zu", i);
        if (i % 2 == 1)
            no_attr(local, name);
        else
            has_attr(local, name, &cells[i]);
    }
    CHECK_INT(atomic_load(&count_destroyed), many_of_them() / 2);
    return NULL;
}

static void many_attributes(void)
{
    threading_local *local = local_new(count_one);
    atomic_store(&count_destroyed, 0);
    join(spawn(use_many_attributes, local));
    CHECK_INT(atomic_load(&count_destroyed), many_of_them());
    atomic_store(&count_destroyed, 0);
    use_many_attributes(local);
    local_free(local);
    CHECK_INT(atomic_load(&count_destroyed), many_of_them());
}

static void new_locals_are_empty(void)
{
    for (int i = 0; i < test_many(20000); i++) {
        threading_local *local = local_new(NULL);
        CHECK_PTR(threading_local_get(local), NULL);
        CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_NO_VALUE);
        CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
        if (i % 100 == 0) {
            no_attr(local, "name");
            CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
        }
        local_free(local);
    }
}

static atomic_int ready;

static void *set_and_end(void *local)
{
    CHECK_STATUS(threading_local_set(local, &one), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "name", &two), THREADING_OK);
    atomic_fetch_add(&ready, 1);
    return NULL;
}

static bool all_are_ready(void *arg)
{
    return atomic_load(&ready) == *(int *)arg;
}

/* The ends of threads and the last free meet: each value is destroyed once, by the one or the other. */
static void thread_end_meets_free(void)
{
    int threads = 4;
    for (int round = 0; round < test_many(300); round++) {
        threading_local *local = local_new(count_one);
        threading_thread *ours[2];
        pthread_t foreign[2];
        atomic_store(&ready, 0);
        atomic_store(&count_destroyed, 0);
        for (int i = 0; i < 2; i++) {
            ours[i] = spawn(set_and_end, local);
            foreign[i] = spawn_foreign(set_and_end, local);
        }
        for (double end = now() + TEST_LIMIT; !all_are_ready(&threads);)
            CHECK(now() < end);
        local_free(local);
        for (int i = 0; i < 2; i++) {
            join(ours[i]);
            join_foreign(foreign[i]);
        }
        CHECK_INT(atomic_load(&count_destroyed), 8);
    }
}

/* ------------------------------------------------------------------------------------------- costs that grow */

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

/* Each of these takes a fraction of a second; minutes, if it takes time that grows as the square of the number. */
static void very_many_locals(void)
{
    size_t count = (size_t)test_many(VERY_MANY);
    threading_thread *thread;
    very_many = calloc(count, sizeof(threading_local *));
    CHECK(very_many != NULL);
    for (size_t i = 0; i < count; i++)
        very_many[i] = local_new(count_one);
    atomic_store(&count_destroyed, 0);
    thread = spawn(use_very_many, &count);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_INT(atomic_load(&count_destroyed), 2 * count);
    join(thread);
    use_very_many(&count);
    for (size_t i = 0; i < count; i++)
        local_free(very_many[i]);
    CHECK_INT(atomic_load(&count_destroyed), 4 * count);
    free(very_many);
}

static struct {
    threading_local *local;
    long attributes, generation;
} growing;

/* Sets another attribute of the same local, and one of a new local, while those of before are destroyed. */
static void set_another(void *value)
{
    char name[32];
    threading_local *local;
    atomic_fetch_add(&count_destroyed, 1);
    if (value != &one)
        return;
    snprintf(name, sizeof name, "another %ld", growing.generation++);
    CHECK_STATUS(threading_local_set_attr(growing.local, name, &two), THREADING_OK);
    local = local_new(NULL);
    CHECK_STATUS(threading_local_set_attr(local, "name", &three), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, &three), THREADING_OK);
}

static void *leave_growing(void *arg)
{
    char name[32];
    for (long i = 0; i < growing.attributes; i++) {
        snprintf(name, sizeof name, "name %ld", i);
        CHECK_STATUS(threading_local_set_attr(growing.local, name, &one), THREADING_OK);
    }
    return arg;
}

static void destructors_set_more(void)
{
    growing.local = local_new(set_another);
    growing.attributes = test_many(20000);
    atomic_store(&count_destroyed, 0);
    join(spawn(leave_growing, NULL));
    CHECK_INT(atomic_load(&count_destroyed), 2 * growing.attributes);
    local_free(growing.local);
}

/* ------------------------------------------------------------------------------------ the last free and others */

static struct {
    threading_local *local;
    threading_semaphore *set;
    threading_event *end;
    pthread_t threads[3];
    int joined;
    atomic_int at_one;
    pid_t child;
} last_free;

static void *set_and_wait(void *arg)
{
    CHECK_STATUS(threading_local_set(last_free.local, arg), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(last_free.local, "name", arg), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(last_free.set), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(last_free.end, TEST_LIMIT), THREADING_OK);
    return NULL;
}

static void begin_last_free(threading_destructor destructor)
{
    last_free.local = local_new(destructor);
    last_free.joined = 0;
    atomic_store(&last_free.at_one, 0);
    CHECK((last_free.set = threading_semaphore_new(0)) != NULL);
    CHECK((last_free.end = threading_event_new()) != NULL);
    atomic_store(&count_destroyed, 0);
    for (int i = 0; i < 3; i++)
        last_free.threads[i] = spawn_foreign(set_and_wait, &one);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(last_free.set, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_local_set(last_free.local, &two), THREADING_OK);
}

static void end_last_free(void)
{
    CHECK_STATUS(threading_event_set(last_free.end), THREADING_OK);
    for (; last_free.joined < 3; last_free.joined++)
        join_foreign(last_free.threads[last_free.joined]);
    CHECK_STATUS(threading_semaphore_free(last_free.set), THREADING_OK);
    CHECK_STATUS(threading_event_free(last_free.end), THREADING_OK);
}

/* By the first of the others' values: all threads end, with their values that this free has not destroyed yet. */
static void join_all_threads(void *value)
{
    if (value == &one && atomic_fetch_add(&last_free.at_one, 1) == 0) {
        CHECK_STATUS(threading_event_set(last_free.end), THREADING_OK);
        for (; last_free.joined < 3; last_free.joined++)
            join_foreign(last_free.threads[last_free.joined]);
    }
    atomic_fetch_add(&count_destroyed, 1);
}

static void *free_last(void *arg)
{
    local_free(last_free.local);
    return arg;
}

static void threads_end_in_the_last_free(void)
{
    begin_last_free(join_all_threads);
    CHECK_STATUS(threading_local_del(last_free.local), THREADING_OK);
    atomic_store(&count_destroyed, 0);
    join_foreign(spawn_foreign(free_last, NULL));
    CHECK_INT(atomic_load(&count_destroyed), 6);
    end_last_free();
}

/* By the first of the others' values: the process forks, and the child goes on with the free. */
static void fork_in_the_free(void *value)
{
    atomic_fetch_add(&count_destroyed, 1);
    if (value == &one && atomic_fetch_add(&last_free.at_one, 1) == 0) {
        last_free.child = fork();
        may_change_errno();
        if (last_free.child == 0)
            atomic_store(&count_destroyed, 0);
    }
}

static void forked_in_the_last_free(void)
{
    begin_last_free(fork_in_the_free);
    local_free(last_free.local);
    if (last_free.child == 0) {
        /* The others' values are left alone there; of this thread's own, those that were left. */
        threading_local *newer = local_new(NULL);
        CHECK(atomic_load(&count_destroyed) <= 1);
        CHECK_REFUSED(threading_local_get(last_free.local), THREADING_ERR_HANDLE);
        CHECK_STATUS(threading_local_set(newer, &one), THREADING_OK);
        local_free(newer);
        _exit(0);
    }
    CHECK_INT(atomic_load(&count_destroyed), 7);
    CHECK_INT(child_status(last_free.child), 0);
    end_last_free();
}

/* What free and freed places in a thread's table are marked with must not be taken for a local. */
static void no_handle_among_values(void)
{
    threading_local *locals[64];
    int value;
    for (size_t i = 0; i < TEST_COUNT(locals); i++) {
        locals[i] = threading_local_new(NULL);
        CHECK_STATUS(threading_local_set(locals[i], &value), THREADING_OK);
        for (uintptr_t bits = 0; bits < 256; bits++)
            CHECK_REFUSED(threading_local_get((threading_local *)bits), THREADING_ERR_HANDLE);
    }
    for (size_t i = 0; i < TEST_COUNT(locals); i++) {
        CHECK_STATUS(threading_local_free(locals[i]), THREADING_OK);
        for (uintptr_t bits = 0; bits < 256; bits++)
            CHECK_REFUSED(threading_local_get((threading_local *)bits), THREADING_ERR_HANDLE);
    }
}

static const struct test_case cases[] = {
    {"each thread has a value of its own, and NULL is one", values},
    {"attributes are apart from the value and from each other", attributes},
    {"the caller destroys what it replaces or deletes, at once, but never NULL", replaced_and_deleted},
    {"a destructor finds the new value in place", new_value_in_place_first},
    {"a thread's values are destroyed in it before join returns, foreign threads included", at_thread_end},
    {"the last free destroys the values of all living threads in the freeing thread", at_the_last_free},
    {"no thread finds its value any more while the last free destroys those of others", gone_while_it_is_freed},
    {"values set in destructors are destroyed too, in at most four rounds", new_values_in_destructors},
    {"a local may be freed in its own destructor", freed_in_its_destructor},
    {"a destructor at the last free may use, make and free locals", locals_in_the_last_free},
    {"init runs once in each thread, at the first call of whatever kind", init_once_a_thread},
    {"init may use locals, and its result replaces what it set on its own", init_uses_locals},
    {"thousands of locals do not mix", many_locals},
    {"a get of NULL or garbage is refused in a thread that has values, or had some", no_handle_among_values},
    {"thousands of attributes do not mix", many_attributes},
    {"a new local is empty whatever an older one held", new_locals_are_empty},
    {"a value is destroyed once when its thread ends while the local is freed", thread_end_meets_free},
    {"a hundred thousand locals with attributes and values cost no more each than one", very_many_locals},
    {"so do attributes whose destructors set others, of the same local and of new ones", destructors_set_more},
    {"threads may end while the last free destroys their values", threads_end_in_the_last_free},
    {"a destructor at the last free may fork, and the child destroys no other thread's values", forked_in_the_last_free},
};

TEST_MAIN(cases)

/* No function of the library changes errno: not on success, timeout or failure, not under contention, in a signal
 * handler, in a child of fork or without memory. test.h includes this header, whose macros check every call that a test
 * makes. errno.c covers the situations that no other test creates.
 *
 * The library does not undo what a callback of the program does to errno. A callback that changes errno therefore calls
 * may_change_errno(). */
#ifndef KEEPS_ERRNO_H
#define KEEPS_ERRNO_H

#include <errno.h>

#define TEST_ERRNO 9999 /* no function sets this value */

static _Thread_local bool test_errno_may_change;

/* Called in a callback: the library call that runs it is not checked. */
static inline void may_change_errno(void)
{
    test_errno_may_change = true;
}

static inline int test_set_errno(void)
{
    int before = errno;
    errno = TEST_ERRNO;
    return before;
}

static inline void test_check_errno(const char *file, int line, const char *call, int before)
{
    int after = errno;
    if (after != TEST_ERRNO && !test_errno_may_change)
        test_fail(file, line, "%s has changed errno to %d, %s", call, after, strerror(after));
    test_errno_may_change = false;
    errno = before;
}

#define TEST_KEEPS_ERRNO(call)                                                                          \
    __extension__({                                                                                     \
        int test_before = test_set_errno();                                                             \
        __typeof__(call) test_result = (call);                                                          \
        test_check_errno(__FILE__, __LINE__, #call, test_before);                                       \
        test_result;                                                                                    \
    })
#define TEST_VOID_KEEPS_ERRNO(call)                                                                     \
    __extension__({                                                                                     \
        int test_before = test_set_errno();                                                             \
        (call);                                                                                         \
        test_check_errno(__FILE__, __LINE__, #call, test_before);                                       \
    })

#define threading_status_name(...) TEST_KEEPS_ERRNO(threading_status_name(__VA_ARGS__))
#define threading_status_message(...) TEST_KEEPS_ERRNO(threading_status_message(__VA_ARGS__))
#define threading_last_error(...) TEST_KEEPS_ERRNO(threading_last_error(__VA_ARGS__))
#define threading_last_error_message(...) TEST_KEEPS_ERRNO(threading_last_error_message(__VA_ARGS__))
#define threading_clear_last_error(...) TEST_VOID_KEEPS_ERRNO(threading_clear_last_error(__VA_ARGS__))
#define threading_version(...) TEST_KEEPS_ERRNO(threading_version(__VA_ARGS__))
#define threading_version_number(...) TEST_KEEPS_ERRNO(threading_version_number(__VA_ARGS__))
#define threading_current_thread(...) TEST_KEEPS_ERRNO(threading_current_thread(__VA_ARGS__))
#define threading_main_thread(...) TEST_KEEPS_ERRNO(threading_main_thread(__VA_ARGS__))
#define threading_active_count(...) TEST_KEEPS_ERRNO(threading_active_count(__VA_ARGS__))
#define threading_enumerate(...) TEST_KEEPS_ERRNO(threading_enumerate(__VA_ARGS__))
#define threading_thread_list_len(...) TEST_KEEPS_ERRNO(threading_thread_list_len(__VA_ARGS__))
#define threading_thread_list_get(...) TEST_KEEPS_ERRNO(threading_thread_list_get(__VA_ARGS__))
#define threading_thread_list_free(...) TEST_KEEPS_ERRNO(threading_thread_list_free(__VA_ARGS__))
#define threading_get_ident(...) TEST_KEEPS_ERRNO(threading_get_ident(__VA_ARGS__))
#define threading_get_native_id(...) TEST_KEEPS_ERRNO(threading_get_native_id(__VA_ARGS__))
#define threading_stack_size(...) TEST_KEEPS_ERRNO(threading_stack_size(__VA_ARGS__))
#define threading_set_stack_size(...) TEST_KEEPS_ERRNO(threading_set_stack_size(__VA_ARGS__))
#define threading_sleep(...) TEST_KEEPS_ERRNO(threading_sleep(__VA_ARGS__))
#define threading_atexit(...) TEST_KEEPS_ERRNO(threading_atexit(__VA_ARGS__))
#define threading_shutdown(...) TEST_KEEPS_ERRNO(threading_shutdown(__VA_ARGS__))
#define threading_shutdown_timeout(...) TEST_KEEPS_ERRNO(threading_shutdown_timeout(__VA_ARGS__))
#define threading_set_excepthook(...) TEST_VOID_KEEPS_ERRNO(threading_set_excepthook(__VA_ARGS__))
#define threading_get_excepthook(...) TEST_KEEPS_ERRNO(threading_get_excepthook(__VA_ARGS__))
#define threading_report_exception(...) TEST_KEEPS_ERRNO(threading_report_exception(__VA_ARGS__))
#define threading_thread_new(...) TEST_KEEPS_ERRNO(threading_thread_new(__VA_ARGS__))
#define threading_thread_ref(...) TEST_KEEPS_ERRNO(threading_thread_ref(__VA_ARGS__))
#define threading_thread_free(...) TEST_KEEPS_ERRNO(threading_thread_free(__VA_ARGS__))
#define threading_thread_set_name(...) TEST_KEEPS_ERRNO(threading_thread_set_name(__VA_ARGS__))
#define threading_thread_name(...) TEST_KEEPS_ERRNO(threading_thread_name(__VA_ARGS__))
#define threading_thread_set_daemon(...) TEST_KEEPS_ERRNO(threading_thread_set_daemon(__VA_ARGS__))
#define threading_thread_is_daemon(...) TEST_KEEPS_ERRNO(threading_thread_is_daemon(__VA_ARGS__))
#define threading_thread_set_stack_size(...) TEST_KEEPS_ERRNO(threading_thread_set_stack_size(__VA_ARGS__))
#define threading_thread_set_arg_destructor(...) TEST_KEEPS_ERRNO(threading_thread_set_arg_destructor(__VA_ARGS__))
#define threading_thread_set_run(...) TEST_KEEPS_ERRNO(threading_thread_set_run(__VA_ARGS__))
#define threading_thread_run(...) TEST_KEEPS_ERRNO(threading_thread_run(__VA_ARGS__))
#define threading_thread_start(...) TEST_KEEPS_ERRNO(threading_thread_start(__VA_ARGS__))
#define threading_thread_join(...) TEST_KEEPS_ERRNO(threading_thread_join(__VA_ARGS__))
#define threading_thread_join_timeout(...) TEST_KEEPS_ERRNO(threading_thread_join_timeout(__VA_ARGS__))
#define threading_thread_is_alive(...) TEST_KEEPS_ERRNO(threading_thread_is_alive(__VA_ARGS__))
#define threading_thread_ident(...) TEST_KEEPS_ERRNO(threading_thread_ident(__VA_ARGS__))
#define threading_thread_native_id(...) TEST_KEEPS_ERRNO(threading_thread_native_id(__VA_ARGS__))
#define threading_thread_result(...) TEST_KEEPS_ERRNO(threading_thread_result(__VA_ARGS__))
#define threading_thread_arg(...) TEST_KEEPS_ERRNO(threading_thread_arg(__VA_ARGS__))
#define threading_timer_new(...) TEST_KEEPS_ERRNO(threading_timer_new(__VA_ARGS__))
#define threading_timer_ref(...) TEST_KEEPS_ERRNO(threading_timer_ref(__VA_ARGS__))
#define threading_timer_free(...) TEST_KEEPS_ERRNO(threading_timer_free(__VA_ARGS__))
#define threading_timer_thread(...) TEST_KEEPS_ERRNO(threading_timer_thread(__VA_ARGS__))
#define threading_timer_start(...) TEST_KEEPS_ERRNO(threading_timer_start(__VA_ARGS__))
#define threading_timer_cancel(...) TEST_KEEPS_ERRNO(threading_timer_cancel(__VA_ARGS__))
#define threading_timer_interval(...) TEST_KEEPS_ERRNO(threading_timer_interval(__VA_ARGS__))
#define threading_lock_new(...) TEST_KEEPS_ERRNO(threading_lock_new(__VA_ARGS__))
#define threading_lock_ref(...) TEST_KEEPS_ERRNO(threading_lock_ref(__VA_ARGS__))
#define threading_lock_free(...) TEST_KEEPS_ERRNO(threading_lock_free(__VA_ARGS__))
#define threading_lock_acquire(...) TEST_KEEPS_ERRNO(threading_lock_acquire(__VA_ARGS__))
#define threading_lock_try_acquire(...) TEST_KEEPS_ERRNO(threading_lock_try_acquire(__VA_ARGS__))
#define threading_lock_acquire_timeout(...) TEST_KEEPS_ERRNO(threading_lock_acquire_timeout(__VA_ARGS__))
#define threading_lock_release(...) TEST_KEEPS_ERRNO(threading_lock_release(__VA_ARGS__))
#define threading_lock_locked(...) TEST_KEEPS_ERRNO(threading_lock_locked(__VA_ARGS__))
#define threading_lock_at_fork_reinit(...) TEST_KEEPS_ERRNO(threading_lock_at_fork_reinit(__VA_ARGS__))
#define threading_lock_owner(...) TEST_KEEPS_ERRNO(threading_lock_owner(__VA_ARGS__))
#define threading_lock_set_name(...) TEST_KEEPS_ERRNO(threading_lock_set_name(__VA_ARGS__))
#define threading_rlock_new(...) TEST_KEEPS_ERRNO(threading_rlock_new(__VA_ARGS__))
#define threading_rlock_ref(...) TEST_KEEPS_ERRNO(threading_rlock_ref(__VA_ARGS__))
#define threading_rlock_free(...) TEST_KEEPS_ERRNO(threading_rlock_free(__VA_ARGS__))
#define threading_rlock_acquire(...) TEST_KEEPS_ERRNO(threading_rlock_acquire(__VA_ARGS__))
#define threading_rlock_try_acquire(...) TEST_KEEPS_ERRNO(threading_rlock_try_acquire(__VA_ARGS__))
#define threading_rlock_acquire_timeout(...) TEST_KEEPS_ERRNO(threading_rlock_acquire_timeout(__VA_ARGS__))
#define threading_rlock_release(...) TEST_KEEPS_ERRNO(threading_rlock_release(__VA_ARGS__))
#define threading_rlock_locked(...) TEST_KEEPS_ERRNO(threading_rlock_locked(__VA_ARGS__))
#define threading_rlock_is_owned(...) TEST_KEEPS_ERRNO(threading_rlock_is_owned(__VA_ARGS__))
#define threading_rlock_recursion_count(...) TEST_KEEPS_ERRNO(threading_rlock_recursion_count(__VA_ARGS__))
#define threading_rlock_at_fork_reinit(...) TEST_KEEPS_ERRNO(threading_rlock_at_fork_reinit(__VA_ARGS__))
#define threading_rlock_owner(...) TEST_KEEPS_ERRNO(threading_rlock_owner(__VA_ARGS__))
#define threading_rlock_set_name(...) TEST_KEEPS_ERRNO(threading_rlock_set_name(__VA_ARGS__))
#define threading_condition_new(...) TEST_KEEPS_ERRNO(threading_condition_new(__VA_ARGS__))
#define threading_condition_new_with_lock(...) TEST_KEEPS_ERRNO(threading_condition_new_with_lock(__VA_ARGS__))
#define threading_condition_new_with_rlock(...) TEST_KEEPS_ERRNO(threading_condition_new_with_rlock(__VA_ARGS__))
#define threading_condition_ref(...) TEST_KEEPS_ERRNO(threading_condition_ref(__VA_ARGS__))
#define threading_condition_free(...) TEST_KEEPS_ERRNO(threading_condition_free(__VA_ARGS__))
#define threading_condition_acquire(...) TEST_KEEPS_ERRNO(threading_condition_acquire(__VA_ARGS__))
#define threading_condition_try_acquire(...) TEST_KEEPS_ERRNO(threading_condition_try_acquire(__VA_ARGS__))
#define threading_condition_acquire_timeout(...) TEST_KEEPS_ERRNO(threading_condition_acquire_timeout(__VA_ARGS__))
#define threading_condition_release(...) TEST_KEEPS_ERRNO(threading_condition_release(__VA_ARGS__))
#define threading_condition_locked(...) TEST_KEEPS_ERRNO(threading_condition_locked(__VA_ARGS__))
#define threading_condition_is_owned(...) TEST_KEEPS_ERRNO(threading_condition_is_owned(__VA_ARGS__))
#define threading_condition_wait(...) TEST_KEEPS_ERRNO(threading_condition_wait(__VA_ARGS__))
#define threading_condition_wait_timeout(...) TEST_KEEPS_ERRNO(threading_condition_wait_timeout(__VA_ARGS__))
#define threading_condition_wait_for(...) TEST_KEEPS_ERRNO(threading_condition_wait_for(__VA_ARGS__))
#define threading_condition_wait_for_timeout(...) TEST_KEEPS_ERRNO(threading_condition_wait_for_timeout(__VA_ARGS__))
#define threading_condition_notify(...) TEST_KEEPS_ERRNO(threading_condition_notify(__VA_ARGS__))
#define threading_condition_notify_all(...) TEST_KEEPS_ERRNO(threading_condition_notify_all(__VA_ARGS__))
#define threading_condition_at_fork_reinit(...) TEST_KEEPS_ERRNO(threading_condition_at_fork_reinit(__VA_ARGS__))
#define threading_condition_set_name(...) TEST_KEEPS_ERRNO(threading_condition_set_name(__VA_ARGS__))
#define threading_semaphore_new(...) TEST_KEEPS_ERRNO(threading_semaphore_new(__VA_ARGS__))
#define threading_semaphore_new_bounded(...) TEST_KEEPS_ERRNO(threading_semaphore_new_bounded(__VA_ARGS__))
#define threading_semaphore_ref(...) TEST_KEEPS_ERRNO(threading_semaphore_ref(__VA_ARGS__))
#define threading_semaphore_free(...) TEST_KEEPS_ERRNO(threading_semaphore_free(__VA_ARGS__))
#define threading_semaphore_acquire(...) TEST_KEEPS_ERRNO(threading_semaphore_acquire(__VA_ARGS__))
#define threading_semaphore_try_acquire(...) TEST_KEEPS_ERRNO(threading_semaphore_try_acquire(__VA_ARGS__))
#define threading_semaphore_acquire_timeout(...) TEST_KEEPS_ERRNO(threading_semaphore_acquire_timeout(__VA_ARGS__))
#define threading_semaphore_release(...) TEST_KEEPS_ERRNO(threading_semaphore_release(__VA_ARGS__))
#define threading_semaphore_release_n(...) TEST_KEEPS_ERRNO(threading_semaphore_release_n(__VA_ARGS__))
#define threading_semaphore_value(...) TEST_KEEPS_ERRNO(threading_semaphore_value(__VA_ARGS__))
#define threading_semaphore_set_name(...) TEST_KEEPS_ERRNO(threading_semaphore_set_name(__VA_ARGS__))
#define threading_event_new(...) TEST_KEEPS_ERRNO(threading_event_new(__VA_ARGS__))
#define threading_event_ref(...) TEST_KEEPS_ERRNO(threading_event_ref(__VA_ARGS__))
#define threading_event_free(...) TEST_KEEPS_ERRNO(threading_event_free(__VA_ARGS__))
#define threading_event_is_set(...) TEST_KEEPS_ERRNO(threading_event_is_set(__VA_ARGS__))
#define threading_event_set(...) TEST_KEEPS_ERRNO(threading_event_set(__VA_ARGS__))
#define threading_event_clear(...) TEST_KEEPS_ERRNO(threading_event_clear(__VA_ARGS__))
#define threading_event_wait(...) TEST_KEEPS_ERRNO(threading_event_wait(__VA_ARGS__))
#define threading_event_wait_timeout(...) TEST_KEEPS_ERRNO(threading_event_wait_timeout(__VA_ARGS__))
#define threading_event_at_fork_reinit(...) TEST_KEEPS_ERRNO(threading_event_at_fork_reinit(__VA_ARGS__))
#define threading_event_set_name(...) TEST_KEEPS_ERRNO(threading_event_set_name(__VA_ARGS__))
#define threading_barrier_new(...) TEST_KEEPS_ERRNO(threading_barrier_new(__VA_ARGS__))
#define threading_barrier_ref(...) TEST_KEEPS_ERRNO(threading_barrier_ref(__VA_ARGS__))
#define threading_barrier_free(...) TEST_KEEPS_ERRNO(threading_barrier_free(__VA_ARGS__))
#define threading_barrier_set_timeout(...) TEST_KEEPS_ERRNO(threading_barrier_set_timeout(__VA_ARGS__))
#define threading_barrier_wait(...) TEST_KEEPS_ERRNO(threading_barrier_wait(__VA_ARGS__))
#define threading_barrier_wait_timeout(...) TEST_KEEPS_ERRNO(threading_barrier_wait_timeout(__VA_ARGS__))
#define threading_barrier_reset(...) TEST_KEEPS_ERRNO(threading_barrier_reset(__VA_ARGS__))
#define threading_barrier_abort(...) TEST_KEEPS_ERRNO(threading_barrier_abort(__VA_ARGS__))
#define threading_barrier_parties(...) TEST_KEEPS_ERRNO(threading_barrier_parties(__VA_ARGS__))
#define threading_barrier_n_waiting(...) TEST_KEEPS_ERRNO(threading_barrier_n_waiting(__VA_ARGS__))
#define threading_barrier_broken(...) TEST_KEEPS_ERRNO(threading_barrier_broken(__VA_ARGS__))
#define threading_barrier_set_name(...) TEST_KEEPS_ERRNO(threading_barrier_set_name(__VA_ARGS__))
#define threading_local_new(...) TEST_KEEPS_ERRNO(threading_local_new(__VA_ARGS__))
#define threading_local_new_with_init(...) TEST_KEEPS_ERRNO(threading_local_new_with_init(__VA_ARGS__))
#define threading_local_ref(...) TEST_KEEPS_ERRNO(threading_local_ref(__VA_ARGS__))
#define threading_local_free(...) TEST_KEEPS_ERRNO(threading_local_free(__VA_ARGS__))
#define threading_local_set(...) TEST_KEEPS_ERRNO(threading_local_set(__VA_ARGS__))
#define threading_local_get(...) TEST_KEEPS_ERRNO(threading_local_get(__VA_ARGS__))
#define threading_local_lookup(...) TEST_KEEPS_ERRNO(threading_local_lookup(__VA_ARGS__))
#define threading_local_del(...) TEST_KEEPS_ERRNO(threading_local_del(__VA_ARGS__))
#define threading_local_set_attr(...) TEST_KEEPS_ERRNO(threading_local_set_attr(__VA_ARGS__))
#define threading_local_get_attr(...) TEST_KEEPS_ERRNO(threading_local_get_attr(__VA_ARGS__))
#define threading_local_del_attr(...) TEST_KEEPS_ERRNO(threading_local_del_attr(__VA_ARGS__))
#define threading_dump(...) TEST_KEEPS_ERRNO(threading_dump(__VA_ARGS__))
#define threading_dump_on_signal(...) TEST_KEEPS_ERRNO(threading_dump_on_signal(__VA_ARGS__))
#define threading_set_hang_hook(...) TEST_KEEPS_ERRNO(threading_set_hang_hook(__VA_ARGS__))
#define threading_trace(...) TEST_KEEPS_ERRNO(threading_trace(__VA_ARGS__))
#define threading_set_contention(...) TEST_KEEPS_ERRNO(threading_set_contention(__VA_ARGS__))

#endif

// error, errc and category(), which follow std::system_error.
#include "test.hpp"

using threading::errc;

static_assert(std::is_error_code_enum_v<errc>);
static_assert(std::is_convertible_v<errc, std::error_code>);
static_assert(std::is_base_of_v<std::system_error, threading::error>);
static_assert(std::is_nothrow_copy_constructible_v<threading::error>);
static_assert(noexcept(threading::category()) && noexcept(make_error_code(errc::value)));

static void codes_equal_the_c_statuses()
{
    const std::error_code code = errc::deadlock;
    CHECK_EQUAL(code.value(), THREADING_ERR_DEADLOCK);
    CHECK(code.category() == threading::category());
    CHECK_EQUAL(std::string(code.category().name()), "threading");
    CHECK_EQUAL(code.message(), threading_status_message(THREADING_ERR_DEADLOCK));
    CHECK(code && code == errc::deadlock && code != errc::value);
    // Every status has a message; all but one map to a generic condition.
    for (std::int32_t status = THREADING_ERR_INTERNAL; status < 0; status++) {
        const std::error_code each(status, threading::category());
        CHECK_EQUAL(each.message(), threading_status_message(status));
        CHECK_EQUAL(each.default_error_condition().category() == std::generic_category(),
                    status != THREADING_ERR_INTERNAL);
    }
    const std::error_code unknown(12345, threading::category());
    CHECK(unknown.default_error_condition().category() == threading::category());
}

static void codes_compare_with_std_errc()
{
    const std::pair<errc, std::errc> pairs[] = {
        {errc::handle, std::errc::invalid_argument},
        {errc::value, std::errc::invalid_argument},
        {errc::overflow, std::errc::value_too_large},
        {errc::not_acquired, std::errc::operation_not_permitted},
        {errc::not_owner, std::errc::operation_not_permitted},
        {errc::over_released, std::errc::operation_not_permitted},
        {errc::already_started, std::errc::operation_not_permitted},
        {errc::not_started, std::errc::invalid_argument},
        {errc::deadlock, std::errc::resource_deadlock_would_occur},
        {errc::not_joinable, std::errc::invalid_argument},
        {errc::broken_barrier, std::errc::state_not_recoverable},
        {errc::callback, std::errc::operation_canceled},
        {errc::busy, std::errc::device_or_resource_busy},
        {errc::no_memory, std::errc::not_enough_memory},
        {errc::system, std::errc::resource_unavailable_try_again},
        {errc::shutdown, std::errc::operation_canceled},
    };
    for (const auto &[ours, theirs] : pairs)
        CHECK(make_error_code(ours) == theirs);
    CHECK(make_error_code(errc::no_memory) != std::errc::invalid_argument);
}

// The exception has the message of the call, which may be more specific than that of the code.
static void errors_have_the_message_of_the_call()
{
    threading::Semaphore semaphore(1);
    try {
        semaphore.release(0);
        CHECK(false);
    } catch (const std::system_error &error) {
        CHECK_EQUAL(std::string(error.what()), threading_last_error_message());
        CHECK(error.code() == errc::value && error.code() == std::errc::invalid_argument);
    }
    CHECK_EQUAL(std::string(threading::error(errc::busy).what()), threading_status_message(THREADING_ERR_BUSY));
    CHECK_EQUAL(std::string(threading::error(errc::busy, "text").what()), "text");
    try {
        const threading::Lock lock;
        threading::Lock(threading::adopt_handle, threading_lock_ref(lock.native_handle())).release();
        CHECK(false);
    } catch (const std::exception &error) {
        CHECK_EQUAL(std::string(error.what()), "release of an unlocked lock");
    }
}

static const test::Case cases[] = {
    {"codes equal the C statuses", codes_equal_the_c_statuses},
    {"codes compare with std::errc", codes_compare_with_std_errc},
    {"errors have the message of the call", errors_have_the_message_of_the_call},
};

TEST_MAIN(cases)

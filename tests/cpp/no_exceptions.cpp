// The header without exceptions and RTTI: an error writes its message to stderr and calls abort().
#include "test.hpp"

#include <string>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "compile this test with -fno-exceptions -fno-rtti"
#endif

using test::abort_message_of;

static void error_aborts_with_its_message()
{
    const std::string error = "threading::error: ";
    CHECK_EQUAL(abort_message_of([] { threading::Lock().release(); }), error + "release of an unlocked lock\n");
    CHECK_EQUAL(abort_message_of([] { threading::BoundedSemaphore().release(); }),
                error + "semaphore released too many times\n");
    CHECK_EQUAL(abort_message_of([] { threading::Thread(static_cast<void (*)()>(nullptr)); }),
                error + "the function pointer is null\n");
    CHECK_EQUAL(abort_message_of([] { threading::Thread().start(); }),
                error + threading_status_message(THREADING_ERR_HANDLE) + "\n");
    CHECK_EQUAL(abort_message_of([] {
                    threading::Local<int> local([] { return 1; });
                    const threading::Local<int> taken(std::move(local));
                    (void)local.get(); // NOLINT(bugprone-use-after-move): this is what the test checks
                }),
                error + threading_status_message(THREADING_ERR_HANDLE) + "\n");
    threading::Condition condition;
    CHECK_EQUAL(threading_condition_wait(condition.native_handle()), THREADING_ERR_NOT_OWNER);
    const std::string message = threading_last_error_message();
    CHECK_EQUAL(abort_message_of([&] { condition.wait(); }), error + message + "\n");
}

static void broken_barrier_error_has_its_type_name()
{
    threading::Barrier barrier(2);
    CHECK_EQUAL(abort_message_of([&] { barrier.wait_for(0s); }),
                std::string("threading::BrokenBarrierError: ") + threading_status_message(THREADING_ERR_BROKEN_BARRIER)
                    + "\n");
}

// The excepthook is not called for the error.
static void error_in_another_thread_aborts()
{
    CHECK_EQUAL(abort_message_of([] {
                    threading::Thread::started([] { threading::Lock().release(); }).join();
                }),
                "threading::error: release of an unlocked lock\n");
    CHECK_EQUAL(abort_message_of([] {
                    threading::Timer timer(0s, [] { threading::Lock().release(); });
                    timer.start();
                    timer.join();
                }),
                "threading::error: release of an unlocked lock\n");
}

static void unlock_error_calls_the_excepthook()
{
    const test::ExceptHookRecorder recorder;
    threading::Lock lock;
    {
        const std::lock_guard guard(lock);
        lock.release();
    }
    CHECK_EQUAL(recorder.reports().at(0), "MainThread: threading::error: release of an unlocked lock");
    threading::report_exception();
    CHECK_EQUAL(recorder.reports().at(1), "MainThread: unknown exception: ");
}

static void other_functions_work()
{
    threading::Condition condition;
    threading::Barrier barrier(2, [] {});
    int sum = 0;
    auto thread = threading::Thread::started([&] {
        barrier.wait();
        const std::lock_guard guard(condition);
        sum++;
        condition.notify_all();
    });
    barrier.wait();
    {
        const std::lock_guard guard(condition);
        condition.wait([&] { return sum == 1; });
    }
    thread.join();
    CHECK_EQUAL(sum, 1);
}

static const test::Case cases[] = {
    {"an error calls abort() with its message", error_aborts_with_its_message},
    {"the message for a broken barrier names BrokenBarrierError", broken_barrier_error_has_its_type_name},
    {"an error in another thread calls abort(), too", error_in_another_thread_aborts},
    {"an error in unlock() is passed to the excepthook", unlock_error_calls_the_excepthook},
    {"functions that do not fail work", other_functions_work},
};

TEST_MAIN(cases)

// The header without exceptions and RTTI: an error writes its message to stderr and ends the program.
#include "test.hpp"

#include <string>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this test is to be compiled with -fno-exceptions -fno-rtti"
#endif

using test::last_words_of;

static void errors_end_the_program()
{
    const std::string error = "threading::error: ";
    CHECK_EQUAL(last_words_of([] { threading::Lock().release(); }), error + "release of an unlocked lock\n");
    CHECK_EQUAL(last_words_of([] { threading::BoundedSemaphore().release(); }),
                error + "semaphore released too many times\n");
    CHECK_EQUAL(last_words_of([] { threading::Thread(static_cast<void (*)()>(nullptr)); }),
                error + "there is no function to call\n");
    CHECK_EQUAL(last_words_of([] { threading::Thread().start(); }),
                error + threading_status_message(THREADING_ERR_HANDLE) + "\n");
    CHECK_EQUAL(last_words_of([] {
                    threading::Local<int> local([] { return 1; });
                    const threading::Local<int> taken(std::move(local));
                    (void)local.get(); // NOLINT(bugprone-use-after-move): that is what is tested
                }),
                error + threading_status_message(THREADING_ERR_HANDLE) + "\n");
    CHECK_EQUAL(last_words_of([] { threading::Condition().wait(); }), error + "lock not held by the calling thread\n");
}

static void a_broken_barrier_has_its_name()
{
    threading::Barrier barrier(2);
    CHECK_EQUAL(last_words_of([&] { barrier.wait_for(0s); }),
                std::string("threading::BrokenBarrierError: ") + threading_status_message(THREADING_ERR_BROKEN_BARRIER)
                    + "\n");
}

// In any thread: the excepthook is not called for the error.
static void errors_of_other_threads_end_the_program()
{
    CHECK_EQUAL(last_words_of([] {
                    threading::Thread::started([] { threading::Lock().release(); }).join();
                }),
                "threading::error: release of an unlocked lock\n");
    CHECK_EQUAL(last_words_of([] {
                    threading::Timer timer(0s, [] { threading::Lock().release(); });
                    timer.start();
                    timer.join();
                }),
                "threading::error: release of an unlocked lock\n");
}

static void a_guard_tells_the_excepthook()
{
    const test::Hook hook;
    threading::Lock lock;
    {
        const std::lock_guard guard(lock);
        lock.release();
    }
    CHECK_EQUAL(hook.told().at(0), "MainThread: threading::error: release of an unlocked lock");
    threading::report_exception();
    CHECK_EQUAL(hook.told().at(1), "MainThread: unknown exception: ");
}

static void all_else_works()
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
    {"an error ends the program with its message", errors_end_the_program},
    {"that of a broken barrier has its own name", a_broken_barrier_has_its_name},
    {"an error in another thread ends the program, too", errors_of_other_threads_end_the_program},
    {"a guard's error is told to the excepthook", a_guard_tells_the_excepthook},
    {"all else works", all_else_works},
};

TEST_MAIN(cases)

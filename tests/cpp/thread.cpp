// Thread and ThreadRef: calls, destruction and exceptions of the callable, and destruction of a Thread.
#include "test.hpp"

#include <functional>
#include <future>
#include <memory>
#include <stdexcept>

#include <pthread.h>

using threading::errc;
using threading::Event;
using threading::Thread;
using threading::ThreadRef;

static_assert(std::is_nothrow_default_constructible_v<Thread> && std::is_nothrow_destructible_v<Thread>);
static_assert(std::is_nothrow_move_constructible_v<Thread> && std::is_nothrow_move_assignable_v<Thread>);
static_assert(!std::is_copy_constructible_v<Thread> && !std::is_copy_assignable_v<Thread>);
static_assert(std::is_copy_constructible_v<ThreadRef> && std::is_copy_assignable_v<ThreadRef>);
static_assert(std::is_nothrow_move_constructible_v<ThreadRef> && std::is_nothrow_move_assignable_v<ThreadRef>);
static_assert(std::is_convertible_v<const Thread &, ThreadRef> && !std::is_convertible_v<ThreadRef, Thread>);
static_assert(std::is_constructible_v<Thread, void (*)(int), int> && !std::is_constructible_v<Thread, void (*)(int)>);
static_assert(!std::is_constructible_v<Thread, int> && !std::is_convertible_v<void (*)(), Thread>);
static_assert(sizeof(Thread) == sizeof(void *) && sizeof(ThreadRef) == sizeof(void *));
static_assert(noexcept(std::declval<Thread &>().is_alive()) && noexcept(std::declval<Thread &>().ident())
              && noexcept(std::declval<Thread &>().native_id()) && noexcept(std::declval<Thread &>().daemon())
              && noexcept(std::declval<Thread &>().detach()));

// Counts its objects, and stores the thread in which the last one was destroyed.
struct Token {
    static inline std::atomic<int> alive{0};
    static inline std::atomic<std::uint64_t> destroyer{0};
    Token() { alive++; }
    Token(Token &&) noexcept { alive++; }
    Token(const Token &) { alive++; }
    Token &operator=(const Token &) = default;
    ~Token()
    {
        alive--;
        destroyer = threading::get_ident();
    }
};

static void calls_any_callable_once()
{
    int sum = 0;
    struct Adder {
        int *sum;
        void add(int number) { *sum += number; }
    } adder{&sum};
    void (*plain)(int *) = [](int *target) { *target += 1000; };
    Thread by_reference([](int &target, const std::string &text) { target += static_cast<int>(text.size()); },
                        std::ref(sum), "four"); // the literal is converted to a string in the thread
    Thread member(&Adder::add, &adder, 10);
    Thread moved([](std::unique_ptr<int> number, int &target) { target += *number; }, std::make_unique<int>(100),
                 std::ref(sum));
    Thread only_moved([number = std::make_unique<int>(10000), &sum] { sum += *number; });
    Thread pointer(plain, &sum);
    for (Thread *thread : {&by_reference, &member, &moved, &only_moved, &pointer}) {
        CHECK(!thread->is_alive() && thread->ident() == 0 && thread->native_id() == 0);
        CHECK_ERROR(thread->join(), errc::not_started);
        thread->start();
        CHECK(thread->ident() != 0 && thread->native_id() != 0);
        thread->join();
        thread->join();
        CHECK(!thread->is_alive());
        CHECK_ERROR(thread->start(), errc::already_started);
    }
    CHECK_EQUAL(sum, 11114);
    void (*none)() = nullptr;
    CHECK_ERROR(Thread(none), errc::value);
}

static void callable_is_destroyed_in_the_thread()
{
    {
        Thread thread([token = Token()](const Token &) { CHECK_EQUAL(Token::alive.load(), 2); }, Token());
        CHECK_EQUAL(Token::alive.load(), 2);
        thread.start();
        thread.join();
        CHECK_EQUAL(Token::alive.load(), 0);
        CHECK_EQUAL(Token::destroyer.load(), thread.ident());
    }
    { // never started: the callable is not called
        const Thread thread([token = Token()] { CHECK(false); });
        CHECK_EQUAL(Token::alive.load(), 1);
    }
    CHECK_EQUAL(Token::alive.load(), 0);
    CHECK_EQUAL(Token::destroyer.load(), threading::get_ident());
}

static void destructor_joins()
{
    std::atomic<bool> done{false};
    {
        auto thread = Thread::started([&] {
            test::let_others_run();
            done = true;
        });
    }
    CHECK(done);

    done = false;
    auto thread = Thread::started([&] {
        test::let_others_run();
        done = true;
    });
    thread = Thread(); // assignment joins, too
    CHECK(done && !thread);

#if defined(__cpp_exceptions)
    try { // stack unwinding joins, too
        done = false;
        auto other = Thread::started([&] {
            test::let_others_run();
            done = true;
        });
        throw std::runtime_error("out");
    } catch (const std::runtime_error &) {
    }
    CHECK(done);
#endif
}

static void destructor_does_not_join_daemons()
{
    Event go;
    ThreadRef daemon_ref;
    {
        Thread daemon([own = go.ref()] { own.wait(); });
        daemon.set_daemon(true);
        CHECK(daemon.daemon());
        daemon.start();
        CHECK_ERROR(daemon.set_daemon(false), errc::already_started);
        daemon_ref = daemon;
    }
    CHECK(daemon_ref.is_alive());
    {
        auto detached = Thread::started([own = go.ref()] { own.wait(); });
        const ThreadRef kept = detached.ref();
        detached.detach();
        CHECK(!detached && kept.is_alive() && !kept.daemon());
        CHECK_ERROR(detached.join(), errc::handle);
        go.set();
        kept.join();
    }
    daemon_ref.join();
    CHECK(!daemon_ref.is_alive());
}

static void thread_destroys_its_own_object()
{
    std::unique_ptr<Thread> owner;
    Event ready;
    std::atomic<bool> done{false};
    owner = std::make_unique<Thread>([&] {
        ready.wait();
        CHECK_ERROR(owner->join(), errc::deadlock);
        owner.reset();
        done = true;
    });
    const ThreadRef kept = owner->ref();
    owner->start();
    ready.set();
    kept.join();
    CHECK(done);
}

static void join_timeouts()
{
    Event go;
    auto thread = Thread::started([&] { go.wait(); });
    CHECK(test::duration_of([&] { CHECK(!thread.join_for(20ms)); }) >= 20ms);
    const auto time_point = std::chrono::system_clock::now() + 20ms;
    CHECK(!thread.join_until(time_point));
    CHECK(std::chrono::system_clock::now() >= time_point);
    CHECK(!thread.join_for(0s));
    CHECK_ERROR(thread.join_for(std::chrono::duration<double>(NAN)), errc::value);
    go.set();
    CHECK(thread.join_for(std::chrono::seconds::max()));
    CHECK(thread.join_until(test::steady::time_point::max()));
}

static void name_and_stack_size()
{
    Event go;
    Thread thread([&] { go.wait(); });
    thread.set_name("first");
    CHECK_EQUAL(thread.name(), "first");
    thread.set_name(std::string("a name that is longer than fifteen bytes"));
    thread.start();
    CHECK_EQUAL(thread.name(), "a name that is longer than fifteen bytes");
    CHECK_ERROR(thread.set_name("\xff"), errc::value);
    CHECK_ERROR(thread.set_name(static_cast<const char *>(nullptr)), errc::value);
    go.set();
    Thread other([] {});
    CHECK_EQUAL(other.name().find("Thread-"), 0U);
    Thread small([] {});
    CHECK_ERROR(small.set_stack_size(1), errc::value);
    small.set_stack_size(1 << 20);
    small.start();
}

static void thread_ref_is_the_same_thread()
{
    ThreadRef inside;
    Thread thread([&] {
        inside = threading::current_thread();
        CHECK_EQUAL(inside.ident(), threading::get_ident());
        CHECK_EQUAL(inside.native_id(), threading::get_native_id());
    });
    thread.start();
    thread.join();
    CHECK(inside == thread);
    CHECK(inside != threading::current_thread());
    CHECK_EQUAL(inside.ident(), thread.ident());
    const ThreadRef copy = inside;
    CHECK(copy == inside);
    const ThreadRef moved = std::move(inside);
    CHECK(!inside && moved == copy); // NOLINT(bugprone-use-after-move)
    const ThreadRef empty = inside;
    CHECK(!empty && empty.ident() == 0);
    CHECK_ERROR(empty.name(), errc::handle);
}

static void *double_it(void *number)
{
    *static_cast<int *>(number) *= 2;
    return nullptr;
}

static void adopts_a_c_handle()
{
    int number = 21;
    {
        Thread thread(threading::adopt_handle, threading_thread_new(double_it, &number));
        thread.start();
    }
    CHECK_EQUAL(number, 42);
    CHECK_ERROR(Thread(threading::ref_handle, nullptr), errc::handle);
}

static void packaged_task_returns_the_result()
{
    std::packaged_task<int(int)> task([](int number) { return 2 * number; });
    std::future<int> result = task.get_future();
    const auto thread = Thread::started(std::move(task), 21);
    CHECK_EQUAL(result.get(), 42);

#if defined(__cpp_exceptions)
    std::packaged_task<void()> failing([] { throw std::logic_error("into the future"); });
    std::future<void> failure = failing.get_future();
    const auto other = Thread::started(std::move(failing));
    CHECK_THROWS(failure.get(), std::logic_error);
#endif
}

#if defined(__cpp_exceptions)
namespace {

struct Custom : std::logic_error {
    using std::logic_error::logic_error;
};

template <class Exception>
std::vector<std::string> reports_of(Exception exception)
{
    const test::ExceptHookRecorder recorder;
    Thread thread([&exception] { throw std::move(exception); });
    thread.set_name("failing");
    thread.start();
    thread.join();
    return recorder.reports();
}

} // namespace

static void exception_calls_the_excepthook()
{
    CHECK_EQUAL(reports_of(std::out_of_range("too far")).at(0), "failing: std::out_of_range: too far");
    CHECK_EQUAL(reports_of(Custom("mine")).at(0), "failing: (anonymous namespace)::Custom: mine");
    CHECK_EQUAL(reports_of(threading::error(errc::busy)).at(0),
                std::string("failing: threading::error: ") + threading_status_message(THREADING_ERR_BUSY));
    CHECK_EQUAL(reports_of(42).at(0), "failing: int: ");
    CHECK_EQUAL(reports_of("a text").at(0), "failing: char const*: a text");
    const auto reports = reports_of(std::string("a string"));
    CHECK_EQUAL(reports.size(), 1U);
    CHECK_EQUAL(reports[0].substr(reports[0].size() - 10), ": a string"); // the type's name varies
}

static void library_errors_and_report_exception()
{
    const test::ExceptHookRecorder recorder;
    const threading::BoundedSemaphore semaphore;
    Thread thread([&] { semaphore.ref().release(); });
    thread.set_name("misuse");
    thread.start();
    thread.join();
    CHECK_EQUAL(recorder.reports().at(0), "misuse: threading::error: semaphore released too many times");

    try {
        throw std::runtime_error("handled here");
    } catch (...) {
        threading::report_exception();
    }
    CHECK_EQUAL(recorder.reports().at(1), "MainThread: std::runtime_error: handled here");
    threading::report_exception();
    CHECK_EQUAL(recorder.reports().at(2), "MainThread: unknown exception: ");
}

// pthread_exit and pthread_cancel unwind through C++ and the library: destructors run, and the excepthook is not
// called.
static void forced_unwinding_runs_destructors()
{
    const test::ExceptHookRecorder recorder;
    {
        const auto thread = Thread::started([token = Token()] {
            const Token on_the_stack;
            pthread_exit(nullptr);
        });
        thread.join();
        CHECK_EQUAL(Token::alive.load(), 0);
    }
    {
        Event begun;
        pthread_t id{};
        const auto thread = Thread::started([&, token = Token()] {
            const Token on_the_stack;
            id = pthread_self();
            begun.set();
            for (;;)
                pthread_testcancel();
        });
        begun.wait();
        CHECK_EQUAL(pthread_cancel(id), 0);
        thread.join();
        CHECK_EQUAL(Token::alive.load(), 0);
    }
    {
        threading::Timer timer(0s, [token = Token()] {
            const Token on_the_stack;
            pthread_exit(nullptr);
        });
        timer.start();
        timer.join();
        CHECK_EQUAL(Token::alive.load(), 0);
    }
    CHECK(recorder.reports().empty());
}
#endif

static void thread_local_variables_are_destroyed_before_join_returns()
{
    struct Late {
        std::atomic<bool> *ended = nullptr;
        ~Late()
        {
            test::let_others_run();
            *ended = true;
        }
    };
    std::atomic<bool> ended{false};
    {
        const auto thread = Thread::started([&] {
            thread_local Late late;
            late.ended = &ended;
        });
    }
    CHECK(ended);
}

static const test::Case cases[] = {
    {"it calls any callable with its arguments, once", calls_any_callable_once},
    {"the callable is destroyed in the thread, or with an unstarted Thread", callable_is_destroyed_in_the_thread},
    {"the destructor joins the thread", destructor_joins},
    {"the destructor does not join daemons, and detached threads continue", destructor_does_not_join_daemons},
    {"a thread may destroy its own Thread object", thread_destroys_its_own_object},
    {"no join is shorter than its timeout", join_timeouts},
    {"the name and the stack size can be set", name_and_stack_size},
    {"a ThreadRef refers to the same thread", thread_ref_is_the_same_thread},
    {"it adopts a C handle", adopts_a_c_handle},
    {"a packaged_task returns the result or the exception", packaged_task_returns_the_result},
#if defined(__cpp_exceptions)
    {"an exception is passed to the excepthook", exception_calls_the_excepthook},
    {"errors of the library and calls of report_exception() reach the excepthook", library_errors_and_report_exception},
    {"pthread_exit and pthread_cancel unwind normally", forced_unwinding_runs_destructors},
#endif
    {"thread_local variables are destroyed before join returns",
     thread_local_variables_are_destroyed_before_join_returns},
};

TEST_MAIN(cases)

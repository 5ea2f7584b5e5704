// Thread, ThreadRef: what is called and destroyed where, how a Thread ends, and what becomes of exceptions.
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

// Tells how many of it there are, and where the last one was destroyed.
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

static void calls_what_it_is_given()
{
    int sum = 0;
    struct Adder {
        int *sum;
        void add(int number) { *sum += number; }
    } adder{&sum};
    void (*plain)(int *) = [](int *target) { *target += 1000; };
    Thread by_reference([](int &target, const std::string &text) { target += static_cast<int>(text.size()); },
                        std::ref(sum), "four"); // a literal becomes a string only in the thread
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

static void destroys_the_callable_in_the_thread()
{
    {
        Thread thread([token = Token()](const Token &) { CHECK_EQUAL(Token::alive.load(), 2); }, Token());
        CHECK_EQUAL(Token::alive.load(), 2);
        thread.start();
        thread.join();
        CHECK_EQUAL(Token::alive.load(), 0);
        CHECK_EQUAL(Token::destroyer.load(), thread.ident());
    }
    { // never started: nothing is called
        const Thread thread([token = Token()] { CHECK(false); });
        CHECK_EQUAL(Token::alive.load(), 1);
    }
    CHECK_EQUAL(Token::alive.load(), 0);
    CHECK_EQUAL(Token::destroyer.load(), threading::get_ident());
}

static void its_end_waits()
{
    std::atomic<bool> done{false};
    {
        auto thread = Thread::started([&] {
            test::give_others_a_chance();
            done = true;
        });
    }
    CHECK(done);

    done = false;
    auto thread = Thread::started([&] {
        test::give_others_a_chance();
        done = true;
    });
    thread = Thread(); // so does assignment
    CHECK(done && !thread);

#if defined(__cpp_exceptions)
    try { // and an exception's way out
        done = false;
        auto other = Thread::started([&] {
            test::give_others_a_chance();
            done = true;
        });
        throw std::runtime_error("out");
    } catch (const std::runtime_error &) {
    }
    CHECK(done);
#endif
}

static void its_end_leaves_daemons()
{
    Event go;
    ThreadRef left;
    {
        Thread daemon([own = go.ref()] { own.wait(); });
        daemon.set_daemon(true);
        CHECK(daemon.daemon());
        daemon.start();
        CHECK_ERROR(daemon.set_daemon(false), errc::already_started);
        left = daemon;
    }
    CHECK(left.is_alive());
    {
        auto detached = Thread::started([own = go.ref()] { own.wait(); });
        const ThreadRef kept = detached.ref();
        detached.detach();
        CHECK(!detached && kept.is_alive() && !kept.daemon());
        CHECK_ERROR(detached.join(), errc::handle);
        go.set();
        kept.join();
    }
    left.join();
    CHECK(!left.is_alive());
}

static void may_destroy_its_own_thread()
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

static void joins_with_a_limit()
{
    Event go;
    auto thread = Thread::started([&] { go.wait(); });
    CHECK(test::time_of([&] { CHECK(!thread.join_for(20ms)); }) >= 20ms);
    const auto moment = std::chrono::system_clock::now() + 20ms;
    CHECK(!thread.join_until(moment));
    CHECK(std::chrono::system_clock::now() >= moment);
    CHECK(!thread.join_for(0s));
    CHECK_ERROR(thread.join_for(std::chrono::duration<double>(NAN)), errc::value);
    go.set();
    CHECK(thread.join_for(std::chrono::seconds::max()));
    CHECK(thread.join_until(test::steady::time_point::max()));
}

static void has_names()
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

static void knows_itself()
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
    const ThreadRef nobody = inside;
    CHECK(!nobody && nobody.ident() == 0);
    CHECK_ERROR(nobody.name(), errc::handle);
}

static void *double_it(void *number)
{
    *static_cast<int *>(number) *= 2;
    return nullptr;
}

static void adopts_what_c_made()
{
    int number = 21;
    {
        Thread thread(threading::adopt_handle, threading_thread_new(double_it, &number));
        thread.start();
    }
    CHECK_EQUAL(number, 42);
    CHECK_ERROR(Thread(threading::ref_handle, nullptr), errc::handle);
}

static void results_go_through_a_task()
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
std::vector<std::string> told_of(Exception exception)
{
    const test::Hook hook;
    Thread thread([&exception] { throw std::move(exception); });
    thread.set_name("failing");
    thread.start();
    thread.join();
    return hook.told();
}

} // namespace

static void exceptions_are_told()
{
    CHECK_EQUAL(told_of(std::out_of_range("too far")).at(0), "failing: std::out_of_range: too far");
    CHECK_EQUAL(told_of(Custom("mine")).at(0), "failing: (anonymous namespace)::Custom: mine");
    CHECK_EQUAL(told_of(threading::error(errc::busy)).at(0), "failing: threading::error: threads are blocked on the object");
    CHECK_EQUAL(told_of(42).at(0), "failing: int: ");
    CHECK_EQUAL(told_of("a text").at(0), "failing: char const*: a text");
    const auto told = told_of(std::string("a string"));
    CHECK_EQUAL(told.size(), 1U);
    CHECK_EQUAL(told[0].substr(told[0].size() - 10), ": a string"); // the type's name is the library's
}

static void exceptions_of_others_are_told()
{
    const test::Hook hook;
    const threading::BoundedSemaphore semaphore;
    Thread thread([&] { semaphore.ref().release(); });
    thread.set_name("misuse");
    thread.start();
    thread.join();
    CHECK_EQUAL(hook.told().at(0), "misuse: threading::error: semaphore released too many times");

    try {
        throw std::runtime_error("handled here");
    } catch (...) {
        threading::report_exception();
    }
    CHECK_EQUAL(hook.told().at(1), "MainThread: std::runtime_error: handled here");
    threading::report_exception();
    CHECK_EQUAL(hook.told().at(2), "MainThread: unknown exception: ");
}

// pthread_exit and pthread_cancel unwind through C++ and the library; destructors run, and nobody is told.
static void forced_unwinding_passes()
{
    const test::Hook hook;
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
    CHECK(hook.told().empty());
}
#endif

static void thread_local_variables_end_before_a_join_returns()
{
    struct Late {
        std::atomic<bool> *ended = nullptr;
        ~Late()
        {
            test::give_others_a_chance();
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
    {"it calls any callable with its arguments, once", calls_what_it_is_given},
    {"the callable is destroyed in the thread, or with the Thread", destroys_the_callable_in_the_thread},
    {"its end waits for the thread", its_end_waits},
    {"its end leaves daemons, and detached threads go on", its_end_leaves_daemons},
    {"a thread may destroy its own Thread", may_destroy_its_own_thread},
    {"no limit of a join is shortened", joins_with_a_limit},
    {"it has a name and a stack", has_names},
    {"a ThreadRef is the same thread", knows_itself},
    {"it adopts what C made", adopts_what_c_made},
    {"a packaged_task hands over the result, or the exception", results_go_through_a_task},
#if defined(__cpp_exceptions)
    {"an exception is told to the excepthook", exceptions_are_told},
    {"so are the library's errors, and what report_exception() is called for", exceptions_of_others_are_told},
    {"pthread_exit and pthread_cancel pass", forced_unwinding_passes},
#endif
    {"thread_local variables end before a join returns", thread_local_variables_end_before_a_join_returns},
};

TEST_MAIN(cases)

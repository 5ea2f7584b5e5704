// The module's functions: who is there, who calls, how the process leaves.
#include "test.hpp"

#include <memory>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

using threading::errc;

static_assert(noexcept(threading::get_ident()) && noexcept(threading::get_native_id())
              && noexcept(threading::stack_size()));
static_assert(std::is_same_v<decltype(threading::enumerate()), std::vector<threading::ThreadRef>>);

static void main_is_there()
{
    const auto main = threading::main_thread();
    CHECK(main == threading::current_thread());
    CHECK_EQUAL(main.name(), "MainThread");
    CHECK(main.is_alive() && !main.daemon());
    CHECK_EQUAL(main.ident(), threading::get_ident());
    CHECK_EQUAL(main.native_id(), static_cast<std::uint64_t>(getpid()));
    CHECK_ERROR(main.join(), errc::deadlock);
}

static void lists_who_is_alive()
{
    threading::Event go;
    const threading::Thread unstarted([] {});
    auto first = threading::Thread::started([&] { go.wait(); });
    threading::Timer second(1h, [] {});
    second.start();
    auto threads = threading::enumerate();
    CHECK_EQUAL(threads.size(), 3U);
    CHECK_EQUAL(threading::active_count(), 3U);
    CHECK(threads[0] == threading::main_thread() && threads[1] == first && threads[2] == second);
    go.set();
    first.join();
    CHECK(second.cancel());
    first = threading::Thread();
    CHECK(!threads[1].is_alive()); // the list keeps it
    CHECK_EQUAL(threads[1].name().find("Thread-"), 0U);
    CHECK_EQUAL(threading::active_count(), 1U);
}

static void a_foreign_thread_is_a_dummy()
{
    std::thread([] {
        const auto me = threading::current_thread();
        CHECK_EQUAL(me.name().find("Dummy-"), 0U);
        CHECK(me.daemon());
        CHECK_ERROR(threading::ThreadRef(me).start(), errc::already_started);
        std::thread([&] { CHECK_ERROR(me.join(), errc::not_joinable); }).join();
    }).join();
}

static void sleeps()
{
    CHECK(test::time_of([] { threading::sleep(20ms); }) >= 20ms);
    CHECK(test::time_of([] { threading::sleep(std::chrono::duration<double>(0.0101)); }) >= 10100us);
    threading::sleep(-1h);
    const auto system = std::chrono::system_clock::now() + 20ms;
    threading::sleep_until(system);
    CHECK(std::chrono::system_clock::now() >= system);
    threading::sleep_until(test::steady::now() - 1h);
    CHECK_ERROR(threading::sleep(std::chrono::duration<double>(NAN)), errc::value);
}

static void sets_the_stack_size()
{
    const std::size_t before = threading::stack_size();
    threading::set_stack_size(1 << 20);
    CHECK_EQUAL(threading::stack_size(), 1U << 20);
    CHECK_ERROR(threading::set_stack_size(1), errc::value);
    threading::set_stack_size(before);
}

// A child process that does this and leaves by exit.
template <class Function>
int status_of_child(Function function)
{
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        function();
        std::exit(0);
    }
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

static void leaves_in_order()
{
    CHECK_EQUAL(status_of_child([] {
        static std::vector<int> order;
        static std::atomic<bool> ended{false};
        static threading::Event go;
        threading::atexit([only = std::make_unique<int>(2)] {
            order.push_back(*only);
            CHECK(!ended);
            go.set();
        });
        threading::atexit([](int number) { order.push_back(number); }, 1);
        void (*none)() = nullptr;
        CHECK_ERROR(threading::atexit(none), errc::value);
        auto thread = threading::Thread::started([] {
            go.wait();
            ended = true;
        });
        thread.detach();
        CHECK(threading::shutdown_for(test::limit));
        CHECK(ended);
        CHECK((order == std::vector<int>{1, 2}));
        threading::shutdown();
        CHECK_ERROR(threading::Thread::started([] {}), errc::shutdown);
        CHECK_ERROR(threading::atexit([] {}), errc::shutdown);
    }), 0);
    CHECK_EQUAL(status_of_child([] {
        static threading::Event go;
        threading::Thread::started([] { go.wait(); }).detach();
        CHECK(!threading::shutdown_for(10ms));
        go.set();
    }), 0);
}

static void throw_or_report()
{
#if defined(__cpp_exceptions)
    throw std::runtime_error("exit");
#else
    (void)threading_report_exception("none", "exit");
#endif
}

// Nobody joins: exit waits for a detached thread, and not for a daemon. It calls what atexit() was given before,
// and an exception of that is told.
static void exit_waits()
{
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(status_of_child([&] {
        static const int out = ends[1];
        // Never destroyed: a static that is newer than the library's exit hook, which is the parent's here, would be
        // gone before the callbacks.
        static threading::Event &leaving = *new threading::Event;
        threading_set_excepthook(
            [](threading_thread *, const char *, const char *message, void *) { CHECK(write(out, message, 1) == 1); },
            nullptr);
        threading::atexit([] { leaving.set(); });
        threading::atexit(throw_or_report); // called first
        threading::Thread::started([] {
            leaving.wait();
            test::give_others_a_chance();
            CHECK(write(out, "t", 1) == 1);
        }).detach();
        threading::Thread daemon([] { threading::sleep(std::chrono::hours::max()); });
        daemon.set_daemon(true);
        daemon.start();
    }), 0);
    char written[3] = "";
    CHECK_EQUAL(read(ends[0], written, 2), 2);
    CHECK_EQUAL(std::string(written), "et");
    close(ends[0]);
    close(ends[1]);
}

static const test::Case cases[] = {
    {"main is there", main_is_there},
    {"enumerate lists who is alive, in the order of their start", lists_who_is_alive},
    {"a thread of others is a dummy", a_foreign_thread_is_a_dummy},
    {"no sleep is shortened", sleeps},
    {"stacks have the size that is set", sets_the_stack_size},
    {"shutdown calls the exits and joins", leaves_in_order},
    {"exit waits for detached threads, not for daemons", exit_waits},
};

TEST_MAIN(cases)

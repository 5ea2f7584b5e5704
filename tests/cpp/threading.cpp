// The module's functions: thread enumeration, the calling thread, and process exit.
#include "test.hpp"

#include <memory>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

using threading::errc;

static_assert(noexcept(threading::get_ident()) && noexcept(threading::get_native_id())
              && noexcept(threading::stack_size()));
static_assert(std::is_same_v<decltype(threading::enumerate()), std::vector<threading::ThreadRef>>);

static void main_thread_properties()
{
    const auto main = threading::main_thread();
    CHECK(main == threading::current_thread());
    CHECK_EQUAL(main.name(), "MainThread");
    CHECK(main.is_alive() && !main.daemon());
    CHECK_EQUAL(main.ident(), threading::get_ident());
    CHECK_EQUAL(main.native_id(), static_cast<std::uint64_t>(getpid()));
    CHECK_ERROR(main.join(), errc::deadlock);
}

static void enumerate_lists_live_threads()
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
    CHECK(!threads[1].is_alive()); // the list holds a reference
    CHECK_EQUAL(threads[1].name().find("Thread-"), 0U);
    CHECK_EQUAL(threading::active_count(), 1U);
}

static void foreign_thread_becomes_a_dummy()
{
    std::thread([] {
        const auto me = threading::current_thread();
        CHECK_EQUAL(me.name().find("Dummy-"), 0U);
        CHECK(me.daemon());
        CHECK_ERROR(threading::ThreadRef(me).start(), errc::already_started);
        std::thread([&] { CHECK_ERROR(me.join(), errc::not_joinable); }).join();
    }).join();
}

static void sleep_is_not_too_short()
{
    CHECK(test::duration_of([] { threading::sleep(20ms); }) >= 20ms);
    CHECK(test::duration_of([] { threading::sleep(std::chrono::duration<double>(0.0101)); }) >= 10100us);
    threading::sleep(-1h);
    const auto system = std::chrono::system_clock::now() + 20ms;
    threading::sleep_until(system);
    CHECK(std::chrono::system_clock::now() >= system);
    threading::sleep_until(test::steady::now() - 1h);
    CHECK_ERROR(threading::sleep(std::chrono::duration<double>(NAN)), errc::value);
}

static void stack_size_can_be_set()
{
    const std::size_t before = threading::stack_size();
    threading::set_stack_size(1 << 20);
    CHECK_EQUAL(threading::stack_size(), 1U << 20);
    CHECK_ERROR(threading::set_stack_size(1), errc::value);
    threading::set_stack_size(before);
}

// Runs the function in a child process, which then calls exit(). Returns its wait status.
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

static void shutdown_calls_functions_and_joins()
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
        // Never destroyed: exit() would destroy a static object while the detached thread may still wait for it.
        static threading::Event &go = *new threading::Event;
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

// exit() calls the functions registered by atexit(), passes their exceptions to the excepthook, and waits for detached
// threads, but not for daemons.
static void exit_waits_for_detached_threads()
{
    int pipe_ends[2];
    CHECK_EQUAL(pipe(pipe_ends), 0);
    CHECK_EQUAL(status_of_child([&] {
        static const int out = pipe_ends[1];
        // Never destroyed: the library's exit handler was registered by the parent process, so a static object that is
        // created here would be destroyed before the callbacks run.
        static threading::Event &exiting = *new threading::Event;
        threading_set_excepthook(
            [](threading_thread *, const char *, const char *message, void *) { CHECK(write(out, message, 1) == 1); },
            nullptr);
        threading::atexit([] { exiting.set(); });
        threading::atexit(throw_or_report); // called first
        threading::Thread::started([] {
            exiting.wait();
            test::let_others_run();
            CHECK(write(out, "t", 1) == 1);
        }).detach();
        threading::Thread daemon([] { threading::sleep(std::chrono::hours::max()); });
        daemon.set_daemon(true);
        daemon.start();
    }), 0);
    char written[3] = "";
    CHECK_EQUAL(read(pipe_ends[0], written, 2), 2);
    CHECK_EQUAL(std::string(written), "et");
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static const test::Case cases[] = {
    {"the main thread has its name, ident and kernel thread ID", main_thread_properties},
    {"enumerate lists the live threads in the order of their start", enumerate_lists_live_threads},
    {"a foreign thread becomes a dummy", foreign_thread_becomes_a_dummy},
    {"no sleep is shorter than given", sleep_is_not_too_short},
    {"the stack size can be set", stack_size_can_be_set},
    {"shutdown calls the registered functions and joins", shutdown_calls_functions_and_joins},
    {"exit waits for detached threads, but not for daemons", exit_waits_for_detached_threads},
};

TEST_MAIN(cases)

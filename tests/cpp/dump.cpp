// Dumps, names, owners and the hang hook.
#include "test.hpp"

#include <csignal>
#include <cstring>
#include <memory>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

using threading::errc;

static_assert(noexcept(std::declval<threading::Lock &>().owner()));

// Returns what the function writes to the descriptor that it is given. The text must fit into the buffer of a pipe.
template <class Function>
static std::string written_by(Function function)
{
    int pipe_ends[2];
    CHECK_EQUAL(pipe(pipe_ends), 0);
    function(pipe_ends[1]);
    (void)close(pipe_ends[1]);
    std::string text;
    char part[512];
    for (ssize_t size; (size = read(pipe_ends[0], part, sizeof part)) > 0;)
        text.append(part, static_cast<std::size_t>(size));
    (void)close(pipe_ends[0]);
    return text;
}

static bool dump_contains(const std::string &text)
{
    return test::wait_until([&] {
        return written_by([](int fd) { threading::dump(fd); }).find(text) != std::string::npos;
    });
}

static void dump_shows_names_and_owners()
{
    threading::Lock lock;
    threading::RLock rlock;
    threading::Event event;
    threading::Barrier barrier(2);
    lock.set_name("journal");
    rlock.set_name(std::string("log"));
    event.set_name("stop");
    barrier.set_name("phase");
    const std::lock_guard guard(lock);
    const std::lock_guard rguard(rlock);
    CHECK(dump_contains("    owns lock \"journal\"\n    owns rlock \"log\"\n"));
    auto waiter = threading::Thread::started([&] { event.wait(); });
    CHECK(dump_contains("waits for event \"stop\" (not set)"));
    event.set();
    waiter.join();
    auto party = threading::Thread::started([&] { barrier.wait(); });
    CHECK(dump_contains("waits at barrier \"phase\" (1 of 2 arrived)"));
    barrier.wait();
    party.join();
    lock.set_name(nullptr);
    CHECK(dump_contains("    owns lock 0x"));
    CHECK_ERROR(threading::dump(-1), errc::value);
    CHECK_ERROR(threading::dump(9999), errc::system);
}

static void names_of_all_kinds()
{
    threading::Condition condition;
    threading::Semaphore semaphore(1);
    threading::BoundedSemaphore bounded(1);
    condition.set_name("queue");
    semaphore.set_name("connections");
    bounded.set_name("slots");
    CHECK_ERROR(bounded.set_name("\xff"), errc::value);
    threading::Condition moved(std::move(condition));
    CHECK_ERROR(condition.set_name("queue"), errc::handle); // NOLINT(bugprone-use-after-move): this is what it checks
    moved.set_name(nullptr);
}

static void contention_is_counted_while_it_is_on()
{
    threading::Lock lock;
    lock.set_name("contended");
    threading::set_contention(true);
    lock.acquire();
    auto waiter = threading::Thread::started([&] { const std::lock_guard guard(lock); });
    CHECK(dump_contains("waits for lock \"contended\""));
    lock.release();
    waiter.join();
    CHECK(dump_contains("  lock \"contended\"  1 wait, "));
    threading::set_contention(false);
    CHECK(written_by([](int fd) { threading::dump(fd); }).find("contention") == std::string::npos);
}

static void owner_is_the_thread_that_acquired_it()
{
    threading::Lock lock;
    threading::RLock rlock;
    CHECK(lock.owner() == 0 && rlock.owner() == 0);
    auto thread = threading::Thread::started([&] { lock.acquire(); });
    thread.join();
    CHECK_EQUAL(lock.owner(), thread.ident());
    const std::lock_guard guard(rlock);
    CHECK_EQUAL(rlock.owner(), threading::get_ident());
    threading::Lock moved(std::move(lock));
    CHECK_EQUAL(lock.owner(), 0U); // NOLINT(bugprone-use-after-move): this is what the test checks
    moved.release();
    CHECK_EQUAL(moved.owner(), 0U);
}

static void signal_makes_a_dump()
{
    const std::string text = written_by([](int fd) {
        threading::dump_on_signal(SIGUSR1, fd);
        CHECK_EQUAL(std::raise(SIGUSR1), 0);
        threading::dump_on_signal(SIGUSR1, -1);
    });
    CHECK_EQUAL(text.find("threading: process "), 0U);
    CHECK(text.find("makes this dump\n") != std::string::npos);
    CHECK_ERROR(threading::dump_on_signal(SIGKILL), errc::value);
    CHECK_ERROR(threading::trace(-2), errc::value);
    CHECK_ERROR(threading::trace(9999), errc::system);
}

// Runs two threads that deadlock until `end` is called, which releases the locks.
struct Deadlock {
    threading::Lock first, second;
    threading::Barrier both{2};
    threading::Thread one, two;

    Deadlock()
    {
        first.set_name("first");
        second.set_name("second");
        one = threading::Thread::started([this] { acquire(first, second); });
        two = threading::Thread::started([this] { acquire(second, first); });
    }

    void acquire(threading::Lock &mine, threading::Lock &other)
    {
        mine.acquire();
        both.wait();
        other.acquire();
    }

    void end()
    {
        first.release();
        second.release();
        one.join();
        two.join();
    }
};

static void hook_is_called_for_a_deadlock()
{
    std::atomic<int> calls{0};
    std::string text;
    threading::Lock inside; // the hook may use other objects
    threading::set_hang_hook(20ms, [&, only = std::make_unique<int>(1)](threading::hang kind, const char *report) {
        CHECK(kind == threading::hang::deadlock);
        const std::lock_guard guard(inside);
        text = report;
        calls += *only;
    });
    Deadlock deadlock;
    CHECK(test::wait_until([&] { return calls != 0; }));
    test::let_others_run();
    CHECK_EQUAL(calls, 1);
    CHECK(text.find(", 2 of them deadlocked:\n") != std::string::npos);
    CHECK(text.find("waits for lock \"second\", owned by \"Thread-") != std::string::npos);
    threading::set_hang_hook(std::chrono::seconds::max());
    deadlock.end();
}

static void exception_in_the_hook_is_reported()
{
#if defined(__cpp_exceptions)
    const test::ExceptHookRecorder recorder;
    threading::set_hang_hook(20ms, [](threading::hang, const char *) { throw std::runtime_error("in the hook"); });
    Deadlock deadlock;
    CHECK(test::wait_until([&] { return !recorder.reports().empty(); }));
    CHECK(recorder.reports().at(0).find("std::runtime_error: in the hook") != std::string::npos);
    threading::set_hang_hook(std::chrono::seconds::max());
    deadlock.end();
#endif
}

static void invalid_hooks()
{
    void (*none)(threading::hang, const char *) = nullptr;
    CHECK_ERROR(threading::set_hang_hook(1s, none), errc::value);
    CHECK_ERROR(threading::set_hang_hook(std::chrono::duration<double>(NAN), [](threading::hang, const char *) {}),
                errc::value);
    CHECK_ERROR(threading::set_hang_hook(std::chrono::duration<double>(NAN)), errc::value);
}

// In a child process, whose exit waits for a thread. The hook ends it.
static void hook_is_called_for_an_exit()
{
    const std::string text = written_by([](int fd) {
        const pid_t child = fork();
        if (child == 0) {
            threading::set_hang_hook(20ms, [fd](threading::hang kind, const char *report) {
                const auto size = std::strlen(report);
                _exit(kind == threading::hang::exit && write(fd, report, size) == static_cast<ssize_t>(size) ? 7 : 1);
            });
            static threading::Event &never = *new threading::Event;
            threading::Thread::started([] { never.wait(); }).detach();
            std::exit(0);
        }
        int status = 0;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK_EQUAL(WEXITSTATUS(status), 7);
    });
    CHECK(text.find("waits in the process exit or a shutdown for 1 non-daemon thread") != std::string::npos);
}

static const test::Case cases[] = {
    {"a dump shows names and owners", dump_shows_names_and_owners},
    {"objects of all kinds have names", names_of_all_kinds},
    {"contention is counted while it is on", contention_is_counted_while_it_is_on},
    {"the owner of a lock is the thread that has acquired it", owner_is_the_thread_that_acquired_it},
    {"a signal makes a dump", signal_makes_a_dump},
    {"the hang hook is called once for a deadlock", hook_is_called_for_a_deadlock},
    {"an exception in the hang hook is reported", exception_in_the_hook_is_reported},
    {"an invalid hang hook is an error", invalid_hooks},
    {"the hang hook is called for an exit that waits", hook_is_called_for_an_exit},
};

TEST_MAIN(cases)

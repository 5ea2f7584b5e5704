// A small test harness for the C++ tests of libthreading.
//
// A program is a table of named cases; main runs all of them, or those named in argv. A failed check in any thread
// prints its location and the condition, and ends the program, because the state that the case leaves behind could
// affect the next one. An unexpected exception ends the program, too.
//
// The harness also compiles without exceptions (-fno-exceptions). Then CHECK_ERROR runs its expression in a child
// process, which must print the error's message to stderr and call abort(), and CHECK_THROWS is not defined.
#ifndef TEST_HPP
#define TEST_HPP

#include <threading.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace test {

using steady = std::chrono::steady_clock;

// The time after which a test that waits for a state fails.
inline constexpr auto limit = 20s;

struct Case {
    const char *name; // a sentence that is true if the case passes
    void (*run)();
};

[[noreturn]] inline void fail(const char *file, int line, const std::string &what)
{
    std::printf("FAILED\n    %s:%d: %s\n", file, line, what.c_str());
    std::fflush(stdout);
    std::_Exit(1);
}

template <std::size_t Count>
int run(int argc, char **argv, const Case (&cases)[Count])
{
    int passed = 0;
    for (const Case &one : cases) {
        bool chosen = argc == 1;
        for (int i = 1; i < argc; i++)
            chosen = chosen || std::strcmp(argv[i], one.name) == 0;
        if (!chosen)
            continue;
        std::printf("%s ... ", one.name); // before the case, so that the log of a hang names it
        std::fflush(stdout);
#if defined(__cpp_exceptions)
        try {
            one.run();
        } catch (const std::exception &exception) {
            fail(__FILE__, __LINE__, std::string("unexpected exception: ") + exception.what());
        }
#else
        one.run();
#endif
        std::printf("ok\n");
        passed++;
    }
    std::printf("%d passed\n", passed);
    return passed > 0 ? 0 : 2;
}

template <class Got, class Expected>
void check_equal(const char *file, int line, const char *expression, const Got &got, const Expected &expected)
{
    if (got == expected)
        return;
    std::ostringstream text;
    text.precision(17);
    text << expression << " is " << got << ", expected " << expected;
    fail(file, line, text.str());
}

// Returns what the call writes to stderr in a child process that it ends with abort(), or "it returned".
template <class Call>
std::string abort_message_of(Call call)
{
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0)
        return "pipe failed";
    const pid_t child = fork();
    if (child == 0) {
        const rlimit no_core{0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)dup2(pipe_ends[1], STDERR_FILENO);
        call();
        _exit(0);
    }
    (void)close(pipe_ends[1]);
    std::string message;
    char part[256];
    for (ssize_t size; (size = read(pipe_ends[0], part, sizeof part)) > 0;)
        message.append(part, static_cast<std::size_t>(size));
    (void)close(pipe_ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return "fork failed";
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? message : "it returned";
}

#if defined(__cpp_exceptions)
template <class Call>
void check_error(const char *file, int line, const char *expression, threading::errc code, Call call)
{
    try {
        call();
    } catch (const threading::error &error) {
        if (error.code() == code && std::strlen(error.what()) > 0)
            return;
        fail(file, line, std::string(expression) + " throws: " + error.what());
    }
    fail(file, line, std::string(expression) + " does not throw");
}
#else
template <class Call>
void check_error(const char *file, int line, const char *expression, threading::errc code, Call call)
{
    const std::string message = abort_message_of(call);
    const std::string type = code == threading::errc::broken_barrier ? "BrokenBarrierError" : "error";
    if (message.find("threading::" + type + ": ") != 0 || message.find('\n') != message.size() - 1)
        fail(file, line, std::string(expression) + " does not abort with an error message: " + message);
}
#endif

// Polls until the predicate is true. Returns false if the limit expires first.
template <class Predicate>
bool wait_until(Predicate predicate)
{
    const auto end = steady::now() + limit;
    while (!predicate()) {
        if (steady::now() > end)
            return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

// Sleeps long enough for a thread that should be blocked to continue if it is not. If the sleep is too short, the
// check passes.
inline void let_others_run()
{
    std::this_thread::sleep_for(30ms);
}

// Returns the duration of the call.
template <class Call>
steady::duration duration_of(Call call)
{
    const auto begin = steady::now();
    call();
    return steady::now() - begin;
}

// Records the calls of the excepthook during its lifetime. Two such objects must not exist at the same time.
class ExceptHookRecorder {
public:
    ExceptHookRecorder() { threading_set_excepthook(hook, this); }
    ~ExceptHookRecorder() { threading_set_excepthook(nullptr, nullptr); }
    ExceptHookRecorder(const ExceptHookRecorder &) = delete;
    ExceptHookRecorder &operator=(const ExceptHookRecorder &) = delete;

    std::vector<std::string> reports() const
    {
        const std::lock_guard guard(mutex_);
        return reports_;
    }

private:
    static void hook(threading_thread *thread, const char *type, const char *message, void *arg)
    {
        auto &self = *static_cast<ExceptHookRecorder *>(arg);
        const std::lock_guard guard(self.mutex_);
        self.reports_.push_back(std::string(threading_thread_name(thread)) + ": " + type + ": " + message);
    }

    mutable std::mutex mutex_;
    std::vector<std::string> reports_;
};

} // namespace test

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            test::fail(__FILE__, __LINE__, #condition " does not hold");                                     \
    } while (false)

#define CHECK_EQUAL(expression, expected)                                                                    \
    test::check_equal(__FILE__, __LINE__, #expression, (expression), (expected))

// Checks that the expression throws a threading::error with this code or, without exceptions, calls abort().
#define CHECK_ERROR(expression, code)                                                                        \
    test::check_error(__FILE__, __LINE__, #expression, (code), [&] { (void)(expression); })

#if defined(__cpp_exceptions)
#define CHECK_THROWS(expression, type)                                                                       \
    do {                                                                                                     \
        bool thrown = false;                                                                                 \
        try {                                                                                                \
            (void)(expression);                                                                              \
        } catch (const type &) {                                                                             \
            thrown = true;                                                                                   \
        }                                                                                                    \
        if (!thrown)                                                                                         \
            test::fail(__FILE__, __LINE__, #expression " does not throw a " #type);                          \
    } while (false)
#endif

#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        if (!test::wait_until([&] { return condition; }))                                                    \
            test::fail(__FILE__, __LINE__, #condition " did not become true");                               \
    } while (false)

#define TEST_MAIN(cases)                                                                                     \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        return test::run(argc, argv, cases);                                                                 \
    }

#endif

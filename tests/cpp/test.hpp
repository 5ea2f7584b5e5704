// A small harness for the C++ tests of libthreading.
//
// A program is a table of named cases; main runs all of them, or those named in argv. A failed check, in
// whichever thread, says where and what, and ends the program: what its case leaves behind would spoil the
// next. So does an exception that nobody expected.
//
// It also compiles without exceptions (-fno-exceptions). Then CHECK_ERROR runs its expression in a child process, which has
// to end by abort() with the error's message on stderr; and there is no CHECK_THROWS.
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

// No state that a test waits for may take longer than this.
inline constexpr auto limit = 20s;

struct Case {
    const char *name; // a sentence: what holds if the case passes
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
        std::printf("%s ... ", one.name); // before the case, so that the log of a hang tells which it was
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

// What the call writes to stderr in a child process, which it ends by abort(); "it returned" if it does not.
template <class Call>
std::string last_words_of(Call call)
{
    int ends[2];
    if (pipe(ends) != 0)
        return "pipe failed";
    const pid_t child = fork();
    if (child == 0) {
        const rlimit none{0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(ends[1], STDERR_FILENO);
        call();
        _exit(0);
    }
    (void)close(ends[1]);
    std::string words;
    char part[256];
    for (ssize_t size; (size = read(ends[0], part, sizeof part)) > 0;)
        words.append(part, static_cast<std::size_t>(size));
    (void)close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return "fork failed";
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? words : "it returned";
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
    const std::string words = last_words_of(call);
    const std::string type = code == threading::errc::broken_barrier ? "BrokenBarrierError" : "error";
    if (words.find("threading::" + type + ": ") != 0 || words.find('\n') != words.size() - 1)
        fail(file, line, std::string(expression) + " does not end the program with an error: " + words);
}
#endif

// Polls until the predicate holds.
template <class Predicate>
bool comes_true(Predicate predicate)
{
    const auto end = steady::now() + limit;
    while (!predicate()) {
        if (steady::now() > end)
            return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

// Long enough for a thread that should stay where it is to go on if it does not. Errs on the passing side.
inline void give_others_a_chance()
{
    std::this_thread::sleep_for(30ms);
}

// How long the call took.
template <class Call>
steady::duration time_of(Call call)
{
    const auto begin = steady::now();
    call();
    return steady::now() - begin;
}

// What the excepthook was told while this lives. Calls are not expected to overlap.
class Hook {
public:
    Hook() { threading_set_excepthook(hook, this); }
    ~Hook() { threading_set_excepthook(nullptr, nullptr); }
    Hook(const Hook &) = delete;
    Hook &operator=(const Hook &) = delete;

    std::vector<std::string> told() const
    {
        const std::lock_guard guard(mutex_);
        return told_;
    }

private:
    static void hook(threading_thread *thread, const char *type, const char *message, void *arg)
    {
        auto &self = *static_cast<Hook *>(arg);
        const std::lock_guard guard(self.mutex_);
        self.told_.push_back(std::string(threading_thread_name(thread)) + ": " + type + ": " + message);
    }

    mutable std::mutex mutex_;
    std::vector<std::string> told_;
};

} // namespace test

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            test::fail(__FILE__, __LINE__, #condition " does not hold");                                     \
    } while (false)

#define CHECK_EQUAL(expression, expected)                                                                    \
    test::check_equal(__FILE__, __LINE__, #expression, (expression), (expected))

// The expression throws a threading::error with this code; without exceptions, it ends the program.
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
        if (!test::comes_true([&] { return condition; }))                                                    \
            test::fail(__FILE__, __LINE__, #condition " did not come true");                                 \
    } while (false)

#define TEST_MAIN(cases)                                                                                     \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        return test::run(argc, argv, cases);                                                                 \
    }

#endif

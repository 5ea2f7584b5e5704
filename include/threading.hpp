/*
 * threading.hpp - Python's threading module for C++17.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A header over <threading.h>, whose functions it calls inline; what a lock, a wait or a timer does is said
 * there at length. Link as for C: pkg-config threading, or CMake's Threading::threading.
 *
 *     threading::Lock lock;
 *     int sum = 0;
 *     threading::Thread adder([&] {
 *         const std::lock_guard guard(lock);
 *         sum += 1;
 *     });
 *     adder.start();
 *     adder.join();
 *
 * Objects. Each object of a class is one owner of one thing of the library, and is moved, not copied; ref()
 * makes one more owner of the same thing, where threads have no scope in common. The thing lives as long as
 * anybody keeps it. Where the library refuses to end it, since threads are blocked on it, it lives on without
 * an owner: that is a leak, and no crash. An object that was moved from is empty: calls on it throw errc::handle,
 * and those that are noexcept answer 0 or false.
 *
 * Errors are exceptions: `error`, a std::system_error with a code of `errc`. Besides those that a call names,
 * each may throw errc::handle (the object is empty) and errc::internal (a defect of the library). Outcomes
 * that are no errors are results: false when the time ran out or something was taken. After an exception
 * nothing has changed, unless it is said otherwise.
 *
 * Callables may be anything that std::invoke takes, and are moved in; they may throw. No exception enters the
 * library: one that leaves a thread's, a timer's or an exit's function is told to the excepthook, one that
 * leaves a predicate or a barrier's action reaches whoever called. pthread_exit() and pthread_cancel() pass.
 *
 * Without exceptions (-fno-exceptions), a call that would throw an error writes the error's message to stderr and calls
 * abort(). Callables must not throw then. Compile either all parts of a program that include this header with
 * exceptions, or all of them without. The header does not need RTTI (-fno-rtti).
 *
 * Time is std::chrono's, and never shortened: it is rounded up. What is negative is zero; what exceeds
 * THREADING_TIMEOUT_MAX seconds (292 years) is that; max() and infinity wait without a limit; NaN is
 * errc::value. Waits until a moment go by the clock of that moment, also when it is set back meanwhile.
 *
 * Thread safety. Every call on one object may be made by any number of threads at once, but for those that
 * change the object itself: moving, assigning, destroying it.
 */
#ifndef THREADING_HPP
#define THREADING_HPP

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <cxxabi.h>

#include <threading.h>

namespace threading {

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Errors
 */

/** What went wrong: the errors of threading.h under their names there, `errc::value` for THREADING_ERR_VALUE. */
enum class errc : int {
    handle = THREADING_ERR_HANDLE, /**< the object is empty, or the handle is none */
    value = THREADING_ERR_VALUE, /**< an argument is out of its range (`ValueError`) */
    overflow = THREADING_ERR_OVERFLOW, /**< a count past its maximum (`OverflowError`) */
    not_acquired = THREADING_ERR_NOT_ACQUIRED, /**< release of an unlocked lock (`RuntimeError`) */
    not_owner = THREADING_ERR_NOT_OWNER, /**< the caller does not hold it (`RuntimeError`) */
    over_released = THREADING_ERR_OVER_RELEASED, /**< released too many times (`ValueError`) */
    already_started = THREADING_ERR_ALREADY_STARTED, /**< started before (`RuntimeError`) */
    not_started = THREADING_ERR_NOT_STARTED, /**< join before start (`RuntimeError`) */
    deadlock = THREADING_ERR_DEADLOCK, /**< the call could never return (`RuntimeError`) */
    not_joinable = THREADING_ERR_NOT_JOINABLE, /**< join of a dummy thread (`RuntimeError`) */
    broken_barrier = THREADING_ERR_BROKEN_BARRIER, /**< always thrown as a BrokenBarrierError */
    callback = THREADING_ERR_CALLBACK, /**< a C callback reported failure */
    busy = THREADING_ERR_BUSY, /**< threads are blocked on it */
    no_memory = THREADING_ERR_NO_MEMORY, /**< `MemoryError` */
    system = THREADING_ERR_SYSTEM, /**< the system refused (`RuntimeError: can't start new thread`) */
    shutdown = THREADING_ERR_SHUTDOWN, /**< the process is past shutdown() */
    internal = THREADING_ERR_INTERNAL /**< a defect of the library */
};

/**
 * The category of the library's error codes; its name is "threading".
 *
 * Codes compare with std::errc: errc::not_owner == std::errc::operation_not_permitted, for example.
 *
 * Blocks: never. Thread safety: any thread. Python: none.
 */
[[nodiscard]] inline const std::error_category &category() noexcept
{
    class threading_category final : public std::error_category {
        const char *name() const noexcept override { return "threading"; }

        std::string message(int status) const override { return threading_status_message(status); }

        std::error_condition default_error_condition(int status) const noexcept override
        {
            switch (static_cast<errc>(status)) {
            case errc::handle:
            case errc::value:
            case errc::not_started:
            case errc::not_joinable:
                return std::errc::invalid_argument;
            case errc::overflow:
                return std::errc::value_too_large;
            case errc::not_acquired:
            case errc::not_owner:
            case errc::over_released:
            case errc::already_started:
                return std::errc::operation_not_permitted;
            case errc::deadlock:
                return std::errc::resource_deadlock_would_occur;
            case errc::broken_barrier:
                return std::errc::state_not_recoverable;
            case errc::callback:
            case errc::shutdown:
                return std::errc::operation_canceled;
            case errc::busy:
                return std::errc::device_or_resource_busy;
            case errc::no_memory:
                return std::errc::not_enough_memory;
            case errc::system:
                return std::errc::resource_unavailable_try_again;
            case errc::internal:
                break;
            }
            return {status, *this};
        }
    };
    static const threading_category instance;
    return instance;
}

/** What makes a std::error_code of an errc by itself. */
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept
{
    return {static_cast<int>(code), category()};
}

/** What the calls of this header throw. Python: `RuntimeError`, `ValueError` and their like. */
class error : public std::system_error {
public:
    /**
     * \param code what went wrong
     * \param message a sentence that is never freed, such as threading_last_error_message(); nullptr is the
     *         code's own
     */
    explicit error(errc code, const char *message = nullptr)
        : std::system_error(make_error_code(code)),
          message_(message != nullptr ? message : threading_status_message(static_cast<std::int32_t>(code)))
    {
    }

    error(const error &) noexcept = default;
    error &operator=(const error &) noexcept = default;

    /** The sentence: which argument was wrong, for example, where the code says only that one was. */
    [[nodiscard]] const char *what() const noexcept override { return message_; }

private:
    const char *message_;
};

/** Thrown to all who wait at a barrier that breaks. Python: `threading.BrokenBarrierError`. */
class BrokenBarrierError : public error {
public:
    using error::error;
};

/** Says that a constructor takes over a reference of the caller's, who does not `_free` it. */
struct adopt_handle_t {
    explicit adopt_handle_t() = default;
};
inline constexpr adopt_handle_t adopt_handle{};

/** Says that a constructor takes one more reference; the caller's stays the caller's. */
struct ref_handle_t {
    explicit ref_handle_t() = default;
};
inline constexpr ref_handle_t ref_handle{};

/**
 * Tells the excepthook of the exception that is being handled: its type, demangled, and what it says, which is
 * its what(), or itself if it is a text (const char *, std::string).
 *
 * To be called in a catch clause; elsewhere, and of an exception that is not C++'s, it is told that it is
 * unknown. The hook is a C function, set by threading_set_excepthook(); a lambda that captures nothing is one.
 *
 * Blocks: while the hook runs. Thread safety: any thread. Python: `threading.excepthook(args)`.
 */
inline void report_exception() noexcept
{
    // Known without RTTI as well, and of types that have no std::exception for a base.
    const std::type_info *type = abi::__cxa_current_exception_type();
    if (type == nullptr) {
        (void)threading_report_exception("unknown exception", "");
        return;
    }
    int status = 0;
    const std::unique_ptr<char, void (*)(void *)> demangled(
        abi::__cxa_demangle(type->name(), nullptr, nullptr, &status), std::free);
    const char *name = demangled ? demangled.get() : type->name();
#if defined(__cpp_exceptions)
    try {
        throw;
    } catch (const std::exception &exception) {
        const char *what = exception.what();
        (void)threading_report_exception(name, what != nullptr ? what : "");
    } catch (const std::string &text) {
        (void)threading_report_exception(name, text.c_str());
    } catch (const char *text) {
        (void)threading_report_exception(name, text != nullptr ? text : "");
    } catch (...) {
        (void)threading_report_exception(name, "");
    }
#else
    (void)threading_report_exception(name, "");
#endif
}

/* What the classes below are made of. Not for direct use. */
namespace detail {

/* These functions have other names in a part of a program that is compiled without exceptions, so that the linker
   does not take the ones of another part for them. Functions that call them and are not inlined keep one name: see
   above. */
#if !defined(__cpp_exceptions)
inline namespace no_exceptions {
#endif

/* Throws an error, or ends the program with the error's message. */
[[noreturn]] inline void raise(errc code, const char *message = nullptr)
{
#if defined(__cpp_exceptions)
    if (code == errc::broken_barrier)
        throw BrokenBarrierError(code, message);
    throw error(code, message);
#else
    const char *type = code == errc::broken_barrier ? "threading::BrokenBarrierError" : "threading::error";
    (void)std::fprintf(stderr, "%s: %s\n", type, error(code, message).what());
    std::abort();
#endif
}

/* Throws what the status says; the calling thread's last error has the words. */
[[noreturn]] inline void fail(threading_status status)
{
    detail::raise(static_cast<errc>(status),
                  threading_last_error() == status ? threading_last_error_message() : nullptr);
}

/* A status that is no error. */
inline threading_status check(threading_status status)
{
    if (status < 0)
        detail::fail(status);
    return status;
}

/* A handle that a C function has just answered with, and that is none if it failed. */
template <class Handle>
Handle *check(Handle *handle)
{
    if (handle == nullptr) {
        const threading_status status = threading_last_error();
        detail::fail(status < 0 ? status : THREADING_ERR_HANDLE);
    }
    return handle;
}

#if defined(__cpp_exceptions)

/* What pthread_exit() and pthread_cancel() unwind with. It must go on, and libstdc++ ends the process if a
   catch (...) keeps it. To other libraries' catch clauses it is invisible. There is no object behind the reference
   that catches it, of which -fsanitize=undefined would complain. */
#if defined(__GLIBCXX__)
using forced_unwind = abi::__forced_unwind;
#else
struct forced_unwind {};
#endif

/* A C callback's way to call what may throw: nothing does that leaves it. */
template <class Function>
__attribute__((no_sanitize("undefined"))) void reporting(Function &&function)
{
    try {
        std::forward<Function>(function)();
    } catch (const forced_unwind &) {
        throw;
    } catch (...) {
        report_exception();
    }
}

/* The same, where the exception is carried to the other side of C. */
template <class Function>
__attribute__((no_sanitize("undefined"))) int carrying(std::exception_ptr &failure, Function &&function)
{
    try {
        return std::forward<Function>(function)();
    } catch (const forced_unwind &) {
        throw;
    } catch (...) {
        failure = std::current_exception();
        return -1;
    }
}

#else

template <class Function>
void reporting(Function &&function)
{
    std::forward<Function>(function)();
}

template <class Function>
int carrying(std::exception_ptr &, Function &&function)
{
    return std::forward<Function>(function)();
}

} // namespace no_exceptions
#endif

/* ---- time ---- */

/* Seconds for a C function, no fewer than `time`. */
template <class Rep, class Period>
[[nodiscard]] double to_seconds(const std::chrono::duration<Rep, Period> &time) noexcept
{
    using duration = std::chrono::duration<Rep, Period>;
    if (time == (duration::max)())
        return THREADING_FOREVER;
    double value = std::chrono::duration<double>(time).count();
    if (value <= 0)
        return 0;
    if (value >= THREADING_TIMEOUT_MAX)
        return value > (std::numeric_limits<double>::max)() ? THREADING_FOREVER : THREADING_TIMEOUT_MAX;
    if constexpr (std::is_integral_v<Rep>) {
        // The double that is nearest to a fraction may be below it. fma rounds once: its sign is exact.
        const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
        const auto rest = time - whole;
        if (rest.count() != 0) {
            using period = typename decltype(rest)::period;
            const double base = static_cast<double>(whole.count());
            const double units = static_cast<double>(rest.count()) * static_cast<double>(period::num);
            const double parts = static_cast<double>(period::den);
            value = base + units / parts;
            if (std::fma(value - base, parts, -units) < 0)
                value = std::nextafter(value, std::numeric_limits<double>::infinity());
        }
    }
    return value;
}

/* Seconds for a C function from now to `moment`, no fewer. */
template <class Clock, class Duration>
[[nodiscard]] double seconds_until(const std::chrono::time_point<Clock, Duration> &moment)
{
    // Compares durations. For operators of time points, the compiler also searches the namespace of Clock.
    const Duration time = moment.time_since_epoch();
    // What is centuries from the epoch would overflow in the clock's own units.
    const double at = std::chrono::duration<double>(time).count();
    if (time == (Duration::max)())
        return THREADING_FOREVER;
    if (at <= -THREADING_TIMEOUT_MAX)
        return 0;
    if (at >= THREADING_TIMEOUT_MAX)
        return at > (std::numeric_limits<double>::max)() ? THREADING_FOREVER : THREADING_TIMEOUT_MAX;
    const auto now = Clock::now().time_since_epoch();
    return time <= now ? 0 : detail::to_seconds(time - now);
}

/* Calls `wait`, which takes seconds and tells whether it succeeded, until the moment has come by its clock. */
template <class Clock, class Duration, class Wait>
bool wait_until(const std::chrono::time_point<Clock, Duration> &moment, Wait wait)
{
    for (;;) {
        if (wait(detail::seconds_until(moment)))
            return true;
        if (detail::seconds_until(moment) == 0)
            return false;
    }
}

/* ---- handles ---- */

/* The C functions of each kind of object. */
struct thread_calls {
    using type = threading_thread;
    static constexpr auto ref = threading_thread_ref;
    static constexpr auto free = threading_thread_free;
};

struct timer_calls {
    using type = threading_timer;
    static constexpr auto ref = threading_timer_ref;
    static constexpr auto free = threading_timer_free;
};

struct lock_calls {
    using type = threading_lock;
    static constexpr auto ref = threading_lock_ref;
    static constexpr auto free = threading_lock_free;
    static constexpr auto acquire = threading_lock_acquire;
    static constexpr auto try_acquire = threading_lock_try_acquire;
    static constexpr auto acquire_timeout = threading_lock_acquire_timeout;
    static constexpr auto release = threading_lock_release;
};

struct rlock_calls {
    using type = threading_rlock;
    static constexpr auto ref = threading_rlock_ref;
    static constexpr auto free = threading_rlock_free;
    static constexpr auto acquire = threading_rlock_acquire;
    static constexpr auto try_acquire = threading_rlock_try_acquire;
    static constexpr auto acquire_timeout = threading_rlock_acquire_timeout;
    static constexpr auto release = threading_rlock_release;
};

struct condition_calls {
    using type = threading_condition;
    static constexpr auto ref = threading_condition_ref;
    static constexpr auto free = threading_condition_free;
    static constexpr auto acquire = threading_condition_acquire;
    static constexpr auto try_acquire = threading_condition_try_acquire;
    static constexpr auto acquire_timeout = threading_condition_acquire_timeout;
    static constexpr auto release = threading_condition_release;
};

struct semaphore_calls {
    using type = threading_semaphore;
    static constexpr auto ref = threading_semaphore_ref;
    static constexpr auto free = threading_semaphore_free;
    static constexpr auto acquire = threading_semaphore_acquire;
    static constexpr auto try_acquire = threading_semaphore_try_acquire;
    static constexpr auto acquire_timeout = threading_semaphore_acquire_timeout;
    static constexpr auto release = threading_semaphore_release;
};

struct event_calls {
    using type = threading_event;
    static constexpr auto ref = threading_event_ref;
    static constexpr auto free = threading_event_free;
};

struct barrier_calls {
    using type = threading_barrier;
    static constexpr auto ref = threading_barrier_ref;
    static constexpr auto free = threading_barrier_free;
};

struct local_calls {
    using type = threading_local;
    static constexpr auto ref = threading_local_ref;
    static constexpr auto free = threading_local_free;
};

/* A reference to a handle, given back at the end. */
template <class Calls>
class owner {
public:
    using handle = typename Calls::type *;

    owner() noexcept = default;
    explicit owner(handle owned) noexcept : handle_(owned) {}
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    owner(owner &&other) noexcept : handle_(other.release()) {}
    owner &operator=(owner &&other) noexcept
    {
        const owner former(std::exchange(handle_, other.release()));
        return *this;
    }
    ~owner()
    {
        if (handle_ != nullptr)
            (void)Calls::free(handle_);
    }

    [[nodiscard]] handle get() const noexcept { return handle_; }

    /* The caller owns the reference afterwards. */
    [[nodiscard]] handle release() noexcept { return std::exchange(handle_, nullptr); }

private:
    handle handle_ = nullptr;
};

/**
 * What the objects have in common. Object is what ref() makes.
 */
template <class Object, class Calls>
class object {
public:
    /** The type of the handle in C. */
    using native_handle_type = typename Calls::type *;

    /**
     * Takes over a reference to something that C has made.
     *
     * \param handle what a `_new` or `_ref` has just returned
     *
     * Throws: error with the calling thread's last error, if that has returned nullptr. Blocks: never. Thread safety: any
     * thread. Python: none.
     */
    object(adopt_handle_t, native_handle_type handle) : owner_(detail::check(handle)) {}

    /**
     * Takes one more reference to something that C or another object keeps.
     *
     * \param handle the handle, the caller's as before
     *
     * Throws: error with errc::handle; errc::overflow (too many references). Blocks: never. Thread safety: any
     * thread. Python: a second name for the object.
     */
    object(ref_handle_t, native_handle_type handle) : owner_(detail::check(Calls::ref(handle))) {}

    /**
     * Makes one more owner of the same thing.
     *
     * Throws: error with errc::overflow (too many references). Blocks: never. Thread safety: any thread.
     * Python: a second name for the object.
     */
    [[nodiscard]] Object ref() const { return Object(ref_handle, native_handle()); }

    /**
     * Tells the handle in C, borrowed: valid as long as the thing lives; nullptr if the object is empty.
     *
     * Blocks: never. Thread safety: any thread. Python: none.
     */
    [[nodiscard]] native_handle_type native_handle() const noexcept { return owner_.get(); }

    /**
     * Tells whether there is something: false of an object that was moved from.
     *
     * Blocks: never. Thread safety: any thread. Python: none.
     */
    [[nodiscard]] explicit operator bool() const noexcept { return native_handle() != nullptr; }

    /** Tells whether both are owners of the same thing. Python: `a is b`. */
    friend bool operator==(const object &a, const object &b) noexcept
    {
        return a.native_handle() == b.native_handle();
    }

    /** Tells whether they are owners of different things. Python: `a is not b`. */
    friend bool operator!=(const object &a, const object &b) noexcept
    {
        return a.native_handle() != b.native_handle();
    }

protected:
    object() noexcept = default;
    object(object &&) noexcept = default;
    object &operator=(object &&) noexcept = default;
    ~object() = default;

    /* Gives the reference back now, and is empty. */
    void reset() noexcept { owner_ = owner<Calls>(); }

private:
    owner<Calls> owner_{};
};

/**
 * What can be acquired and released: a Lock, RLock, Condition (its lock) or Semaphore.
 *
 * All have Python's names, and those by which std::lock_guard, std::unique_lock, std::scoped_lock and
 * std::condition_variable_any know a lock (Lockable and TimedLockable). Python: `with x:` is
 * `std::lock_guard guard(x);`.
 */
template <class Object, class Calls>
class lockable : public object<Object, Calls> {
public:
    using object<Object, Calls>::object;

    /**
     * Acquires it, and waits as long as that is impossible.
     *
     * Throws: error with errc::no_memory (the thread has never waited before, and there is no memory for its
     * record); errc::overflow (an RLock that the caller holds 2^32 times; a semaphore for which 2^25 - 1
     * threads wait). Blocks: until it is acquired. Thread safety: any thread. Python: `x.acquire()`.
     */
    void acquire() { detail::check(Calls::acquire(this->native_handle())); }

    /**
     * Acquires it if that is possible at once.
     *
     * \return true when the caller has it; false when it is taken
     *
     * Throws: error with errc::overflow as acquire(). Blocks: never. Thread safety: any thread. Python:
     * `x.acquire(blocking=False)`.
     */
    [[nodiscard]] bool try_acquire()
    {
        return detail::check(Calls::try_acquire(this->native_handle())) == THREADING_OK;
    }

    /**
     * Acquires it, and waits for it no longer than the given time.
     *
     * \param time how long to wait at most; zero tries once
     * \return true when the caller has it; false when the time ran out
     *
     * Throws: error with errc::no_memory, errc::overflow as acquire(); errc::value (NaN). Blocks: until it is
     * acquired, or the time runs out. Thread safety: any thread. Python: `x.acquire(timeout=time)`.
     */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(const std::chrono::duration<Rep, Period> &time)
    {
        return acquire_timeout(detail::to_seconds(time));
    }

    /**
     * Acquires it, and waits for it no longer than until the given moment.
     *
     * \param moment until when to wait; one that has passed tries once
     * \return true when the caller has it; false when the moment came before
     *
     * Throws: as try_acquire_for(). Blocks: until it is acquired, or the moment comes. Thread safety: any
     * thread. Python: none.
     */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration> &moment)
    {
        return detail::wait_until(moment, [this](double left) { return acquire_timeout(left); });
    }

    /**
     * Gives it back, one level of an RLock.
     *
     * Throws: error with errc::not_acquired (a Lock that nobody holds); errc::not_owner (an RLock that is not
     * the caller's); errc::over_released (a BoundedSemaphore that has its first value); errc::overflow (a
     * semaphore that has the highest value). Blocks: never. Thread safety: any thread, of an RLock its owner.
     * Python: `x.release()`.
     */
    void release() { detail::check(Calls::release(this->native_handle())); }

    /** The same as acquire(), for the standard's guards. */
    void lock() { acquire(); }

    /** The same as try_acquire(), for the standard's guards. */
    [[nodiscard]] bool try_lock() { return try_acquire(); }

    /** The same as try_acquire_for(), for the standard's guards. */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period> &time)
    {
        return try_acquire_for(time);
    }

    /** The same as try_acquire_until(), for the standard's guards. */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration> &moment)
    {
        return try_acquire_until(moment);
    }

    /**
     * The same as release(), for the standard's guards, whose destructors may not throw: an error is told to
     * the excepthook. So a lock that was released inside of a guard's scope is heard of, and ends nothing.
     */
    void unlock() noexcept
    {
        if (Calls::release(this->native_handle()) < 0)
            (void)threading_report_exception("threading::error", threading_last_error_message());
    }

private:
    bool acquire_timeout(double left)
    {
        return detail::check(Calls::acquire_timeout(this->native_handle(), left)) == THREADING_OK;
    }
};

/* ---- what a thread, a timer and an exit call ---- */

/* A callable and its arguments, moved off the caller's hands. */
template <class... Values>
struct invocation {
    std::tuple<Values...> values;

    template <class... Given>
    explicit invocation(Given &&...given) : values(std::forward<Given>(given)...)
    {
    }

    void call()
    {
        detail::reporting([this] {
            std::apply([](auto &&...all) { (void)std::invoke(std::forward<decltype(all)>(all)...); },
                       std::move(values));
        });
    }

    static void *run(void *arg)
    {
        static_cast<invocation *>(arg)->call();
        return nullptr;
    }

    static void destroy(void *arg) noexcept { delete static_cast<invocation *>(arg); }
};

template <class Function, class... Arguments>
using invocation_of = invocation<std::decay_t<Function>, std::decay_t<Arguments>...>;

/* A function that is there; a null pointer to one is an argument out of its range. */
template <class Function>
void check_callable(const Function &function)
{
    if constexpr (std::is_pointer_v<Function> || std::is_member_pointer_v<Function>) {
        if (function == nullptr)
            detail::raise(errc::value, "there is no function to call");
    }
}

template <class Function, class... Arguments>
std::unique_ptr<invocation_of<Function, Arguments...>> make_invocation(Function &&function, Arguments &&...arguments)
{
    detail::check_callable<std::decay_t<Function>>(function);
    return std::make_unique<invocation_of<Function, Arguments...>>(std::forward<Function>(function),
                                                                   std::forward<Arguments>(arguments)...);
}

/* From now on the thread destroys its argument. */
template <class Invocation>
void hand_over(std::unique_ptr<Invocation> &invocation, threading_thread *thread)
{
    detail::check(threading_thread_set_arg_destructor(thread, Invocation::destroy));
    (void)invocation.release();
}

/* C functions get a pointer to a user's type as void *. For a call with another pointer, the compiler would search
   the namespaces of the user's types, and would have to complete these types (argument-dependent lookup). */
template <class Invocation>
threading_thread *make_thread(std::unique_ptr<Invocation> invocation)
{
    void *arg = invocation.get();
    owner<thread_calls> thread(detail::check(threading_thread_new(Invocation::run, arg)));
    detail::hand_over(invocation, thread.get());
    return thread.release();
}

template <class Invocation>
threading_timer *make_timer(double interval, std::unique_ptr<Invocation> invocation)
{
    void *arg = invocation.get();
    owner<timer_calls> timer(detail::check(threading_timer_new(interval, Invocation::run, arg)));
    detail::hand_over(invocation, threading_timer_thread(timer.get()));
    return timer.release();
}

} // namespace detail

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Threads
 */

class ThreadRef;

/**
 * What one can ask of a thread, and do with it, whoever keeps it.
 */
class ThreadBase : public detail::object<ThreadRef, detail::thread_calls> {
public:
    using object::object;

    /**
     * Starts the thread, once. When it returns, the thread is alive and enumerated, and has its name and ident.
     *
     * Throws: error with errc::already_started; errc::shutdown (after shutdown()); errc::system,
     * errc::no_memory (it may be tried again). Blocks: never. Thread safety: any thread. Python:
     * `thread.start()`.
     */
    void start() { detail::check(threading_thread_start(native_handle())); }

    /**
     * Waits until the thread has ended, the destructors of its callable, of its locals and of its thread_local
     * variables included. It may be called any number of times, and by any number of threads.
     *
     * Throws: error with errc::not_started; errc::deadlock (the thread is the caller); errc::not_joinable (a
     * dummy thread). Blocks: until the thread has ended. Thread safety: any thread but this one. Python:
     * `thread.join()`.
     */
    void join() const { detail::check(threading_thread_join(native_handle())); }

    /**
     * Waits until the thread has ended, no longer than the given time.
     *
     * \param time how long to wait at most; zero looks once
     * \return true when it has ended; false when the time ran out
     *
     * Throws: as join(); error with errc::value (NaN). Blocks: until the thread has ended, or the time runs
     * out. Thread safety: any thread but this one. Python: `thread.join(time)`, then `not thread.is_alive()`.
     */
    template <class Rep, class Period>
    bool join_for(const std::chrono::duration<Rep, Period> &time) const
    {
        return join_timeout(detail::to_seconds(time));
    }

    /**
     * Waits until the thread has ended, no longer than until the given moment.
     *
     * \param moment until when to wait; one that has passed looks once
     * \return true when it has ended; false when the moment came before
     *
     * Throws: as join_for(). Blocks: until the thread has ended, or the moment comes. Thread safety: any
     * thread but this one. Python: none.
     */
    template <class Clock, class Duration>
    bool join_until(const std::chrono::time_point<Clock, Duration> &moment) const
    {
        return detail::wait_until(moment, [this](double left) { return join_timeout(left); });
    }

    /**
     * Tells whether the thread has been started and has not ended.
     *
     * Blocks: never. Thread safety: any thread. Python: `thread.is_alive()`.
     */
    [[nodiscard]] bool is_alive() const noexcept { return threading_thread_is_alive(native_handle()); }

    /**
     * Tells the thread's name: the one that it was given, or else `Thread-N`, `Dummy-N` or `MainThread`.
     *
     * Throws: error with errc::no_memory; std::bad_alloc. Blocks: never. Thread safety: any thread. Python:
     * `thread.name`.
     */
    [[nodiscard]] std::string name() const { return detail::check(threading_thread_name(native_handle())); }

    /**
     * Names the thread, at any time. The system's tools show 15 bytes of it.
     *
     * \param name the name, in UTF-8, up to its first zero byte
     *
     * Throws: error with errc::value (nullptr, or no UTF-8); errc::no_memory. Blocks: never. Thread safety:
     * any thread. Python: `thread.name = name`.
     */
    void set_name(const char *name) { detail::check(threading_thread_set_name(native_handle(), name)); }

    /** The same with a string. */
    void set_name(const std::string &name) { set_name(name.c_str()); }

    /**
     * Tells whether the thread is a daemon, for which the process's exit does not wait.
     *
     * Blocks: never. Thread safety: any thread. Python: `thread.daemon`.
     */
    [[nodiscard]] bool daemon() const noexcept { return threading_thread_is_daemon(native_handle()); }

    /**
     * Makes the thread a daemon, or not. Before start only. If nobody says it, it is what its creator is.
     *
     * Throws: error with errc::already_started. Blocks: never. Thread safety: any thread. Python:
     * `thread.daemon = daemon`.
     */
    void set_daemon(bool daemon) { detail::check(threading_thread_set_daemon(native_handle(), daemon ? 1 : 0)); }

    /**
     * Sets the size of the thread's stack. Before start only; a timer has no stack of its own.
     *
     * \param bytes the size, at least 32768; 0 is that of threading::set_stack_size()
     *
     * Throws: error with errc::value (too small); errc::already_started. Blocks: never. Thread safety: any
     * thread. Python: none.
     */
    void set_stack_size(std::size_t bytes)
    {
        detail::check(threading_thread_set_stack_size(native_handle(), bytes));
    }

    /**
     * Tells the thread's number, which no other thread of the process ever gets; 0 before start.
     *
     * Blocks: never. Thread safety: any thread. Python: `thread.ident`.
     */
    [[nodiscard]] std::uint64_t ident() const noexcept { return threading_thread_ident(native_handle()); }

    /**
     * Tells the kernel's number of the thread; 0 before start, and of a timer before its function runs.
     *
     * Blocks: right after start, until the thread has begun. Thread safety: any thread. Python:
     * `thread.native_id`.
     */
    [[nodiscard]] std::uint64_t native_id() const noexcept { return threading_thread_native_id(native_handle()); }

protected:
    ThreadBase() noexcept = default;
    ThreadBase(ThreadBase &&) noexcept = default;
    ThreadBase &operator=(ThreadBase &&) noexcept = default;
    ~ThreadBase() = default;

private:
    bool join_timeout(double left) const
    {
        return detail::check(threading_thread_join_timeout(native_handle(), left)) == THREADING_OK;
    }
};

/**
 * A reference to a thread that somebody else looks after: the current one, main, one of a list. It may be
 * copied, and its end joins nobody. Python: a name for a `threading.Thread`.
 */
class ThreadRef : public ThreadBase {
public:
    using ThreadBase::ThreadBase;

    /** A reference to no thread. */
    ThreadRef() noexcept = default;

    /**
     * One more reference to the same thread, also to that of a Thread or a Timer.
     *
     * Throws: error with errc::overflow (too many references). Blocks: never. Thread safety: any thread.
     */
    ThreadRef(const ThreadBase &other) : ThreadRef(other ? ThreadRef(ref_handle, other.native_handle()) : ThreadRef())
    {
    }
    ThreadRef(const ThreadRef &other) : ThreadRef(static_cast<const ThreadBase &>(other)) {}
    ThreadRef(ThreadRef &&) noexcept = default;
    ThreadRef &operator=(const ThreadRef &other) { return *this = ThreadRef(other); }
    ThreadRef &operator=(ThreadRef &&) noexcept = default;
    ~ThreadRef() = default;
};

/**
 * A thread that calls a function. Python: `threading.Thread`.
 *
 * It is made, set up (name, daemon flag, stack size), and then started, as in Python.
 *
 * The end of a Thread: its destructor waits for the thread, as std::jthread's does, if it has been started and
 * is no daemon; a daemon, and a thread that destroys its own Thread, is let go. Python's process waits at its
 * exit for the same threads. Here the end of the scope waits, since what a callable refers to often ends there
 * too: a thread that is no daemon may refer to whatever was there before its Thread. It does not stop the
 * thread: tell it to end before, by an Event for example. Assignment ends the former thread likewise. detach()
 * lets a thread go; then it is the process's exit that waits for it. A thread that was never started ends with
 * its Thread, and its callable is destroyed uncalled.
 *
 * The callable and its arguments are copied or moved into the thread, as by std::thread (std::ref() passes a
 * reference), called once, and destroyed in the thread, before a join returns. What it returns is dropped: hand
 * over a std::packaged_task, which is a callable, where its std::future should have the result or the
 * exception. An exception that leaves the callable ends the thread, not the process: the excepthook is told,
 * as in Python. Where Python subclasses Thread and overrides run(), C++ hands over an object that can be
 * called.
 */
class Thread : public ThreadBase {
public:
    using ThreadBase::ThreadBase;

    /** No thread: to be assigned to. Calls on it throw errc::handle. */
    Thread() noexcept = default;

    /**
     * Makes a thread that will call std::invoke(function, arguments...). It is not started.
     *
     * \param function what to call
     * \param arguments what to call it with
     *
     * Throws: error with errc::value (a null pointer to a function), errc::no_memory; std::bad_alloc; what
     * copying throws. Blocks: never. Thread safety: any thread. Python:
     * `threading.Thread(target=function, args=arguments)`.
     */
    template <class Function, class... Arguments,
              class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function>, std::decay_t<Arguments>...>>>
    explicit Thread(Function &&function, Arguments &&...arguments)
        : Thread(adopt_handle, detail::make_thread(detail::make_invocation(std::forward<Function>(function),
                                                                           std::forward<Arguments>(arguments)...)))
    {
    }

    /**
     * Makes a thread and starts it, as the constructor of std::jthread does. Otherwise as the constructor and
     * start().
     */
    template <class Function, class... Arguments>
    [[nodiscard]] static Thread started(Function &&function, Arguments &&...arguments)
    {
        Thread thread(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
        thread.start();
        return thread;
    }

    Thread(Thread &&) noexcept = default;

    /** Ends the former thread as the destructor does. Blocks: as that. */
    Thread &operator=(Thread &&other) noexcept
    {
        if (this != &other) {
            wait_at_end();
            ThreadBase::operator=(std::move(other));
        }
        return *this;
    }

    /** Blocks: until the thread has ended, if it has been started and is no daemon; see above. */
    ~Thread() { wait_at_end(); }

    /**
     * Lets the thread go on without this object, which is empty then. The process's exit waits for it, unless
     * it is a daemon. To be able to join it later, keep a ref().
     *
     * Blocks: never. Thread safety: as assignment. Python: `del thread`.
     */
    void detach() noexcept { reset(); }

private:
    void wait_at_end() noexcept
    {
        if (*this && ident() != 0 && !daemon())
            (void)threading_thread_join(native_handle());
    }
};

/**
 * A Thread whose function runs after a delay, unless it is cancelled before. Python: `threading.Timer`.
 *
 * It waits without a system thread of its own. A pending timer is alive, and enumerated.
 *
 * The end of a Timer: its destructor cancels the timer, as std::jthread's destructor asks its thread to stop. A pending
 * timer never calls its function then. If the function has begun, the destructor waits until it has returned, as
 * Thread's destructor does, unless the timer is a daemon or the function itself calls the destructor. Assignment ends
 * the former timer likewise. detach() leaves a timer pending; the process's exit then waits until its function has run,
 * unless the timer is a daemon. To wait for the function at the end of a scope, join() the timer there.
 */
class Timer : public Thread {
public:
    /** No timer: to be assigned to. Calls on it throw errc::handle. */
    Timer() noexcept = default;

    /**
     * Makes a timer that will call std::invoke(function, arguments...) so long after its start. It is not
     * started.
     *
     * \param interval the time from start to call; zero and below calls at once, max() and infinity never
     * \param function what to call
     * \param arguments what to call it with
     *
     * Throws: error with errc::value (NaN, or a null pointer to a function), errc::no_memory; std::bad_alloc;
     * what copying throws. Blocks: never. Thread safety: any thread. Python:
     * `threading.Timer(interval, function, args=arguments)`.
     */
    template <class Rep, class Period, class Function, class... Arguments,
              class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function>, std::decay_t<Arguments>...>>>
    explicit Timer(const std::chrono::duration<Rep, Period> &interval, Function &&function, Arguments &&...arguments)
        : Timer(adopt_handle,
                detail::make_timer(interval_seconds(interval),
                                   detail::make_invocation(std::forward<Function>(function),
                                                           std::forward<Arguments>(arguments)...)))
    {
    }

    /** Takes over a reference to a timer that C has made; as the constructors of the other classes. */
    Timer(adopt_handle_t, threading_timer *handle) : Timer(owner(detail::check(handle))) {}

    /** Takes one more reference to a timer; as the constructors of the other classes. */
    Timer(ref_handle_t, threading_timer *handle) : Timer(owner(detail::check(threading_timer_ref(handle)))) {}

    Timer(Timer &&) noexcept = default;

    /** Ends the former timer as the destructor does. Blocks: as that. */
    Timer &operator=(Timer &&other) noexcept
    {
        if (this != &other) {
            cancel_at_end();
            Thread::operator=(std::move(other));
            timer_ = std::move(other.timer_);
        }
        return *this;
    }

    /** Cancels the timer. Blocks: until the function has returned, if it has begun and the timer is no daemon; see above. */
    ~Timer() { cancel_at_end(); }

    /**
     * Sees to it that the function will never run. A pending timer ends by it, and its callable is destroyed
     * here.
     *
     * \return true when the function will never run, by this or an earlier cancel; false when it has begun
     *
     * Throws: nothing of its own. Blocks: never; join() waits for a function that has begun. Thread safety: any
     * thread, the timer's function included. Python: `timer.cancel()`.
     */
    bool cancel() { return detail::check(threading_timer_cancel(native_timer_handle())) == THREADING_OK; }

    /**
     * Leaves the timer as it is, pending or running, and empties this object. The process's exit waits for the timer,
     * unless it is a daemon. To be able to join it later, keep a ref().
     *
     * Blocks: never. Thread safety: as assignment. Python: `del timer`.
     */
    void detach() noexcept
    {
        Thread::detach();
        timer_ = owner();
    }

    /**
     * Tells the interval, in seconds; 0 if it was below, infinity if it never calls.
     *
     * Blocks: never. Thread safety: any thread. Python: `timer.interval`.
     */
    [[nodiscard]] std::chrono::duration<double> interval() const noexcept
    {
        return std::chrono::duration<double>(threading_timer_interval(native_timer_handle()));
    }

    /**
     * Tells the timer's handle in C, borrowed; native_handle() is that of the thread that it is.
     *
     * Blocks: never. Thread safety: any thread. Python: none.
     */
    [[nodiscard]] threading_timer *native_timer_handle() const noexcept { return timer_.get(); }

private:
    using owner = detail::owner<detail::timer_calls>;

    explicit Timer(owner &&timer) : Thread(ref_handle, threading_timer_thread(timer.get())), timer_(std::move(timer)) {}

    template <class Rep, class Period>
    static double interval_seconds(const std::chrono::duration<Rep, Period> &interval) noexcept
    {
        const double value = detail::to_seconds(interval);
        return value < 0 ? std::numeric_limits<double>::infinity() : value;
    }

    // Does not wait for a timer that it has cancelled: cancel() destroys the callable, whose destructor may destroy this
    // object. For a function that has begun, Thread's destructor or assignment waits. A timer that was moved into a Thread
    // stays pending.
    void cancel_at_end() noexcept
    {
        if (*this && ident() != 0 && threading_timer_cancel(native_timer_handle()) == THREADING_OK)
            detach();
    }

    owner timer_{};
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * The module's functions
 */

/**
 * Tells which thread calls; in a timer's function it is the timer. A thread that the library did not start
 * becomes a `Dummy-N` by its first call.
 *
 * Throws: error with errc::no_memory, errc::system, errc::shutdown (such a thread asks in the very last of its
 * destructors). Blocks: never. Thread safety: any thread. Python: `threading.current_thread()`.
 */
[[nodiscard]] inline ThreadRef current_thread()
{
    return ThreadRef(ref_handle, detail::check(threading_current_thread()));
}

/**
 * Tells the main thread: the first of the process, or in a child of fork the one that forked.
 *
 * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
 * `threading.main_thread()`.
 */
[[nodiscard]] inline ThreadRef main_thread()
{
    return ThreadRef(ref_handle, detail::check(threading_main_thread()));
}

/**
 * Tells how many threads are alive: what enumerate() would list.
 *
 * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
 * `threading.active_count()`.
 */
[[nodiscard]] inline std::size_t active_count()
{
    const std::size_t count = threading_active_count();
    if (count == 0)
        detail::fail(threading_last_error());
    return count;
}

/**
 * Lists the threads that are alive: main, then the others in the order of their start; daemons, pending timers
 * and dummies too.
 *
 * Throws: error with errc::no_memory; std::bad_alloc. Blocks: never. Thread safety: any thread. Python:
 * `threading.enumerate()`.
 */
[[nodiscard]] inline std::vector<ThreadRef> enumerate()
{
    const std::unique_ptr<threading_thread_list, threading_status (*)(threading_thread_list *)> list(
        detail::check(threading_enumerate()), threading_thread_list_free);
    const std::size_t count = threading_thread_list_len(list.get());
    std::vector<ThreadRef> threads;
    threads.reserve(count);
    for (std::size_t i = 0; i < count; i++)
        threads.emplace_back(ref_handle, threading_thread_list_get(list.get(), i));
    return threads;
}

/**
 * Tells the number of the thread, or timer, that calls. It is never 0, and never used again.
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.get_ident()`.
 */
[[nodiscard]] inline std::uint64_t get_ident() noexcept
{
    return threading_get_ident();
}

/**
 * Tells the kernel's number of the system thread that calls.
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.get_native_id()`.
 */
[[nodiscard]] inline std::uint64_t get_native_id() noexcept
{
    return threading_get_native_id();
}

/**
 * Tells the size in bytes of the stacks of threads that are started from now on; 0 is the system's default.
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.stack_size()`.
 */
[[nodiscard]] inline std::size_t stack_size() noexcept
{
    return threading_stack_size();
}

/**
 * Sets the size of the stacks of threads that are started from now on.
 *
 * \param bytes the size, at least 32768; 0 is the system's default
 *
 * Throws: error with errc::value (too small). Blocks: never. Thread safety: any thread. Python:
 * `threading.stack_size(bytes)`.
 */
inline void set_stack_size(std::size_t bytes)
{
    detail::check(threading_set_stack_size(bytes));
}

/**
 * Lets the calling thread sleep. No signal shortens it.
 *
 * \param time how long; zero returns at once, max() never
 *
 * Throws: error with errc::value (NaN). Blocks: for so long. Thread safety: any thread. Python:
 * `time.sleep(time)`.
 */
template <class Rep, class Period>
void sleep(const std::chrono::duration<Rep, Period> &time)
{
    detail::check(threading_sleep(detail::to_seconds(time)));
}

/**
 * Lets the calling thread sleep until the given moment.
 *
 * \param moment until when; one that has passed returns at once
 *
 * Throws: error with errc::value (NaN). Blocks: until then. Thread safety: any thread. Python: none.
 */
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration> &moment)
{
    (void)detail::wait_until(moment, [](double left) {
        detail::check(threading_sleep(left));
        return false;
    });
}

/**
 * Has a function called when the process leaves, before its threads are waited for, the last one first.
 *
 * An exception that leaves it is told to the excepthook.
 *
 * \param function what to call
 * \param arguments what to call it with
 *
 * Throws: error with errc::value (a null pointer to a function); errc::shutdown (that has begun);
 * errc::no_memory; std::bad_alloc. Blocks: never. Thread safety: any thread. Python:
 * `threading._register_atexit(function, *arguments)`.
 */
template <class Function, class... Arguments,
          class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function>, std::decay_t<Arguments>...>>>
void atexit(Function &&function, Arguments &&...arguments)
{
    using invocation = detail::invocation_of<Function, Arguments...>;
    auto call = detail::make_invocation(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
    void *arg = call.get();
    detail::check(threading_atexit(
        [](void *given) {
            const std::unique_ptr<invocation> owned(static_cast<invocation *>(given));
            owned->call();
        },
        arg));
    (void)call.release();
}

/**
 * Does now what exit() does first: calls the functions of atexit(), and joins all threads that are no daemons.
 * Nothing can be started any more afterwards.
 *
 * Throws: nothing of its own. Blocks: until the last thread that is no daemon has ended. Thread safety: any
 * thread. Python: `threading._shutdown()`.
 */
inline void shutdown()
{
    detail::check(threading_shutdown());
}

/**
 * Does as shutdown(), and waits for the threads no longer than the given time.
 *
 * \param time how long to wait at most; zero looks once
 * \return true when all have ended; false when the time ran out: threads can still be started then
 *
 * Throws: error with errc::value (NaN). Blocks: until the last thread that is no daemon has ended, or the time
 * runs out. Thread safety: any thread. Python: none.
 */
template <class Rep, class Period>
bool shutdown_for(const std::chrono::duration<Rep, Period> &time)
{
    return detail::check(threading_shutdown_timeout(detail::to_seconds(time))) == THREADING_OK;
}

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Locks
 */

/**
 * A lock that one caller holds at a time, and that any thread may release. Python: `threading.Lock`.
 *
 * acquire(), try_acquire(), release() and their like are those of detail::lockable above.
 */
class Lock : public detail::lockable<Lock, detail::lock_calls> {
public:
    using lockable::lockable;

    /**
     * Makes a lock that nobody holds.
     *
     * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
     * `threading.Lock()`.
     */
    Lock() : lockable(adopt_handle, threading_lock_new()) {}

    /**
     * Tells whether somebody holds the lock, at this moment.
     *
     * Blocks: never. Thread safety: any thread. Python: `lock.locked()`.
     */
    [[nodiscard]] bool locked() const noexcept { return threading_lock_locked(native_handle()); }

    /**
     * Makes the lock as new, for a child process, where whoever held it may not exist.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: meant for the only thread of a child of fork.
     * Python: `lock._at_fork_reinit()`.
     */
    void at_fork_reinit() { detail::check(threading_lock_at_fork_reinit(native_handle())); }
};

/**
 * A lock that its owner may take again, and has to release as often. Python: `threading.RLock`.
 *
 * acquire(), try_acquire(), release() and their like are those of detail::lockable above.
 */
class RLock : public detail::lockable<RLock, detail::rlock_calls> {
public:
    using lockable::lockable;

    /**
     * Makes a re-entrant lock that nobody holds.
     *
     * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
     * `threading.RLock()`.
     */
    RLock() : lockable(adopt_handle, threading_rlock_new()) {}

    /**
     * Tells whether somebody holds the lock, at this moment.
     *
     * Blocks: never. Thread safety: any thread. Python: `rlock.locked()` (3.14).
     */
    [[nodiscard]] bool locked() const noexcept { return threading_rlock_locked(native_handle()); }

    /**
     * Tells whether the caller holds the lock.
     *
     * Blocks: never. Thread safety: any thread. Python: `rlock._is_owned()`.
     */
    [[nodiscard]] bool is_owned() const noexcept { return threading_rlock_is_owned(native_handle()); }

    /**
     * Tells how many releases the caller owes the lock; 0 when it is not the caller's.
     *
     * Blocks: never. Thread safety: any thread. Python: `rlock._recursion_count()`.
     */
    [[nodiscard]] std::size_t recursion_count() const noexcept
    {
        return threading_rlock_recursion_count(native_handle());
    }

    /**
     * Makes the lock as new, for a child process, where whoever held it may not exist.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: meant for the only thread of a child of fork.
     * Python: `rlock._at_fork_reinit()`.
     */
    void at_fork_reinit() { detail::check(threading_rlock_at_fork_reinit(native_handle())); }
};

/**
 * A lock together with a line of threads that wait to be notified. Python: `threading.Condition`.
 *
 * Whoever waits or notifies holds the lock: std::lock_guard guard(condition) takes it, and no wait names the
 * guard, since the condition knows its lock. A wait gives the lock up, an RLock on all its levels, and has it
 * back when it returns or throws. Waiters are notified in the order in which they came; no wait returns without
 * a notify before its time, and no notify is lost to one whose time ran out.
 *
 * acquire(), try_acquire(), release() and their like, of the condition's lock, are those of detail::lockable.
 */
class Condition : public detail::lockable<Condition, detail::condition_calls> {
public:
    using lockable::lockable;

    /**
     * Makes a condition over an RLock of its own.
     *
     * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
     * `threading.Condition()`.
     */
    Condition() : lockable(adopt_handle, threading_condition_new()) {}

    /**
     * Makes a condition over a lock that the condition keeps alive. Several conditions may share one.
     *
     * Throws: error with errc::no_memory, errc::overflow (too many references to the lock). Blocks: never.
     * Thread safety: any thread. Python: `threading.Condition(lock)`.
     */
    explicit Condition(Lock &lock) : lockable(adopt_handle, threading_condition_new_with_lock(lock.native_handle())) {}

    /** The same over an RLock. */
    explicit Condition(RLock &rlock)
        : lockable(adopt_handle, threading_condition_new_with_rlock(rlock.native_handle()))
    {
    }

    /**
     * Tells whether somebody holds the condition's lock, at this moment.
     *
     * Blocks: never. Thread safety: any thread. Python: `condition.locked()` (3.14).
     */
    [[nodiscard]] bool locked() const noexcept { return threading_condition_locked(native_handle()); }

    /**
     * Tells whether the caller may wait and notify: whether it owns the RLock, or, over a Lock, whether anybody
     * holds that.
     *
     * Blocks: never. Thread safety: any thread. Python: `condition._is_owned()`.
     */
    [[nodiscard]] bool is_owned() const noexcept { return threading_condition_is_owned(native_handle()); }

    /**
     * Gives the lock up, waits for a notify, and takes the lock again. Another thread may have been faster:
     * whoever waits for a state looks again, or hands over a predicate.
     *
     * Throws: error with errc::not_owner (the lock is not held); errc::no_memory (the thread has never waited
     * before, and there is no memory for its record). Blocks: until it is notified, and then until the lock is
     * free. Thread safety: any thread that holds the lock. Python: `condition.wait()`.
     */
    void wait() { detail::check(threading_condition_wait(native_handle())); }

    /**
     * Waits until the predicate says yes. It is asked first of all, and after each notify, with the lock held.
     *
     * \param predicate what to ask, without arguments; what it throws, this throws, the lock held
     *
     * Throws: as wait(), and what the predicate throws. Blocks: until the predicate says yes. Thread safety:
     * any thread that holds the lock. Python: `condition.wait_for(predicate)`.
     */
    template <class Predicate>
    void wait(Predicate predicate)
    {
        (void)ask(predicate, THREADING_FOREVER);
    }

    /**
     * Gives the lock up, waits for a notify no longer than the given time, and takes the lock again.
     *
     * \param time how long to wait at most, not counting the wait for the lock
     * \return true when it was notified; false when the time ran out before
     *
     * Throws: as wait(); error with errc::value (NaN). Blocks: until it is notified, or the time runs out, and
     * then until the lock is free. Thread safety: any thread that holds the lock. Python:
     * `condition.wait(time)`.
     */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period> &time)
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /**
     * Waits until the predicate says yes, no longer than the given time, after which it is asked once more.
     *
     * \param time how long to wait at most, not counting the wait for the lock
     * \param predicate what to ask; what it throws, this throws, the lock held
     * \return true when the predicate said yes; false when the time ran out and it still says no
     *
     * Throws: as wait(), and what the predicate throws; error with errc::value (NaN). Blocks: until the
     * predicate says yes, or the time runs out. Thread safety: any thread that holds the lock. Python:
     * `condition.wait_for(predicate, time)`.
     */
    template <class Rep, class Period, class Predicate>
    [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period> &time, Predicate predicate)
    {
        return ask(predicate, detail::to_seconds(time));
    }

    /** As wait_for(), until the given moment. Python: none. */
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration> &moment)
    {
        return detail::wait_until(moment, [this](double left) { return wait_timeout(left); });
    }

    /** As wait_for() with a predicate, until the given moment. Python: none. */
    template <class Clock, class Duration, class Predicate>
    [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration> &moment, Predicate predicate)
    {
        return detail::wait_until(moment, [this, &predicate](double left) { return ask(predicate, left); });
    }

    /**
     * Notifies up to n waiters, the longest waiting first.
     *
     * \param n how many; zero and below notify nobody
     *
     * Throws: error with errc::not_owner (the lock is not held). Blocks: never. Thread safety: any thread that
     * holds the lock. Python: `condition.notify(n)`.
     */
    void notify(std::int64_t n = 1) { detail::check(threading_condition_notify(native_handle(), n)); }

    /** The same as notify(1), by the standard's name. */
    void notify_one() { notify(); }

    /**
     * Notifies all who wait at this moment.
     *
     * Throws: error with errc::not_owner (the lock is not held). Blocks: never. Thread safety: any thread that
     * holds the lock. Python: `condition.notify_all()`.
     */
    void notify_all() { detail::check(threading_condition_notify_all(native_handle())); }

    /**
     * Makes the condition's lock as new, for a child process, where whoever held it may not exist.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: meant for the only thread of a child of fork.
     * Python: `condition._at_fork_reinit()`.
     */
    void at_fork_reinit() { detail::check(threading_condition_at_fork_reinit(native_handle())); }

private:
    template <class Predicate>
    struct question {
        Predicate &predicate;
        std::exception_ptr failure;

        static int ask(void *arg)
        {
            auto &self = *static_cast<question *>(arg);
            return detail::carrying(self.failure, [&self] { return self.predicate() ? 1 : 0; });
        }
    };

    template <class Predicate>
    bool ask(Predicate &predicate, double left)
    {
        question<Predicate> asked{predicate, nullptr};
        void *arg = std::addressof(asked);
        const threading_status status =
            threading_condition_wait_for_timeout(native_handle(), question<Predicate>::ask, arg, left);
        if (asked.failure != nullptr)
            std::rethrow_exception(std::move(asked.failure));
        return detail::check(status) == THREADING_OK;
    }

    bool wait_timeout(double left)
    {
        return detail::check(threading_condition_wait_timeout(native_handle(), left)) == THREADING_OK;
    }
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Semaphores, events, barriers
 */

/**
 * A counter that is never below zero, with the names of std::counting_semaphore. Python:
 * `threading.Semaphore`.
 *
 * acquire(), try_acquire() and their like are those of detail::lockable above, and so are lock() and unlock(),
 * by which a std::lock_guard takes one and gives it back. release() may be called from a signal handler.
 */
class Semaphore : public detail::lockable<Semaphore, detail::semaphore_calls> {
public:
    using lockable::lockable;

    /**
     * Makes a semaphore.
     *
     * \param value how many can be taken at first, from 0 to max()
     *
     * Throws: error with errc::value (below 0), errc::overflow (above max()), errc::no_memory. Blocks: never.
     * Thread safety: any thread. Python: `threading.Semaphore(value)`.
     */
    explicit Semaphore(std::ptrdiff_t value = 1) : lockable(adopt_handle, threading_semaphore_new(value)) {}

    /** The highest value. */
    [[nodiscard]] static constexpr std::ptrdiff_t(max)() noexcept { return THREADING_SEMAPHORE_MAX; }

    /**
     * Gives n back, and lets as many waiters go on: all n, or after an error none.
     *
     * \param n how many, at least 1
     *
     * Throws: error with errc::value (below 1); errc::over_released (a BoundedSemaphore's first value would be
     * exceeded); errc::overflow (max() would be). Blocks: never. Thread safety: any thread, and signal
     * handlers. Python: `semaphore.release(n)`.
     */
    void release(std::ptrdiff_t n = 1)
    {
        detail::check(n == 1 ? threading_semaphore_release(native_handle())
                             : threading_semaphore_release_n(native_handle(), n));
    }

    /**
     * Tells how many could be taken, at this moment.
     *
     * Blocks: never. Thread safety: any thread. Python: `semaphore._value`.
     */
    [[nodiscard]] std::ptrdiff_t value() const noexcept
    {
        return static_cast<std::ptrdiff_t>(threading_semaphore_value(native_handle()));
    }
};

/**
 * A Semaphore that refuses to be released above its first value. Python: `threading.BoundedSemaphore`.
 */
class BoundedSemaphore : public Semaphore {
public:
    using Semaphore::Semaphore;

    /**
     * Makes a bounded semaphore; as Semaphore's constructor.
     *
     * Python: `threading.BoundedSemaphore(value)`.
     */
    explicit BoundedSemaphore(std::ptrdiff_t value = 1)
        : Semaphore(adopt_handle, threading_semaphore_new_bounded(value))
    {
    }
};

/**
 * A flag to wait for; one that can be cleared, unlike a std::latch. Python: `threading.Event`.
 *
 * Setting it lets everybody go on who waits at that moment, even if it is cleared at once, and everybody who
 * comes later until it is cleared. set(), clear() and is_set() may be called from a signal handler.
 */
class Event : public detail::object<Event, detail::event_calls> {
public:
    using object::object;

    /**
     * Makes an event that is not set.
     *
     * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
     * `threading.Event()`.
     */
    Event() : object(adopt_handle, threading_event_new()) {}

    /**
     * Tells whether the event is set, at this moment.
     *
     * Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.is_set()`.
     */
    [[nodiscard]] bool is_set() const noexcept { return threading_event_is_set(native_handle()); }

    /**
     * Sets the event, and lets all go on that wait for it.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: any thread, and signal handlers. Python:
     * `event.set()`.
     */
    void set() { detail::check(threading_event_set(native_handle())); }

    /**
     * Clears the event: from now on it is waited for again.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: any thread, and signal handlers. Python:
     * `event.clear()`.
     */
    void clear() { detail::check(threading_event_clear(native_handle())); }

    /**
     * Waits until the event is set.
     *
     * Throws: nothing of its own. Blocks: until the event is set. Thread safety: any thread. Python:
     * `event.wait()`.
     */
    void wait() const { detail::check(threading_event_wait(native_handle())); }

    /** The same as is_set(), by the name that std::latch has for it. */
    [[nodiscard]] bool try_wait() const noexcept { return is_set(); }

    /**
     * Waits until the event is set, no longer than the given time.
     *
     * \param time how long to wait at most; zero looks once
     * \return true when it is set, or a set came meanwhile; false when the time ran out before
     *
     * Throws: error with errc::value (NaN). Blocks: until the event is set, or the time runs out. Thread
     * safety: any thread. Python: `event.wait(time)`.
     */
    template <class Rep, class Period>
    bool wait_for(const std::chrono::duration<Rep, Period> &time) const
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /** As wait_for(), until the given moment. Python: none. */
    template <class Clock, class Duration>
    bool wait_until(const std::chrono::time_point<Clock, Duration> &moment) const
    {
        return detail::wait_until(moment, [this](double left) { return wait_timeout(left); });
    }

    /**
     * Makes the event as new: not set. For a child process.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: meant for the only thread of a child of fork.
     * Python: `event._at_fork_reinit()`.
     */
    void at_fork_reinit() { detail::check(threading_event_at_fork_reinit(native_handle())); }

private:
    bool wait_timeout(double left) const
    {
        return detail::check(threading_event_wait_timeout(native_handle(), left)) == THREADING_OK;
    }
};

namespace detail {

/* What a barrier calls, and all Barriers of that barrier keep. The name of the class does not contain the
   callable's type, since std::shared_ptr calls functions by argument-dependent lookup. It has no virtual
   functions: -fsanitize=vptr reports their calls where one part of a program is compiled without RTTI. */
struct action {
    void (*call)(action &self);
    std::weak_ptr<action> own{}; // to become one more owner of it
    std::shared_ptr<action> self{}; // set if C code keeps the barrier, whose end no Barrier can see then

    static int run(void *arg);
};

template <class Function>
struct action_of : action {
    Function function;

    template <class Given>
    explicit action_of(Given &&given) : action{call_it}, function(std::forward<Given>(given))
    {
    }

    static void call_it(action &self) { (void)std::invoke(static_cast<action_of &>(self).function); }
    static void destroy(action *self) noexcept { delete static_cast<action_of *>(self); }
};

/* What left the last action that this thread has run. Its wait takes it as soon as C has returned. */
inline std::exception_ptr &action_failure() noexcept
{
    thread_local std::exception_ptr failure;
    return failure;
}

inline int action::run(void *arg)
{
    return detail::carrying(detail::action_failure(), [arg] {
        // The last Barrier may end inside of its own action.
        const auto kept = static_cast<action *>(arg)->own.lock();
        kept->call(*kept.get());
        return 0;
    });
}

} // namespace detail

/**
 * A place where a fixed number of threads, its parties, wait for each other, again and again. Python:
 * `threading.Barrier`.
 *
 * It breaks when a wait's time runs out, when its action throws, or by abort(): everybody in that round, and
 * everybody who comes later, gets a BrokenBarrierError, until reset().
 */
class Barrier : public detail::object<Barrier, detail::barrier_calls> {
public:
    using object::object;

    /**
     * Makes a barrier.
     *
     * \param parties how many threads have to arrive, at least 1
     *
     * Throws: error with errc::value (no parties), errc::no_memory. Blocks: never. Thread safety: any thread.
     * Python: `threading.Barrier(parties)`.
     */
    explicit Barrier(std::size_t parties) : object(adopt_handle, threading_barrier_new(parties, nullptr, nullptr)) {}

    /**
     * Makes a barrier with an action, which the last to arrive calls before anyone returns.
     *
     * The action is destroyed with the last Barrier object of this barrier; if C code still has a reference then,
     * never. What it throws, the wait of the thread that called it throws.
     *
     * \param parties how many threads have to arrive, at least 1
     * \param completion the action, called without arguments
     *
     * Throws: error with errc::value (no parties, or a null pointer to a function), errc::no_memory;
     * std::bad_alloc. Blocks: never. Thread safety: any thread. Python: `threading.Barrier(parties, completion)`.
     */
    template <class Action, class = std::enable_if_t<std::is_invocable_v<std::decay_t<Action> &>>>
    explicit Barrier(std::size_t parties, Action &&completion)
        : Barrier(parties, make_action(std::forward<Action>(completion)), 0)
    {
    }

    Barrier(Barrier &&) noexcept = default;
    Barrier &operator=(Barrier &&other) noexcept
    {
        if (this != &other) {
            end();
            object::operator=(std::move(other));
            action_ = std::move(other.action_);
        }
        return *this;
    }
    ~Barrier() { end(); }

    /** Makes one more owner of the same barrier, and of its action; as the other classes' ref(). */
    [[nodiscard]] Barrier ref() const
    {
        Barrier other(ref_handle, native_handle());
        other.action_ = action_;
        return other;
    }

    /**
     * Waits until all parties have arrived, no longer than the barrier's default timeout.
     *
     * \return the caller's place in the order of arrival, from 0 to parties - 1
     *
     * Throws: BrokenBarrierError (also when the time ran out, or by reset()); what the action throws, in the
     * thread that called it; error with errc::deadlock (inside of the action), errc::no_memory (the thread has
     * never waited before, and there is no memory for its record). Blocks: until all have arrived and the
     * action is done, or the barrier breaks. Thread safety: any thread. Python: `barrier.wait()`.
     */
    std::size_t wait()
    {
        std::size_t index = 0;
        finish(threading_barrier_wait(native_handle(), &index));
        return index;
    }

    /** The same as wait(), by the standard's name. */
    void arrive_and_wait() { (void)wait(); }

    /**
     * Waits until all parties have arrived, no longer than the given time. When it runs out, the barrier breaks
     * for all.
     *
     * \param time how long to wait at most, in place of the default timeout
     * \return as wait()
     *
     * Throws: as wait(); error with errc::value (NaN). Blocks: as wait(), or until the time runs out. Thread
     * safety: any thread. Python: `barrier.wait(time)`.
     */
    template <class Rep, class Period>
    std::size_t wait_for(const std::chrono::duration<Rep, Period> &time)
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /** As wait_for(), until the given moment, as the clock stands now. Python: none. */
    template <class Clock, class Duration>
    std::size_t wait_until(const std::chrono::time_point<Clock, Duration> &moment)
    {
        return wait_timeout(detail::seconds_until(moment));
    }

    /**
     * Sets the default timeout: that of wait(), which begins without a limit.
     *
     * \param time how long it waits at most; max() waits without a limit
     *
     * Throws: error with errc::value (NaN). Blocks: never. Thread safety: any thread. Python:
     * `threading.Barrier(parties, action, timeout=time)`.
     */
    template <class Rep, class Period>
    void set_timeout(const std::chrono::duration<Rep, Period> &time)
    {
        detail::check(threading_barrier_set_timeout(native_handle(), detail::to_seconds(time)));
    }

    /**
     * Empties the barrier, and mends it if it is broken. Threads that wait get a BrokenBarrierError.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: any thread, the action included. Python:
     * `barrier.reset()`.
     */
    void reset() { detail::check(threading_barrier_reset(native_handle())); }

    /**
     * Breaks the barrier, until it is reset. Threads that wait get a BrokenBarrierError.
     *
     * Throws: nothing of its own. Blocks: never. Thread safety: any thread, the action included. Python:
     * `barrier.abort()`.
     */
    void abort() { detail::check(threading_barrier_abort(native_handle())); }

    /**
     * Tells how many threads have to arrive.
     *
     * Blocks: never. Thread safety: any thread. Python: `barrier.parties`.
     */
    [[nodiscard]] std::size_t parties() const noexcept { return threading_barrier_parties(native_handle()); }

    /**
     * Tells how many threads of the round have arrived, at this moment; inside of the action all of them.
     *
     * Blocks: never. Thread safety: any thread. Python: `barrier.n_waiting`.
     */
    [[nodiscard]] std::size_t n_waiting() const noexcept { return threading_barrier_n_waiting(native_handle()); }

    /**
     * Tells whether the barrier is broken, at this moment.
     *
     * Blocks: never. Thread safety: any thread. Python: `barrier.broken`.
     */
    [[nodiscard]] bool broken() const noexcept { return threading_barrier_broken(native_handle()); }

private:
    template <class Action>
    static std::shared_ptr<detail::action> make_action(Action &&completion)
    {
        detail::check_callable<std::decay_t<Action>>(completion);
        using made = detail::action_of<std::decay_t<Action>>;
        detail::action *action = new made(std::forward<Action>(completion));
        std::shared_ptr<detail::action> owned(action, made::destroy);
        owned->own = owned;
        return owned;
    }

    // The int keeps it apart from the constructor that takes a callable.
    Barrier(std::size_t parties, std::shared_ptr<detail::action> completion, int)
        : object(adopt_handle, threading_barrier_new(parties, detail::action::run, completion.get())),
          action_(std::move(completion))
    {
    }

    void end() noexcept
    {
        const native_handle_type handle = native_handle();
        object::reset();
        if (!action_ || action_.use_count() > 1 || threading_barrier_ref(handle) == nullptr)
            return;
        (void)threading_barrier_free(handle);
        action_->self = action_;
    }

    std::size_t wait_timeout(double left)
    {
        std::size_t index = 0;
        finish(threading_barrier_wait_timeout(native_handle(), left, &index));
        return index;
    }

    static void finish(threading_status status)
    {
        if (status == THREADING_ERR_CALLBACK && detail::action_failure() != nullptr)
            std::rethrow_exception(std::exchange(detail::action_failure(), nullptr));
        detail::check(status);
    }

    std::shared_ptr<detail::action> action_{};
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Local
 */

namespace detail {

/* What makes a local's values: without the values' type in its name and without virtual functions, as action. */
struct factory {
    void *(*make)(factory &self);
};

template <class T, class Function>
struct factory_of : factory {
    Function function;

    template <class Given>
    explicit factory_of(Given &&given) : factory{make_it}, function(std::forward<Given>(given))
    {
    }

    static void *make_it(factory &self) { return new T(std::invoke(static_cast<factory_of &>(self).function)); }
    static void destroy(factory *self) noexcept { delete static_cast<factory_of *>(self); }
};

} // namespace detail

/**
 * A variable of which each thread has a value of its own, made at its first use there. Python:
 * `threading.local`, a subclass of it with `__init__()`.
 *
 * Unlike a thread_local variable it may be a member or a local variable, and each timer's function has a value
 * of its own. Values are destroyed at their thread's end, in that thread, before a join returns; main's at
 * exit, after the joins; those that are left by the last owner of the local, when that ends, which no thread
 * must outlive that still uses its value.
 *
 * Everything is done on the calling thread's value, and const: it does not change what other threads see.
 */
template <class T>
class Local : public detail::object<Local<T>, detail::local_calls> {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>, "a local's value is an object");
    using base = detail::object<Local<T>, detail::local_calls>;

public:
    /** What a thread has a value of. */
    using value_type = T;

    /**
     * Makes a local whose values are value-initialized: T().
     *
     * Throws: error with errc::no_memory. Blocks: never. Thread safety: any thread. Python:
     * `threading.local()`.
     */
    template <class Value = T, class = std::enable_if_t<std::is_default_constructible_v<Value>>>
    Local() : base(adopt_handle, threading_local_new(destroy))
    {
    }

    /**
     * Makes a local whose values a function makes, called without arguments, by each thread for itself.
     *
     * \param make the function; threads may call it at the same time. It may use other locals, and this one
     *         but for get(), which would call it again
     *
     * Throws: error with errc::no_memory, errc::value (a null pointer to a function); std::bad_alloc. Blocks:
     * never. Thread safety: any thread. Python: a subclass of `threading.local` with its own `__init__()`.
     */
    template <class Function,
              class = std::enable_if_t<
                  std::conjunction_v<std::negation<std::is_same<std::decay_t<Function>, Local>>,
                                     std::is_invocable_r<T, std::decay_t<Function> &>>>>
    explicit Local(Function &&make)
        : base(adopt_handle, threading_local_new(destroy)), factory_(make_factory(std::forward<Function>(make)))
    {
    }

    Local(Local &&) noexcept = default;
    Local &operator=(Local &&) noexcept = default;
    ~Local() = default;

    /** Makes one more owner of the same local, and of its function; as the other classes' ref(). */
    [[nodiscard]] Local ref() const { return Local(*this, detail::check(threading_local_ref(this->native_handle()))); }

    /**
     * Tells the calling thread's value, which is made if there is none: the fast way.
     *
     * \return the value, valid until it is replaced or destroyed
     *
     * Throws: what making it throws; error with errc::no_memory, errc::system (the system cannot announce the
     * thread's end), errc::shutdown (the thread is in the very last of its destructors). Blocks: never, but for
     * making it. Thread safety: any thread; each has its own. Python: `data.value`.
     */
    T &get() const
    {
        T *value = get_if();
        return value != nullptr ? *value : make();
    }

    /** The same as get(). */
    [[nodiscard]] T &operator*() const { return get(); }

    /** The same as &get(). */
    [[nodiscard]] T *operator->() const { return std::addressof(get()); }

    /**
     * Tells the calling thread's value if there is one, and makes none.
     *
     * \return the value; nullptr when there is none
     *
     * Blocks: never. Thread safety: any thread; each has its own. Python: `getattr(data, "value", None)`.
     */
    [[nodiscard]] T *get_if() const noexcept { return static_cast<T *>(threading_local_get(this->native_handle())); }

    /**
     * Makes the calling thread's value anew; a former one is destroyed.
     *
     * \param arguments what T is made with
     * \return the value
     *
     * Throws: as get(), and what T's constructor throws. Blocks: never, but for T. Thread safety: any thread;
     * each has its own. Python: `data.value = T(arguments)`.
     */
    template <class... Arguments>
    T &emplace(Arguments &&...arguments) const
    {
        return put(std::unique_ptr<T>(new T(std::forward<Arguments>(arguments)...)));
    }

    /** Sets the calling thread's value; as emplace(). Python: `data.value = value`. */
    void set(T value) const { (void)emplace(std::move(value)); }

    /**
     * Destroys the calling thread's value.
     *
     * \return true when there was one; false when there was none
     *
     * Throws: error as get(). Blocks: never, but for T's destructor. Thread safety: any thread; each has its own.
     * Python: `del data.value`.
     */
    bool reset() const { return detail::check(threading_local_del(this->native_handle())) == THREADING_OK; }

private:
    Local(const Local &other, threading_local *handle) : base(adopt_handle, handle), factory_(other.factory_) {}

    static void destroy(void *value) noexcept { delete static_cast<T *>(value); }

    template <class Function>
    static std::shared_ptr<detail::factory> make_factory(Function &&make)
    {
        detail::check_callable<std::decay_t<Function>>(make);
        using made = detail::factory_of<T, std::decay_t<Function>>;
        detail::factory *factory = new made(std::forward<Function>(make));
        return std::shared_ptr<detail::factory>(factory, made::destroy);
    }

    T &make() const
    {
        if (factory_)
            return put(std::unique_ptr<T>(static_cast<T *>(factory_->make(*factory_.get()))));
        if constexpr (std::is_default_constructible_v<T>)
            return emplace();
        else
            detail::raise(errc::handle); // it was moved from: without a function there is no such local
    }

    T &put(std::unique_ptr<T> value) const
    {
        void *given = value.get();
        detail::check(threading_local_set(this->native_handle(), given));
        return *value.release();
    }

    std::shared_ptr<detail::factory> factory_{};
};

} // namespace threading

/** An errc is an error code: it converts to std::error_code. */
template <>
struct std::is_error_code_enum<threading::errc> : std::true_type {};

#endif /* THREADING_HPP */

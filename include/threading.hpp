/*
 * threading.hpp - Python's threading module for C++17.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A header-only layer over <threading.h>: its inline functions call those of threading.h, whose documentation describes
 * locks, waits and timers in detail. Link as for C: pkg-config threading, or CMake's Threading::threading.
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
 * Objects. Each C++ object owns one reference to a library object. It can be moved, but not copied; ref() creates
 * another C++ object for the same library object, for example for a thread that may outlive the scope of the first. The
 * library object is destroyed when its last reference is released. If threads are still blocked on it at that time, it
 * is leaked instead, and their waits continue. A moved-from object is empty: its functions throw an error with
 * errc::handle, and its noexcept functions return 0, false or nullptr.
 *
 * Errors are exceptions of class `error`, a std::system_error with a code of type `errc`. In addition to the errors
 * that are documented for it, each function may throw errc::handle (the object is empty) and errc::internal (a bug in
 * the library). Outcomes that are not errors are return values, such as false for an expired timeout. A call that
 * throws changes nothing, unless its documentation says otherwise.
 *
 * Callables may be anything that std::invoke accepts. They are copied or moved into the library, and may throw.
 * Exceptions do not propagate through the library: an exception thrown by the function of a thread, of a timer or of
 * atexit() is passed to the excepthook. An exception thrown by a predicate or by a barrier's action is rethrown by the
 * wait function that called it. Unwinding by pthread_exit() and pthread_cancel() passes through the functions of
 * threads and timers as usual.
 *
 * Without exceptions (-fno-exceptions), a function that would throw an error writes the error's message to stderr and
 * calls abort(). Callables must not throw in this case. Compile all translation units that include this header in the
 * same way: either with exceptions or without. The header does not need RTTI (-fno-rtti).
 *
 * Timeouts are std::chrono durations and time points. They are rounded up, so a wait is never shorter than requested.
 * Negative durations count as zero, and durations above THREADING_TIMEOUT_MAX seconds (292 years) as that maximum. With
 * a duration or a time point of max() or infinity, the wait has no time limit. NaN throws an error with errc::value. A
 * wait until a time point follows the clock of the time point, even if that clock is set back during the wait.
 *
 * Thread safety. Any number of threads may call the functions of one object concurrently, except those that change the
 * C++ object itself: move construction, assignment and destruction.
 *
 * Versions. A `\since` tag names the version that introduced a function. Functions without this tag exist since 0.1.0.
 */
#ifndef THREADING_HPP
#define THREADING_HPP

#include <atomic>
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
#include <ratio>
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

/** The error codes: those of threading.h, where `errc::value` is THREADING_ERR_VALUE, for example. */
enum class errc : int {
    handle = THREADING_ERR_HANDLE, /**< the object is empty, or the handle is invalid */
    value = THREADING_ERR_VALUE, /**< an argument is out of range (`ValueError`) */
    overflow = THREADING_ERR_OVERFLOW, /**< a count would exceed its maximum (`OverflowError`) */
    not_acquired = THREADING_ERR_NOT_ACQUIRED, /**< release of an unlocked lock (`RuntimeError`) */
    not_owner = THREADING_ERR_NOT_OWNER, /**< the calling thread does not own the lock (`RuntimeError`) */
    over_released = THREADING_ERR_OVER_RELEASED, /**< released too many times (`ValueError`) */
    already_started = THREADING_ERR_ALREADY_STARTED, /**< the thread was started before (`RuntimeError`) */
    not_started = THREADING_ERR_NOT_STARTED, /**< join of a thread that was not started (`RuntimeError`) */
    deadlock = THREADING_ERR_DEADLOCK, /**< the call could never return (`RuntimeError`) */
    not_joinable = THREADING_ERR_NOT_JOINABLE, /**< join of a dummy thread (`RuntimeError`) */
    broken_barrier = THREADING_ERR_BROKEN_BARRIER, /**< always thrown as a BrokenBarrierError */
    callback = THREADING_ERR_CALLBACK, /**< a C callback reported failure */
    busy = THREADING_ERR_BUSY, /**< threads are blocked on the object */
    no_memory = THREADING_ERR_NO_MEMORY, /**< out of memory (`MemoryError`) */
    system = THREADING_ERR_SYSTEM, /**< a system call failed (`RuntimeError: can't start new thread`) */
    shutdown = THREADING_ERR_SHUTDOWN, /**< called too late: after shutdown(), or at the end of the thread */
    internal = THREADING_ERR_INTERNAL /**< a bug in the library */
};

/**
 * Returns the error category of the library, whose name is "threading".
 *
 * The codes compare equal to conditions of std::errc; for example, errc::not_owner compares equal to
 * std::errc::operation_not_permitted.
 *
 * \blocks never
 * \threadsafety any thread
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

/**
 * Returns the std::error_code for an errc. The implicit conversion from errc to std::error_code calls this function.
 */
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept
{
    return {static_cast<int>(code), category()};
}

/**
 * The exception class of this header.
 *
 * \python `RuntimeError`, `ValueError`, `MemoryError` and `OverflowError`
 */
class error : public std::system_error {
public:
    /**
     * Creates an error.
     *
     * \param code the error code
     * \param message a message with static lifetime, such as threading_last_error_message(); nullptr selects the
     *         message of the code
     */
    explicit error(errc code, const char *message = nullptr)
        : std::system_error(make_error_code(code)),
          message_(message != nullptr ? message : threading_status_message(static_cast<std::int32_t>(code)))
    {
    }

    error(const error &) noexcept = default;
    error &operator=(const error &) noexcept = default;

    /**
     * Returns the error message. It can be more specific than the message of the code; for example, it can name the
     * invalid argument.
     */
    [[nodiscard]] const char *what() const noexcept override { return message_; }

private:
    const char *message_;
};

/**
 * The exception that a barrier's wait functions throw if the barrier is broken.
 *
 * \python `threading.BrokenBarrierError`
 */
class BrokenBarrierError : public error {
public:
    using error::error;
};

/** The type of adopt_handle, which selects the constructors that take over the caller's reference to a C object. */
struct adopt_handle_t {
    explicit adopt_handle_t() = default;
};
inline constexpr adopt_handle_t adopt_handle{};

/**
 * The type of ref_handle, which selects the constructors that add a reference to a C object and leave the caller's
 * reference unchanged.
 */
struct ref_handle_t {
    explicit ref_handle_t() = default;
};
inline constexpr ref_handle_t ref_handle{};

/**
 * Passes the exception that is being handled to the excepthook, as its demangled type and its message. The message is
 * what() or, for an exception of type const char * or std::string, the string itself.
 *
 * Call it in a catch clause. Outside of a catch clause, and for exceptions of other languages, it reports an unknown
 * exception. The hook is a C function that is set by threading_set_excepthook(). A lambda without captures converts to
 * such a function.
 *
 * \blocks until the hook has returned
 * \threadsafety any thread
 * \python `threading.excepthook(args)`
 * \sa threading_report_exception, threading_set_excepthook
 */
inline void report_exception() noexcept
{
    // This type is also available without RTTI, and for types that are not derived from std::exception.
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

/* The implementation. Not for direct use. */
namespace detail {

/* Translation units without exceptions use an inline namespace for these functions, so that the linker does not
   merge them with the versions that throw. Functions that call them and are not inlined have the same name in both
   versions; see the introduction. */
#if !defined(__cpp_exceptions)
inline namespace no_exceptions {
#endif

/* Throws the error, or without exceptions prints its message and calls abort(). */
[[noreturn]] inline void throw_error(errc code, const char *message = nullptr)
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

/* Throws the error for a status, with the calling thread's last error message if it belongs to this status. */
[[noreturn]] inline void throw_status(threading_status status)
{
    detail::throw_error(static_cast<errc>(status),
                        threading_last_error() == status ? threading_last_error_message() : nullptr);
}

/* Returns the status. Throws if it is an error. */
inline threading_status check(threading_status status)
{
    if (status < 0)
        detail::throw_status(status);
    return status;
}

/* Returns the handle, which must be the return value of the preceding C call. Throws the last error if it is NULL. */
template <class Handle>
Handle *check(Handle *handle)
{
    if (handle == nullptr) {
        const threading_status status = threading_last_error();
        detail::throw_status(status < 0 ? status : THREADING_ERR_HANDLE);
    }
    return handle;
}

#if defined(__cpp_exceptions)

/* The exception type by which pthread_exit() and pthread_cancel() unwind in libstdc++. A catch (...) must rethrow it,
   because libstdc++ terminates the process otherwise. In other C++ libraries, catch clauses do not see this unwinding.
   The caught reference refers to no object, which -fsanitize=undefined would report. */
#if defined(__GLIBCXX__)
using forced_unwind = abi::__forced_unwind;
#else
struct forced_unwind {};
#endif

/* Calls a function that may throw from a C callback. Exceptions are passed to the excepthook. */
template <class Function>
__attribute__((no_sanitize("undefined"))) void call_and_report(Function &&function)
{
    try {
        std::forward<Function>(function)();
    } catch (const forced_unwind &) {
        throw;
    } catch (...) {
        report_exception();
    }
}

/* Calls a function that may throw from a C callback. An exception is stored in `exception`, to be rethrown after the
   C function has returned, and the result is then -1. */
template <class Function>
__attribute__((no_sanitize("undefined"))) int call_and_capture(std::exception_ptr &exception, Function &&function)
{
    try {
        return std::forward<Function>(function)();
    } catch (const forced_unwind &) {
        throw;
    } catch (...) {
        exception = std::current_exception();
        return -1;
    }
}

#else

template <class Function>
void call_and_report(Function &&function)
{
    std::forward<Function>(function)();
}

template <class Function>
int call_and_capture(std::exception_ptr &, Function &&function)
{
    return std::forward<Function>(function)();
}

} // namespace no_exceptions
#endif

/* ---- time ---- */

/* Returns a duration in seconds for a C function, rounded up. */
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
        // The double that is nearest to a fraction may be less than it. fma rounds once, so its sign is exact.
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

/* Returns the time until `time_point` in seconds for a C function, rounded up. */
template <class Clock, class Duration>
[[nodiscard]] double seconds_until(const std::chrono::time_point<Clock, Duration> &time_point)
{
    // Compares durations, because argument-dependent lookup of time_point operators searches the namespace of Clock.
    const Duration since_epoch = time_point.time_since_epoch();
    // The difference to a time point that is centuries from the epoch could overflow in the units of the clock.
    const double seconds = std::chrono::duration<double>(since_epoch).count();
    if (since_epoch == (Duration::max)())
        return THREADING_FOREVER;
    if (seconds <= -THREADING_TIMEOUT_MAX)
        return 0;
    if (seconds >= THREADING_TIMEOUT_MAX)
        return seconds > (std::numeric_limits<double>::max)() ? THREADING_FOREVER : THREADING_TIMEOUT_MAX;
    const auto now = Clock::now().time_since_epoch();
    using unit = decltype(since_epoch - now);
    if constexpr (std::is_integral_v<typename unit::rep>) {
        // In units below a nanosecond, the clock's own time could overflow. The clock's next tick is then the end.
        using period = std::conditional_t<std::ratio_less_v<typename unit::period, std::nano>, typename Clock::period,
                                          typename unit::period>;
        const auto end = std::chrono::ceil<std::chrono::duration<typename unit::rep, period>>(since_epoch);
        if (end <= now)
            return 0;
        // The difference could overflow if the epoch is in the future, as that of std::filesystem's clock is.
        return seconds - std::chrono::duration<double>(now).count() >= THREADING_TIMEOUT_MAX
                   ? THREADING_TIMEOUT_MAX
                   : detail::to_seconds(end - now);
    } else {
        return detail::to_seconds(since_epoch - now); // NaN if the time point is NaN
    }
}

/* Calls `wait` with the remaining seconds until it returns true or the clock of `time_point` has reached it. */
template <class Clock, class Duration, class Wait>
bool wait_until(const std::chrono::time_point<Clock, Duration> &time_point, Wait wait)
{
    for (;;) {
        if (wait(detail::seconds_until(time_point)))
            return true;
        if (detail::seconds_until(time_point) == 0)
            return false;
    }
}

/* ---- handles ---- */

/* The C functions for each type of object. */
struct thread_traits {
    using type = threading_thread;
    static constexpr auto ref = threading_thread_ref;
    static constexpr auto free = threading_thread_free;
};

struct timer_traits {
    using type = threading_timer;
    static constexpr auto ref = threading_timer_ref;
    static constexpr auto free = threading_timer_free;
};

struct lock_traits {
    using type = threading_lock;
    static constexpr auto ref = threading_lock_ref;
    static constexpr auto free = threading_lock_free;
    static constexpr auto acquire = threading_lock_acquire;
    static constexpr auto try_acquire = threading_lock_try_acquire;
    static constexpr auto acquire_timeout = threading_lock_acquire_timeout;
    static constexpr auto release = threading_lock_release;
    static constexpr auto set_name = threading_lock_set_name;
};

struct rlock_traits {
    using type = threading_rlock;
    static constexpr auto ref = threading_rlock_ref;
    static constexpr auto free = threading_rlock_free;
    static constexpr auto acquire = threading_rlock_acquire;
    static constexpr auto try_acquire = threading_rlock_try_acquire;
    static constexpr auto acquire_timeout = threading_rlock_acquire_timeout;
    static constexpr auto release = threading_rlock_release;
    static constexpr auto set_name = threading_rlock_set_name;
};

struct condition_traits {
    using type = threading_condition;
    static constexpr auto ref = threading_condition_ref;
    static constexpr auto free = threading_condition_free;
    static constexpr auto acquire = threading_condition_acquire;
    static constexpr auto try_acquire = threading_condition_try_acquire;
    static constexpr auto acquire_timeout = threading_condition_acquire_timeout;
    static constexpr auto release = threading_condition_release;
    static constexpr auto set_name = threading_condition_set_name;
};

struct semaphore_traits {
    using type = threading_semaphore;
    static constexpr auto ref = threading_semaphore_ref;
    static constexpr auto free = threading_semaphore_free;
    static constexpr auto acquire = threading_semaphore_acquire;
    static constexpr auto try_acquire = threading_semaphore_try_acquire;
    static constexpr auto acquire_timeout = threading_semaphore_acquire_timeout;
    static constexpr auto release = threading_semaphore_release;
    static constexpr auto set_name = threading_semaphore_set_name;
};

struct event_traits {
    using type = threading_event;
    static constexpr auto ref = threading_event_ref;
    static constexpr auto free = threading_event_free;
    static constexpr auto set_name = threading_event_set_name;
};

struct barrier_traits {
    using type = threading_barrier;
    static constexpr auto ref = threading_barrier_ref;
    static constexpr auto free = threading_barrier_free;
    static constexpr auto set_name = threading_barrier_set_name;
};

struct local_traits {
    using type = threading_local;
    static constexpr auto ref = threading_local_ref;
    static constexpr auto free = threading_local_free;
};

/* Owns a reference to a handle. */
template <class Traits>
class unique_handle {
public:
    using handle = typename Traits::type *;

    unique_handle() noexcept = default;
    explicit unique_handle(handle owned) noexcept : handle_(owned) {}
    unique_handle(const unique_handle &) = delete;
    unique_handle &operator=(const unique_handle &) = delete;
    unique_handle(unique_handle &&other) noexcept : handle_(other.release()) {}
    unique_handle &operator=(unique_handle &&other) noexcept
    {
        const unique_handle previous(std::exchange(handle_, other.release()));
        return *this;
    }
    ~unique_handle()
    {
        if (handle_ != nullptr)
            (void)Traits::free(handle_);
    }

    [[nodiscard]] handle get() const noexcept { return handle_; }

    /* Transfers ownership of the reference to the caller. */
    [[nodiscard]] handle release() noexcept { return std::exchange(handle_, nullptr); }

private:
    handle handle_ = nullptr;
};

/** The common base class of all objects. `Object` is the type that ref() returns. */
template <class Object, class Traits>
class object {
public:
    /** The type of the C handle. */
    using native_handle_type = typename Traits::type *;

    /**
     * Takes over the caller's reference to a C object.
     *
     * \param handle the return value of a `_new` or `_ref` function
     * \throws error with the calling thread's last error if the handle is nullptr
     *
     * \blocks never
     * \threadsafety any thread
     */
    object(adopt_handle_t, native_handle_type handle) : handle_(detail::check(handle)) {}

    /**
     * Adds a reference to a C object. The caller's own reference is unchanged.
     *
     * \param handle the handle
     * \throws error with errc::handle (the handle is invalid); errc::overflow (too many references)
     *
     * \blocks never
     * \threadsafety any thread
     * \python another name for the object
     */
    object(ref_handle_t, native_handle_type handle) : handle_(detail::check(Traits::ref(handle))) {}

    /**
     * Returns another C++ object that refers to the same library object.
     *
     * \throws error with errc::overflow (too many references)
     *
     * \blocks never
     * \threadsafety any thread
     * \python another name for the object
     */
    [[nodiscard]] Object ref() const { return Object(ref_handle, native_handle()); }

    /**
     * Returns the C handle, or nullptr if the object is empty. The handle is borrowed: it is valid as long as the
     * library object exists.
     *
     * \blocks never
     * \threadsafety any thread
     */
    [[nodiscard]] native_handle_type native_handle() const noexcept { return handle_.get(); }

    /**
     * Returns false if the object is empty, for example after it has been moved from, and true otherwise.
     *
     * \blocks never
     * \threadsafety any thread
     */
    [[nodiscard]] explicit operator bool() const noexcept { return native_handle() != nullptr; }

    /**
     * Returns true if both objects refer to the same library object.
     *
     * \python `a is b`
     */
    friend bool operator==(const object &a, const object &b) noexcept
    {
        return a.native_handle() == b.native_handle();
    }

    /**
     * Returns true if the objects refer to different library objects.
     *
     * \python `a is not b`
     */
    friend bool operator!=(const object &a, const object &b) noexcept
    {
        return a.native_handle() != b.native_handle();
    }

protected:
    object() noexcept = default;
    object(object &&) noexcept = default;
    object &operator=(object &&) noexcept = default;
    ~object() = default;

    /* Releases the reference and makes the object empty. */
    void reset() noexcept { handle_ = unique_handle<Traits>(); }

private:
    unique_handle<Traits> handle_{};
};

/** The common base class of the objects that have a name for reports: all but threads, timers and locals. */
template <class Object, class Traits>
class named_object : public object<Object, Traits> {
public:
    using object<Object, Traits>::object;

    /**
     * Sets the object's name, which dumps show. The first 47 bytes are kept.
     *
     * \param name the name in UTF-8, terminated by a zero byte; nullptr removes it
     * \throws error with errc::value (invalid UTF-8); errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \sa threading_lock_set_name
     */
    void set_name(const char *name) { detail::check(Traits::set_name(this->native_handle(), name)); }

    /** Sets the object's name. A zero byte ends the name. */
    void set_name(const std::string &name) { set_name(name.c_str()); }
};

/**
 * The common base class of the objects that can be acquired and released: Lock, RLock, Condition (its lock) and
 * Semaphore.
 *
 * Each function exists under Python's name, and under the name in the standard's requirements Lockable and
 * TimedLockable, for use with std::lock_guard, std::unique_lock and std::scoped_lock, which need `#include <mutex>`,
 * and with std::condition_variable_any. Python's `with x:` is `std::lock_guard guard(x);`.
 */
template <class Object, class Traits>
class lockable : public named_object<Object, Traits> {
public:
    using named_object<Object, Traits>::named_object;

    /**
     * Acquires the object, blocking until it is available.
     *
     * \throws error with errc::no_memory (this is the first time that the thread blocks, and its wait record cannot be
     *         allocated; or an RLock is acquired again, and its recursion count cannot be stored); errc::overflow (an
     *         RLock that the caller has acquired 2^32 times; a semaphore for which 2^25 - 1 threads wait)
     *
     * \blocks until the object is acquired
     * \threadsafety any thread
     * \python `x.acquire()`
     * \sa threading_lock_acquire, threading_rlock_acquire, threading_condition_acquire, threading_semaphore_acquire
     */
    void acquire() { detail::check(Traits::acquire(this->native_handle())); }

    /**
     * Acquires the object if it is available, without blocking.
     *
     * \return true if the object was acquired, false if it is not available
     * \throws error with errc::no_memory, errc::overflow as acquire()
     *
     * \blocks never
     * \threadsafety any thread
     * \python `x.acquire(blocking=False)`
     * \sa threading_lock_try_acquire
     */
    [[nodiscard]] bool try_acquire()
    {
        return detail::check(Traits::try_acquire(this->native_handle())) == THREADING_OK;
    }

    /**
     * Acquires the object, blocking for at most the given time.
     *
     * \param time the timeout; zero does not block
     * \return true if the object was acquired, false if the timeout expired
     * \throws error with errc::no_memory, errc::overflow as acquire(); errc::value (NaN)
     *
     * \blocks until the object is acquired or the timeout expires
     * \threadsafety any thread
     * \python `x.acquire(timeout=time)`
     * \sa threading_lock_acquire_timeout
     */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(const std::chrono::duration<Rep, Period> &time)
    {
        return acquire_timeout(detail::to_seconds(time));
    }

    /**
     * Acquires the object, blocking until the given time point at the latest.
     *
     * \param time_point the end of the wait; a time point in the past does not block
     * \return true if the object was acquired, false if the time point was reached
     * \throws as try_acquire_for()
     *
     * \blocks until the object is acquired or the time point is reached
     * \threadsafety any thread
     */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration> &time_point)
    {
        return detail::wait_until(time_point, [this](double seconds) { return acquire_timeout(seconds); });
    }

    /**
     * Releases the object. An RLock is released once.
     *
     * \throws error with errc::not_acquired (a Lock that is not locked); errc::not_owner (an RLock that the caller does
     *         not own); errc::over_released (a BoundedSemaphore that is at its initial value); errc::overflow (a
     *         Semaphore that is at its maximum value)
     *
     * \blocks never
     * \threadsafety any thread; for an RLock, its owner
     * \python `x.release()`
     * \sa threading_lock_release, threading_rlock_release, threading_condition_release, threading_semaphore_release
     */
    void release() { detail::check(Traits::release(this->native_handle())); }

    /** Calls acquire(). For the standard lock classes. */
    void lock() { acquire(); }

    /** Returns try_acquire(). For the standard lock classes. */
    [[nodiscard]] bool try_lock() { return try_acquire(); }

    /** Returns try_acquire_for(). For the standard lock classes. */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period> &time)
    {
        return try_acquire_for(time);
    }

    /** Returns try_acquire_until(). For the standard lock classes. */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration> &time_point)
    {
        return try_acquire_until(time_point);
    }

    /**
     * Releases the object as release() does, but passes an error to the excepthook instead of throwing it. The standard
     * lock classes call unlock() in their destructors, which must not throw. If the program has already released the
     * lock inside the scope of a guard, this is therefore reported and does not terminate the process.
     */
    void unlock() noexcept
    {
        if (Traits::release(this->native_handle()) < 0)
            (void)threading_report_exception("threading::error", threading_last_error_message());
    }

private:
    bool acquire_timeout(double seconds)
    {
        return detail::check(Traits::acquire_timeout(this->native_handle(), seconds)) == THREADING_OK;
    }
};

/* ---- the functions of threads, timers and atexit() ---- */

/* A callable with its arguments, as decayed copies. */
template <class... Values>
struct invocation {
    std::tuple<Values...> callable_and_arguments;

    template <class... Args>
    explicit invocation(Args &&...args) : callable_and_arguments(std::forward<Args>(args)...)
    {
    }

    void call()
    {
        detail::call_and_report([this] {
            std::apply([](auto &&...all) { (void)std::invoke(std::forward<decltype(all)>(all)...); },
                       std::move(callable_and_arguments));
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

/* Throws errc::value if the callable is a null pointer to a function or to a member. */
template <class Function>
void check_callable(const Function &function)
{
    if constexpr (std::is_pointer_v<Function> || std::is_member_pointer_v<Function>) {
        if (function == nullptr)
            detail::throw_error(errc::value, "the function pointer is null");
    }
}

template <class Function, class... Arguments>
std::unique_ptr<invocation_of<Function, Arguments...>> make_invocation(Function &&function, Arguments &&...arguments)
{
    detail::check_callable<std::decay_t<Function>>(function);
    return std::make_unique<invocation_of<Function, Arguments...>>(std::forward<Function>(function),
                                                                   std::forward<Arguments>(arguments)...);
}

/* Transfers ownership of the argument to the thread, which destroys it. */
template <class Invocation>
void transfer_ownership(std::unique_ptr<Invocation> &invocation, threading_thread *thread)
{
    detail::check(threading_thread_set_arg_destructor(thread, Invocation::destroy));
    (void)invocation.release();
}

/* C functions get a pointer to a user's type as void *. With any other pointer type, argument-dependent lookup would
   search the namespaces of the user's types and would instantiate them. */
template <class Invocation>
threading_thread *make_thread(std::unique_ptr<Invocation> invocation)
{
    void *arg = invocation.get();
    unique_handle<thread_traits> thread(detail::check(threading_thread_new(Invocation::run, arg)));
    detail::transfer_ownership(invocation, thread.get());
    return thread.release();
}

template <class Invocation>
threading_timer *make_timer(double interval, std::unique_ptr<Invocation> invocation)
{
    void *arg = invocation.get();
    unique_handle<timer_traits> timer(detail::check(threading_timer_new(interval, Invocation::run, arg)));
    detail::transfer_ownership(invocation, threading_timer_thread(timer.get()));
    return timer.release();
}

} // namespace detail

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Threads
 */

class ThreadRef;

/** The functions of a thread, common to Thread, Timer and ThreadRef. */
class ThreadBase : public detail::object<ThreadRef, detail::thread_traits> {
public:
    using object::object;

    /**
     * Starts the thread. A thread can be started only once. When the function returns, the thread is alive, is listed
     * by enumerate(), and has its name and ident.
     *
     * \throws error with errc::already_started; errc::shutdown (after shutdown()); errc::system, errc::no_memory (start
     *         can be retried)
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.start()`
     * \sa threading_thread_start
     */
    void start() { detail::check(threading_thread_start(native_handle())); }

    /**
     * Waits until the thread has ended. When the call returns, the destructors of its callable, its Local values and
     * its thread_local variables have run. A thread can be joined any number of times and by any number of threads.
     *
     * \throws error with errc::not_started; errc::deadlock (it is the calling thread, or a thread that joins the
     *         calling thread); errc::not_joinable (a dummy thread)
     *
     * \blocks until the thread has ended
     * \threadsafety any thread except the one to be joined
     * \python `thread.join()`
     * \sa threading_thread_join
     */
    void join() const { detail::check(threading_thread_join(native_handle())); }

    /**
     * Waits until the thread has ended, for at most the given time.
     *
     * \param time the timeout; zero does not block
     * \return true if the thread has ended, false if the timeout expired
     * \throws as join(); error with errc::value (NaN)
     *
     * \blocks until the thread has ended or the timeout expires
     * \threadsafety any thread except the one to be joined
     * \python `thread.join(time)`, then `not thread.is_alive()`
     * \sa threading_thread_join_timeout
     */
    template <class Rep, class Period>
    bool join_for(const std::chrono::duration<Rep, Period> &time) const
    {
        return join_timeout(detail::to_seconds(time));
    }

    /**
     * Waits until the thread has ended, but no later than the given time point.
     *
     * \param time_point the end of the wait; a time point in the past does not block
     * \return true if the thread has ended, false if the time point was reached
     * \throws as join_for()
     *
     * \blocks until the thread has ended or the time point is reached
     * \threadsafety any thread except the one to be joined
     */
    template <class Clock, class Duration>
    bool join_until(const std::chrono::time_point<Clock, Duration> &time_point) const
    {
        return detail::wait_until(time_point, [this](double seconds) { return join_timeout(seconds); });
    }

    /**
     * Returns true if the thread has been started and has not ended.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.is_alive()`
     * \sa threading_thread_is_alive
     */
    [[nodiscard]] bool is_alive() const noexcept { return threading_thread_is_alive(native_handle()); }

    /**
     * Returns the thread's name: the name that was set, or else `Thread-N`, `Dummy-N` or `MainThread`.
     *
     * \throws error with errc::no_memory; std::bad_alloc
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.name`
     * \sa threading_thread_name
     */
    [[nodiscard]] std::string name() const { return detail::check(threading_thread_name(native_handle())); }

    /**
     * Sets the thread's name, which can be changed at any time. System tools show its first 15 bytes.
     *
     * \param name the name in UTF-8, terminated by a zero byte
     * \throws error with errc::value (nullptr or invalid UTF-8); errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.name = name`
     * \sa threading_thread_set_name
     */
    void set_name(const char *name) { detail::check(threading_thread_set_name(native_handle(), name)); }

    /** Sets the thread's name. A zero byte ends the name. */
    void set_name(const std::string &name) { set_name(name.c_str()); }

    /**
     * Returns true if the thread is a daemon thread, for which process exit does not wait.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.daemon`
     * \sa threading_thread_is_daemon
     */
    [[nodiscard]] bool daemon() const noexcept { return threading_thread_is_daemon(native_handle()); }

    /**
     * Sets whether the thread is a daemon thread. This is possible only before start(). By default, it is one if the
     * thread that creates it is a daemon thread.
     *
     * \throws error with errc::already_started
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.daemon = daemon`
     * \sa threading_thread_set_daemon
     */
    void set_daemon(bool daemon) { detail::check(threading_thread_set_daemon(native_handle(), daemon ? 1 : 0)); }

    /**
     * Sets the stack size of the thread. This is possible only before start(). It has no effect on a timer, whose
     * function runs on a shared stack.
     *
     * \param bytes the size in bytes, at least 32768; 0 selects the size that was set with threading::set_stack_size()
     * \throws error with errc::value (too small); errc::already_started
     *
     * \blocks never
     * \threadsafety any thread
     * \sa threading_thread_set_stack_size
     */
    void set_stack_size(std::size_t bytes)
    {
        detail::check(threading_thread_set_stack_size(native_handle(), bytes));
    }

    /**
     * Returns the thread's identifier, which is never reused in the process, or 0 before start().
     *
     * \blocks never
     * \threadsafety any thread
     * \python `thread.ident`
     * \sa threading_thread_ident
     */
    [[nodiscard]] std::uint64_t ident() const noexcept { return threading_thread_ident(native_handle()); }

    /**
     * Returns the ID that the kernel has assigned to the thread, or 0 before start() and for a timer whose function has
     * not begun.
     *
     * \blocks until the thread has begun to run, if it has just been started
     * \threadsafety any thread
     * \python `thread.native_id`
     * \sa threading_thread_native_id
     */
    [[nodiscard]] std::uint64_t native_id() const noexcept { return threading_thread_native_id(native_handle()); }

protected:
    ThreadBase() noexcept = default;
    ThreadBase(ThreadBase &&) noexcept = default;
    ThreadBase &operator=(ThreadBase &&) noexcept = default;
    ~ThreadBase() = default;

private:
    bool join_timeout(double seconds) const
    {
        return detail::check(threading_thread_join_timeout(native_handle(), seconds)) == THREADING_OK;
    }
};

/**
 * A reference to a thread, such as the calling thread, the main thread or an element of enumerate(). It can be copied.
 * Its destructor does not join the thread.
 *
 * \python a name for a `threading.Thread`
 */
class ThreadRef : public ThreadBase {
public:
    using ThreadBase::ThreadBase;

    /** Creates an empty reference. Its functions throw errc::handle. */
    ThreadRef() noexcept = default;

    /**
     * Creates another reference to the same thread. Thread and Timer convert to ThreadRef.
     *
     * \throws error with errc::overflow (too many references)
     *
     * \blocks never
     * \threadsafety any thread
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
 * A thread that calls a function.
 *
 * As in Python, a Thread is created, configured (name, daemon flag, stack size) and then started.
 *
 * Destruction. The destructor joins the thread, as that of std::jthread does, if the thread was started and is not a
 * daemon thread. It does not join a daemon thread, or the calling thread if that thread destroys its own Thread. Python
 * joins the same threads at process exit. In C++, the join is at the end of the scope because objects that the callable
 * refers to are often destroyed there: the callable of a non-daemon thread may refer to any object that was created
 * before its Thread. The destructor does not stop the thread; use an Event, for example, to tell the thread to end.
 * Assignment joins the previous thread in the same way. After detach(), process exit waits for the thread instead. If a
 * thread was never started, the destructor of its Thread destroys the callable without calling it.
 *
 * Callable. The callable and its arguments are copied or moved into the thread as by std::thread (std::ref() passes a
 * reference), called once, and destroyed in the thread before join() returns. The return value is ignored: pass a
 * std::packaged_task to get the result or the exception through a std::future. An exception thrown by the callable ends
 * the thread, but not the process, and is passed to the excepthook, as in Python. Where Python code derives from Thread
 * and overrides run(), C++ code passes a function object.
 *
 * \python `threading.Thread`
 * \sa threading_thread
 */
class Thread : public ThreadBase {
public:
    using ThreadBase::ThreadBase;

    /** Creates an empty object, which can be assigned to. Its functions throw errc::handle. */
    Thread() noexcept = default;

    /**
     * Creates a thread that will call std::invoke(function, arguments...). It is not started.
     *
     * \param function the callable
     * \param arguments its arguments
     * \throws error with errc::value (a null function pointer), errc::no_memory; std::bad_alloc; any exception thrown
     *         by copying the callable or its arguments
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Thread(target=function, args=arguments)`
     * \sa threading_thread_new
     */
    template <class Function, class... Arguments,
              class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function>, std::decay_t<Arguments>...>>>
    explicit Thread(Function &&function, Arguments &&...arguments)
        : Thread(adopt_handle, detail::make_thread(detail::make_invocation(std::forward<Function>(function),
                                                                           std::forward<Arguments>(arguments)...)))
    {
    }

    /**
     * Creates and starts a thread, as the constructor of std::jthread does.
     *
     * \param function the callable
     * \param arguments its arguments
     * \return the started thread
     * \throws as the constructor and start()
     */
    template <class Function, class... Arguments>
    [[nodiscard]] static Thread started(Function &&function, Arguments &&...arguments)
    {
        Thread thread(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
        thread.start();
        return thread;
    }

    Thread(Thread &&) noexcept = default;

    /** Joins the previous thread as the destructor does, then takes over the other one. */
    Thread &operator=(Thread &&other) noexcept
    {
        if (this != &other) {
            join_at_destruction();
            ThreadBase::operator=(std::move(other));
        }
        return *this;
    }

    /** Joins the thread if it was started and is not a daemon thread; see above. */
    ~Thread() { join_at_destruction(); }

    /**
     * Detaches the thread: this object becomes empty, and the thread continues. Process exit waits for it, unless it is
     * a daemon thread. Keep a ref() to join the thread later.
     *
     * \blocks never
     * \threadsafety any thread, but not concurrently with other functions of this object
     * \python `del thread`
     */
    void detach() noexcept { reset(); }

private:
    void join_at_destruction() noexcept
    {
        if (*this && ident() != 0 && !daemon())
            (void)threading_thread_join(native_handle());
    }
};

/**
 * A Thread that calls its function after a delay, unless it is cancelled first.
 *
 * A timer is pending from start() until its function begins. A pending timer does not use a system thread, but it is
 * alive, and enumerate() lists it.
 *
 * Destruction. The destructor cancels the timer, just as that of std::jthread requests a stop. A pending timer then
 * never calls its function. If the function is already running, the destructor waits until it has returned, as Thread's
 * destructor does, unless the timer is a daemon thread or the function itself destroys the Timer. Assignment cancels
 * the previous timer in the same way. After detach(), a timer stays pending, and process exit waits until its function
 * has returned, unless the timer is a daemon thread. To wait for the function instead of cancelling the timer, call
 * join() before the end of the scope.
 *
 * \python `threading.Timer`
 * \sa threading_timer
 */
class Timer : public Thread {
public:
    /** Creates an empty object, which can be assigned to. Its functions throw errc::handle. */
    Timer() noexcept = default;

    /**
     * Creates a timer that will call std::invoke(function, arguments...) when the interval has passed after its start.
     * It is not started.
     *
     * \param interval the time from start() to the call; with zero and negative intervals, the function is called
     *         immediately after the start; with max() and infinity, it is never called
     * \param function the callable
     * \param arguments its arguments
     * \throws error with errc::value (NaN, or a null function pointer), errc::no_memory; std::bad_alloc; any exception
     *         thrown by copying the callable or its arguments
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Timer(interval, function, args=arguments)`
     * \sa threading_timer_new
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

    /** Takes over the caller's reference to a C timer, as the constructors of the other classes do. */
    Timer(adopt_handle_t, threading_timer *handle) : Timer(unique_timer(detail::check(handle))) {}

    /** Adds a reference to a C timer, as the constructors of the other classes do. */
    Timer(ref_handle_t, threading_timer *handle) : Timer(unique_timer(detail::check(threading_timer_ref(handle)))) {}

    Timer(Timer &&) noexcept = default;

    /** Cancels the previous timer as the destructor does, then takes over the other one. */
    Timer &operator=(Timer &&other) noexcept
    {
        if (this != &other) {
            cancel_at_destruction();
            Thread::operator=(std::move(other));
            timer_ = std::move(other.timer_);
        }
        return *this;
    }

    /**
     * Cancels the timer. If the function is running and the timer is not a daemon thread, waits until the function has
     * returned; see above.
     */
    ~Timer() { cancel_at_destruction(); }

    /**
     * Cancels the timer. If it is pending, its function is not called, this call destroys its callable, and its thread
     * ends.
     *
     * \return true if the function will never be called, because of this or an earlier cancellation; false if it has
     *         been called already
     *
     * \blocks only while the callable is destroyed; use join() to wait for a running function
     * \threadsafety any thread, including from the timer's function
     * \python `timer.cancel()`
     * \sa threading_timer_cancel
     */
    bool cancel() { return detail::check(threading_timer_cancel(native_timer_handle())) == THREADING_OK; }

    /**
     * Detaches the timer: this object becomes empty, and the timer stays pending or running. Process exit waits for it,
     * unless it is a daemon thread. Keep a ref() to join the timer later.
     *
     * \blocks never
     * \threadsafety any thread, but not concurrently with other functions of this object
     * \python `del timer`
     */
    void detach() noexcept
    {
        Thread::detach();
        timer_ = unique_timer();
    }

    /**
     * Returns the interval in seconds: 0 if the given interval was negative, infinity if the function is never called.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `timer.interval`
     * \sa threading_timer_interval
     */
    [[nodiscard]] std::chrono::duration<double> interval() const noexcept
    {
        return std::chrono::duration<double>(threading_timer_interval(native_timer_handle()));
    }

    /**
     * Returns the C handle of the timer, borrowed. In contrast, native_handle() returns the handle of the timer's
     * thread.
     *
     * \blocks never
     * \threadsafety any thread
     */
    [[nodiscard]] threading_timer *native_timer_handle() const noexcept { return timer_.get(); }

private:
    using unique_timer = detail::unique_handle<detail::timer_traits>;

    explicit Timer(unique_timer &&timer)
        : Thread(ref_handle, threading_timer_thread(timer.get())), timer_(std::move(timer))
    {
    }

    template <class Rep, class Period>
    static double interval_seconds(const std::chrono::duration<Rep, Period> &interval) noexcept
    {
        const double value = detail::to_seconds(interval);
        return value < 0 ? std::numeric_limits<double>::infinity() : value;
    }

    // Does not wait for a timer that was cancelled: cancel() destroys the callable, whose destructor may destroy this
    // object. For a function that is already running, Thread's destructor or assignment waits. A timer that was moved
    // into a Thread stays pending.
    void cancel_at_destruction() noexcept
    {
        if (*this && ident() != 0 && threading_timer_cancel(native_timer_handle()) == THREADING_OK)
            detach();
    }

    unique_timer timer_{};
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * The module's functions
 */

/**
 * Returns the calling thread. Inside a timer's function, the result is the timer's thread. If the calling thread is
 * neither the main thread nor one that the library started, the first call registers it as a dummy thread, `Dummy-N`.
 *
 * \throws error with errc::no_memory, errc::system, errc::shutdown (first call, during the last round of pthread key
 *         destructors)
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.current_thread()`
 * \sa threading_current_thread
 */
[[nodiscard]] inline ThreadRef current_thread()
{
    return ThreadRef(ref_handle, detail::check(threading_current_thread()));
}

/**
 * Returns the main thread: the first thread of the process or, in a child process, the thread that called fork().
 *
 * \throws error with errc::no_memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.main_thread()`
 * \sa threading_main_thread
 */
[[nodiscard]] inline ThreadRef main_thread()
{
    return ThreadRef(ref_handle, detail::check(threading_main_thread()));
}

/**
 * Returns the number of threads that are alive, which is the number of threads that enumerate() returns.
 *
 * \throws error with errc::no_memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.active_count()`
 * \sa threading_active_count
 */
[[nodiscard]] inline std::size_t active_count()
{
    const std::size_t count = threading_active_count();
    if (count == 0)
        detail::throw_status(threading_last_error());
    return count;
}

/**
 * Returns the threads that are alive, including daemon threads, pending timers and dummy threads: the main thread
 * first, then the others in the order in which they were started.
 *
 * \throws error with errc::no_memory; std::bad_alloc
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.enumerate()`
 * \sa threading_enumerate
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
 * Returns the identifier of the calling thread or, inside a timer's function, of the timer's thread. It is never 0 and
 * never reused.
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.get_ident()`
 * \sa threading_get_ident
 */
[[nodiscard]] inline std::uint64_t get_ident() noexcept
{
    return threading_get_ident();
}

/**
 * Returns the ID that the kernel has assigned to the calling system thread.
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.get_native_id()`
 * \sa threading_get_native_id
 */
[[nodiscard]] inline std::uint64_t get_native_id() noexcept
{
    return threading_get_native_id();
}

/**
 * Returns the default stack size in bytes, with which threads are started from now on; 0 is the system's default.
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.stack_size()`
 * \sa threading_stack_size
 */
[[nodiscard]] inline std::size_t stack_size() noexcept
{
    return threading_stack_size();
}

/**
 * Sets the default stack size, with which threads are started from now on.
 *
 * \param bytes the size in bytes, at least 32768; 0 selects the system's default
 * \throws error with errc::value (too small)
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.stack_size(bytes)`
 * \sa threading_set_stack_size
 */
inline void set_stack_size(std::size_t bytes)
{
    detail::check(threading_set_stack_size(bytes));
}

/**
 * Suspends the calling thread for the given time. Signals do not shorten this time.
 *
 * \param time the time; with zero, the call returns immediately; with max(), it never returns
 * \throws error with errc::value (NaN)
 *
 * \blocks for the given time
 * \threadsafety any thread
 * \python `time.sleep(time)`
 * \sa threading_sleep
 */
template <class Rep, class Period>
void sleep(const std::chrono::duration<Rep, Period> &time)
{
    detail::check(threading_sleep(detail::to_seconds(time)));
}

/**
 * Suspends the calling thread until the given time point.
 *
 * \param time_point the end of the sleep; with a time point in the past, the call returns immediately
 * \throws error with errc::value (NaN)
 *
 * \blocks until the time point is reached
 * \threadsafety any thread
 */
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration> &time_point)
{
    (void)detail::wait_until(time_point, [](double seconds) {
        detail::check(threading_sleep(seconds));
        return false;
    });
}

/**
 * Registers a function to be called at process exit, before the non-daemon threads are joined. Functions are called in
 * reverse order of registration.
 *
 * An exception thrown by the function is passed to the excepthook.
 *
 * \param function the callable
 * \param arguments its arguments
 * \throws error with errc::value (a null function pointer); errc::shutdown (shutdown has begun); errc::no_memory;
 *         std::bad_alloc
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading._register_atexit(function, *arguments)`
 * \sa threading_atexit
 */
template <class Function, class... Arguments,
          class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function>, std::decay_t<Arguments>...>>>
void atexit(Function &&function, Arguments &&...arguments)
{
    using invocation = detail::invocation_of<Function, Arguments...>;
    auto call = detail::make_invocation(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
    void *arg = call.get();
    detail::check(threading_atexit(
        [](void *argument) {
            const std::unique_ptr<invocation> owned(static_cast<invocation *>(argument));
            owned->call();
        },
        arg));
    (void)call.release();
}

/**
 * Runs the shutdown sequence of exit(): calls the functions that were registered with atexit(), marks the main thread
 * as ended, and joins all non-daemon threads. No thread can be started afterwards.
 *
 * \blocks until the last non-daemon thread has ended
 * \threadsafety any thread
 * \python `threading._shutdown()`
 * \sa threading_shutdown
 */
inline void shutdown()
{
    detail::check(threading_shutdown());
}

/**
 * Runs the shutdown sequence like shutdown(), but waits for the threads for at most the given time.
 *
 * \param time the timeout; zero does not block
 * \return true if all non-daemon threads have ended; false if the timeout expired, in which case threads can still be
 *         started
 * \throws error with errc::value (NaN)
 *
 * \blocks until the last non-daemon thread has ended or the timeout expires
 * \threadsafety any thread
 * \sa threading_shutdown_timeout
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
 * A mutual exclusion lock, which any thread may release. A thread that acquires a lock that it already holds deadlocks.
 *
 * acquire(), try_acquire(), release() and the similar functions are those of detail::lockable above.
 *
 * \python `threading.Lock`
 * \sa threading_lock
 */
class Lock : public detail::lockable<Lock, detail::lock_traits> {
public:
    using lockable::lockable;

    /**
     * Creates an unlocked lock.
     *
     * \throws error with errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Lock()`
     * \sa threading_lock_new
     */
    Lock() : lockable(adopt_handle, threading_lock_new()) {}

    /**
     * Returns true if the lock is currently locked.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `lock.locked()`
     * \sa threading_lock_locked
     */
    [[nodiscard]] bool locked() const noexcept { return threading_lock_locked(native_handle()); }

    /**
     * Returns the ident of the thread that has acquired the lock, also after that thread has ended; 0 if the lock is
     * unlocked or being handed off to a waiter.
     *
     * \blocks never
     * \threadsafety any thread; the result may be outdated when the call returns
     * \sa threading_lock_owner
     */
    [[nodiscard]] std::uint64_t owner() const noexcept { return threading_lock_owner(native_handle()); }

    /**
     * Reinitializes the lock to unlocked. For use in a child process after fork(), where the thread that locked it may
     * not exist.
     *
     * \blocks never
     * \threadsafety any thread; meant for the only thread of a child process
     * \python `lock._at_fork_reinit()`
     * \sa threading_lock_at_fork_reinit
     */
    void at_fork_reinit() { detail::check(threading_lock_at_fork_reinit(native_handle())); }
};

/**
 * A reentrant lock, which its owner may acquire again. It is unlocked when the owner has released it as many times as
 * it has acquired it.
 *
 * acquire(), try_acquire(), release() and the similar functions are those of detail::lockable above.
 *
 * \python `threading.RLock`
 * \sa threading_rlock
 */
class RLock : public detail::lockable<RLock, detail::rlock_traits> {
public:
    using lockable::lockable;

    /**
     * Creates an unlocked reentrant lock.
     *
     * \throws error with errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.RLock()`
     * \sa threading_rlock_new
     */
    RLock() : lockable(adopt_handle, threading_rlock_new()) {}

    /**
     * Returns true if the lock is currently locked.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `rlock.locked()` (3.14)
     * \sa threading_rlock_locked
     */
    [[nodiscard]] bool locked() const noexcept { return threading_rlock_locked(native_handle()); }

    /**
     * Returns true if the calling thread owns the lock.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `rlock._is_owned()`
     * \sa threading_rlock_is_owned
     */
    [[nodiscard]] bool is_owned() const noexcept { return threading_rlock_is_owned(native_handle()); }

    /**
     * Returns the calling thread's recursion count, which is 0 if the thread does not own the lock.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `rlock._recursion_count()`
     * \sa threading_rlock_recursion_count
     */
    [[nodiscard]] std::size_t recursion_count() const noexcept
    {
        return threading_rlock_recursion_count(native_handle());
    }

    /**
     * Returns the ident of the thread that has acquired the lock, also after that thread has ended; 0 if the lock is
     * unlocked or being handed off to a waiter.
     *
     * \blocks never
     * \threadsafety any thread; the result may be outdated when the call returns
     * \sa threading_rlock_owner
     */
    [[nodiscard]] std::uint64_t owner() const noexcept { return threading_rlock_owner(native_handle()); }

    /**
     * Reinitializes the lock to unlocked. For use in a child process after fork(), where the owner may not exist.
     *
     * \blocks never
     * \threadsafety any thread; meant for the only thread of a child process
     * \python `rlock._at_fork_reinit()`
     * \sa threading_rlock_at_fork_reinit
     */
    void at_fork_reinit() { detail::check(threading_rlock_at_fork_reinit(native_handle())); }
};

/**
 * A condition variable together with its lock.
 *
 * The calling thread must hold the lock to wait or to notify: std::lock_guard guard(condition) acquires it. The
 * condition refers to its lock, so the wait functions do not take the guard as an argument. A wait releases the lock
 * (an RLock with all its recursion levels), and has reacquired it when it returns or throws. Waiters are notified in
 * FIFO order. There are no spurious wakeups, and a waiter whose timeout has expired does not consume a notification.
 *
 * acquire(), try_acquire(), release() and the similar functions of the condition's lock are those of detail::lockable.
 *
 * \python `threading.Condition`
 * \sa threading_condition
 */
class Condition : public detail::lockable<Condition, detail::condition_traits> {
public:
    using lockable::lockable;

    /**
     * Creates a condition with its own RLock.
     *
     * \throws error with errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Condition()`
     * \sa threading_condition_new
     */
    Condition() : lockable(adopt_handle, threading_condition_new()) {}

    /**
     * Creates a condition with an existing lock, to which it holds a reference. Conditions may share a lock.
     *
     * \throws error with errc::no_memory, errc::overflow (too many references to the lock)
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Condition(lock)`
     * \sa threading_condition_new_with_lock
     */
    explicit Condition(Lock &lock) : lockable(adopt_handle, threading_condition_new_with_lock(lock.native_handle())) {}

    /**
     * Creates a condition with an existing RLock, to which it holds a reference. Conditions may share a lock.
     *
     * \throws error with errc::no_memory, errc::overflow (too many references to the lock)
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Condition(rlock)`
     * \sa threading_condition_new_with_rlock
     */
    explicit Condition(RLock &rlock)
        : lockable(adopt_handle, threading_condition_new_with_rlock(rlock.native_handle()))
    {
    }

    /**
     * Returns true if the condition's lock is currently locked.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `condition.locked()` (3.14)
     * \sa threading_condition_locked
     */
    [[nodiscard]] bool locked() const noexcept { return threading_condition_locked(native_handle()); }

    /**
     * Returns true if the calling thread may wait and notify: for an RLock, if the calling thread owns it; for a Lock,
     * if it is locked.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `condition._is_owned()`
     * \sa threading_condition_is_owned
     */
    [[nodiscard]] bool is_owned() const noexcept { return threading_condition_is_owned(native_handle()); }

    /**
     * Atomically releases the lock and waits for a notification, then reacquires the lock. Check the awaited state
     * again after the call, because another thread may have changed it, or pass a predicate.
     *
     * \throws error with errc::not_owner (the lock is not held); errc::no_memory (this is the first time that the
     *         thread blocks, and its wait record cannot be allocated)
     *
     * \blocks until the calling thread is notified, and then until the lock is available
     * \threadsafety any thread that holds the lock
     * \python `condition.wait()`
     * \sa threading_condition_wait
     */
    void wait() { detail::check(threading_condition_wait(native_handle())); }

    /**
     * Waits until the predicate is true. The predicate is evaluated before waiting and after every notification, with
     * the lock held.
     *
     * \param predicate a callable without arguments, whose result converts to bool; an exception thrown by it is
     *         rethrown with the lock held
     * \throws as wait(); any exception thrown by the predicate; error with errc::value (a null function pointer)
     *
     * \blocks until the predicate is true
     * \threadsafety any thread that holds the lock
     * \python `condition.wait_for(predicate)`
     * \sa threading_condition_wait_for
     */
    template <class Predicate>
    void wait(Predicate predicate)
    {
        (void)wait_predicate(predicate, THREADING_FOREVER);
    }

    /**
     * Atomically releases the lock and waits for a notification for at most the given time, then reacquires the lock.
     *
     * \param time the timeout; the time that is needed to reacquire the lock does not count towards it
     * \return true if the thread was notified, false if the timeout expired
     * \throws as wait(); error with errc::value (NaN)
     *
     * \blocks until the calling thread is notified or the timeout expires, and then until the lock is available
     * \threadsafety any thread that holds the lock
     * \python `condition.wait(time)`
     * \sa threading_condition_wait_timeout
     */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period> &time)
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /**
     * Waits until the predicate is true, for at most the given time. The predicate is evaluated once more after the
     * timeout.
     *
     * \param time the timeout; the time that is needed to reacquire the lock does not count towards it
     * \param predicate a callable without arguments, whose result converts to bool; an exception thrown by it is
     *         rethrown with the lock held
     * \return true if the predicate is true, false if the timeout expired and the predicate is still false
     * \throws as wait(); any exception thrown by the predicate; error with errc::value (NaN, or a null function
     *         pointer)
     *
     * \blocks until the predicate is true or the timeout expires
     * \threadsafety any thread that holds the lock
     * \python `condition.wait_for(predicate, time)`
     * \sa threading_condition_wait_for_timeout
     */
    template <class Rep, class Period, class Predicate>
    [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period> &time, Predicate predicate)
    {
        return wait_predicate(predicate, detail::to_seconds(time));
    }

    /** Waits like wait_for(), but until the given time point at the latest. */
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration> &time_point)
    {
        return detail::wait_until(time_point, [this](double seconds) { return wait_timeout(seconds); });
    }

    /** Waits like wait_for() with a predicate, but until the given time point at the latest. */
    template <class Clock, class Duration, class Predicate>
    [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration> &time_point, Predicate predicate)
    {
        return detail::wait_until(time_point,
                                  [this, &predicate](double seconds) { return wait_predicate(predicate, seconds); });
    }

    /**
     * Notifies up to n waiters, in FIFO order.
     *
     * \param n the maximum number of waiters to notify; with zero and negative numbers, no waiter is notified
     * \throws error with errc::not_owner (the lock is not held)
     *
     * \blocks never
     * \threadsafety any thread that holds the lock
     * \python `condition.notify(n)`
     * \sa threading_condition_notify
     */
    void notify(std::int64_t n = 1) { detail::check(threading_condition_notify(native_handle(), n)); }

    /** Calls notify(1). For compatibility with std::condition_variable. */
    void notify_one() { notify(); }

    /**
     * Notifies all threads that are currently waiting.
     *
     * \throws error with errc::not_owner (the lock is not held)
     *
     * \blocks never
     * \threadsafety any thread that holds the lock
     * \python `condition.notify_all()`
     * \sa threading_condition_notify_all
     */
    void notify_all() { detail::check(threading_condition_notify_all(native_handle())); }

    /**
     * Reinitializes the condition's lock to unlocked. For use in a child process after fork(), where the owner may not
     * exist.
     *
     * \blocks never
     * \threadsafety any thread; meant for the only thread of a child process
     * \python `condition._at_fork_reinit()`
     * \sa threading_condition_at_fork_reinit
     */
    void at_fork_reinit() { detail::check(threading_condition_at_fork_reinit(native_handle())); }

private:
    template <class Predicate>
    struct predicate_call {
        Predicate &predicate;
        std::exception_ptr exception;

        static int evaluate(void *arg)
        {
            auto &self = *static_cast<predicate_call *>(arg);
            return detail::call_and_capture(self.exception, [&self] { return self.predicate() ? 1 : 0; });
        }
    };

    template <class Predicate>
    bool wait_predicate(Predicate &predicate, double seconds)
    {
        detail::check_callable(predicate);
        predicate_call<Predicate> call{predicate, nullptr};
        void *arg = std::addressof(call);
        const threading_status status =
            threading_condition_wait_for_timeout(native_handle(), predicate_call<Predicate>::evaluate, arg, seconds);
        if (call.exception != nullptr)
            std::rethrow_exception(std::move(call.exception));
        return detail::check(status) == THREADING_OK;
    }

    bool wait_timeout(double seconds)
    {
        return detail::check(threading_condition_wait_timeout(native_handle(), seconds)) == THREADING_OK;
    }
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Semaphores, events, barriers
 */

/**
 * A counting semaphore, with the function names of std::counting_semaphore.
 *
 * acquire(), try_acquire() and the similar functions are those of detail::lockable above. They include lock() and
 * unlock(), so a std::lock_guard decrements the semaphore and increments it again. release() may be called in a signal
 * handler, unless the library was built with its portable backend.
 *
 * \python `threading.Semaphore`
 * \sa threading_semaphore
 */
class Semaphore : public detail::lockable<Semaphore, detail::semaphore_traits> {
public:
    using lockable::lockable;

    /**
     * Creates a semaphore.
     *
     * \param value the initial value, from 0 to max()
     * \throws error with errc::value (below 0), errc::overflow (above max()), errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Semaphore(value)`
     * \sa threading_semaphore_new
     */
    explicit Semaphore(std::ptrdiff_t value = 1) : lockable(adopt_handle, threading_semaphore_new(value)) {}

    /** Returns the maximum value. */
    [[nodiscard]] static constexpr std::ptrdiff_t(max)() noexcept { return THREADING_SEMAPHORE_MAX; }

    /**
     * Increments the semaphore by n and wakes up to n waiters. If the call fails, the value is unchanged.
     *
     * \param n the number to add, at least 1
     * \throws error with errc::value (below 1); errc::over_released (the value of a BoundedSemaphore would exceed its
     *         initial value); errc::overflow (the value would exceed max())
     *
     * \blocks never
     * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
     * \python `semaphore.release(n)`
     * \sa threading_semaphore_release_n
     */
    void release(std::ptrdiff_t n = 1)
    {
        detail::check(n == 1 ? threading_semaphore_release(native_handle())
                             : threading_semaphore_release_n(native_handle(), n));
    }

    /**
     * Returns the current value.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `semaphore._value`
     * \sa threading_semaphore_value
     */
    [[nodiscard]] std::ptrdiff_t value() const noexcept
    {
        return static_cast<std::ptrdiff_t>(threading_semaphore_value(native_handle()));
    }
};

/**
 * A Semaphore whose value cannot exceed its initial value.
 *
 * \python `threading.BoundedSemaphore`
 */
class BoundedSemaphore : public Semaphore {
public:
    using Semaphore::Semaphore;

    /**
     * Creates a bounded semaphore.
     *
     * \param value the initial value, from 0 to max()
     * \throws error with errc::value (below 0), errc::overflow (above max()), errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.BoundedSemaphore(value)`
     * \sa threading_semaphore_new_bounded
     */
    explicit BoundedSemaphore(std::ptrdiff_t value = 1)
        : Semaphore(adopt_handle, threading_semaphore_new_bounded(value))
    {
    }
};

/**
 * A flag that threads can wait for. Unlike a std::latch, it can be cleared.
 *
 * set() wakes all threads that wait at that time, even if the event is cleared immediately afterwards. Threads that
 * wait later do not block until the event is cleared. set(), clear() and is_set() may be called in a signal handler,
 * unless the library was built with its portable backend.
 *
 * \python `threading.Event`
 * \sa threading_event
 */
class Event : public detail::named_object<Event, detail::event_traits> {
public:
    using named_object::named_object;

    /**
     * Creates an event that is not set.
     *
     * \throws error with errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Event()`
     * \sa threading_event_new
     */
    Event() : named_object(adopt_handle, threading_event_new()) {}

    /**
     * Returns true if the event is currently set.
     *
     * \blocks never
     * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
     * \python `event.is_set()`
     * \sa threading_event_is_set
     */
    [[nodiscard]] bool is_set() const noexcept { return threading_event_is_set(native_handle()); }

    /**
     * Sets the event and wakes all threads that wait for it.
     *
     * \blocks never
     * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
     * \python `event.set()`
     * \sa threading_event_set
     */
    void set() { detail::check(threading_event_set(native_handle())); }

    /**
     * Clears the event, so that later waits block. Waits that were in progress when it was set still succeed.
     *
     * \blocks never
     * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
     * \python `event.clear()`
     * \sa threading_event_clear
     */
    void clear() { detail::check(threading_event_clear(native_handle())); }

    /**
     * Waits until the event is set.
     *
     * \blocks until the event is set
     * \threadsafety any thread
     * \python `event.wait()`
     * \sa threading_event_wait
     */
    void wait() const { detail::check(threading_event_wait(native_handle())); }

    /** Returns is_set(). For compatibility with std::latch. */
    [[nodiscard]] bool try_wait() const noexcept { return is_set(); }

    /**
     * Waits until the event is set, for at most the given time.
     *
     * \param time the timeout; zero does not block
     * \return true if the event is set, or was set during the wait, even if it was cleared again; false if the timeout
     *         expired
     * \throws error with errc::value (NaN)
     *
     * \blocks until the event is set or the timeout expires
     * \threadsafety any thread
     * \python `event.wait(time)`
     * \sa threading_event_wait_timeout
     */
    template <class Rep, class Period>
    bool wait_for(const std::chrono::duration<Rep, Period> &time) const
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /** Waits like wait_for(), but until the given time point at the latest. */
    template <class Clock, class Duration>
    bool wait_until(const std::chrono::time_point<Clock, Duration> &time_point) const
    {
        return detail::wait_until(time_point, [this](double seconds) { return wait_timeout(seconds); });
    }

    /**
     * Reinitializes the event to not set. For use in a child process after fork().
     *
     * \blocks never
     * \threadsafety any thread; meant for the only thread of a child process
     * \python `event._at_fork_reinit()`
     * \sa threading_event_at_fork_reinit
     */
    void at_fork_reinit() { detail::check(threading_event_at_fork_reinit(native_handle())); }

private:
    bool wait_timeout(double seconds) const
    {
        return detail::check(threading_event_wait_timeout(native_handle(), seconds)) == THREADING_OK;
    }
};

namespace detail {

/* The action of a barrier, shared by all Barrier objects of that barrier. The name of the class does not contain the
   callable's type, because std::shared_ptr calls functions by argument-dependent lookup. The class has no virtual
   functions, because -fsanitize=vptr reports calls to them if one translation unit is compiled without RTTI. */
struct barrier_action {
    void (*call)(barrier_action &self);
    std::weak_ptr<barrier_action> weak_self{}; // keeps the action alive during a call
    threading_barrier *barrier = nullptr;

    static int run(void *arg);

    // Called when the last Barrier has released its reference.
    bool is_barrier_referenced() const noexcept
    {
        if (barrier == nullptr || threading_barrier_ref(barrier) == nullptr)
            return false;
        (void)threading_barrier_free(barrier);
        return true;
    }
};

template <class Function>
struct barrier_action_impl : barrier_action {
    Function function;

    template <class Arg>
    explicit barrier_action_impl(Arg &&callable) : barrier_action{call_function}, function(std::forward<Arg>(callable))
    {
    }

    static void call_function(barrier_action &self)
    {
        (void)std::invoke(static_cast<barrier_action_impl &>(self).function);
    }
    static void destroy_or_leak(barrier_action *self) noexcept
    {
        // As long as C code holds a reference to the barrier, waits may call the action.
        if (!self->is_barrier_referenced())
            delete static_cast<barrier_action_impl *>(self);
    }
};

/* The exception thrown by the last action that the calling thread has run, and the action's barrier. The wait that ran
   the action takes the exception as soon as the C function has returned; a wait by the C function itself leaves it. */
struct action_failure {
    std::exception_ptr exception{};
    threading_barrier *barrier = nullptr;

    static action_failure &last() noexcept
    {
        thread_local action_failure failure;
        return failure;
    }
};

inline int barrier_action::run(void *arg)
{
    threading_barrier *const barrier = static_cast<barrier_action *>(arg)->barrier;
    const int result = detail::call_and_capture(action_failure::last().exception, [arg] {
        auto &self = *static_cast<barrier_action *>(arg);
        // The action may destroy the last Barrier. If that was destroyed earlier, the action has been leaked.
        const auto kept = self.weak_self.lock();
        self.call(self);
        return 0;
    });
    if (result != 0)
        action_failure::last().barrier = barrier;
    return result;
}

} // namespace detail

/**
 * A cyclic barrier, at which a fixed number of threads, its parties, wait for each other.
 *
 * A barrier breaks when the timeout of a wait expires, when its action throws, or when it is aborted. All waits of that
 * round and all later waits then throw a BrokenBarrierError until the barrier is reset, except that the wait that
 * called the action rethrows the action's exception.
 *
 * \python `threading.Barrier`
 * \sa threading_barrier
 */
class Barrier : public detail::named_object<Barrier, detail::barrier_traits> {
public:
    using named_object::named_object;

    /**
     * Creates a barrier.
     *
     * \param parties the number of threads that have to arrive, at least 1
     * \throws error with errc::value (no parties), errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Barrier(parties)`
     * \sa threading_barrier_new
     */
    explicit Barrier(std::size_t parties)
        : named_object(adopt_handle, threading_barrier_new(parties, nullptr, nullptr))
    {
    }

    /**
     * Creates a barrier with an action, which the last thread to arrive calls before any thread returns.
     *
     * The action is destroyed with the last Barrier object that refers to this barrier. If C code still holds a
     * reference to the barrier at that time, the action is never destroyed. An exception thrown by the action is
     * rethrown by the wait that called it.
     *
     * \param parties the number of threads that have to arrive, at least 1
     * \param action a callable without arguments
     * \throws error with errc::value (no parties, or a null function pointer), errc::no_memory; std::bad_alloc
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Barrier(parties, action)`
     * \sa threading_barrier_new
     */
    template <class Action, class = std::enable_if_t<std::is_invocable_v<std::decay_t<Action> &>>>
    explicit Barrier(std::size_t parties, Action &&action)
        : Barrier(parties, make_action(std::forward<Action>(action)), 0)
    {
    }

    Barrier(Barrier &&) noexcept = default;
    Barrier &operator=(Barrier &&other) noexcept = default;
    ~Barrier() { object::reset(); } // before the action is destroyed: see destroy_or_leak()

    /** Returns another Barrier that refers to the same barrier and its action, as the other classes' ref() does. */
    [[nodiscard]] Barrier ref() const
    {
        Barrier other(ref_handle, native_handle());
        other.action_ = action_;
        return other;
    }

    /**
     * Waits until all parties have arrived, for at most the barrier's default timeout.
     *
     * \return the arrival index of the calling thread, from 0 to parties - 1
     * \throws BrokenBarrierError (the barrier is broken, or it breaks or is reset during the wait); in the thread that
     *         called the action, any exception thrown by it; error with errc::deadlock (called from the action),
     *         errc::no_memory (this is the first time that the thread blocks, and its wait record cannot be allocated)
     *
     * \blocks until all parties have arrived and the action has returned, or the barrier breaks
     * \threadsafety any thread
     * \python `barrier.wait()`
     * \sa threading_barrier_wait
     */
    std::size_t wait()
    {
        std::size_t index = 0;
        threading_barrier *const barrier = native_handle();
        check_wait(barrier, threading_barrier_wait(barrier, &index));
        return index;
    }

    /** Calls wait(). For compatibility with std::barrier. */
    void arrive_and_wait() { (void)wait(); }

    /**
     * Waits until all parties have arrived, for at most the given time. The barrier breaks if the timeout expires.
     *
     * \param time the timeout, instead of the default timeout
     * \return as wait()
     * \throws as wait(); error with errc::value (NaN)
     *
     * \blocks as wait(), or until the timeout expires
     * \threadsafety any thread
     * \python `barrier.wait(time)`
     * \sa threading_barrier_wait_timeout
     */
    template <class Rep, class Period>
    std::size_t wait_for(const std::chrono::duration<Rep, Period> &time)
    {
        return wait_timeout(detail::to_seconds(time));
    }

    /** Waits like wait_for(), with the time from now until the given time point as the timeout. */
    template <class Clock, class Duration>
    std::size_t wait_until(const std::chrono::time_point<Clock, Duration> &time_point)
    {
        return wait_timeout(detail::seconds_until(time_point));
    }

    /**
     * Sets the default timeout, which wait() uses. Initially, wait() has no time limit.
     *
     * \param time the timeout; max() waits indefinitely
     * \throws error with errc::value (NaN)
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.Barrier(parties, action, timeout=time)`
     * \sa threading_barrier_set_timeout
     */
    template <class Rep, class Period>
    void set_timeout(const std::chrono::duration<Rep, Period> &time)
    {
        detail::check(threading_barrier_set_timeout(native_handle(), detail::to_seconds(time)));
    }

    /**
     * Resets the barrier to its initial, unbroken state. Waits in progress throw a BrokenBarrierError.
     *
     * \blocks never
     * \threadsafety any thread, including from the action
     * \python `barrier.reset()`
     * \sa threading_barrier_reset
     */
    void reset() { detail::check(threading_barrier_reset(native_handle())); }

    /**
     * Breaks the barrier until it is reset. Waits in progress throw a BrokenBarrierError.
     *
     * \blocks never
     * \threadsafety any thread, including from the action
     * \python `barrier.abort()`
     * \sa threading_barrier_abort
     */
    void abort() { detail::check(threading_barrier_abort(native_handle())); }

    /**
     * Returns the number of threads that have to arrive.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `barrier.parties`
     * \sa threading_barrier_parties
     */
    [[nodiscard]] std::size_t parties() const noexcept { return threading_barrier_parties(native_handle()); }

    /**
     * Returns the number of threads that have arrived in the current round. While the action runs, it is the number of
     * parties.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `barrier.n_waiting`
     * \sa threading_barrier_n_waiting
     */
    [[nodiscard]] std::size_t n_waiting() const noexcept { return threading_barrier_n_waiting(native_handle()); }

    /**
     * Returns true if the barrier is currently broken.
     *
     * \blocks never
     * \threadsafety any thread
     * \python `barrier.broken`
     * \sa threading_barrier_broken
     */
    [[nodiscard]] bool broken() const noexcept { return threading_barrier_broken(native_handle()); }

private:
    template <class Action>
    static std::shared_ptr<detail::barrier_action> make_action(Action &&action)
    {
        detail::check_callable<std::decay_t<Action>>(action);
        using impl = detail::barrier_action_impl<std::decay_t<Action>>;
        detail::barrier_action *created = new impl(std::forward<Action>(action));
        std::shared_ptr<detail::barrier_action> owned(created, impl::destroy_or_leak);
        owned->weak_self = owned;
        return owned;
    }

    // The int distinguishes it from the constructor that takes a callable.
    Barrier(std::size_t parties, std::shared_ptr<detail::barrier_action> action, int)
        : named_object(adopt_handle, threading_barrier_new(parties, detail::barrier_action::run, action.get())),
          action_(std::move(action))
    {
        action_->barrier = native_handle();
    }

    std::size_t wait_timeout(double seconds)
    {
        std::size_t index = 0;
        threading_barrier *const barrier = native_handle();
        check_wait(barrier, threading_barrier_wait_timeout(barrier, seconds, &index));
        return index;
    }

    // Static, because the action may have destroyed the object.
    static void check_wait(threading_barrier *barrier, threading_status status)
    {
        if (status == THREADING_ERR_CALLBACK) {
            detail::action_failure &failure = detail::action_failure::last();
            if (failure.exception != nullptr && failure.barrier == barrier)
                std::rethrow_exception(std::exchange(failure.exception, nullptr));
        }
        detail::check(status);
    }

    std::shared_ptr<detail::barrier_action> action_{};
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Local
 */

namespace detail {

/* The function that creates the values of a Local. As for barrier_action, the name does not contain the type of the
   value, and there are no virtual functions. */
struct value_factory {
    void *(*make)(value_factory &self);
};

template <class T, class Function>
struct value_factory_impl : value_factory {
    Function function;

    template <class Arg>
    explicit value_factory_impl(Arg &&callable) : value_factory{make_value}, function(std::forward<Arg>(callable))
    {
    }

    static void *make_value(value_factory &self)
    {
        return new T(std::invoke(static_cast<value_factory_impl &>(self).function));
    }
    static void destroy(value_factory *self) noexcept { delete static_cast<value_factory_impl *>(self); }
};

} // namespace detail

/**
 * A variable that has a separate value in each thread. The value is created when the thread first accesses it.
 *
 * Unlike a thread_local variable, a Local may be a data member or a local variable, and each timer has its own value
 * while its function runs. The value of a thread is destroyed in that thread when it ends, before join() returns. The
 * main thread's value is destroyed at process exit, after the non-daemon threads have been joined. The destructor of
 * the last Local that refers to the variable destroys the remaining values of all threads; no thread may use its value
 * at that time.
 *
 * All functions access only the calling thread's value. They are const, because they do not change what other threads
 * see.
 *
 * \python `threading.local`, or a subclass of it with an `__init__()`
 * \sa threading_local
 */
template <class T>
class Local : public detail::object<Local<T>, detail::local_traits> {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>, "T must be an object type other than an array");
    using base = detail::object<Local<T>, detail::local_traits>;

public:
    /** The type of the values. */
    using value_type = T;

    /**
     * Creates a variable whose values are value-initialized: T().
     *
     * \throws error with errc::no_memory
     *
     * \blocks never
     * \threadsafety any thread
     * \python `threading.local()`
     * \sa threading_local_new
     */
    template <class Value = T, class = std::enable_if_t<std::is_default_constructible_v<Value>>>
    Local() : base(adopt_handle, threading_local_new(destroy))
    {
    }

    /**
     * Creates a variable whose values are created by a function, which each thread calls for its own value.
     *
     * \param function a callable without arguments that returns the value; threads may call it concurrently. It may use
     *         other Locals. Of this Local, it may use all functions except get(), which would call it again
     * \throws error with errc::no_memory, errc::value (a null function pointer); std::bad_alloc
     *
     * \blocks never
     * \threadsafety any thread
     * \python a subclass of `threading.local` with its own `__init__()`
     * \sa threading_local_new
     */
    template <class Function,
              class = std::enable_if_t<
                  std::conjunction_v<std::negation<std::is_same<std::decay_t<Function>, Local>>,
                                     std::is_invocable_r<T, std::decay_t<Function> &>>>>
    explicit Local(Function &&function)
        : base(adopt_handle, threading_local_new(destroy)), factory_(make_factory(std::forward<Function>(function)))
    {
    }

    Local(Local &&) noexcept = default;
    Local &operator=(Local &&) noexcept = default;
    ~Local() = default;

    /** Returns another Local that refers to the same variable and its function, as the other classes' ref() does. */
    [[nodiscard]] Local ref() const { return Local(*this, detail::check(threading_local_ref(this->native_handle()))); }

    /**
     * Returns the calling thread's value, and creates it if it does not exist.
     *
     * \return the value, valid until it is replaced or destroyed
     * \throws any exception thrown by the creation of the value; error with errc::no_memory, errc::system (the system
     *         cannot notify the library of the thread's end), errc::shutdown (called during the thread's last round of
     *         pthread key destructors)
     *
     * \blocks only during the creation of the value
     * \threadsafety any thread
     * \python `data.value`
     * \sa threading_local_get
     */
    T &get() const
    {
        T *value = get_if();
        return value != nullptr ? *value : create();
    }

    /** Returns get(). */
    [[nodiscard]] T &operator*() const { return get(); }

    /** Returns &get(). */
    [[nodiscard]] T *operator->() const { return std::addressof(get()); }

    /**
     * Returns the calling thread's value without creating it.
     *
     * \return the value, or nullptr if the thread has none
     *
     * \blocks never
     * \threadsafety any thread
     * \python `getattr(data, "value", None)`
     * \sa threading_local_get
     */
    [[nodiscard]] T *get_if() const noexcept { return static_cast<T *>(threading_local_get(this->native_handle())); }

    /**
     * Creates a new value for the calling thread. The previous value is destroyed.
     *
     * \param arguments the arguments of T's constructor
     * \return the new value
     * \throws as get(); any exception thrown by T's constructor
     *
     * \blocks only during T's constructor and destructor
     * \threadsafety any thread
     * \python `data.value = T(arguments)`
     * \sa threading_local_set
     */
    template <class... Arguments>
    T &emplace(Arguments &&...arguments) const
    {
        return store(std::unique_ptr<T>(new T(std::forward<Arguments>(arguments)...)));
    }

    /**
     * Sets the calling thread's value, like emplace() with the given value.
     *
     * \python `data.value = value`
     */
    void set(T value) const { (void)emplace(std::move(value)); }

    /**
     * Destroys the calling thread's value.
     *
     * \return true if there was a value, false if there was none
     * \throws error as get()
     *
     * \blocks only during T's destructor
     * \threadsafety any thread
     * \python `del data.value`
     * \sa threading_local_del
     */
    bool reset() const { return detail::check(threading_local_del(this->native_handle())) == THREADING_OK; }

private:
    Local(const Local &other, threading_local *handle) : base(adopt_handle, handle), factory_(other.factory_) {}

    static void destroy(void *value) noexcept { delete static_cast<T *>(value); }

    template <class Function>
    static std::shared_ptr<detail::value_factory> make_factory(Function &&function)
    {
        detail::check_callable<std::decay_t<Function>>(function);
        using impl = detail::value_factory_impl<T, std::decay_t<Function>>;
        detail::value_factory *factory = new impl(std::forward<Function>(function));
        return std::shared_ptr<detail::value_factory>(factory, impl::destroy);
    }

    T &create() const
    {
        if (factory_)
            return store(std::unique_ptr<T>(static_cast<T *>(factory_->make(*factory_.get()))));
        if constexpr (std::is_default_constructible_v<T>)
            return emplace();
        else
            detail::throw_error(errc::handle); // moved from: T without a default constructor requires a function
    }

    T &store(std::unique_ptr<T> value) const
    {
        void *pointer = value.get();
        detail::check(threading_local_set(this->native_handle(), pointer));
        return *value.release();
    }

    std::shared_ptr<detail::value_factory> factory_{};
};

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Dumps
 */

/**
 * Writes what each thread waits for and since when, which thread owns that, and what it owns itself, to a file
 * descriptor. Deadlocks come first.
 *
 * A dump changes nothing, waits for no lock and calls no malloc().
 *
 * \param fd the file descriptor
 * \throws error with errc::value (a negative descriptor); errc::system (the text could not be written)
 *
 * \blocks only while a write to the file descriptor blocks
 * \threadsafety any thread, and any signal handler if it does not throw
 * \python `faulthandler.dump_traceback(file)`
 * \sa threading_dump
 */
inline void dump(int fd = 2)
{
    detail::check(threading_dump(fd));
}

/**
 * Installs a signal handler that makes a dump, and then calls the signal's former handler, if it had one.
 *
 * \param signum the signal, for example SIGQUIT
 * \param fd the file descriptor to which dumps are written, which must stay open; -1 restores the former handler
 * \throws error with errc::value (a signal that does not exist or cannot be caught, or a negative descriptor that is
 *         not -1)
 *
 * \blocks never
 * \threadsafety any thread
 * \python `faulthandler.register(signum, file, chain=True)`
 * \sa threading_dump_on_signal
 */
inline void dump_on_signal(int signum, int fd = 2)
{
    detail::check(threading_dump_on_signal(signum, fd));
}

/**
 * Turns statistics of contention on or off. Each dump then lists the ten locks and semaphores for which threads have
 * waited longest. Only waits in which a thread has parked are counted.
 *
 * \param on whether waits are counted from now on
 *
 * \blocks never
 * \threadsafety any thread
 * \sa threading_set_contention
 */
inline void set_contention(bool on)
{
    detail::check(threading_set_contention(on));
}

/**
 * Starts a trace of each wait of 10 microseconds and more: the object, the owner of the lock when the thread parked,
 * and an arrow from the thread that has ended the wait. Perfetto (ui.perfetto.dev) shows it.
 *
 * The start of a trace ends the former one. The process exit ends a trace, too. The file stays open.
 *
 * \param fd the file descriptor to which the trace is written, which must stay open until the trace ends; -1 ends it
 * \throws error with errc::value (a negative descriptor that is not -1); errc::system (the beginning could not be
 *     written)
 *
 * \blocks while a write to the file descriptor of either trace blocks
 * \threadsafety any thread, but no signal handler
 * \sa threading_trace
 */
inline void trace(int fd)
{
    detail::check(threading_trace(fd));
}

/** The kinds of hangs. */
enum class hang : int {
    deadlock = THREADING_HANG_DEADLOCK, /**< threads that wait for each other */
    exit = THREADING_HANG_EXIT /**< a process exit or a shutdown that waits for threads */
};

namespace detail {

/* A hang hook. It is never destroyed, because another thread may still be running it when it is replaced. */
struct hang_hook {
    hang_hook *next = nullptr;
};

template <class Function>
struct hang_hook_impl : hang_hook {
    Function function;

    template <class Arg>
    explicit hang_hook_impl(Arg &&callable) : function(std::forward<Arg>(callable))
    {
    }

    static void run(int kind, const char *report, void *arg)
    {
        auto &self = *static_cast<hang_hook_impl *>(arg);
        detail::call_and_report([&] { (void)std::invoke(self.function, static_cast<hang>(kind), report); });
    }
};

/* All hooks, so that leak checkers find them. */
inline std::atomic<hang_hook *> hang_hooks{nullptr};

} // namespace detail

/**
 * Sets a function that is called when threads hang: once for each deadlock that has lasted for `time`, and for a
 * process exit or a shutdown that has lasted as long, again whenever that time has doubled.
 *
 * The arguments are the kind of the hang and the text of a dump, which is valid during the call. One of the threads
 * that hang calls the function, in the call in which that thread waits. It may call all functions, but must not wait
 * for the threads that hang, as exit() does. An exception thrown by it is passed to the excepthook. It is never
 * destroyed, because another thread may still be running it when it is replaced.
 *
 * \param time how long a hang has to last before it is reported; max() turns reports off
 * \param function the callable
 * \throws error with errc::value (NaN, or a null function pointer); std::bad_alloc
 *
 * \blocks for some milliseconds, as threading_set_hang_hook()
 * \threadsafety any thread
 * \sa threading_set_hang_hook
 */
template <class Rep, class Period, class Function,
          class = std::enable_if_t<std::is_invocable_v<std::decay_t<Function> &, hang, const char *>>>
void set_hang_hook(const std::chrono::duration<Rep, Period> &time, Function &&function)
{
    detail::check_callable<std::decay_t<Function>>(function);
    using impl = detail::hang_hook_impl<std::decay_t<Function>>;
    auto hook = std::make_unique<impl>(std::forward<Function>(function));
    void *arg = hook.get();
    detail::check(threading_set_hang_hook(detail::to_seconds(time), impl::run, arg));
    detail::hang_hook *kept = hook.release();
    kept->next = detail::hang_hooks.load(std::memory_order_relaxed);
    while (!detail::hang_hooks.compare_exchange_weak(kept->next, kept, std::memory_order_release)) {
    }
}

/**
 * Reports hangs to standard error.
 *
 * \param time how long a hang has to last before it is reported; max() turns reports off
 * \throws error with errc::value (NaN)
 *
 * \blocks for some milliseconds, as threading_set_hang_hook()
 * \threadsafety any thread
 * \sa threading_set_hang_hook
 */
template <class Rep, class Period>
void set_hang_hook(const std::chrono::duration<Rep, Period> &time)
{
    detail::check(threading_set_hang_hook(detail::to_seconds(time), nullptr, nullptr));
}

} // namespace threading

/** Enables the implicit conversion from errc to std::error_code. */
template <>
struct std::is_error_code_enum<threading::errc> : std::true_type {};

#endif /* THREADING_HPP */

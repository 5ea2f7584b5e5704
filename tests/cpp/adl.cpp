// Argument-dependent lookup: the templates of the header call no function in a way that makes the compiler search the
// namespaces of a user's types, for which it would instantiate these types. Holder<Incomplete> cannot be instantiated,
// but a pointer to it can be used.
#include "test.hpp"

#include <functional>
#include <memory>

namespace {

struct Incomplete;

template <class T>
struct Holder {
    T member;
};

using Pointer = Holder<Incomplete> *;

// A function object whose type contains Holder<Incomplete>.
template <class T>
struct Callable {
    int *calls;

    void operator()() const { ++*calls; }
    void operator()(T given) const { *calls += given == nullptr ? 1 : 100; }
};

template <class T>
struct HangHook {
    void operator()(threading::hang, const char *) const {}
};

template <class T>
struct AlwaysTrue {
    bool operator()() const { return true; }
};

template <class T>
struct Factory {
    T operator()() const { return T(); }
};

void take(Pointer) {}
Pointer make_null() { return nullptr; }

// A clock whose name contains Holder<Incomplete>.
template <class T>
struct Clock {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<Clock>;
    static constexpr bool is_steady = true;
    static time_point now() { return time_point(duration(5)); }
};

using AssociatedClock = Clock<Pointer>;

} // namespace

// Functions with the names of functions that the header calls. They would be better matches.
namespace hijack {

struct Function {
    int *calls;
    void operator()() const { ++*calls; }
};

template <class... Arguments>
void call_and_report(Arguments &&...) = delete;
template <class... Arguments>
int call_and_capture(Arguments &&...) = delete;
template <class... Arguments>
void check_callable(Arguments &&...) = delete;
template <class... Arguments>
void make_invocation(Arguments &&...) = delete;
template <class... Arguments>
void transfer_ownership(Arguments &&...) = delete;
template <class... Arguments>
void invoke(Arguments &&...) = delete;
template <class... Arguments>
void apply(Arguments &&...) = delete;
template <class... Arguments>
void move(Arguments &&...) = delete;
template <class... Arguments>
void forward(Arguments &&...) = delete;
template <class... Arguments>
void addressof(Arguments &&...) = delete;
template <class T>
void operator&(const T &) = delete;
template <class T, class U>
void operator,(const T &, const U &) = delete;
template <class T>
bool operator!=(const T &, std::nullptr_t) = delete;
template <class T>
bool operator==(const T &, std::nullptr_t) = delete;

} // namespace hijack

// The handle types are in the global namespace.
int check(threading_thread *) = delete;
int check(threading_timer *) = delete;
int check(threading_lock *) = delete;
int check(threading_local *) = delete;
int check(threading_barrier *) = delete;
int check(threading_condition *) = delete;

static void threads()
{
    Pointer none = nullptr;
    int calls = 0;
    threading::Thread plain(take, none);
    threading::Thread object(Callable<Pointer>{&calls}, none);
    threading::Thread lambda([](Pointer given) { CHECK(given == nullptr); }, none);
    auto started = threading::Thread::started(Callable<Pointer>{&calls}, none);
    started.join();
    CHECK_EQUAL(calls, 1);
    for (threading::Thread *thread : {&plain, &object, &lambda}) {
        thread->start();
        thread->join();
    }
    CHECK_EQUAL(calls, 2);
    plain = std::move(object);
    threading::Thread hijacked(hijack::Function{&calls});
    hijacked.start();
    hijacked.join();
    CHECK_EQUAL(calls, 3);
}

static void timers()
{
    Pointer none = nullptr;
    int calls = 0;
    threading::Timer plain(0s, take, none);
    threading::Timer object(0s, Callable<Pointer>{&calls}, none);
    threading::Timer hijacked(0s, hijack::Function{&calls});
    for (threading::Timer *timer : {&plain, &object, &hijacked}) {
        timer->start();
        timer->join();
    }
    CHECK_EQUAL(calls, 2);
    plain = std::move(object);
}

static void atexit_functions()
{
    static int calls = 0;
    Pointer none = nullptr;
    threading::atexit(take, none);
    threading::atexit(Callable<Pointer>{&calls}, none);
    threading::atexit(Callable<Pointer>{&calls});
    threading::atexit(hijack::Function{&calls});
}

static void hang_hooks()
{
    threading::set_hang_hook(1h, HangHook<Pointer>());
    threading::set_hang_hook(std::chrono::hours::max());
}

static void locals()
{
    const threading::Local<Pointer> zero;
    CHECK(zero.get() == nullptr && *zero.get_if() == nullptr);
    zero.set(nullptr);
    zero.emplace(nullptr);
    CHECK(zero.reset());
    const threading::Local<Pointer> by_function(make_null);
    CHECK(by_function.get() == nullptr);
    threading::Local<Pointer> by_object{Factory<Pointer>()};
    CHECK(by_object.get() == nullptr);
    threading::Local<Pointer> moved(std::move(by_object));
    by_object = std::move(moved);
    const threading::Local<Pointer> other = by_object.ref();
    CHECK(other.get() == nullptr && static_cast<bool>(other));
    const threading::Local<std::unique_ptr<Callable<Pointer>>> owning;
    CHECK(owning->get() == nullptr);
    int calls = 0;
    const threading::Local<hijack::Function> hijacked([&] { return hijack::Function{&calls}; });
    hijacked.get()();
    CHECK_EQUAL(std::addressof(*hijacked)->calls, &calls);
}

static void predicates_and_actions()
{
    threading::Condition condition;
    const std::lock_guard guard(condition);
    condition.wait(AlwaysTrue<Pointer>());
    CHECK(condition.wait_for(1h, AlwaysTrue<Pointer>()));
    CHECK(condition.wait_until(test::steady::now(), AlwaysTrue<Pointer>()));
    CHECK(condition.wait_until(AssociatedClock::now(), AlwaysTrue<Pointer>()));
    int calls = 0;
    threading::Barrier barrier(1, Callable<Pointer>{&calls});
    barrier.wait();
    threading::Barrier other(1, hijack::Function{&calls});
    other.arrive_and_wait();
    barrier = std::move(other);
    barrier = threading::Barrier(barrier.ref());
    CHECK_EQUAL(calls, 2);
}

static void clocks()
{
    threading::Lock lock;
    CHECK(lock.try_acquire_until(AssociatedClock::now()));
    CHECK(!lock.try_lock_until(AssociatedClock::now()));
    threading::Event event;
    CHECK(!event.wait_until(AssociatedClock::now()));
    threading::Semaphore semaphore;
    CHECK(semaphore.try_acquire_until(AssociatedClock::time_point()));
    threading::sleep_until(AssociatedClock::now());
    threading::Barrier barrier(1);
    barrier.wait_until(AssociatedClock::now());
    threading::Thread thread([] {});
    thread.start();
    while (!thread.join_until(AssociatedClock::now()))
        threading::sleep(1ms);
    threading::Condition condition;
    const std::lock_guard guard(condition);
    CHECK(!condition.wait_until(AssociatedClock::now()));
}

static const test::Case cases[] = {
    {"threads", threads},
    {"timers", timers},
    {"atexit functions", atexit_functions},
    {"hang hooks", hang_hooks},
    {"locals", locals},
    {"predicates and actions", predicates_and_actions},
    {"clocks", clocks},
};

TEST_MAIN(cases)

// Local: a value of any type for each thread, created and destroyed in that thread.
#include "test.hpp"

#include <memory>
#include <optional>
#include <stdexcept>

using threading::errc;
using threading::Local;

struct NoDefault {
    explicit NoDefault(int given) : number(given) {}
    int number;
};

struct Immovable { // neither copyable nor movable
    explicit Immovable(int given) : number(given) {}
    Immovable(const Immovable &) = delete;
    Immovable &operator=(const Immovable &) = delete;
    int number;
};

static_assert(std::is_nothrow_move_constructible_v<Local<int>> && std::is_nothrow_move_assignable_v<Local<int>>);
static_assert(!std::is_copy_constructible_v<Local<int>> && !std::is_copy_assignable_v<Local<int>>);
static_assert(std::is_default_constructible_v<Local<int>> && !std::is_default_constructible_v<Local<NoDefault>>);
static_assert(!std::is_constructible_v<Local<NoDefault>, int (*)(int)>);
static_assert(std::is_same_v<decltype(std::declval<const Local<int> &>().get()), int &>);
static_assert(noexcept(std::declval<Local<int> &>().get_if()));

// Counts its objects, and those that a thread other than their creator destroyed.
struct Tracked {
    static inline std::atomic<int> alive{0};
    static inline std::atomic<int> destroyed_elsewhere{0};
    std::uint64_t creator = threading::get_ident();
    int number = 0;

    Tracked() { alive++; }
    explicit Tracked(int given) : number(given) { alive++; }
    Tracked(const Tracked &) = delete;
    Tracked &operator=(const Tracked &) = delete;
    ~Tracked()
    {
        alive--;
        destroyed_elsewhere += creator != threading::get_ident();
    }
};

static void each_thread_has_its_own()
{
    Local<int> local;
    CHECK(local.get_if() == nullptr);
    CHECK_EQUAL(local.get(), 0);
    local.get() = 1;
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 3; i++) {
        threads.push_back(threading::Thread::started([&local, i] {
            CHECK(local.get_if() == nullptr);
            CHECK(!local.reset());
            local.set(10 + i);
            CHECK_EQUAL(*local, 10 + i);
            CHECK_EQUAL(*local.get_if(), 10 + i);
        }));
    }
    std::thread([&] { CHECK_EQUAL(*local, 0); }).join(); // a thread that the library did not start
    threads.clear();
    CHECK_EQUAL(*local, 1);
    CHECK(local.reset() && local.get_if() == nullptr && !local.reset());
}

static void values_of_any_type()
{
    const Local<std::string> text;
    *text = "mine";
    CHECK_EQUAL(text->size(), 4U);
    CHECK_EQUAL(text.emplace(3U, 'x'), "xxx");

    const Local<std::unique_ptr<int>> only_moved;
    only_moved.set(std::make_unique<int>(7));
    CHECK_EQUAL(**only_moved, 7);

    const Local<Immovable> immovable([] { return Immovable(3); });
    CHECK_EQUAL(immovable->number, 3);
    CHECK_EQUAL(immovable.emplace(4).number, 4);

    std::atomic<int> count{0};
    const Local<NoDefault> counted([&count, only = std::make_unique<int>(100)] { return NoDefault(*only + count++); });
    CHECK_EQUAL(counted->number, 100);
    CHECK_EQUAL(counted->number, 100);
    std::thread([&] { CHECK_EQUAL(counted->number, 101); }).join();
    counted.reset();
    CHECK_EQUAL(counted->number, 102);

    const Local<std::optional<int>> maybe;
    CHECK(!maybe->has_value());
}

static void values_are_destroyed_in_their_thread()
{
    Tracked::destroyed_elsewhere = 0;
    const Local<Tracked> local;
    threading::Thread thread([&] {
        CHECK_EQUAL(Tracked::alive.load(), 0);
        CHECK_EQUAL(local->number, 0);
        local.emplace(5);
        CHECK_EQUAL(Tracked::alive.load(), 1); // the previous value was destroyed
        CHECK_EQUAL(local->number, 5);
    });
    thread.start();
    thread.join();
    CHECK_EQUAL(Tracked::alive.load(), 0);

    std::thread([&] { local.get(); }).join();
    WAIT_UNTIL(Tracked::alive == 0);

    threading::Timer timer(1ms, [&] {
        CHECK(local.get_if() == nullptr);
        local.get();
        CHECK_EQUAL(Tracked::alive.load(), 1);
    });
    timer.start();
    timer.join();
    CHECK_EQUAL(Tracked::alive.load(), 0);
    CHECK_EQUAL(Tracked::destroyed_elsewhere.load(), 0);
}

static void values_are_destroyed_with_the_local()
{
    Tracked::destroyed_elsewhere = 0;
    auto local = std::make_unique<Local<Tracked>>();
    local->get();
    threading::Event created, go;
    auto thread = threading::Thread::started([&] {
        local->get();
        created.set();
        go.wait();
    });
    created.wait();
    CHECK_EQUAL(Tracked::alive.load(), 2);
    Local<Tracked> other = local->ref();
    local.reset();
    CHECK_EQUAL(Tracked::alive.load(), 2);
    CHECK(other.get_if() != nullptr);
    other = Local<Tracked>();
    CHECK_EQUAL(Tracked::alive.load(), 0);
    CHECK_EQUAL(Tracked::destroyed_elsewhere.load(), 1); // the other thread's value, destroyed by this thread
    go.set();
}

#if defined(__cpp_exceptions)
static void function_that_throws_creates_no_value()
{
    bool fail = true;
    const Local<NoDefault> local([&] {
        if (fail)
            throw std::runtime_error("not yet");
        return NoDefault(1);
    });
    CHECK_THROWS(local.get(), std::runtime_error);
    CHECK(local.get_if() == nullptr);
    fail = false;
    CHECK_EQUAL(local->number, 1);
    NoDefault (*none)() = nullptr;
    CHECK_ERROR(Local<NoDefault>(none), errc::value);
}
#endif

static void function_may_use_its_local()
{
    const Local<int> *self = nullptr;
    const Local<int> local([&] {
        CHECK(self->get_if() == nullptr);
        self->set(1);
        return 2; // replaces the value
    });
    self = &local;
    CHECK_EQUAL(*local, 2);
}

static void objects_share_the_function()
{
    auto local = std::make_unique<Local<NoDefault>>([] { return NoDefault(9); });
    const Local<NoDefault> other = local->ref();
    CHECK(other == *local);
    CHECK_EQUAL((*local)->number, 9);
    Local<NoDefault> moved(std::move(*local));
    CHECK_ERROR(local->get(), errc::handle);
    CHECK(local->get_if() == nullptr);
    CHECK_ERROR(local->reset(), errc::handle);
    local.reset();
    std::thread([&] { CHECK_EQUAL(other->number, 9); }).join();
    CHECK_EQUAL(moved->number, 9);

    Local<int> plain;
    const Local<int> taken(std::move(plain));
    CHECK_ERROR(plain.get(), errc::handle); // NOLINT(bugprone-use-after-move)
}

static const test::Case cases[] = {
    {"each thread has its own value", each_thread_has_its_own},
    {"values may be of any type", values_of_any_type},
    {"values are destroyed in their thread when it finishes", values_are_destroyed_in_their_thread},
    {"values are destroyed with the last object of the local", values_are_destroyed_with_the_local},
#if defined(__cpp_exceptions)
    {"a function that throws creates no value and is called again", function_that_throws_creates_no_value},
#endif
    {"a function may use its local", function_may_use_its_local},
    {"two objects share one local and its function", objects_share_the_function},
};

TEST_MAIN(cases)

// Barrier: rounds, actions of any kind, and what breaks it.
#include "test.hpp"

#include <memory>
#include <stdexcept>

using threading::Barrier;
using threading::BrokenBarrierError;
using threading::errc;

static_assert(std::is_nothrow_move_constructible_v<Barrier> && std::is_nothrow_move_assignable_v<Barrier>);
static_assert(!std::is_copy_constructible_v<Barrier> && !std::is_copy_assignable_v<Barrier>);
static_assert(!std::is_convertible_v<std::size_t, Barrier>);
static_assert(noexcept(std::declval<Barrier &>().parties()) && noexcept(std::declval<Barrier &>().n_waiting())
              && noexcept(std::declval<Barrier &>().broken()));
static_assert(std::is_base_of_v<threading::error, BrokenBarrierError>);

static void goes_round()
{
    int rounds = 0; // no other thread runs while the action does
    Barrier barrier(3, [&rounds] { rounds++; });
    CHECK_EQUAL(barrier.parties(), 3U);
    std::atomic<std::size_t> sum{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 3; i++) {
        threads.push_back(threading::Thread::started([&] {
            for (int round = 0; round < 20; round += 4) {
                sum += barrier.wait();
                CHECK_EQUAL(rounds, round + 1);
                sum += barrier.wait_for(test::limit);
                CHECK_EQUAL(rounds, round + 2);
                sum += barrier.wait_until(test::steady::now() + test::limit);
                CHECK_EQUAL(rounds, round + 3);
                barrier.arrive_and_wait();
                CHECK_EQUAL(rounds, round + 4);
            }
        }));
    }
    threads.clear(); // joins
    CHECK_EQUAL(rounds, 20);
    CHECK_EQUAL(sum.load(), 15U * (0 + 1 + 2)); // in each round every index once
    CHECK_EQUAL(barrier.n_waiting(), 0U);
}

static void time_breaks_it()
{
    Barrier barrier(2);
    CHECK(test::time_of([&] { CHECK_THROWS(barrier.wait_for(20ms), BrokenBarrierError); }) >= 20ms);
    CHECK(barrier.broken());
    CHECK_ERROR(barrier.wait(), errc::broken_barrier);
    barrier.reset();
    CHECK(!barrier.broken());
    barrier.set_timeout(20ms);
    CHECK(test::time_of([&] { CHECK_THROWS(barrier.wait(), BrokenBarrierError); }) >= 20ms);
    barrier.reset();
    CHECK_THROWS(barrier.wait_until(test::steady::now()), BrokenBarrierError);
    barrier.reset();
    CHECK_ERROR(barrier.wait_for(std::chrono::duration<double>(NAN)), errc::value);
    CHECK_ERROR(barrier.set_timeout(std::chrono::duration<double>(NAN)), errc::value);
    CHECK(!barrier.broken());
}

static void others_break_it()
{
    Barrier barrier(2);
    for (const bool abort : {true, false}) {
        auto waiter = threading::Thread::started([&] { CHECK_THROWS(barrier.arrive_and_wait(), BrokenBarrierError); });
        WAIT_UNTIL(barrier.n_waiting() == 1);
        abort ? barrier.abort() : barrier.reset();
        waiter.join();
        CHECK_EQUAL(barrier.broken(), abort);
        barrier.reset();
    }
    CHECK_ERROR(Barrier(0), errc::value);
}

static void hands_the_exception_on()
{
    struct Failure : std::runtime_error {
        using std::runtime_error::runtime_error;
    };
    Barrier barrier(2, [] { throw Failure("action"); });
    std::atomic<int> failed{0}, broken{0};
    auto arrive = [&] {
        try {
            barrier.arrive_and_wait();
        } catch (const Failure &failure) {
            CHECK_EQUAL(std::string(failure.what()), "action");
            failed++;
        } catch (const BrokenBarrierError &) {
            broken++;
        }
    };
    auto other = threading::Thread::started(arrive);
    arrive();
    other.join();
    CHECK_EQUAL(failed.load(), 1);
    CHECK_EQUAL(broken.load(), 1);
    CHECK(barrier.broken());

    // One barrier inside of another's action, both of which fail.
    Barrier inner(1, [] { throw 1; });
    Barrier outer(1, [&] {
        CHECK_THROWS(inner.wait(), int);
        throw std::string("outer");
    });
    CHECK_THROWS(outer.wait(), std::string);
}

static void inside_of_the_action()
{
    Barrier *self = nullptr;
    Barrier barrier(1, [&self] {
        CHECK_EQUAL(self->n_waiting(), 1U);
        CHECK_ERROR(self->wait(), errc::deadlock);
        self->abort();
    });
    self = &barrier;
    CHECK_THROWS(barrier.wait(), BrokenBarrierError);

    // The last Barrier ends inside of its action, which is destroyed after that.
    auto gone = std::make_shared<int>(0);
    std::unique_ptr<Barrier> last;
    threading_barrier *handle = nullptr;
    last = std::make_unique<Barrier>(1, [&last, gone] {
        last.reset();
        CHECK_EQUAL(*gone, 0);
    });
    handle = last->native_handle();
    CHECK_EQUAL(threading_barrier_wait(handle, nullptr), THREADING_OK);
    CHECK_EQUAL(gone.use_count(), 1);
    CHECK_EQUAL(threading_barrier_abort(handle), THREADING_ERR_HANDLE);
}

static void calls_anything()
{
    struct Count {
        std::unique_ptr<int> made{std::make_unique<int>(0)};
        int operator()() { return ++*made; } // move-only, and with a result
    };
    Count count;
    const int *made = count.made.get();
    Barrier barrier(1, std::move(count));
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(*made, 2);
    void (*none)() = nullptr;
    CHECK_ERROR(Barrier(1, none), errc::value);
    Barrier moved(std::move(barrier));
    // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
    CHECK(!barrier);
    CHECK_ERROR(barrier.wait(), errc::handle);
    CHECK_EQUAL(barrier.parties(), 0U);
    barrier = std::move(moved);
    // NOLINTEND
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(*made, 3);
}

static void the_action_lives_as_long_as_it_is_needed()
{
    auto token = std::make_shared<int>(0);
    auto barrier = std::make_unique<Barrier>(1, [token] { ++*token; });
    CHECK_EQUAL(token.use_count(), 2);
    Barrier other = barrier->ref();
    barrier.reset();
    CHECK_EQUAL(other.wait(), 0U);
    CHECK_EQUAL(*token, 1);
    other = Barrier(1);
    CHECK_EQUAL(token.use_count(), 1);

    // C keeps the barrier longer than any Barrier: the action stays for good. It says where, so that tools which
    // look for leaks find it.
    struct Stays {
        static const Stays *&where()
        {
            static const Stays *place = nullptr;
            return place;
        }
        std::shared_ptr<int> calls;
        void operator()()
        {
            ++*calls;
            where() = this;
        }
    };
    auto calls = std::make_shared<int>(0);
    const std::weak_ptr<int> stays = calls;
    barrier = std::make_unique<Barrier>(1, Stays{std::move(calls)});
    threading_barrier *handle = threading_barrier_ref(barrier->native_handle());
    barrier.reset();
    CHECK(!stays.expired());
    CHECK_EQUAL(threading_barrier_wait(handle, nullptr), THREADING_OK);
    CHECK_EQUAL(*Stays::where()->calls, 1);
    CHECK_EQUAL(threading_barrier_free(handle), THREADING_OK);
}

static const test::Case cases[] = {
    {"rounds follow each other, the action before any return", goes_round},
    {"a time that runs out breaks it, and is not shortened", time_breaks_it},
    {"abort and reset break it for those who wait", others_break_it},
    {"an action's exception reaches the thread that ran it", hands_the_exception_on},
    {"an action may use its barrier, and end it", inside_of_the_action},
    {"an action may be any callable", calls_anything},
    {"the action lives as long as it may be called", the_action_lives_as_long_as_it_is_needed},
};

TEST_MAIN(cases)

// Barrier: rounds, actions of any type, and broken barriers.
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

static void rounds_repeat()
{
    int rounds = 0; // not atomic: no party returns while the action runs
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
    CHECK_EQUAL(sum.load(), 15U * (0 + 1 + 2)); // in each round, every index once
    CHECK_EQUAL(barrier.n_waiting(), 0U);
}

static void timeout_breaks_the_barrier()
{
    Barrier barrier(2);
    CHECK(test::duration_of([&] { CHECK_THROWS(barrier.wait_for(20ms), BrokenBarrierError); }) >= 20ms);
    CHECK(barrier.broken());
    CHECK_ERROR(barrier.wait(), errc::broken_barrier);
    barrier.reset();
    CHECK(!barrier.broken());
    barrier.set_timeout(20ms);
    CHECK(test::duration_of([&] { CHECK_THROWS(barrier.wait(), BrokenBarrierError); }) >= 20ms);
    barrier.reset();
    CHECK_THROWS(barrier.wait_until(test::steady::now()), BrokenBarrierError);
    barrier.reset();
    CHECK_ERROR(barrier.wait_for(std::chrono::duration<double>(NAN)), errc::value);
    CHECK_ERROR(barrier.set_timeout(std::chrono::duration<double>(NAN)), errc::value);
    CHECK(!barrier.broken());
}

static void abort_and_reset_fail_the_waits()
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

static void action_exception_reaches_the_last_thread()
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

    // A barrier inside the action of another one. Both actions throw.
    Barrier inner(1, [] { throw 1; });
    Barrier outer(1, [&] {
        CHECK_THROWS(inner.wait(), int);
        throw std::string("outer");
    });
    CHECK_THROWS(outer.wait(), std::string);

    // The exception of an action that C code has called is not that of another barrier.
    Barrier called_by_c(1, [] { throw 2; });
    CHECK_EQUAL(threading_barrier_wait(called_by_c.native_handle(), nullptr), THREADING_ERR_CALLBACK);
    Barrier with_c_action(threading::adopt_handle, threading_barrier_new(1, [](void *) { return 1; }, nullptr));
    CHECK_ERROR(with_c_action.wait(), errc::callback);
}

static void action_uses_and_destroys_its_barrier()
{
    Barrier *self = nullptr;
    Barrier barrier(1, [&self] {
        CHECK_EQUAL(self->n_waiting(), 1U);
        CHECK_ERROR(self->wait(), errc::deadlock);
        self->abort();
    });
    self = &barrier;
    CHECK_THROWS(barrier.wait(), BrokenBarrierError);

    // The action destroys the last Barrier. The action itself is destroyed after it has returned.
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

static void action_may_be_any_callable()
{
    struct Count {
        std::unique_ptr<int> calls{std::make_unique<int>(0)};
        int operator()() { return ++*calls; } // move-only, and returns a value
    };
    Count count;
    const int *calls = count.calls.get();
    Barrier barrier(1, std::move(count));
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(*calls, 2);
    void (*none)() = nullptr;
    CHECK_ERROR(Barrier(1, none), errc::value);
    Barrier moved(std::move(barrier));
    // NOLINTBEGIN(bugprone-use-after-move): this is what the test checks
    CHECK(!barrier);
    CHECK_ERROR(barrier.wait(), errc::handle);
    CHECK_EQUAL(barrier.parties(), 0U);
    barrier = std::move(moved);
    // NOLINTEND
    CHECK_EQUAL(barrier.wait(), 0U);
    CHECK_EQUAL(*calls, 3);
}

static void action_is_destroyed_with_the_last_barrier()
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

    // C code keeps the barrier longer than any Barrier object, so the action is never destroyed. It stores its address,
    // so that leak detectors consider it reachable.
    struct Leaked {
        static const Leaked *&instance()
        {
            static const Leaked *pointer = nullptr;
            return pointer;
        }
        std::shared_ptr<int> calls;
        void operator()()
        {
            ++*calls;
            instance() = this;
        }
    };
    auto calls = std::make_shared<int>(0);
    const std::weak_ptr<int> leaked = calls;
    barrier = std::make_unique<Barrier>(1, Leaked{std::move(calls)});
    threading_barrier *handle = threading_barrier_ref(barrier->native_handle());
    barrier.reset();
    CHECK(!leaked.expired());
    CHECK_EQUAL(threading_barrier_wait(handle, nullptr), THREADING_OK);
    CHECK_EQUAL(*Leaked::instance()->calls, 1);
    CHECK_EQUAL(threading_barrier_free(handle), THREADING_OK);
}

// The action destroys the last Barrier while C code keeps the barrier, and is called again.
static void action_is_kept_for_c_code()
{
    static std::unique_ptr<Barrier> last;
    struct Action {
        static const Action *&instance()
        {
            static const Action *pointer = nullptr; // for leak detectors, as above
            return pointer;
        }
        std::shared_ptr<int> calls;
        void operator()()
        {
            instance() = this;
            last.reset();
            ++*calls;
        }
    };
    auto calls = std::make_shared<int>(0);
    last = std::make_unique<Barrier>(1, Action{calls});
    threading_barrier *handle = threading_barrier_ref(last->native_handle());
    CHECK_EQUAL(threading_barrier_wait(handle, nullptr), THREADING_OK);
    CHECK_EQUAL(threading_barrier_wait(handle, nullptr), THREADING_OK);
    CHECK_EQUAL(*calls, 2);
    CHECK_EQUAL(Action::instance()->calls.use_count(), 2);
    CHECK_EQUAL(threading_barrier_free(handle), THREADING_OK);
}

static const test::Case cases[] = {
    {"rounds repeat, and the action runs before any party returns", rounds_repeat},
    {"a timeout breaks it, and is not shorter than given", timeout_breaks_the_barrier},
    {"abort and reset fail the waits in progress", abort_and_reset_fail_the_waits},
    {"an exception of the action reaches the thread that ran it", action_exception_reaches_the_last_thread},
    {"an action may use and destroy its barrier", action_uses_and_destroys_its_barrier},
    {"an action may be any callable", action_may_be_any_callable},
    {"the action is destroyed with the last Barrier, unless C code keeps the barrier",
     action_is_destroyed_with_the_last_barrier},
    {"an action that destroys the last Barrier is kept for C code", action_is_kept_for_c_code},
};

TEST_MAIN(cases)

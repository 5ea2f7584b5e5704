"""The cases of the benchmark for CPython's threading module.

    python.py --cases     print the version of the interpreter and the names of the cases
    python.py CASE        measure one case, and print the result in the form that the benchmark reads
"""

import faulthandler
import os
import random
import sys
import threading
import time
from itertools import repeat

NAME = "CPython"
now = time.perf_counter_ns
CORES = sorted(os.sched_getaffinity(0))
UNROLL = 10  # how often each loop contains the statement, so that the loop itself costs little


def quantile(values, fraction):
    values = sorted(values)
    return values[int(fraction * (len(values) - 1) + 0.5)]


def lower_quintile(values):
    return quantile(values, 0.2)


def upper_quintile(values):
    return quantile(values, 0.8)


def nanoseconds(loop, batches=40, batch_ns=1e6):
    """Returns the time of one operation. loop(n) performs UNROLL * n operations."""
    loop(10)
    before = now()
    loop(10)
    n = int(batch_ns / ((now() - before) / 10)) + 1
    values = []
    for _ in range(batches):
        before = now()
        loop(n)
        values.append((now() - before) / (UNROLL * n))
    return lower_quintile(values)


# ---- loops of some nanoseconds; bound methods are looked up once, as in programs where speed matters ----


def make_loop(body, **names):
    """Returns a function that executes the body UNROLL times per iteration."""
    lines = ["def loop(n):", "    for _ in repeat(None, n):"] + ["        " + body] * UNROLL
    names["repeat"] = repeat
    exec("\n".join(lines), names)
    return names["loop"]


def lock_pair():
    lock = threading.Lock()
    return nanoseconds(make_loop("acquire(); release()", acquire=lock.acquire, release=lock.release))


def lock_try_pair():
    lock = threading.Lock()
    return nanoseconds(make_loop("acquire(False); release()", acquire=lock.acquire, release=lock.release))


def lock_try_fails():
    lock = threading.Lock()
    lock.acquire()
    return nanoseconds(make_loop("acquire(False)", acquire=lock.acquire))


def lock_timed():
    lock = threading.Lock()
    return nanoseconds(make_loop("acquire(True, 5.0); release()", acquire=lock.acquire, release=lock.release))


def rlock_first():
    lock = threading.RLock()
    return nanoseconds(make_loop("acquire(); release()", acquire=lock.acquire, release=lock.release))


def rlock_nested():
    lock = threading.RLock()
    lock.acquire()
    return nanoseconds(make_loop("acquire(); release()", acquire=lock.acquire, release=lock.release))


def condition_notify():
    condition = threading.Condition(threading.Lock())
    condition.acquire()
    return nanoseconds(make_loop("notify()", notify=condition.notify))


def condition_notify_all():
    condition = threading.Condition(threading.Lock())
    condition.acquire()
    return nanoseconds(make_loop("notify_all()", notify_all=condition.notify_all))


def set_event():
    event = threading.Event()
    event.set()
    return event


def event_is_set():
    return nanoseconds(make_loop("is_set()", is_set=set_event().is_set))


def event_wait():
    return nanoseconds(make_loop("wait()", wait=set_event().wait))


def event_set():
    return nanoseconds(make_loop("set()", set=set_event().set))


def semaphore_pair():
    semaphore = threading.Semaphore(0)
    acquire, release = semaphore.acquire, semaphore.release
    return nanoseconds(make_loop("release(); acquire()", acquire=acquire, release=release))


def local_get():
    local = threading.local()
    local.value = local
    return nanoseconds(make_loop("local.value", local=local))


def local_set():
    local = threading.local()
    return nanoseconds(make_loop("local.value = local", local=local))


def create(new):
    return lambda: nanoseconds(make_loop("new()", new=new))


# ---- ping-pong ----


def pin(core):
    os.sched_setaffinity(threading.get_native_id(), {core})


def round_trips(turn, cores, batches=20, batch_ns=5e6):
    """Returns the time of a round trip. turn(side) is the turn of a side; side 0 measures, and side 1 replies."""
    pin(cores[0])

    def answer(n):
        pin(cores[1])
        for _ in range(n):
            turn(1)

    def play(n):
        thread = threading.Thread(target=answer, args=(n,))
        thread.start()
        turn(0)  # after this, both threads are running
        before = now()
        for _ in range(n - 1):
            turn(0)
        taken = (now() - before) / (n - 1)
        thread.join()
        return taken

    n = int(batch_ns / play(50)) + 2
    return lower_quintile([play(n) for _ in range(batches)]) / 1e3


def condition_turns(cores):
    condition = threading.Condition(threading.Lock())
    whose = 0

    def turn(side):
        nonlocal whose
        with condition:
            if side == 0:
                whose = 1
                condition.notify()
                while whose != 0:
                    condition.wait()
            else:
                while whose != 1:
                    condition.wait()
                whose = 0
                condition.notify()

    return round_trips(turn, cores)


def event_turns(cores):
    events = [threading.Event(), threading.Event()]

    def turn(side):
        if side == 0:
            events[1].set()
        events[side].wait()
        events[side].clear()
        if side == 1:
            events[0].set()

    return round_trips(turn, cores)


def semaphore_turns(cores):
    semaphores = [threading.Semaphore(0), threading.Semaphore(0)]

    def turn(side):
        if side == 0:
            semaphores[1].release()
        semaphores[side].acquire()
        if side == 1:
            semaphores[0].release()

    return round_trips(turn, cores)


# ---- broadcast, barrier, buffer ----


def broadcast(size, rounds):
    condition = threading.Condition(threading.Lock())
    all_woken = threading.Semaphore(0)
    generation = waiting = woken = 0
    stop = False

    def listen():
        nonlocal waiting, woken
        with condition:
            while not stop:
                mine = generation
                waiting += 1
                while generation == mine:
                    condition.wait()
                woken += 1
                if woken == size:
                    all_woken.release()

    def await_all():
        while True:
            time.sleep(0.0002)
            with condition:
                if waiting == size:
                    break
        time.sleep(0.0002)

    def notify_all():
        nonlocal generation, waiting, woken
        before = now()
        with condition:
            generation += 1
            waiting = woken = 0
            condition.notify_all()
        all_woken.acquire()
        return now() - before

    threads = [threading.Thread(target=listen) for _ in range(size)]
    for thread in threads:
        thread.start()
    values = []
    for _ in range(rounds):
        await_all()
        values.append(notify_all())
    await_all()
    with condition:
        stop = True
    notify_all()
    for thread in threads:
        thread.join()
    return lower_quintile(values) / 1e3


def barrier(parties):
    rendezvous = threading.Barrier(parties)
    batches, batch = 20, 20

    def other_party():
        for _ in range((batches + 1) * batch):
            rendezvous.wait()

    threads = [threading.Thread(target=other_party) for _ in range(parties - 1)]
    for thread in threads:
        thread.start()
    values = []
    for _ in range(batches + 1):
        before = now()
        for _ in range(batch):
            rendezvous.wait()
        values.append((now() - before) / batch)
    for thread in threads:
        thread.join()
    return lower_quintile(values[1:]) / 1e3


def buffer(each):
    size = 128
    free, used, lock = threading.Semaphore(size), threading.Semaphore(0), threading.Lock()
    items = [0] * size
    put = got = 0
    stop = False
    passed = [0] * each

    def put_one(item):
        nonlocal put
        free.acquire()
        with lock:
            items[put % size] = item
            put += 1
        used.release()

    def produce():
        while not stop:
            put_one(1)

    def consume(index):
        nonlocal got
        while True:
            used.acquire()
            with lock:
                item = items[got % size]
                got += 1
            free.release()
            if item == 0:
                return
            passed[index] += 1

    consumers = [threading.Thread(target=consume, args=(index,)) for index in range(each)]
    producers = [threading.Thread(target=produce) for _ in range(each)]
    for thread in consumers + producers:
        thread.start()
    values = []
    time.sleep(0.02)
    before, count = now(), sum(passed)
    for _ in range(20):
        time.sleep(0.02)
        after, total = now(), sum(passed)
        values.append((total - count) / (after - before) * 1e3)
        before, count = after, total
    stop = True
    for thread in producers:
        thread.join()
    for _ in consumers:
        put_one(0)
    for thread in consumers:
        thread.join()
    return upper_quintile(values)


# ---- threads ----


def nothing():
    pass


def thread_start_join():
    values = []
    for _ in range(21):
        before = now()
        for _ in range(25):
            thread = threading.Thread(target=nothing)
            thread.start()
            thread.join()
        values.append((now() - before) / 25)
    return lower_quintile(values[1:]) / 1e3


def thread_burst():
    values = []
    for _ in range(5):
        before = now()
        threads = [threading.Thread(target=nothing) for _ in range(1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        values.append((now() - before) / 1000)
    return lower_quintile(values) / 1e3


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def thread_memory():
    event = threading.Event()

    def park(n):
        threads = [threading.Thread(target=event.wait) for _ in range(n)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        return threads

    def unpark_and_join(threads):
        event.set()
        for thread in threads:
            thread.join()
        event.clear()

    unpark_and_join(park(1))
    before = resident_bytes()
    threads = park(1000)
    used = (resident_bytes() - before) / 1000
    unpark_and_join(threads)
    return used


# ---- timers ----


def start_timer(timer):
    timer.start()
    return timer


def cancel(timer):
    timer.cancel()
    timer.join()


def timer_pair():
    values = []
    for _ in range(20):
        before = now()
        for _ in range(20):
            timer = threading.Timer(600.0, nothing)
            timer.start()
            cancel(timer)
        values.append((now() - before) / 20)
    return lower_quintile(values)


def take_timer_samples(n, least, most, block=0.0):
    """Returns how late, in seconds, each of n timers with random due times ran. The first one may block."""
    late = [0.0] * n
    generator = random.Random(1)

    def run(index, due):
        late[index] = time.perf_counter() - due
        if block and index == 0:
            time.sleep(block)

    start = time.perf_counter()
    timers = []
    for index in range(n):
        due = start + (generator.uniform(least, most) if index or not block else least / 2)
        timers.append(threading.Timer(due - time.perf_counter(), run, (index, due)))
        timers[-1].start()
    for timer in timers:
        timer.join()
    return late


def timer_late(fraction):
    return quantile([abs(late) for late in take_timer_samples(1000, 0.5, 1.5)], fraction) * 1e6


def timer_blocked():
    return max(take_timer_samples(21, 0.05, 0.29, 0.3)[1:]) * 1e3


def timer_memory():
    cancel(start_timer(threading.Timer(600.0, nothing)))
    before = resident_bytes()
    timers = [start_timer(threading.Timer(1000.0, nothing)) for _ in range(1000)]
    time.sleep(0.2)
    used = (resident_bytes() - before) / len(timers)
    for timer in timers:
        cancel(timer)
    return used


def dump_threads(number):
    """Half of the threads wait for a lock, the others for an event."""
    lock, event = threading.Lock(), threading.Event()

    def wait_for_lock():
        with lock:
            pass

    lock.acquire()
    threads = [
        threading.Thread(target=wait_for_lock if index % 2 else event.wait) for index in range(number)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    with open("/dev/null", "wb") as null:
        used = nanoseconds(make_loop("dump(file)", dump=faulthandler.dump_traceback, file=null)) / 1e3
    event.set()
    lock.release()
    for thread in threads:
        thread.join()
    return used


CASES = {
    "lock.pair": lock_pair,
    "lock.try-pair": lock_try_pair,
    "lock.try-fails": lock_try_fails,
    "lock.timed": lock_timed,
    "rlock.first": rlock_first,
    "rlock.nested": rlock_nested,
    "condition.notify": condition_notify,
    "condition.notify_all": condition_notify_all,
    "condition.pingpong.1core": lambda: condition_turns((CORES[0], CORES[0])),
    "condition.pingpong.2cores": lambda: condition_turns(CORES[:2]),
    "condition.broadcast.8": lambda: broadcast(8, 40),
    "condition.broadcast.64": lambda: broadcast(64, 20),
    "condition.broadcast.512": lambda: broadcast(512, 5),
    "event.is-set": event_is_set,
    "event.wait": event_wait,
    "event.set": event_set,
    "event.pingpong.1core": lambda: event_turns((CORES[0], CORES[0])),
    "event.pingpong.2cores": lambda: event_turns(CORES[:2]),
    "semaphore.pair": semaphore_pair,
    "semaphore.pingpong.1core": lambda: semaphore_turns((CORES[0], CORES[0])),
    "semaphore.pingpong.2cores": lambda: semaphore_turns(CORES[:2]),
    "semaphore.buffer.1x1": lambda: buffer(1),
    "semaphore.buffer.4x4": lambda: buffer(4),
    "barrier.2": lambda: barrier(2),
    "barrier.8": lambda: barrier(8),
    "barrier.32": lambda: barrier(32),
    "thread.start-join": thread_start_join,
    "thread.burst.1000": thread_burst,
    "thread.memory": thread_memory,
    "local.get": local_get,
    "local.set": local_set,
    "local.set-attr": local_set,
    "local.get-attr": local_get,
    "create.lock": create(threading.Lock),
    "create.rlock": create(threading.RLock),
    "create.event": create(threading.Event),
    "create.semaphore": create(threading.Semaphore),
    "create.condition": create(threading.Condition),
    "create.barrier": create(lambda: threading.Barrier(1)),
    "create.local": create(threading.local),
    "create.thread": create(threading.Thread),
    "timer.pair.0": timer_pair,
    "timer.late.p50": lambda: timer_late(0.5),
    "timer.late.p99": lambda: timer_late(0.99),
    "timer.blocked": timer_blocked,
    "timer.memory": timer_memory,
    # Not with 1000 threads: it shows 100 at most.
    "dump.10": lambda: dump_threads(10),
}


def main(argument):
    if argument == "--cases":
        print(".".join(map(str, sys.version_info[:3])), *CASES)
        return
    print("begin", NAME, flush=True)
    print("value", f"{CASES[argument]():.9g}", NAME, flush=True)


if __name__ == "__main__":
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__.strip())
        sys.exit(0)
    if len(sys.argv) != 2 or sys.argv[1] not in ("--cases", *CASES):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])

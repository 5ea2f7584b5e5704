#!/usr/bin/env python3
"""The example for ctypes: two threads, a lock, an event with a timeout, timers."""

import atexit
import ctypes

import libthreading

lib = libthreading.load(ctypes.CDLL)
atexit.register(lib.threading_shutdown)  # waits for threads and timers while they can still call Python
total = 0


def checked(result):
    """Returns a status or a handle. Raises an exception if it is an error or NULL."""
    if result is None or result < 0:
        raise RuntimeError(lib.threading_last_error_message().decode())
    return result


def name_of(thread):
    return lib.threading_thread_name(thread).decode()


# Callbacks must be kept alive as long as the library may call them. Here the module refers to them.
@libthreading.callbacks.threading_target
def add(lock):
    global total
    for _ in range(1000):
        checked(lib.threading_lock_acquire(lock))
        total += 1
        checked(lib.threading_lock_release(lock))


@libthreading.callbacks.threading_target
def ring(event):
    print(name_of(lib.threading_current_thread()), "rings")
    checked(lib.threading_event_set(event))


lock = checked(lib.threading_lock_new())
event = checked(lib.threading_event_new())

if checked(lib.threading_event_wait_timeout(event, 0.05)) == libthreading.THREADING_TIMED_OUT:
    print("the event is not set yet")

threads = [checked(lib.threading_thread_new(add, lock)) for _ in range(2)]
for number, thread in enumerate(threads, 1):
    checked(lib.threading_thread_set_name(thread, f"adder-{number}".encode()))
    checked(lib.threading_thread_start(thread))
for thread in threads:
    checked(lib.threading_thread_join(thread))
print(" and ".join(map(name_of, threads)), "have added", total)

if lib.threading_lock_release(lock) < 0:
    status = lib.threading_status_name(lib.threading_last_error()).decode()
    print(f"release failed: {status}, {lib.threading_last_error_message().decode()}")

timer = checked(lib.threading_timer_new(0.1, ring, event))
checked(lib.threading_thread_set_name(lib.threading_timer_thread(timer), b"alarm"))
checked(lib.threading_timer_start(timer))
if checked(lib.threading_event_wait_timeout(event, 10)) == libthreading.THREADING_OK:
    print("the event is set")
checked(lib.threading_thread_join(lib.threading_timer_thread(timer)))
checked(lib.threading_timer_free(timer))

# A function of the library as the timer's function, which runs no Python code.
set_event = ctypes.cast(lib.threading_event_set, libthreading.callbacks.threading_target)
checked(lib.threading_event_clear(event))
timer = checked(lib.threading_timer_new(0.1, set_event, event))
checked(lib.threading_timer_start(timer))
if checked(lib.threading_event_wait_timeout(event, 10)) == libthreading.THREADING_OK:
    print("a timer without a callback has set the event")
checked(lib.threading_thread_join(lib.threading_timer_thread(timer)))

for thread in threads:
    checked(lib.threading_thread_free(thread))
checked(lib.threading_timer_free(timer))
checked(lib.threading_event_free(event))
checked(lib.threading_lock_free(lock))

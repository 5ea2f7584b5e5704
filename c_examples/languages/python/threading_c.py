"""Python's threading module over libthreading: `import threading_c as threading`.

Threads, timers and thread-local data are here, locks in threading_c_locks.py, which is a part of this module. What
differs from Python's own module is in README.md beside this folder.
"""

import _thread
import atexit
import ctypes
import logging
import os
import sys
import threading
import weakref

import libthreading
from threading import ExceptHookArgs, excepthook  # noqa: F401
from threading_c_locks import (
    OK, QUICK, SLICE, SLOW, TIMED_OUT, TIMEOUT_MAX, Barrier, BoundedSemaphore, BrokenBarrierError, Condition, Event,
    Lock, RLock, Semaphore, check, made, seconds, wait)

__all__ = ["get_ident", "active_count", "Condition", "current_thread", "enumerate", "main_thread", "TIMEOUT_MAX",
           "Event", "Lock", "RLock", "Semaphore", "BoundedSemaphore", "Thread", "Barrier", "BrokenBarrierError",
           "Timer", "ThreadError", "excepthook", "ExceptHookArgs", "stack_size", "get_native_id", "local"]

ThreadError = RuntimeError
__excepthook__ = excepthook

_kept = {}  # by handle: main, foreign threads, and threads that were started and have not begun
_known = weakref.WeakValueDictionary()  # by handle: every thread that was made, as long as somebody has it
_here = _thread._local()  # .thread: the thread of this module that is running; .leaving: see _Leaving
_is_over = False  # have all that are no daemons been waited for?


@libthreading.callbacks.threading_target
def _begin(_):
    """What each thread and each timer calls: one function for all, so that nothing has to be kept alive for it."""
    _kept[QUICK.threading_current_thread()]._begin()


class Thread:
    _handle = None

    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None, verbose=None):
        """As Python's. `verbose` is Python 2's and does nothing."""
        assert group is None, "group argument must be None for now"
        creator = current_thread()
        self._handle = self._make()
        _known[self._handle] = self
        self._target, self._args, self._kwargs = target, args, {} if kwargs is None else kwargs
        self._has_begun = Event()
        if name:
            self.name = name
        elif hasattr(target, "__name__"):
            self.name = f"{self.name} ({target.__name__})"
        else:
            self.name  # takes its number now
        self.daemon = creator.daemon if daemon is None else daemon

    def _make(self):
        return made(QUICK.threading_thread_new(_begin, None))

    def __del__(self):
        if self._handle is not None:
            QUICK.threading_thread_free(self._handle)

    def __repr__(self):
        state = "initial" if not self.ident else "started" if self.is_alive() else "stopped"
        daemon = " daemon" if self.daemon else ""
        ident = f" {self.ident}" if self.ident else ""
        return f"<{type(self).__name__}({self.name}, {state}{daemon}{ident})>"

    def start(self):
        if self._handle is None:
            raise RuntimeError("thread.__init__() not called")
        self._start()
        self._has_begun.wait()

    def _start(self):
        _kept.setdefault(self._handle, self)
        status = SLOW.threading_thread_start(self._handle)
        if self._has_begun.is_set() or not self.is_alive():  # started before, refused, or cancelled before the start
            _kept.pop(self._handle, None)
        check(status)

    def _begin(self):
        _here.thread = self
        self._has_begun.set()
        _kept.pop(self._handle, None)
        try:
            self.run()
        except BaseException:
            _report(self)
        finally:
            del _here.thread

    def run(self):
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            del self._target, self._args, self._kwargs  # they may refer to this thread

    def join(self, timeout=None):
        check(wait(SLOW.threading_thread_join_timeout, self._handle, seconds(timeout)))

    def is_alive(self):
        return QUICK.threading_thread_is_alive(self._handle)

    @property
    def ident(self):
        return QUICK.threading_thread_ident(self._handle) or None

    @property
    def native_id(self):
        return QUICK.threading_thread_native_id(self._handle) or None

    @property
    def name(self):
        return QUICK.threading_thread_name(self._handle).decode()

    @name.setter
    def name(self, name):
        check(QUICK.threading_thread_set_name(self._handle, str(name).encode()))

    @property
    def daemon(self):
        return QUICK.threading_thread_is_daemon(self._handle)

    @daemon.setter
    def daemon(self, daemon):
        check(QUICK.threading_thread_set_daemon(self._handle, bool(daemon)),
              "cannot set daemon status of active thread")

    # What is deprecated or gone in Python, and used by older programs.
    isAlive = is_alive

    def getName(self):
        return self.name

    def setName(self, name):
        self.name = name

    def isDaemon(self):
        return self.daemon

    def setDaemon(self, daemon):
        self.daemon = daemon


class Timer(Thread):
    """A timer of the library: while it waits it costs no system thread."""

    def __init__(self, interval, function, args=None, kwargs=None):
        self.interval = interval
        super().__init__()
        self.function = function
        self.args = [] if args is None else args
        self.kwargs = {} if kwargs is None else kwargs
        self.finished = Event()

    def _make(self):
        interval = float("inf") if self.interval is None else self.interval
        self._timer = made(QUICK.threading_timer_new(interval, _begin, None))
        return QUICK.threading_timer_thread(self._timer)  # borrowed: what is freed is the timer

    def __del__(self):
        if self._handle is not None:
            QUICK.threading_timer_free(self._timer)

    def start(self):
        self._start()

    def cancel(self):
        if QUICK.threading_timer_cancel(self._timer) == OK:
            _kept.pop(self._handle, None)
        self.finished.set()

    def run(self):
        if not self.finished.is_set():
            self.function(*self.args, **self.kwargs)
        self.finished.set()


class _Adopted(Thread):
    """A thread that this module has not made: its handle is borrowed, and a reference to it is taken."""

    def __init__(self, handle):
        self._handle = made(QUICK.threading_thread_ref(handle))
        _known[handle] = _kept[handle] = self

    def start(self):
        raise RuntimeError("threads can only be started once")


class _MainThread(_Adopted):
    pass


class _DummyThread(_Adopted):
    pass


def _report(thread):
    """Tells the excepthook of the exception that is being handled."""
    arguments = ExceptHookArgs([*sys.exc_info(), thread])
    try:
        (excepthook or __excepthook__)(arguments)
    except BaseException:
        print("Exception in threading.excepthook:", file=sys.stderr, flush=True)
        sys.excepthook(*sys.exc_info())


def current_thread():
    thread = getattr(_here, "thread", None)
    if thread is None:
        handle = QUICK.threading_current_thread()
        thread = _known.get(handle)
        if thread is None:
            for old, dummy in list(_kept.items()):
                if isinstance(dummy, _DummyThread) and not dummy.is_alive():
                    _kept.pop(old, None)
            thread = _DummyThread(handle)
    return thread


def main_thread():
    return _known[QUICK.threading_main_thread()]


def enumerate():
    """The threads of this module that are alive, the main one first, and those that have asked current_thread()."""
    snapshot = made(QUICK.threading_enumerate())
    count = QUICK.threading_thread_list_len(snapshot)
    threads = [_known.get(QUICK.threading_thread_list_get(snapshot, i)) for i in range(count)]
    check(QUICK.threading_thread_list_free(snapshot))
    return [thread for thread in threads if thread is not None]


def active_count():
    return len(enumerate())


def get_ident():
    return QUICK.threading_get_ident()


def get_native_id():
    return QUICK.threading_get_native_id()


def stack_size(size=0):
    """Tells the size of the stacks of new threads, and sets it: to the default, if none is given, as Python does."""
    if size < 0:
        raise ValueError("size must be 0 or a positive value")
    before = QUICK.threading_stack_size()
    check(QUICK.threading_set_stack_size(size), f"size not valid: {size} bytes")
    return before


currentThread = current_thread
activeCount = active_count


class local:
    """Each thread has its own attributes. The library's value of a thread is a number, the key of its attributes.

    It is no pointer to them: a system thread that calls Python again and again is a new thread to Python each time,
    and what it left behind must not be touched.
    """

    __slots__ = ("_handle", "_made_with", "_values", "_next", "__weakref__")

    def __new__(cls, /, *args, **kwargs):
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        set_here = object.__setattr__
        set_here(self, "_handle", made(QUICK.threading_local_new(libthreading.callbacks.threading_destructor())))
        set_here(self, "_made_with", (args, kwargs))
        set_here(self, "_values", {})
        set_here(self, "_next", iter(range(1, sys.maxsize)).__next__)
        _new_values(self)  # Python calls __init__ for this thread
        return self

    def __del__(self):
        QUICK.threading_local_free(object.__getattribute__(self, "_handle"))

    def __getattribute__(self, name):
        values = _values(self)
        if name == "__dict__":
            return values
        if name in values and not _is_set_by_class(self, name):
            return values[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        if _is_set_by_class(self, name):
            object.__setattr__(self, name, value)
        else:
            _values(self)[name] = value

    def __delattr__(self, name):
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        if _is_set_by_class(self, name):
            object.__delattr__(self, name)
        elif _values(self).pop(name, _here) is _here:
            raise AttributeError(name)


def _is_set_by_class(self, name):
    """Is it a property or a slot?"""
    return hasattr(type(getattr(type(self), name, None)), "__set__")


class _Leaving:
    """What a thread leaves behind: lives in the thread's own data of Python, and ends with that."""

    def __init__(self):
        self.values = []

    def __del__(self):
        for owner, key in self.values:
            owner = owner()
            if owner is not None:
                object.__getattribute__(owner, "_values").pop(key, None)


def _new_values(self):
    """Gives the calling thread its attributes, and sees to it that they end with it."""
    get = object.__getattribute__
    key, values = get(self, "_next")(), {}
    get(self, "_values")[key] = values
    check(QUICK.threading_local_set(get(self, "_handle"), key))
    if not hasattr(_here, "leaving"):
        _here.leaving = _Leaving()
    _here.leaving.values.append((weakref.ref(self), key))
    return values


def _values(self):
    get = object.__getattribute__
    key = QUICK.threading_local_get(get(self, "_handle"))
    values = get(self, "_values").get(key)
    if values is None:
        values = _new_values(self)
        args, kwargs = get(self, "_made_with")
        try:
            type(self).__init__(self, *args, **kwargs)
        except BaseException:
            QUICK.threading_local_del(get(self, "_handle"))
            raise
    return values


def _name_records(make):
    """Lets logging's %(threadName)s and %(thread)d be those of this module's threads."""
    def make_with_name(*args, **kwargs):
        record = make(*args, **kwargs)
        thread = getattr(_here, "thread", None)
        if thread is not None and logging.logThreads:
            record.threadName, record.thread = thread.name, thread.ident
        return record
    logging.setLogRecordFactory(make_with_name)


def _shutdown():
    """Waits for the threads and timers that are no daemons, while Python is whole; the library's own exit does not."""
    global _is_over
    while SLOW.threading_shutdown_timeout(SLICE) == TIMED_OUT:
        pass  # here Python hears signals
    _is_over = True


def _leave():
    """After this Python ends, and nobody may call it any more. Threads that are in it are stopped by Python."""
    def not_begun():
        return [thread for thread in list(_kept.values()) if not isinstance(thread, _Adopted)]

    for thread in not_begun():
        if isinstance(thread, Timer):
            thread.cancel()
    while not_begun():
        SLOW.threading_sleep(0.001)
    if not _is_over:
        # Ctrl-C has ended the wait for the others. The library would begin it anew when the process ends, for threads
        # that Python has stopped: so the process has to end before the library hears of it.
        process = ctypes.CDLL(None)
        process.on_exit(process._exit, None)


def _after_fork():
    """In a child the only thread is the one that forked."""
    for handle, thread in list(_kept.items()):
        if not thread.is_alive():
            del _kept[handle]


_MainThread(QUICK.threading_main_thread())
_name_records(logging.getLogRecordFactory())
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_leave)
threading._register_atexit(_shutdown)

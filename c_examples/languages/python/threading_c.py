"""Python's threading module, implemented with libthreading: `import threading_c as threading`.

This file contains threads, timers and thread-local data. threading_c_locks.py and threading_c_dumps.py, which are parts
of this module, contain the locks and what shows why a program hangs. README.md in the parent folder lists the differences from Python's own module.
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
import threading_c_dumps
from threading import ExceptHookArgs, excepthook  # noqa: F401
from threading_c_dumps import HANG_DEADLOCK, HANG_EXIT, dump, dump_on_signal, set_contention, trace  # noqa: F401
from threading_c_locks import (
    BLOCKING, FAST, OK, SLICE, TIMED_OUT, TIMEOUT_MAX, Barrier, BoundedSemaphore, BrokenBarrierError, Condition, Event,
    Lock, RLock, Semaphore, check, checked_handle, refuse_copy, seconds, wait)

__all__ = ["get_ident", "active_count", "Condition", "current_thread", "enumerate", "main_thread", "TIMEOUT_MAX",
           "Event", "Lock", "RLock", "Semaphore", "BoundedSemaphore", "Thread", "Barrier", "BrokenBarrierError",
           "Timer", "ThreadError", "excepthook", "ExceptHookArgs", "stack_size", "get_native_id", "local"]

ThreadError = RuntimeError
__excepthook__ = excepthook

_kept = {}  # by handle: the main thread, foreign threads, and started threads that do not run yet
_known = weakref.WeakValueDictionary()  # by handle: all Thread objects that exist
_current = _thread._local()  # .thread: the calling thread of this module; .cleanup: see _Cleanup
_is_shut_down = False  # True when all non-daemon threads have been joined


@libthreading.callbacks.threading_target
def _bootstrap(_):
    """The target of all threads and timers: a single callback, which is never garbage-collected."""
    _kept[FAST.threading_current_thread()]._bootstrap()


class Thread:
    __reduce_ex__ = refuse_copy

    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None, verbose=None):
        """As in Python. `verbose` is an argument of Python 2 and is ignored."""
        assert group is None, "group argument must be None for now"
        creator = current_thread()
        self._handle = self._make()
        _known[self._handle] = self
        self._target, self._args, self._kwargs = target, args, {} if kwargs is None else kwargs
        self._started = Event()
        if name:
            self.name = name
        elif hasattr(target, "__name__"):
            self.name = f"{self.name} ({target.__name__})"
        else:
            self.name  # assigns the number
        self.daemon = creator.daemon if daemon is None else daemon

    def _make(self):
        return checked_handle(FAST.threading_thread_new(_bootstrap, None))

    def __getattr__(self, name):
        if name == "_handle":  # a subclass has its own __init__, which does not call this one
            raise RuntimeError("thread.__init__() not called")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __del__(self):
        if "_handle" in self.__dict__:
            FAST.threading_thread_free(self._handle)

    def __repr__(self):
        state = "initial" if not self.ident else "started" if self.is_alive() else "stopped"
        daemon = " daemon" if self.daemon else ""
        ident = f" {self.ident}" if self.ident else ""
        return f"<{type(self).__name__}({self.name}, {state}{daemon}{ident})>"

    def start(self):
        self._start()
        self._started.wait()

    def _start(self):
        _kept.setdefault(self._handle, self)
        status = BLOCKING.threading_thread_start(self._handle)
        if self._started.is_set() or not self.is_alive():  # started before, failed, or cancelled before start
            _kept.pop(self._handle, None)
        check(status)

    def _bootstrap(self):
        _current.thread = self
        self._started.set()
        _kept.pop(self._handle, None)
        try:
            self.run()
        except BaseException:
            _report(self)
        finally:
            del _current.thread

    def run(self):
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            del self._target, self._args, self._kwargs  # they may refer to this object

    def join(self, timeout=None):
        check(wait(BLOCKING.threading_thread_join_timeout, self._handle, seconds(timeout)))

    def is_alive(self):
        return FAST.threading_thread_is_alive(self._handle)

    @property
    def ident(self):
        return FAST.threading_thread_ident(self._handle) or None

    @property
    def native_id(self):
        return FAST.threading_thread_native_id(self._handle) or None

    @property
    def name(self):
        return FAST.threading_thread_name(self._handle).decode()

    @name.setter
    def name(self, name):
        check(FAST.threading_thread_set_name(self._handle, str(name).encode()))

    @property
    def daemon(self):
        return FAST.threading_thread_is_daemon(self._handle)

    @daemon.setter
    def daemon(self, daemon):
        check(FAST.threading_thread_set_daemon(self._handle, bool(daemon)),
              "cannot set daemon status of active thread")

    # Deprecated or removed in Python, and used by older programs.
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
    """A timer of the library, which does not need an OS thread while it is pending."""

    def __init__(self, interval, function, args=None, kwargs=None):
        self.interval = interval
        super().__init__()
        self.function = function
        self.args = [] if args is None else args
        self.kwargs = {} if kwargs is None else kwargs
        self.finished = Event()

    def _make(self):
        interval = float("inf") if self.interval is None else self.interval
        self._timer = checked_handle(FAST.threading_timer_new(interval, _bootstrap, None))
        return FAST.threading_timer_thread(self._timer)  # borrowed: __del__ frees the timer

    def __del__(self):
        if "_handle" in self.__dict__:
            FAST.threading_timer_free(self._timer)

    def start(self):
        self._start()

    def cancel(self):
        if FAST.threading_timer_cancel(self._timer) == OK:
            _kept.pop(self._handle, None)
        self.finished.set()

    def run(self):
        if not self.finished.is_set():
            self.function(*self.args, **self.kwargs)
        self.finished.set()


class _Adopted(Thread):
    """A thread that this module did not create. It adds its own reference to the handle."""

    def __init__(self, handle):
        self._handle = checked_handle(FAST.threading_thread_ref(handle))
        _known[handle] = _kept[handle] = self

    def start(self):
        raise RuntimeError("threads can only be started once")


class _MainThread(_Adopted):
    pass


class _DummyThread(_Adopted):
    pass


def _report(thread):
    """Passes the exception that is being handled to the excepthook."""
    arguments = ExceptHookArgs([*sys.exc_info(), thread])
    try:
        (excepthook or __excepthook__)(arguments)
    except BaseException:
        print("Exception in threading.excepthook:", file=sys.stderr, flush=True)
        sys.excepthook(*sys.exc_info())


def set_hang_hook(seconds, hook=None):
    threading_c_dumps.set_hang_hook(seconds, hook, lambda: _report(current_thread()))


set_hang_hook.__doc__ = threading_c_dumps.set_hang_hook.__doc__


def current_thread():
    thread = getattr(_current, "thread", None)
    if thread is None:
        handle = FAST.threading_current_thread()
        thread = _known.get(handle)
        if thread is None:
            for old, dummy in list(_kept.items()):
                if isinstance(dummy, _DummyThread) and not dummy.is_alive():
                    _kept.pop(old, None)
            thread = _DummyThread(handle)
    return thread


def main_thread():
    return _known[FAST.threading_main_thread()]


def enumerate():
    """Returns the live threads of this module, the main thread first, and those that have called current_thread()."""
    snapshot = checked_handle(FAST.threading_enumerate())
    count = FAST.threading_thread_list_len(snapshot)
    threads = [_known.get(FAST.threading_thread_list_get(snapshot, i)) for i in range(count)]
    check(FAST.threading_thread_list_free(snapshot))
    return [thread for thread in threads if thread is not None]


def active_count():
    return len(enumerate())


def get_ident():
    return FAST.threading_get_ident()


def get_native_id():
    return FAST.threading_get_native_id()


def stack_size(size=0):
    """Sets the stack size of new threads, by default to the system's, as in Python. Returns the previous size."""
    if size < 0:
        raise ValueError("size must be 0 or a positive value")
    before = FAST.threading_stack_size()
    check(FAST.threading_set_stack_size(size), f"size not valid: {size} bytes")
    return before


currentThread = current_thread
activeCount = active_count


class local:
    """An object with separate attributes in each thread. The library's value is a number, the key of the attributes.

    It is not a pointer to them, because an OS thread that calls Python repeatedly is a new thread for Python each time,
    and the attributes of the previous one may have been freed.
    """

    __slots__ = ("_handle", "_init_args", "_values", "_next", "__weakref__")
    __reduce_ex__ = refuse_copy

    def __new__(cls, /, *args, **kwargs):
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        set_attribute = object.__setattr__
        no_destructor = libthreading.callbacks.threading_destructor()
        set_attribute(self, "_handle", checked_handle(FAST.threading_local_new(no_destructor)))
        set_attribute(self, "_init_args", (args, kwargs))
        set_attribute(self, "_values", {})
        set_attribute(self, "_next", iter(range(1, sys.maxsize)).__next__)
        _new_values(self)  # Python calls __init__ in this thread
        return self

    def __del__(self):
        FAST.threading_local_free(object.__getattribute__(self, "_handle"))

    def __getattribute__(self, name):
        values = _values(self)
        if name == "__dict__":
            return values
        if name in values and not _is_data_descriptor(self, name):
            return values[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        if _is_data_descriptor(self, name):
            object.__setattr__(self, name, value)
        else:
            _values(self)[name] = value

    def __delattr__(self, name):
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        if _is_data_descriptor(self, name):
            object.__delattr__(self, name)
        elif _values(self).pop(name, _current) is _current:
            raise AttributeError(name)


def _is_data_descriptor(self, name):
    """Returns whether the name is a property or a slot of the class."""
    return hasattr(type(getattr(type(self), name, None)), "__set__")


class _Cleanup:
    """Deletes the attributes of a thread. It is stored in Python's own thread-local data and is destroyed with them."""

    def __init__(self):
        self.values = {}  # by the id of a local that exists: a weak reference to it, and its key for this thread

    def __del__(self):
        for owner, key in list(self.values.values()):
            owner = owner()
            if owner is not None:
                object.__getattribute__(owner, "_values").pop(key, None)
        self.values.clear()  # the weak references refer to it


def _new_values(self):
    """Creates the attributes of the calling thread, and registers their deletion at its end."""
    get = object.__getattribute__
    key, values = get(self, "_next")(), {}
    get(self, "_values")[key] = values
    check(FAST.threading_local_set(get(self, "_handle"), key))
    if not hasattr(_current, "cleanup"):
        _current.cleanup = _Cleanup()
    cleanup, local = _current.cleanup.values, id(self)
    cleanup[local] = weakref.ref(self, lambda _: cleanup.pop(local, None)), key
    return values


def _values(self):
    get = object.__getattribute__
    key = FAST.threading_local_get(get(self, "_handle"))
    values = get(self, "_values").get(key)
    if values is None:
        values = _new_values(self)
        args, kwargs = get(self, "_init_args")
        try:
            type(self).__init__(self, *args, **kwargs)
        except BaseException:
            get(self, "_values").pop(FAST.threading_local_get(get(self, "_handle")), None)
            FAST.threading_local_del(get(self, "_handle"))
            raise
    return values


def _set_record_factory(make):
    """Installs a record factory that sets %(threadName)s and %(thread)d for the threads of this module."""
    def make_with_name(*args, **kwargs):
        record = make(*args, **kwargs)
        thread = getattr(_current, "thread", None)
        if thread is not None and logging.logThreads:
            record.threadName, record.thread = thread.name, thread.ident
        return record
    logging.setLogRecordFactory(make_with_name)


def _shutdown():
    """Waits for the non-daemon threads and timers before Python is finalized. The library's exit handler runs later."""
    global _is_shut_down
    while BLOCKING.threading_shutdown_timeout(SLICE) == TIMED_OUT:
        pass  # Python handles signals here
    _is_shut_down = True


def _abandon_threads():
    """Ensures that no thread calls Python after it is finalized. Python stops the threads that are running in it."""
    threading_c_dumps.abandon_hook()

    def not_running():
        return [thread for thread in list(_kept.values()) if not isinstance(thread, _Adopted)]

    for thread in not_running():
        if isinstance(thread, Timer):
            thread.cancel()
    while not_running():
        BLOCKING.threading_sleep(0.001)
    if not _is_shut_down:
        # Ctrl-C has interrupted the wait for the other threads. The library would wait again at process exit, for
        # threads that Python has stopped. So the process exits before the library's exit handler runs.
        process = ctypes.CDLL(None)
        process.on_exit(process._exit, None)


def _after_fork():
    """Removes the threads that do not exist in a child process, where only the thread that called fork exists."""
    for handle, thread in list(_kept.items()):
        if not thread.is_alive():
            del _kept[handle]
    if FAST.threading_main_thread() not in _known:  # a foreign thread that has not called current_thread()
        _MainThread(FAST.threading_main_thread())


_MainThread(FAST.threading_main_thread())
_set_record_factory(logging.getLogRecordFactory())
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_abandon_threads)
threading._register_atexit(_shutdown)

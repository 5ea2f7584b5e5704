"""The locks of threading_c: Python's classes for the library's objects, and waits that handle signals."""

import _thread
import ctypes
import operator
import threading
import time

import libthreading

TIMEOUT_MAX = libthreading.THREADING_TIMEOUT_MAX
BrokenBarrierError = threading.BrokenBarrierError  # the same class, so that either name catches it

FAST = libthreading.load(ctypes.PyDLL)  # for functions that never block
BLOCKING = libthreading.load(ctypes.CDLL)  # for functions that may block: other threads run during the call

OK = libthreading.THREADING_OK
TIMED_OUT = libthreading.THREADING_TIMED_OUT

# Python runs signal handlers between two bytecodes of the main thread, so a call of the main thread must not be longer.
SLICE = 0.1

_ERRORS = {
    libthreading.THREADING_ERR_VALUE: (ValueError, "an argument is out of range"),
    libthreading.THREADING_ERR_OVERFLOW: (OverflowError, "timestamp out of range for platform time_t"),
    libthreading.THREADING_ERR_NOT_ACQUIRED: (RuntimeError, "release unlocked lock"),
    libthreading.THREADING_ERR_NOT_OWNER: (RuntimeError, "cannot release un-acquired lock"),
    libthreading.THREADING_ERR_OVER_RELEASED: (ValueError, "Semaphore released too many times"),
    libthreading.THREADING_ERR_ALREADY_STARTED: (RuntimeError, "threads can only be started once"),
    libthreading.THREADING_ERR_NOT_STARTED: (RuntimeError, "cannot join thread before it is started"),
    libthreading.THREADING_ERR_DEADLOCK: (RuntimeError, "cannot join current thread"),
    libthreading.THREADING_ERR_NOT_JOINABLE: (RuntimeError, "cannot join a dummy thread"),
    libthreading.THREADING_ERR_NO_MEMORY: (MemoryError,),
    libthreading.THREADING_ERR_SYSTEM: (RuntimeError, "can't start new thread"),
    libthreading.THREADING_ERR_SHUTDOWN: (RuntimeError, "can't create new thread at interpreter shutdown"),
    libthreading.THREADING_ERR_BROKEN_BARRIER: (BrokenBarrierError,),
}


def check(status, text=None):
    """Raises Python's exception for an error status. Returns whether the status is OK."""
    if status >= 0:
        return status == OK
    kind, *texts = _ERRORS.get(status, (SystemError, FAST.threading_last_error_message().decode()))
    raise kind(*([text] if text else texts))


def checked_handle(handle):
    """Returns the handle of a new object. Raises an exception if it could not be created."""
    if handle is None:
        check(FAST.threading_last_error())
    return handle


def seconds(timeout):
    """Converts a timeout of Python to one of the library. None waits indefinitely, negative numbers do not block."""
    if timeout is None:
        return libthreading.THREADING_FOREVER
    if timeout > TIMEOUT_MAX:  # including infinity
        check(libthreading.THREADING_ERR_OVERFLOW)
    if timeout != timeout:
        raise ValueError("Invalid value NaN (not a number)")
    return max(float(timeout), 0.0)


def handles_signals():
    return _thread.get_ident() == threading.main_thread().ident


def wait(function, handle, timeout, is_done=None):
    """Calls function(handle, timeout), in slices in the main thread. `is_done` can end the wait between two slices."""
    if not handles_signals():
        return function(handle, timeout)
    deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
    while True:
        remaining = max(deadline - time.monotonic(), 0.0)
        status = function(handle, min(remaining, SLICE))
        if status != TIMED_OUT or remaining <= SLICE:
            return status
        if is_done is not None and is_done():
            return OK


def refuse_copy(self, _protocol):
    """The __reduce_ex__ of objects with a handle: a copy would free the same handle, and another process has none."""
    raise TypeError(f"cannot pickle {type(self).__qualname__!r} object")


class _Object:
    """The base class of objects with a handle, which is freed with the object."""

    _handle = None
    __reduce_ex__ = refuse_copy

    def __init_subclass__(cls, kind=None):
        """Sets the library's functions for the class: _fast.release is threading_<kind>_release."""
        if kind is not None:
            cls._fast = _Functions(FAST, f"threading_{kind}_")
            cls._blocking = _Functions(BLOCKING, f"threading_{kind}_")

    def __del__(self):
        if self._handle is not None:
            self._fast.free(self._handle)

    def set_name(self, name):
        """Sets the name that dumps show, of which 47 bytes are kept. None removes it."""
        check(self._fast.set_name(self._handle, None if name is None else str(name).encode()))

    def _describe(self, state):
        return f"<threading_c.{type(self).__qualname__} at {id(self):#x}: {state}>"


class _Functions:
    """The library's functions with a common prefix, by their names without it."""

    def __init__(self, library, prefix):
        self._library, self._prefix = library, prefix

    def __getattr__(self, name):
        function = getattr(self._library, self._prefix + name)
        setattr(self, name, function)
        return function


class _Acquirable(_Object):
    """The base class of Lock and RLock."""

    def __init__(self):
        self._handle = checked_handle(self._fast.new())

    def acquire(self, blocking=True, timeout=-1):
        if timeout == -1:
            timeout = libthreading.THREADING_FOREVER
        elif not blocking:
            raise ValueError("can't specify a timeout for a non-blocking call")
        elif timeout < 0:
            raise ValueError("timeout value must be a non-negative number")
        else:
            timeout = seconds(timeout)
        if check(self._fast.try_acquire(self._handle)):
            return True
        return bool(blocking) and check(wait(self._blocking.acquire_timeout, self._handle, timeout))

    def release(self):
        check(self._fast.release(self._handle))

    def locked(self):
        return self._fast.locked(self._handle)

    def owner(self):
        """Returns the ident of the thread that has acquired the lock, or None if it is not locked."""
        return self._fast.owner(self._handle) or None

    def _at_fork_reinit(self):
        check(self._fast.at_fork_reinit(self._handle))

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    def __repr__(self):
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} threading_c.{type(self).__qualname__} object at {id(self):#x}>"


class Lock(_Acquirable, kind="lock"):
    pass


class RLock(_Acquirable, kind="rlock"):
    def _is_owned(self):
        return self._fast.is_owned(self._handle)

    def _recursion_count(self):
        return self._fast.recursion_count(self._handle)

    def _release_save(self):
        """Releases all recursion levels. Python's own Condition calls this function and the next one of its lock."""
        count = self._recursion_count()
        for _ in range(max(count, 1)):
            self.release()
        return count

    def _acquire_restore(self, count):
        for _ in range(count):
            self.acquire()


class Condition(_Object, kind="condition"):
    def __init__(self, lock=None):
        if lock is None:
            lock = RLock()
        if isinstance(lock, RLock):
            make = self._fast.new_with_rlock
        elif isinstance(lock, Lock):
            make = self._fast.new_with_lock
        else:
            raise TypeError("the lock must be a Lock or an RLock of threading_c")
        self._handle = checked_handle(make(lock._handle))
        self._lock = lock
        for name in ("acquire", "release", "locked", "_recursion_count", "_release_save", "_acquire_restore"):
            if hasattr(lock, name):
                setattr(self, name, getattr(lock, name))

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *args):
        return self._lock.__exit__(*args)

    def __repr__(self):
        return self._describe(self._lock)

    def _is_owned(self):
        return self._fast.is_owned(self._handle)

    def _at_fork_reinit(self):
        check(self._fast.at_fork_reinit(self._handle))

    def wait(self, timeout=None):
        # Between two slices the lock is held, so no notification is missed.
        status = wait(self._blocking.wait_timeout, self._handle, seconds(timeout))
        return check(status, "cannot wait on un-acquired lock")

    def wait_for(self, predicate, timeout=None):
        deadline = None
        while not (result := predicate()):
            remaining = timeout
            if deadline is not None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
            elif timeout is not None:
                deadline = time.monotonic() + timeout
            self.wait(remaining)  # at least once, as in Python
        return result

    def notify(self, n=1):
        check(self._fast.notify(self._handle, min(n, 2**31)), "cannot notify on un-acquired lock")

    def notify_all(self):
        check(self._fast.notify_all(self._handle), "cannot notify on un-acquired lock")

    notifyAll = notify_all


class Semaphore(_Object, kind="semaphore"):
    def __init__(self, value=1):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._handle = checked_handle(self._make(self._count(value)))

    def _make(self, value):
        return self._fast.new(value)

    @staticmethod
    def _count(number):
        if number > libthreading.THREADING_SEMAPHORE_MAX:
            raise OverflowError(f"a semaphore counts to {libthreading.THREADING_SEMAPHORE_MAX}")
        return operator.index(number)

    def acquire(self, blocking=True, timeout=None):
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if check(self._fast.try_acquire(self._handle)):
            return True
        return bool(blocking) and check(wait(self._blocking.acquire_timeout, self._handle, seconds(timeout)))

    __enter__ = acquire

    def release(self, n=1):
        if n < 1:
            raise ValueError("n must be one or more")
        check(self._fast.release_n(self._handle, self._count(n)))

    def __exit__(self, *_):
        self.release()

    @property
    def _value(self):
        return self._fast.value(self._handle)

    def __repr__(self):
        return self._describe(f"value={self._value}")


class BoundedSemaphore(Semaphore):
    def _make(self, value):
        self._initial_value = value
        return self._fast.new_bounded(value)

    def __repr__(self):
        return self._describe(f"value={self._value}/{self._initial_value}")


class Event(_Object, kind="event"):
    def __init__(self):
        self._handle = checked_handle(self._fast.new())
        self._last_set = None

    def is_set(self):
        return self._fast.is_set(self._handle)

    isSet = is_set

    def set(self):
        self._last_set = object()  # another one for each call
        check(self._fast.set(self._handle))

    def clear(self):
        check(self._fast.clear(self._handle))

    def wait(self, timeout=None):
        before = self._last_set  # the event may be set and cleared between two slices

        def was_set():
            return self._last_set is not before

        return check(wait(self._blocking.wait_timeout, self._handle, seconds(timeout), was_set))

    def _at_fork_reinit(self):
        check(self._fast.at_fork_reinit(self._handle))

    def __repr__(self):
        return self._describe("set" if self.is_set() else "unset")


class Barrier(_Object, kind="barrier"):
    def __init__(self, parties, action=None, timeout=None):
        if parties < 1:
            raise ValueError("parties must be > 0")
        self._exceptions = exceptions = {}  # by the ident of the thread that has run the action

        def run_action(_):
            try:
                action()
                return 0
            except BaseException as error:
                exceptions[_thread.get_ident()] = error
                return -1

        # Keeps the callback alive as long as the library may call it.
        kind = libthreading.callbacks.threading_action
        self._action = kind() if action is None else kind(run_action)
        self._handle = checked_handle(self._fast.new(operator.index(parties), self._action, None))
        check(self._fast.set_timeout(self._handle, seconds(timeout)))
        self._timeout = timeout

    def wait(self, timeout=None):
        timeout = seconds(self._timeout if timeout is None else timeout)
        if not handles_signals():
            return self._wait(timeout)
        # A wait at a barrier cannot be sliced, because a timeout breaks the barrier. So another thread arrives instead
        # of this one, which waits for that thread and handles signals. An exception, such as that of Ctrl-C, breaks the
        # barrier.
        result = []
        done = Event()

        def arrive():
            try:
                result.append((self._wait(timeout), None))
            except BaseException as error:
                result.append((None, error))
            done.set()

        _thread.start_new_thread(arrive, ())
        try:
            done.wait()
        except BaseException:
            self.abort()
            raise
        index, error = result.pop()
        if error is not None:
            raise error
        return index

    def _wait(self, timeout):
        index = ctypes.c_size_t()
        status = self._blocking.wait_timeout(self._handle, timeout, index)
        if status == libthreading.THREADING_ERR_CALLBACK:
            raise self._exceptions.pop(_thread.get_ident())
        if status == libthreading.THREADING_ERR_DEADLOCK:
            raise RuntimeError("a barrier's action cannot wait at it")
        check(status)
        return index.value

    def reset(self):
        check(self._fast.reset(self._handle))

    def abort(self):
        check(self._fast.abort(self._handle))

    @property
    def parties(self):
        return self._fast.parties(self._handle)

    @property
    def n_waiting(self):
        return self._fast.n_waiting(self._handle)

    @property
    def broken(self):
        return self._fast.broken(self._handle)

    def __repr__(self):
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return self._describe(state)

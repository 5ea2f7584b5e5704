"""The dumps of threading_c: what each thread waits for, and a hook for threads that hang."""

import sys

import libthreading
from threading_c_locks import BLOCKING, FAST, check

HANG_DEADLOCK = libthreading.THREADING_HANG_DEADLOCK
HANG_EXIT = libthreading.THREADING_HANG_EXIT

_hooks = []  # kept, because a thread may still be running a hook that has been replaced


def _descriptor(file):
    """Returns the descriptor of a file, as the functions of faulthandler do."""
    if isinstance(file, int):
        return file
    file = sys.stderr if file is None else file
    file.flush()
    return file.fileno()


def dump(file=None):
    """Writes what each thread waits for and what it owns to a file, by default to standard error.

    Deadlocks come first. The waits of the main thread have timeouts, because it handles signals between them, and are
    not part of deadlocks.
    """
    check(BLOCKING.threading_dump(_descriptor(file)), "the dump could not be written")


def dump_on_signal(signum, file=None):
    """Installs a signal handler that makes a dump, as faulthandler.register does. The process continues.

    The file must stay open. The handler also calls that of Python, if there is one. -1 as the file restores that.
    """
    check(FAST.threading_dump_on_signal(signum, _descriptor(file)))


def set_contention(on):
    """Turns statistics of contention on or off.

    Each dump then lists the locks and semaphores for which threads have waited longest. Only waits in which a thread
    has parked are counted.
    """
    check(FAST.threading_set_contention(bool(on)))


def trace(file):
    """Writes each wait of 10 microseconds and more to a file, for ui.perfetto.dev; None ends the trace.

    The file must stay open until then. A wait of the main thread consists of slices of at most 0.1 seconds.
    """
    check(BLOCKING.threading_trace(-1 if file is None else _descriptor(file)), "the trace could not be written")


def set_hang_hook(seconds, hook=None, on_error=None):
    """Sets hook(kind, report), which is called when threads hang; without a hook, reports go to standard error.

    The kind is HANG_DEADLOCK for threads that wait for each other, or HANG_EXIT, and the report is the text of a dump.
    One of the threads that hang calls the hook, when the hang has lasted for this number of seconds. None instead of
    the number turns reports off.
    """
    period = libthreading.THREADING_FOREVER if seconds is None else float(seconds)
    callback = libthreading.callbacks.threading_hang_hook()
    if hook is not None:
        def call(kind, report, _):
            try:
                hook(kind, report.decode())
            except BaseException:
                on_error()
        callback = libthreading.callbacks.threading_hang_hook(call)
    check(FAST.threading_set_hang_hook(period, callback, None))
    _hooks.append(callback)


def abandon_hook():
    """Turns reports to a hook in Python off, before Python is finalized: the call of such a hook would then abort."""
    if _hooks and _hooks[-1]:
        set_hang_hook(None)

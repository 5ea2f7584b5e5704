#!/usr/bin/env python3
"""Tests of threading_c: CPython's own tests of its locks and of thread-local data, from the installation, and more.

    python3 test_threading_c.py [-v] [NAME...]
"""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import unittest
import unittest.mock
import weakref

import threading_c
from test import lock_tests, test_threading_local

# What CPython's tests say of `threading` is said of threading_c while this runs.
for module in (lock_tests, test_threading_local):
    module.threading = threading_c


def setUpModule():
    print(f"Python {sys.version.split()[0]}, {lock_tests.__file__}", file=sys.stderr)


class LockTests(lock_tests.LockTests):
    locktype = threading_c.Lock


class RLockTests(lock_tests.RLockTests):
    locktype = threading_c.RLock


class EventTests(lock_tests.EventTests):
    eventtype = threading_c.Event

    @unittest.skip("looks at _cond, the lock inside of Python's Event; the library's has none")
    def test_at_fork_reinit(self):
        pass


class ConditionAsRLockTests(lock_tests.RLockTests):
    locktype = threading_c.Condition


class ConditionTests(lock_tests.ConditionTests):
    condtype = threading_c.Condition


class SemaphoreTests(lock_tests.SemaphoreTests):
    semtype = threading_c.Semaphore


class BoundedSemaphoreTests(lock_tests.BoundedSemaphoreTests):
    semtype = threading_c.BoundedSemaphore


class BarrierTests(lock_tests.BarrierTests):
    barriertype = threading_c.Barrier


class LocalTests(unittest.TestCase, test_threading_local.BaseLocalTest):
    _local = threading_c.local


if __name__ == "__main__":
    unittest.main()

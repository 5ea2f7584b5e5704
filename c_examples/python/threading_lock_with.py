"""A block that holds a lock and releases it on every exit, compared to explicit calls."""

import logging
from threading import Lock, Thread


def worker_with(lock):
    with lock:
        logging.debug("Lock acquired via with")


def worker_no_with(lock):
    lock.acquire()
    try:
        logging.debug("Lock acquired directly")
    finally:
        lock.release()


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    lock = Lock()
    w = Thread(target=worker_with, args=(lock,))
    nw = Thread(target=worker_no_with, args=(lock,))

    w.start()
    nw.start()


main()

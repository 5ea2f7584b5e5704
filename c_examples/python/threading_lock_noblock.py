"""Trying to acquire a lock without blocking, and continuing with other work if it is not available."""

import logging
import time
from threading import Lock, Thread


def lock_holder(lock):
    logging.debug("Starting")
    while True:
        with lock:
            logging.debug("Holding")
            time.sleep(0.5)
            logging.debug("Not holding")
        time.sleep(0.5)


def worker(lock):
    tries = 0
    acquires = 0

    logging.debug("Starting")
    while acquires < 3:
        time.sleep(0.5)
        logging.debug("Trying to acquire")
        have_it = lock.acquire(blocking=False)
        tries += 1
        if have_it:
            logging.debug("Iteration %d: Acquired", tries)
            acquires += 1
            lock.release()
        else:
            logging.debug("Iteration %d: Not acquired", tries)
    logging.debug("Done after %d iterations", tries)


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    lock = Lock()

    holder = Thread(target=lock_holder, args=(lock,), name="LockHolder", daemon=True)
    holder.start()

    trier = Thread(target=worker, args=(lock,), name="Worker")
    trier.start()


main()

"""A semaphore that limits a pool to two of four threads at a time."""

import logging
import time
from threading import Lock, Semaphore, Thread, current_thread

WORKERS = 4
AT_A_TIME = 2


class ActivePool:
    def __init__(self):
        self.lock = Lock()
        self.active = []

    def log(self):  # call with the lock held
        logging.debug("Running: %s", self.active)

    def make_active(self, name):
        with self.lock:
            self.active.append(name)
            self.log()

    def make_inactive(self, name):
        with self.lock:
            self.active.remove(name)
            self.log()


def worker(semaphore, pool):
    logging.debug("Waiting to join the pool")
    with semaphore:
        name = current_thread().name
        pool.make_active(name)
        time.sleep(0.1)
        pool.make_inactive(name)


def main():
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s (%(threadName)-2s) %(message)s")

    semaphore = Semaphore(AT_A_TIME)
    pool = ActivePool()
    for i in range(WORKERS):
        Thread(target=worker, args=(semaphore, pool), name=str(i)).start()


main()

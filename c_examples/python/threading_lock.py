"""A lock that protects a counter which several threads increment."""

import logging
import random
import threading
import time


class Counter:
    def __init__(self):
        self.lock = threading.Lock()
        self.value = 0

    def increment(self):
        logging.debug("Waiting for lock")
        self.lock.acquire()
        try:
            logging.debug("Acquired lock")
            self.value += 1
        finally:
            self.lock.release()


def worker(counter):
    for _ in range(2):
        pause = random.random()
        logging.debug("Sleeping %.2f", pause)
        time.sleep(pause)
        counter.increment()
    logging.debug("Done")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    counter = Counter()
    for _ in range(2):
        threading.Thread(target=worker, args=(counter,)).start()

    logging.debug("Waiting for worker threads")
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join()
    logging.debug("Counter: %d", counter.value)


main()

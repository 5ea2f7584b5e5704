"""A condition, by which threads wait until another thread has made a resource available."""

import logging
import time
from threading import Condition, Thread

resource_is_available = False  # guarded by the condition's lock


def consumer(condition):
    logging.debug("Starting consumer thread")
    with condition:
        while not resource_is_available:
            condition.wait()
        logging.debug("Resource is available to consumer")


def producer(condition):
    global resource_is_available
    logging.debug("Starting producer thread")
    with condition:
        logging.debug("Making resource available")
        resource_is_available = True
        condition.notify_all()


def main():
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s (%(threadName)-2s) %(message)s")

    condition = Condition()
    c1 = Thread(target=consumer, args=(condition,), name="c1")
    c2 = Thread(target=consumer, args=(condition,), name="c2")
    p = Thread(target=producer, args=(condition,), name="p")

    c1.start()
    time.sleep(2)
    c2.start()
    time.sleep(2)
    p.start()


main()

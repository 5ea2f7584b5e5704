"""Functions that are called after a delay, one of which is cancelled first."""

import logging
import time
from threading import Timer


def delayed():
    logging.debug("worker running")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    t1 = Timer(3, delayed)
    t1.name = "t1"
    t2 = Timer(3, delayed)
    t2.name = "t2"

    logging.debug("starting timers")
    t1.start()
    t2.start()

    logging.debug("waiting before canceling %s", t2.name)
    time.sleep(2)
    logging.debug("canceling %s", t2.name)
    t2.cancel()
    logging.debug("done")


main()

"""An event, by which one thread signals others."""

import logging
import time
from threading import Event, Thread


def wait_for_event(event):
    logging.debug("wait_for_event starting")
    is_set = event.wait()
    logging.debug("event set: %s", is_set)


def wait_for_event_timeout(event, seconds):
    while not event.is_set():
        logging.debug("wait_for_event_timeout starting")
        is_set = event.wait(seconds)
        logging.debug("event set: %s", is_set)
        if is_set:
            logging.debug("processing event")
        else:
            logging.debug("doing other work")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    event = Event()
    t1 = Thread(target=wait_for_event, args=(event,), name="block")
    t1.start()

    t2 = Thread(target=wait_for_event_timeout, args=(event, 2), name="non-block")
    t2.start()

    logging.debug("Waiting before calling Event.set()")
    time.sleep(3)
    event.set()
    logging.debug("Event is set")


main()

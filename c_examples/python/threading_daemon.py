"""A daemon thread, which process exit does not wait for."""

import logging
import time
from threading import Event, Thread


def daemon_main(started):
    logging.debug("Starting")
    started.set()
    time.sleep(2)
    logging.debug("Exiting")


def non_daemon():
    logging.debug("Starting")
    logging.debug("Exiting")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    started = Event()
    d = Thread(target=daemon_main, args=(started,), name="daemon", daemon=True)
    t = Thread(target=non_daemon, name="non-daemon")

    d.start()
    started.wait()
    t.start()


main()

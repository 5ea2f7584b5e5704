"""Joining a daemon thread."""

import logging
import time
from threading import Thread


def daemon_main():
    logging.debug("Starting")
    time.sleep(2)
    logging.debug("Exiting")


def non_daemon():
    logging.debug("Starting")
    logging.debug("Exiting")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    d = Thread(target=daemon_main, name="daemon", daemon=True)
    t = Thread(target=non_daemon, name="non-daemon")

    d.start()
    t.start()

    d.join()
    t.join()


main()

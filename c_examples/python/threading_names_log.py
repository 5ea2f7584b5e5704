"""Log lines with the name of the thread that wrote them."""

import logging
import time
from threading import Thread


def worker():
    logging.debug("Starting")
    time.sleep(2)
    logging.debug("Exiting")


def my_service():
    logging.debug("Starting")
    time.sleep(3)
    logging.debug("Exiting")


def main():
    logging.basicConfig(level=logging.DEBUG, format="[%(levelname)s] (%(threadName)-10s) %(message)s")

    t = Thread(target=my_service, name="my_service")
    w = Thread(target=worker, name="worker")
    w2 = Thread(target=worker)  # keeps its default name

    w.start()
    w2.start()
    t.start()


main()

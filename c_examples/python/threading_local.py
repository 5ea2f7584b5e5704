"""A variable that has a separate value in each thread."""

import logging
import random
from threading import Thread, local


def show_value(data):
    if hasattr(data, "value"):
        logging.debug("value=%d", data.value)
    else:
        logging.debug("No value yet")


def set_value(data, value):
    data.value = value


def worker(data):
    show_value(data)
    set_value(data, random.randint(1, 100))
    show_value(data)


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    local_data = local()
    show_value(local_data)
    set_value(local_data, 1000)
    show_value(local_data)

    for _ in range(2):
        Thread(target=worker, args=(local_data,)).start()


main()

"""A variable that has a separate value in each thread, with a common initial value."""

import logging
import random
from threading import Thread, local


class MyLocal(local):
    def __init__(self, value):
        logging.debug("Initializing %r", self)
        self.value = value

    def __repr__(self):
        return f"<MyLocal object at {id(self):#x}>"


def show_value(data):
    logging.debug("value=%d", data.value)


def worker(data):
    show_value(data)
    data.value = random.randint(1, 100)
    show_value(data)


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    local_data = MyLocal(1000)
    show_value(local_data)

    for _ in range(2):
        Thread(target=worker, args=(local_data,)).start()


main()

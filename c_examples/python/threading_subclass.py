"""A thread that overrides its run function."""

import logging
from threading import Thread


class MyThread(Thread):
    def run(self):
        logging.debug("running")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    for _ in range(5):
        MyThread().start()


main()

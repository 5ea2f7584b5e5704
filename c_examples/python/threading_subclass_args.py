"""A thread that overrides its run function and owns several arguments."""

import logging
from threading import Thread


class MyThreadWithArgs(Thread):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.my_args = args
        self.my_kwargs = kwargs

    def run(self):
        logging.debug("running with %s and %s", self.my_args, self.my_kwargs)


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    for i in range(5):
        MyThreadWithArgs(i, a="A", b="B").start()


main()

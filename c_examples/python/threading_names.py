"""Thread names, and the name of the calling thread."""

import sys
import time
from threading import Thread, current_thread


def my_name():
    return current_thread().name


def worker():
    print(f"{my_name()} Starting\n", end="")
    time.sleep(2)
    print(f"{my_name()} Exiting\n", end="")


def my_service():
    print(f"{my_name()} Starting\n", end="")
    time.sleep(3)
    print(f"{my_name()} Exiting\n", end="")


def main():
    sys.stdout.reconfigure(line_buffering=True)

    t = Thread(target=my_service, name="my_service")
    w = Thread(target=worker, name="worker")
    w2 = Thread(target=worker)  # keeps its default name

    w.start()
    w2.start()
    t.start()


main()

"""Five threads that run the same function."""

from threading import Thread


def worker():
    print("Worker\n", end="")  # whole lines: print writes what ends a line by itself


def main():
    for _ in range(5):
        Thread(target=worker).start()


main()

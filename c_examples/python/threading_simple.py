"""Five threads that run the same function."""

from threading import Thread


def worker():
    print("Worker\n", end="")  # print("Worker") writes the end of the line separately


def main():
    for _ in range(5):
        Thread(target=worker).start()


main()

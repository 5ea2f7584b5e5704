"""An argument for each thread."""

from threading import Thread


def worker(number):
    print(f"Worker: {number}\n", end="")


def main():
    for i in range(5):
        Thread(target=worker, args=(i,)).start()


main()

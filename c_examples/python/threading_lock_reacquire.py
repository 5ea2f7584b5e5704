"""A lock cannot be acquired twice, even by the thread that holds it."""

from threading import Lock


def main():
    lock = Lock()

    first = lock.acquire()
    print(f"First try : {first}")
    second = lock.acquire(blocking=False)
    print(f"Second try: {second}")

    lock.release()


main()

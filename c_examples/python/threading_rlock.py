"""A reentrant lock, which the thread that owns it can acquire again."""

from threading import RLock


def main():
    lock = RLock()

    first = lock.acquire()
    print(f"First try : {first}")
    second = lock.acquire(blocking=False)
    print(f"Second try: {second:d}")  # as in Python 2, where it was a number

    lock.release()
    if second:
        lock.release()


main()

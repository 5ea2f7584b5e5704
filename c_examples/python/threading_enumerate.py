"""Listing all threads that are alive, to join them without keeping their objects."""

import logging
import random
import threading
import time


def worker():
    pause = random.randint(1, 5)
    logging.debug("sleeping %d", pause)
    time.sleep(pause)
    logging.debug("ending")


def main():
    logging.basicConfig(level=logging.DEBUG, format="(%(threadName)-10s) %(message)s")

    for _ in range(3):
        threading.Thread(target=worker, daemon=True).start()

    main_thread = threading.current_thread()
    for thread in threading.enumerate():
        if thread is main_thread:
            continue
        logging.debug("joining %s", thread.name)
        thread.join()


main()

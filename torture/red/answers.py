"""The questions of `answers` to Python's multiprocessing. Ends with 10 if one of them stays without an answer for a second."""

import multiprocessing
import os
import signal
import sys
import time

fork = multiprocessing.get_context("fork")


def hold(thing, is_there):
    thing.acquire()
    is_there.set()
    time.sleep(60)


def consume(queue, is_there):
    is_there.set()
    queue.get()


def killed(target, *things):
    is_there = fork.Event()
    process = fork.Process(target=target, args=(*things, is_there), daemon=True)
    process.start()
    is_there.wait()
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def lock_holder():
    lock = fork.Lock()
    killed(hold, lock)
    return lock.acquire(timeout=1)


def permit_holder():
    semaphore = fork.Semaphore(1)
    killed(hold, semaphore)
    return semaphore.acquire(timeout=1)


def consumer():
    queue = fork.Queue()
    killed(consume, queue)
    queue.put(1)
    try:
        return queue.get(timeout=1) == 1
    except Exception:
        return False


def main():
    n_silent = 0
    for question in (lock_holder, permit_holder, consumer):
        is_answered = question()
        n_silent += not is_answered
        print(f"{question.__name__}: {'an answer' if is_answered else 'no answer within a second'}", flush=True)
    os._exit(10 if n_silent else 1)


if __name__ == "__main__":
    main()

"""The kill storm on Python: kill -9 of pool workers while tasks run. Ends with 10 if tasks are lost or somebody hangs."""

import concurrent.futures
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

N_TASKS, N_KILLS, PATIENCE_S = 2000, 20, 5


def task(number):
    time.sleep(0.0005)
    return number


def kill_some(pids, is_over):
    for _ in range(N_KILLS):
        time.sleep(random.uniform(0.005, 0.03))
        alive = pids()
        if is_over.is_set() or not alive:
            return
        try:
            os.kill(random.choice(alive), signal.SIGKILL)
        except ProcessLookupError:
            pass


def storm(submit, get, pids):
    is_over = threading.Event()
    killer = threading.Thread(target=kill_some, args=(pids, is_over), daemon=True)
    killer.start()
    counts = {}
    handles = []
    for number in range(N_TASKS):
        try:
            handles.append((number, submit(number)))
        except Exception as error:
            counts[type(error).__name__] = counts.get(type(error).__name__, 0) + 1
    deadline = time.monotonic() + PATIENCE_S
    for number, handle in handles:
        try:
            end = "good" if get(handle, max(0.0, deadline - time.monotonic())) == number else "wrong"
        except Exception as error:
            end = type(error).__name__
        counts[end] = counts.get(end, 0) + 1
    is_over.set()
    return counts


def main():
    fork = multiprocessing.get_context("fork")
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name == "Pool":
        pool = fork.Pool(4)
        counts = storm(lambda n: pool.apply_async(task, (n,)), lambda r, t: r.get(t), lambda: [p.pid for p in pool._pool])
    elif name == "ProcessPoolExecutor":
        pool = concurrent.futures.ProcessPoolExecutor(4, mp_context=fork)
        counts = storm(lambda n: pool.submit(task, n), lambda f, t: f.result(t), lambda: list(pool._processes or ()))
    else:
        is_shown = True
        for name in ("Pool", "ProcessPoolExecutor"):
            # Each in a process group of its own, so that what hangs can be ended.
            child = os.posix_spawn(sys.executable, [sys.executable, __file__, name], os.environ, setpgroup=0)
            deadline = time.monotonic() + 60
            pid, status = 0, 0
            while pid == 0 and time.monotonic() < deadline:
                pid, status = os.waitpid(child, os.WNOHANG)
                time.sleep(0.05)
            os.killpg(child, signal.SIGKILL) if pid == 0 else None
            if pid == 0:
                os.waitpid(child, 0)
                print(f"{name}: hangs", flush=True)
            elif os.waitstatus_to_exitcode(status) != 10:
                is_shown = False
        sys.exit(10 if is_shown else 1)
    bad = N_TASKS - counts.get("good", 0)
    print(f"{name}: {counts} of {N_TASKS} tasks with at most {N_KILLS} kills", flush=True)
    # At most one task runs in each killed worker, and its waiter must be told: who waits in vain hangs.
    os.closerange(3, 256)
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(10 if bad > N_KILLS or "TimeoutError" in counts else 1)


if __name__ == "__main__":
    main()

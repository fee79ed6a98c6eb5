"""Times Python's pool from inside: prints nanoseconds, and those of processor time with the workers' included."""
import multiprocessing
import resource
import statistics
import sys
import time


def noop():
    return None


def processor_ns():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(usage.ru_utime + usage.ru_stime for usage in both) * 1e9)


def round_trip(pool, n_tasks):
    for _ in range(1000):
        pool.apply(noop)
    took = []
    for _ in range(n_tasks):
        started = time.perf_counter_ns()
        pool.apply(noop)
        took.append(time.perf_counter_ns() - started)
    return round(statistics.median(took))


def throughput(pool, n_tasks):
    for _ in range(1000):
        pool.apply(noop)
    started = time.perf_counter_ns()
    tasks = [pool.apply_async(noop) for _ in range(n_tasks)]
    for task in tasks:
        task.get()
    return time.perf_counter_ns() - started


if __name__ == "__main__":
    what, n_workers, n_tasks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    pool = multiprocessing.get_context("fork").Pool(n_workers)
    took = {"round-trip": round_trip, "throughput": throughput}[what](pool, n_tasks)
    pool.close()
    pool.join()
    print(took, processor_ns())

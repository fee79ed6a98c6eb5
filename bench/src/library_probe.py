"""Times Python's multiprocessing from inside. The order of things is in library.rs, what is printed in probe.rs."""
import concurrent.futures
import glob
import multiprocessing
import os
import resource
import statistics
import sys
import time
from multiprocessing import shared_memory

N_WARM_UP = 1000
N_WORKERS = 2
CAPACITY = 1024
N_ENDS = 4
MESSAGE = b"7" * 64
FORK = multiprocessing.get_context("fork")


def noop():
    return None


def group_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2].split()[2]
    except OSError:
        return None


def processor_ns():
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = round((ended.ru_utime + ended.ru_stime) * 1e9)
    own = group_of("self")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if group_of(pid) == own:
            for thread in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                try:
                    with open(thread) as file:
                        total += int(file.read().split()[0])
                except OSError:
                    pass
    return total


def median_of(count, run):
    took = []
    for _ in range(count):
        started = time.perf_counter_ns()
        run()
        took.append(time.perf_counter_ns() - started)
    return round(statistics.median(took))


def handed_in_then_fetched(submit, fetch, count):
    started = time.perf_counter_ns()
    for task in [submit(noop) for _ in range(count)]:
        fetch(task)
    return time.perf_counter_ns() - started


def pool_throughput(count):
    pool = FORK.Pool(N_WORKERS)
    for _ in range(N_WARM_UP):
        pool.apply(noop)
    return measured(lambda: handed_in_then_fetched(pool.apply_async, lambda task: task.get(), count))


def pool_round_trip(count):
    pool = FORK.Pool(N_WORKERS)
    for _ in range(N_WARM_UP):
        pool.apply(noop)
    return measured(lambda: median_of(count, lambda: pool.apply(noop)))


def futures_throughput(count):
    pool = concurrent.futures.ProcessPoolExecutor(N_WORKERS, mp_context=FORK)
    for _ in range(N_WARM_UP):
        pool.submit(noop).result()
    return measured(lambda: handed_in_then_fetched(pool.submit, lambda task: task.result(), count))


def futures_round_trip(count):
    pool = concurrent.futures.ProcessPoolExecutor(N_WORKERS, mp_context=FORK)
    for _ in range(N_WARM_UP):
        pool.submit(noop).result()
    return measured(lambda: median_of(count, lambda: pool.submit(noop).result()))


def produce(messages, count):
    for _ in range(count):
        messages.put(MESSAGE)


def consume(messages, count):
    for _ in range(count):
        messages.get()


def queue(count):
    messages = FORK.Queue(CAPACITY)

    def work():
        producer = FORK.Process(target=produce, args=(messages, count + N_WARM_UP))
        producer.start()
        consume(messages, N_WARM_UP)
        started = time.perf_counter_ns()
        consume(messages, count)
        took = time.perf_counter_ns() - started
        producer.join()
        return took

    return measured(work)


def at_once(start, work, messages, count):
    start.wait()
    work(messages, count)


def many(count):
    messages, start = FORK.Queue(CAPACITY), FORK.Barrier(2 * N_ENDS + 1)
    works = [work for _ in range(N_ENDS) for work in (produce, consume)]

    def run():
        share = count // N_ENDS
        processes = [FORK.Process(target=at_once, args=(start, work, messages, share)) for work in works]
        for process in processes:
            process.start()
        start.wait()
        started = time.perf_counter_ns()
        for process in processes:
            process.join()
        return time.perf_counter_ns() - started

    return measured(run)


def echo(end, count):
    for _ in range(count):
        end.send_bytes(end.recv_bytes())


def ping_pong(count):
    def work():
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=echo, args=(theirs, count + N_WARM_UP))
        process.start()

        def round_trip():
            ours.send_bytes(MESSAGE)
            ours.recv_bytes()

        for _ in range(N_WARM_UP):
            round_trip()
        took = median_of(count, round_trip)
        process.join()
        return took

    return measured(work)


def start_join(method, count):
    context = multiprocessing.get_context(method)

    def run():
        process = context.Process(target=noop)
        process.start()
        process.join()

    return measured(lambda: median_of(count, run))


def look(end, count):
    for _ in range(count):
        memory = shared_memory.SharedMemory(end.recv())
        end.send(memory.buf[0] + memory.buf[-1])
        memory.close()


def blob(count):
    memory = shared_memory.SharedMemory(create=True, size=1 << 30)
    memory.buf[:] = b"\1" * (1 << 30)
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=look, args=(theirs, count))
    process.start()

    def hand_over():
        ours.send(memory.name)
        assert ours.recv() == 2

    try:
        return measured(lambda: median_of(count, hand_over))
    finally:
        process.join()
        memory.close()
        memory.unlink()


def switches(pids):
    total = 0
    for pid in pids:
        for thread in glob.glob(f"/proc/{pid}/task/*/status"):
            with open(thread) as file:
                total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    return total


def idle(count):
    pool = FORK.Pool(count)
    for _ in range(10 * count):
        pool.apply(noop)
    pids = [process.pid for process in multiprocessing.active_children()] + [os.getpid()]
    before = switches(pids)
    time.sleep(5)
    woken = switches(pids) - before - 1
    print(woken // 5, 0, 0, flush=True)
    pool.terminate()


def measured(work):
    before = processor_ns()
    took = work()
    processor = processor_ns() - before
    before = processor_ns()
    time.sleep(1)
    print(took, processor, processor_ns() - before, flush=True)


if __name__ == "__main__":
    what, n_runs = sys.argv[1], int(sys.argv[2])
    {
        "throughput": pool_throughput,
        "round-trip": pool_round_trip,
        "futures-throughput": futures_throughput,
        "futures-round-trip": futures_round_trip,
        "queue": queue,
        "many": many,
        "ping-pong": ping_pong,
        "fork-join": lambda count: start_join("fork", count),
        "spawn-join": lambda count: start_join("spawn", count),
        "blob": blob,
        "idle": idle,
    }[what](n_runs)
    # A pool that is not closed is ended here, not waited for.
    sys.stdout.flush()
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    os._exit(0)

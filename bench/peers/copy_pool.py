"""Copies a folder of files as a tutorial for multiprocessing does it: a pool of processes, a task for each file, and a
manager's queue by which each task says that it is done. It knows files only, keeps no metadata, and waits for ever for a
task that failed.

copy_pool.py FOLDER [COPY]; without COPY, the copy is called FOLDER_复件.
"""

import multiprocessing
import os
import sys


def copy_file(queue, name, source, target):
    with open(os.path.join(source, name), "rb") as file:
        content = file.read()
    with open(os.path.join(target, name), "wb") as file:
        file.write(content)
    queue.put(name)


def main():
    source = sys.argv[1]
    target = sys.argv[2] if len(sys.argv) > 2 else source + "_复件"
    os.makedirs(target, exist_ok=True)
    names = os.listdir(source)
    pool = multiprocessing.Pool(5)
    queue = multiprocessing.Manager().Queue()
    for name in names:
        pool.apply_async(copy_file, args=(queue, name, source, target))
    pool.close()
    for n_done in range(1, len(names) + 1):
        queue.get()
        print(f"\rcopied {n_done / len(names):.2%}", end="")
    print()
    pool.join()


if __name__ == "__main__":
    main()

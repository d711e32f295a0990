"""Count in one file from several processes, with no lock, and watch the count from another one.

`atomic` is one number anywhere in a file. `ShardedCounter` is one number that is kept in many
places, so that processors that add at the same time do not wait for each other; inside kernels it
costs a few nanoseconds.
"""

import multiprocessing
import tempfile
from pathlib import Path

import numba

import mmapio
from mmapio import atomics

WORKERS, ROUNDS = 2, 1_000_000


@numba.njit(nogil=True)
def count_multiples(lines, first, last, divisor):
    for number in range(first, last):
        if number % divisor == 0:
            atomics.sharded_add(lines, 1)


def work(counter, path, first):
    count_multiples(counter.lines, first, first + ROUNDS, 7)
    finished = mmapio.MappedFile.open(path, "r+").atomic(8, "u4")
    finished.fetch_add(1)


def main():
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        status = Path(directory, "status.bin")
        with (
            mmapio.ShardedCounter.open(Path(directory, "multiples.counter")) as counter,
            mmapio.MappedFile.open(status, "x+", size=4096) as mapping,
        ):
            starts = [number * ROUNDS for number in range(WORKERS)]
            # The counter is sent as a reference to its file.
            workers = [spawn.Process(target=work, args=(counter, status, n)) for n in starts]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            print(f"{mapping.atomic(8, 'u4').value} processes have finished")
            print(f"{counter.value} multiples of 7 below {WORKERS * ROUNDS}")


if __name__ == "__main__":
    main()

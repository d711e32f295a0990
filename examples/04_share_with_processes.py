"""Let processes fill one array: each is sent a reference to its part, and writes into the file.

Nothing is copied, on the way there or back. The start method is "spawn", which works on every
platform; with "fork" it is the same.
"""

import multiprocessing
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import mmapio

WORKERS = 2


def count_steps(part, first):
    """Store how many steps the Collatz sequence takes to reach 1, for every second number."""
    for i in range(len(part)):
        number, steps = first + WORKERS * i, 0
        while number > 1:
            number = 3 * number + 1 if number % 2 else number // 2
            steps += 1
        part[i] = steps
    return len(part)


def main():
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as directory,
        mmapio.create(Path(directory, "collatz.npy"), shape=20_000, dtype="i4") as steps,
    ):
        print(f"{steps.nbytes} bytes of array are sent as {len(pickle.dumps(steps))}")

        with ProcessPoolExecutor(WORKERS, mp_context=spawn) as pool:
            # Any slice can be sent, one that leaves out every second number too.
            parts = [steps[first::WORKERS] for first in range(WORKERS)]
            counted = sum(pool.map(count_steps, parts, range(WORKERS)))
        del parts  # a file is not closed while an array over it is in use

        print(f"{WORKERS} processes counted {counted} numbers into one file")
        print(f"below {len(steps)}, {steps.argmax()} takes longest: {steps.max()} steps")


if __name__ == "__main__":
    main()

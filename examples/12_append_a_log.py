"""Append measurements to a `.npy` file, while another process reads them as they come.

What is committed survives the death of the process and a power loss; numpy can read the file at
any time; and whoever tries to write as well is told who does already.
"""

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np

import mmapio

SAMPLE = np.dtype([("second", "u4"), ("volts", "f4")])


def watch(path, samples, ready):
    """Follow the file until all samples are there, in another process."""
    with mmapio.GrowableArray.open(path) as log:
        ready.set()
        looks, highest = 0, 0.0
        while (count := log.refresh()) < samples:
            looks += count > 0
            highest = max(highest, log["volts"].max(initial=0))
        print(f"watched {count} samples, the last one of second {log[-1]['second']}")


def main():
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "volts.npy")
        with mmapio.GrowableArray.open(path, "a+", dtype=SAMPLE) as log:
            ready = context.Event()
            watcher = context.Process(target=watch, args=(path, 6000, ready))
            watcher.start()
            ready.wait()
            for minute in range(100):
                samples = np.zeros(60, SAMPLE)
                samples["second"] = minute * 60 + np.arange(60)
                samples["volts"] = np.sin(samples["second"] / 100)
                log.extend(samples)
                log.commit()
            watcher.join()

            first = log[:60]  # a view, which stays where it is however long the log grows
            log.extend(np.zeros(10**6, SAMPLE))
            print(f"the first minute is still at hand: {first['volts'][-1]:.3f} volts")
            try:
                mmapio.GrowableArray.open(path, "a+")
            except mmapio.LockedError:
                print("a second writer is refused")
            log.truncate(6000, force=True)
        print(f"numpy reads {np.load(path).shape[0]} samples")


if __name__ == "__main__":
    main()

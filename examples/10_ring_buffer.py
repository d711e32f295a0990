"""Send records from one process to another through a file, and wake who waits for the last one.

A `RingBuffer` takes no lock and makes no system call. A `SeqLock` holds one record that is always
whole: here what is known so far. A `Generation` tells that something has changed; an event loop
can await it.
"""

import asyncio
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np

import mmapio

TRADE = np.dtype([("id", "i8"), ("price", "f8")])
COUNT = 50_000


def produce(ring):
    rng = np.random.default_rng(0)
    for first in range(0, COUNT, 1000):
        trades = np.empty(1000, TRADE)
        trades["id"] = np.arange(first, first + 1000)
        trades["price"] = 100 + rng.standard_normal(1000)
        ring.push_many(trades, timeout=None)


def consume(ring, highest, done):
    received = 0
    while received < COUNT:
        trades = ring.pop_many(timeout=10)
        assert trades["id"].tolist() == list(range(received, received + len(trades)))
        best = trades[trades["price"].argmax()]
        if best["price"] > highest.read()["price"]:
            highest.write(best)
        received += len(trades)
    done.bump()


async def main():
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ring = mmapio.RingBuffer.open(Path(folder, "trades"), dtype=TRADE, capacity=4096)
        highest = mmapio.SeqLock.open(Path(folder, "highest"), dtype=TRADE)
        done = mmapio.Generation.open(Path(folder, "done"))
        with ring, highest, done:
            spawn.Process(target=consume, args=(ring, highest, done)).start()
            spawn.Process(target=produce, args=(ring,)).start()
            await done.changed(0)
            print(f"{COUNT} trades arrived in order, {len(ring)} are left")
            print(f"the highest was number {highest.read()['id']}")


if __name__ == "__main__":
    asyncio.run(main())

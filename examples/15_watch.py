"""Reload a table whenever another process has replaced it, and react to stores at once.

The system tells of files that are written, resized, replaced or removed. It tells nothing of
stores through a mapping: who stores bumps a generation, and the watch is told of that as well.
"""

import queue
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import mmapio


def produce(path, counter):
    """Be the other process: replace the table, then change one number in place."""
    mmapio.save(path, np.arange(6.0).reshape(2, 3))
    input()  # until the reader has it
    table = mmapio.open(path, "r+")
    table[0, 0] = 42
    mmapio.Generation.open(counter).bump()


def main():
    with tempfile.TemporaryDirectory() as directory:
        path, counter = Path(directory, "table.npy"), Path(directory, "table.generation")
        mmapio.save(path, np.zeros(3))
        first, changes = mmapio.open(path), queue.Queue()
        generation = mmapio.Generation.open(counter)
        with first.mapping.watch(changes.put, generation=generation) as watching:
            producer = subprocess.Popen(
                [sys.executable, __file__, str(path), str(counter)], stdin=subprocess.PIPE
            )
            change = changes.get(timeout=60)
            print(f"{change.kind}: {change.old_size} bytes before, {change.new_size} now")
            table = mmapio.open(path)
            print(f"still mapped: {first.shape}, at the path: {table.shape}")

            producer.communicate(b"\n")
            change = changes.get(timeout=60)
            print(f"{change.kind}: the first number is {table[0, 0]:.0f}")
        print(f"watching: {watching.active}")


if __name__ == "__main__":
    produce(*sys.argv[1:]) if len(sys.argv) > 1 else main()

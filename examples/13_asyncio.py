"""Write and flush from asyncio: a server that stores what arrives, and answers when it is durable.

A flush waits for the drive, milliseconds or more. Meanwhile the event loop serves the others.
"""

import asyncio
import tempfile
from pathlib import Path

import numpy as np

import mmapio

SLOT = 4096


async def store(mapping, slot, text):
    """Put a message into its slot; when this returns, it survives a power loss."""
    await mmapio.aio.write(mapping, slot * SLOT, text.encode().ljust(64))
    await mmapio.aio.flush(mapping, slot * SLOT, 64)
    return slot


async def tick(ticks):
    """Stand for all else that the event loop has to do."""
    while True:
        await asyncio.sleep(0)
        ticks.append(1)


async def main():
    with tempfile.TemporaryDirectory() as directory:
        path, copy = Path(directory, "messages.bin"), Path(directory, "copy.bin")
        a = await mmapio.aio.open(path, "x+", dtype="u1", shape=(50, SLOT))
        ticks = []
        ticking = asyncio.create_task(tick(ticks))
        stored = await asyncio.gather(*(store(a.mapping, n, f"message {n}") for n in range(50)))
        ticking.cancel()
        print(f"{len(stored)} messages are durable, {a.mapping.pending_bytes} bytes are not")
        print(f"the loop went on meanwhile: {len(ticks) > 50}")

        await mmapio.aio.copy(path, copy)
        b = await mmapio.aio.open(copy, dtype="u1", shape=(-1, SLOT))
        print(f"the last message of the copy: {bytes(b[49, :10]).decode()}")
        print(f"same as the first file: {np.array_equal(a, b)}")
        await mmapio.aio.delete(copy)


if __name__ == "__main__":
    asyncio.run(main())

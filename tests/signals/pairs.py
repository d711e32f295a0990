"""Signal handlers that call mmapio while the thread that they interrupt is within a call of it.

Run as a program, this makes every loop of `CALLS` run under a timer whose handler makes another of
them, and says which pairs lost something; a pair that hangs is ended by its traceback.
"""

from __future__ import annotations

import faulthandler
import itertools
import os
import signal
import sys
import time

import numpy as np

import mmapio
from mmapio import kernels

SIZE = 1 << 14
REFUSALS = (mmapio.InUseError,)


class World:
    """One object of each kind, and an account of what was put into them."""

    def __init__(self, policy: mmapio.FlushPolicy | None) -> None:
        self.policy = policy
        self.numbers = itertools.count(1)
        self.m = mmapio.MappedFile.open("m.bin", "w+", size=SIZE, flush_policy=policy)
        self.g = mmapio.GrowableArray.open("g.npy", "w+", dtype="i8")
        self.rows: set[int] = set()
        self.reader = mmapio.GrowableArray.open("g.npy")
        self.ring = mmapio.RingBuffer.anonymous("i8", 256)
        self.pushed: set[int] = set()
        self.popped: list[int] = []
        self.record = mmapio.SeqLock.anonymous(("i8", 4), slots=4)
        self.counter = mmapio.ShardedCounter.anonymous(2)
        self.added = 0
        self.generation = mmapio.Generation.anonymous()
        self.bumps = 0
        self.cell = mmapio.MappedFile.anonymous(4096)
        self.data = np.arange(1000.0)
        self.mapped = mmapio.create("a.npy", 500, "f8", overwrite=True)
        self.was_truncated = False

    # mappings

    def write(self) -> None:
        self.m.write(64, b"x" * 64)

    def read(self) -> None:
        self.m.read(64, 64)

    def flush(self) -> None:
        self.m.flush()

    def flush_without_waiting(self) -> None:
        self.m.flush(wait=False)

    def mark_dirty(self) -> None:
        self.m.mark_dirty(0, 8)

    def reopen(self) -> None:
        self.m.close()
        self.m = mmapio.MappedFile.open("m.bin", "r+", flush_policy=self.policy)

    def close_by_force(self) -> None:
        self.m.close(force=True)
        self.m = mmapio.MappedFile.open("m.bin", "r+", flush_policy=self.policy)

    def check(self) -> None:
        self.m.check()

    def resize(self) -> None:
        self.m.resize(SIZE + SIZE * (next(self.numbers) % 3))

    def resize_by_force(self) -> None:
        self.m.resize(SIZE + SIZE * (next(self.numbers) % 3), force=True)

    def view(self) -> None:
        self.m.view(0, 64)[:8] = 1

    def atomic(self) -> None:
        self.m.atomic(0, "i8").fetch_add(1)

    def guard(self) -> None:
        with self.m.guard():
            self.m.view(0, 64).sum()

    def recover(self) -> None:
        self.m.recover()

    def residency(self) -> None:
        self.m.residency()

    def release(self) -> None:
        self.m.release()

    def touch(self) -> None:
        self.m.touch_pages()

    # growable arrays

    def append(self) -> None:
        number = next(self.numbers)
        self.g.append(number)
        self.rows.add(number)

    def append_array(self) -> None:
        number = next(self.numbers)
        self.g.append(np.array(number))
        self.rows.add(number)

    def extend(self) -> None:
        numbers = [next(self.numbers), next(self.numbers)]
        self.g.extend(np.array(numbers))
        self.rows.update(numbers)

    def extend_list(self) -> None:
        numbers = [next(self.numbers), next(self.numbers)]
        self.g.extend(numbers)
        self.rows.update(numbers)

    def commit(self) -> None:
        self.g.commit()

    def publish(self) -> None:
        self.g.commit(durable=False)

    def truncate(self) -> None:
        self.was_truncated = True
        self.g.truncate(len(self.g) // 2, force=True)

    def rows_as_array(self) -> None:
        array = self.g.array
        assert 0 not in array[:100], "a row is not there"

    def refresh(self) -> None:
        self.reader.refresh()
        assert 0 not in self.reader.array[:100], "a row is not there"

    def reopen_rows(self) -> None:
        self.g.close(force=True)
        self.g = mmapio.GrowableArray.open("g.npy", "r+")

    # shared objects

    def push(self) -> None:
        number = next(self.numbers)
        if self.ring.push(number):
            self.pushed.add(number)

    def push_many(self) -> None:
        numbers = [next(self.numbers) for _ in range(3)]
        self.pushed.update(numbers[: self.ring.push_many(numbers)])

    def pop(self) -> None:
        if (found := self.ring.pop()) is not None:
            self.popped.append(int(found))

    def pop_many(self) -> None:
        self.popped += self.ring.pop_many(2).tolist()

    def write_record(self) -> None:
        self.record.write(next(self.numbers))

    def read_record(self) -> None:
        assert len(set(self.record.read().tolist())) == 1, "half a record"

    def add(self) -> None:
        self.counter.add(1)
        self.added += 1

    def bump(self) -> None:
        self.generation.bump()
        self.bumps += 1

    def wait(self) -> None:
        self.generation.wait_for_change(self.generation.value, timeout=0.0002)

    # the rest

    def sum(self) -> None:
        assert kernels.sum(self.data, threads=2) == 499500

    def sum_of_mapped(self) -> None:
        assert kernels.sum(self.mapped) == 0

    def save(self) -> None:
        mmapio.save(f"s{next(self.numbers) % 3}.npy", self.data)

    def copy(self) -> None:
        mmapio.copy("a.npy", "copy.npy")

    def open(self) -> None:
        mmapio.open("a.npy").close(force=True)

    # ---------------------------------------------------------------------------------------------

    def check_all(self, strict: bool) -> None:
        """Raise if anything that was put in is not there once."""
        self.m.write(0, b"y")
        self.m.flush()
        assert self.m.pending_bytes == self.m.pending_writes == 0, "an account is not settled"
        size = self.m.size
        self.m.close(force=True)
        if strict:
            assert os.path.getsize("m.bin") == size, "the file has another size"
        self.g.commit()
        count = len(self.g)
        self.g.close(force=True)
        rows = mmapio.GrowableArray.open("g.npy", recover="rows").array.tolist()
        assert len(rows) == count == len(np.load("g.npy")), "the header promises other rows"
        assert len(set(rows)) == len(rows), "a row is there twice"
        if self.was_truncated:
            assert 0 not in rows, "a row is not there"
        else:
            assert set(rows) == self.rows, "rows are lost"
        self.popped += self.ring.pop_many().tolist()
        assert len(set(self.popped)) == len(self.popped), "a record came out twice"
        assert set(self.popped) == self.pushed, "records are lost"
        assert self.counter.value == self.added, "additions are lost"
        assert self.generation.value == self.bumps, "bumps are lost"
        self.read_record()


CALLS = [
    name
    for name, value in vars(World).items()
    if callable(value) and not name.startswith("_") and name != "check_all"
]
POLICIES: dict[str, mmapio.FlushPolicy | None] = {
    "none": None,
    "always": mmapio.FlushPolicy.always(),
    "every_writes": mmapio.FlushPolicy.every_writes(3),
    "every_millis": mmapio.FlushPolicy.every_millis(1),
}


def run_pair(loop: str, handler: str, policy: str, seconds: float) -> str | None:
    """Run a loop under a handler; return what was wrong, if anything was."""
    world = World(POLICIES[policy])
    errors: list[str] = []
    worked = [0, 0, 0, 0]  # loops that worked, or were refused; handlers likewise

    def call(name: str, at: int) -> None:
        try:
            getattr(world, name)()
            worked[at] += 1
        except mmapio.LockedError:  # by the one that a handler has opened meanwhile
            if (loop, handler) != ("reopen_rows", "reopen_rows"):
                raise
        except REFUSALS:
            worked[at + 1] += 1
        except (mmapio.ClosedError, mmapio.UnsupportedError) as error:
            # A resize goes on after its mapping was closed, and another that was opened meanwhile
            # no longer reaches to the end of the file.
            if isinstance(error, mmapio.UnsupportedError) and "resize" not in loop:
                errors.append(f"{name}: {error!r}")
            if not {"reopen", "close_by_force", "reopen_rows"} & {loop, handler}:
                errors.append(f"{name}: {error!r}")
            worked[at + 1] += 1
        except BaseException as error:
            import traceback

            traceback.print_exc()
            errors.append(f"{name}: {error!r}")

    for name in (loop, handler):  # imports and compiles
        call(name, 0)
    running = False

    def on_signal(*_: object) -> None:
        nonlocal running
        if not running:
            running = True
            call(handler, 2)
            running = False

    signal.signal(signal.SIGALRM, on_signal)
    end = time.monotonic() + seconds
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.00067)
    try:
        while (time.monotonic() < end or not worked[2]) and not errors:
            for _ in range(10):
                call(loop, 0)
            if time.monotonic() > end + 20:
                errors.append(f"never worked: {worked}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0, 0)
    if not errors:
        try:
            world.check_all(not {"reopen", "close_by_force"} & {loop, handler})
        except Exception as error:
            import traceback

            # A resize that a handler has interrupted cuts the file off that the handler has opened.
            is_cut = isinstance(error, mmapio.MappingLostError) and "resize" in loop
            if not (is_cut and {"reopen", "close_by_force"} & {handler}):
                traceback.print_exc()
                errors.append(repr(error))
    return None if not errors else f"{loop} / {handler} / {policy}: {errors[0]}"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(seconds: str, loops: str, handlers: str, policies: str) -> None:
    for loop in loops.split(","):
        for handler in handlers.split(","):
            for policy in policies.split(","):
                faulthandler.dump_traceback_later(float(seconds) + 30, exit=True)
                say(f"try {loop} {handler} {policy}")
                folder = f"{loop}-{handler}-{policy}"  # of its own: what fails may keep a lock
                os.mkdir(folder)
                os.chdir(folder)
                found = run_pair(loop, handler, policy, float(seconds))
                if found is not None:
                    say(f"WRONG {found}")
                os.chdir("..")
    say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])

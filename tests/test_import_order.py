"""Imports on first use, from two threads at once: neither sees a module that is half there."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

# What imports numba on its first use, each by a way of its own.
ENTRIES = {
    "numba": "import numba",
    "a cell": "m.atomic(0, 'i8').load()",
    "pages": "m.touch_pages()",
    "a counter": "mmapio.ShardedCounter.anonymous(2).add(1)",
    "a kernel": "mmapio.kernels.describe",
}
# What else is imported on its first use, each beside the user's own import.
OTHERS = {
    "aio": "mmapio.aio.push",
    "atomics": "mmapio.atomics.fetch_add",
    "a seqlock": "mmapio.SeqLock.anonymous('i8')",
    "a ring": "mmapio.RingBuffer.anonymous('i8', 8).push(1)",
    "a generation": "mmapio.Generation.anonymous().bump()",
    "rows": "mmapio.GrowableArray.open",
    "residency": "m.residency()",
    "a watch": "mmapio.Watch",
    "files": "mmapio.save, mmapio.to_npy",
    "a sum": "mmapio.kernels.sum(m.view())",
    "a chunk": "mmapio.kernels.reduce_chunks",
    "llvmlite": "from llvmlite import ir",
}
ALL = ENTRIES | OTHERS
PAIRS = [*itertools.combinations(ENTRIES, 2), *itertools.product(["numba"], OTHERS)]
LONG = [pair for pair in itertools.combinations(ALL, 2) if pair not in PAIRS]
BOTH = """
import sys, threading
import mmapio

m = mmapio.MappedFile.anonymous(1 << 16)
barrier = threading.Barrier(2)
failed = []

def use(code):
    barrier.wait()
    try:
        exec(code)
    except BaseException as error:
        failed.append(f"{code}: {error!r}")

threads = [threading.Thread(target=use, args=(code,)) for code in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for code in sys.argv[1:]:
    exec(code)
print(failed)
"""


@pytest.mark.parametrize("names", PAIRS, ids=" and ".join)
def test_two_threads_may_import_at_once(
    names: tuple[str, str], run_python: Callable[..., str]
) -> None:
    assert run_python(BOTH, *(ALL[name] for name in names)) == "[]\n"


def test_any_two_may_import_at_once(run_python: Callable[..., str], scale: float) -> None:
    """Another sample of all the other pairs at each run; all of them if the rounds are many."""
    for names in random.sample(LONG, min(len(LONG), int(6 * scale))):
        assert run_python(BOTH, *(ALL[name] for name in names)) == "[]\n", names

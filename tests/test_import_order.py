"""Imports on first use, from two threads at once: neither sees a module that is half there."""

from __future__ import annotations

import itertools
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


@pytest.mark.parametrize("names", [*itertools.combinations(ENTRIES, 2)], ids=" and ".join)
def test_two_threads_may_import_at_once(
    names: tuple[str, str], run_python: Callable[..., str]
) -> None:
    assert run_python(BOTH, *(ENTRIES[name] for name in names)) == "[]\n"

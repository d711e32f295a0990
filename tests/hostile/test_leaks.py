"""Many mappings, one after the other and at once: nothing is left behind, and nobody dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="it reads /proc/self")

BOOKS = """
import gc, os, sys, threading, time
import numpy as np
import mmapio

folder, rounds = sys.argv[1], int(sys.argv[2])
path = os.path.join(folder, "file.npy")
mmapio.save(path, np.arange(10_000))

def books():
    gc.collect()
    with open("/proc/self/maps") as file:
        lines = file.readlines()
        maps = len(lines), sum(folder in line for line in lines)
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[1]) * mmapio._os.PAGE_SIZE
    return maps, len(os.listdir("/proc/self/fd")), threading.active_count(), memory
"""

ONE_AFTER_THE_OTHER = """
def drop_the_handle_first():
    m = mmapio.MappedFile.open(path)
    views = [m.view(), m.view(8, 8)]
    del m
    assert views.pop(0)[0] == 0x93
    views[0][0]

def drop_views_first():
    m = mmapio.MappedFile.open(path, "r+")
    view = m.view(128, 8)
    del view
    m.close()

def an_array():
    a = mmapio.open(path)
    b = a[5:]
    del a
    assert b[0] == 5

def by_force():
    a = mmapio.open(path, "c")
    b = a[5:]
    a.close(force=True)
    assert b[0] == 0

def an_exception():
    try:
        with mmapio.MappedFile.open(path) as m:
            view = m.view()
            m.read(10**9)
    except mmapio.OutOfBoundsError as error:
        assert error.__traceback__
    try:
        mmapio.open(path, dtype="f2")
    except mmapio.FormatError:
        pass

def a_circle():
    m = mmapio.MappedFile.open(path)
    circle = [m.view()]
    circle.append(circle)

ways = [drop_the_handle_first, drop_views_first, an_array, by_force, an_exception, a_circle]

def go_round(times):
    for turn in range(times):
        ways[turn % len(ways)]()

go_round(3_000)
before = books()
go_round(rounds)
after = books()
print(before, after)
assert after[:3] == before[:3], (before, after)
assert after[3] - before[3] <= 1 << 20, (before, after)
"""

AT_ONCE = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
paths = [os.path.join(folder, str(number)) for number in range(100)]
for number, each in enumerate(paths):
    np.full(5_000, number, "u2").tofile(each)
before = books()
arrays = [mmapio.open(paths[i % 100], "r+", dtype="u2") for i in range(10_000)]
assert books()[1] == before[1]
assert all(each[4_999] == i % 100 for i, each in enumerate(arrays))
if arrays[0].mapping.guarded:
    os.truncate(paths[7], 0)
    lost = 0
    for each in arrays:
        try:
            with each.guard():
                each.sum()
        except mmapio.MappingLostError:
            lost += 1
    assert lost == 100, lost
del arrays, each
after = books()
assert after[0][1] == before[0][1] == 0, (before, after)  # Python keeps memory of its own
assert after[1:3] == before[1:3], (before, after)
"""

CLOSES = """
sys.setswitchinterval(1e-6)
rounds = rounds // 10
array, closed, reads = mmapio.open(path, "r+"), False, [0] * 4

def use(number):
    while not closed:
        view = array[5 + number :]  # of whatever mapping is the newest
        assert view[:10].sum() in (0, sum(range(5 + number, 15 + number)))
        if number % 2:
            view[0] = view[0]
        reads[number] += 1

threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
for each in threads:
    each.start()
refused = 0
for turn in range(rounds):
    old, array = array, mmapio.open(path, "c")
    try:
        old.close()
    except mmapio.InUseError:
        refused += 1
        old.close(force=True)
    assert old.closed
closed = True
for each in threads:
    each.join()
assert all(reads), reads
print(refused, reads)
"""


def test_nothing_is_left_of_100_000_mappings(
    tmp_path: Path, run_python: Callable[..., str], scale: float
) -> None:
    for _ in range(4):
        run_python(BOOKS + ONE_AFTER_THE_OTHER, str(tmp_path), str(int(25_000 * scale)))


def test_10_000_at_once_with_1_024_descriptors(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    run_python(BOOKS + AT_ONCE, str(tmp_path), "0")


def test_10_000_closes_under_threads_that_read_and_write(
    tmp_path: Path, run_python: Callable[..., str], scale: float
) -> None:
    run_python(BOOKS + CLOSES, str(tmp_path), str(int(100_000 * scale)))

"""Many at once: processes that race for a file, and threads that share a mapping."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio import MappedFile, _os

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")

# Processes ------------------------------------------------------------------------------------

RACE = """
import multiprocessing, os, sys
import mmapio

TURNS = 30
context = multiprocessing.get_context("fork")
results = mmapio.MappedFile.anonymous(8 * TURNS)

def path(turn):
    return f"{sys.argv[1]}/{turn}"

def contents(turn):
    with open(path(turn), "rb") as file:
        return file.read()

def compete(barrier, attempt, number):
    for turn in range(TURNS):
        barrier.wait()
        results.write(8 * turn + number, bytes([attempt(path(turn), number)]))

def race(attempt):
    barrier = context.Barrier(8)
    many = [context.Process(target=compete, args=(barrier, attempt, n)) for n in range(8)]
    for each in many:
        each.start()
    for each in many:
        each.join()
    assert [each.exitcode for each in many] == [0] * 8
    assert len(os.listdir(sys.argv[1])) == TURNS
    return {bytes(sorted(piece)) for piece in results.chunks(8)}
"""

OPEN_OR_CREATE = """
def attempt(path, number):
    while number < 2 and not os.path.exists(path):
        pass  # these two open it as soon as it is there
    m = mmapio.MappedFile.open(path, "a+", 5000)
    m.write(4000 + number, bytes([number + 1]))
    return len(m) == 5000

assert race(attempt) == {bytes([1] * 8)}
marks = bytes(range(1, 9))
assert {contents(turn) for turn in range(TURNS)} == {bytes(4000) + marks + bytes(992)}
"""

CREATE = """
def attempt(path, number):
    try:
        mmapio.MappedFile.open(path, "x+", 5000).write(4999, b"w")
    except FileExistsError:
        return 1 if os.path.getsize(path) == 5000 else 2
    return 0

assert race(attempt) == {bytes([0] + [1] * 7)}
assert {contents(turn) for turn in range(TURNS)} == {bytes(4999) + b"w"}
"""

REPLACE = """
def attempt(path, number):
    m = mmapio.MappedFile.open(path, "w+", 5000 + number)
    m.view()[:] = number
    return m.read() == bytes([number]) * (5000 + number)

assert race(attempt) == {bytes([1] * 8)}
for turn in range(TURNS):
    data = contents(turn)
    assert data == data[:1] * (5000 + data[0])
"""


@forking
@pytest.mark.parametrize("code", [OPEN_OR_CREATE, CREATE, REPLACE])
def test_of_racing_processes_all_see_one_whole_file(
    tmp_path: Path, run_python: Callable[..., str], code: str
) -> None:
    run_python(RACE + code, str(tmp_path))


@forking
def test_another_process_keeps_the_file_that_is_replaced(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    code = """
import os, sys
import mmapio
content = open(sys.argv[1], "rb").read()
ready, answer = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    m = mmapio.MappedFile.open(sys.argv[1], "r+")
    os.write(ready[1], b"x")
    os.read(answer[0], 1)
    try:
        m.flush()
    except mmapio.ReplacedError:  # what it holds is at no path any more
        os._exit(0 if m.read() == content else 1)
os.read(ready[0], 1)
m = mmapio.MappedFile.open(sys.argv[1], "w+", 3)
m.write(0, b"new")
os.write(answer[1], b"x")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), open(sys.argv[1]).read())
"""
    assert run_python(code, str(path)).split() == ["0", "new"]


# Threads --------------------------------------------------------------------------------------

# All of it runs in a process of its own, for which a crash would be the end.
HAMMER = """
import faulthandler, os, random, sys, threading, time, traceback
import mmapio
from mmapio.errors import ClosedError, InUseError, OutOfBoundsError

faulthandler.enable()
sys.setswitchinterval(1e-6)
PAGE = mmapio._os.PAGE_SIZE
folder = sys.argv[1]
failures, done = [], {}
end = time.monotonic() + 1

def hammer(work, *arguments):
    generator = random.Random(repr((work.__name__, arguments)))
    try:
        while time.monotonic() < end and not failures:
            work(generator, *arguments)
            done[work.__name__] = done.get(work.__name__, 0) + 1
    except BaseException:
        failures.append(traceback.format_exc())

def run(*works):
    threads = [threading.Thread(target=hammer, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    assert all(done[work.__name__] > 10 for work, *_ in works), done
"""

ANYTHING = """
names = [f"{folder}/{number}" for number in range(4)]
for name in names:
    mmapio.MappedFile.open(name, "x+", 5 * PAGE).close()
# Threads of one mapping each other's: opened, used, resized and closed by whoever comes.
slots = [mmapio.MappedFile.open(name, "r+") for name in names]

def allowing(*errors):
    def decorate(work):
        def allowed(generator):
            try:
                work(generator, slots[generator.randrange(4)])
            except errors:
                pass
        allowed.__name__ = work.__name__
        return allowed
    return decorate

USUAL = (ClosedError, OutOfBoundsError)

def opens(generator):
    number = generator.randrange(4)
    if slots[number].closed:
        # One mapping a file: another one of the file would not see it shrink.
        with lock[number]:
            if slots[number].closed:
                capacity = generator.choice([None, 50 * PAGE])
                m = mmapio.MappedFile.open(names[number], "a+", 5 * PAGE, capacity=capacity)
                slots[number] = m

@allowing(*USUAL, InUseError)
def closes(generator, m):
    m.close(force=generator.random() < 0.7)

@allowing(*USUAL)
def resizes(generator, m):
    m.resize(generator.randrange(20 * PAGE), force=True)

@allowing(*USUAL)
def writes(generator, m):
    m.write(generator.randrange(10 * PAGE), bytes(generator.randrange(5 * PAGE)))

@allowing(*USUAL)
def reads(generator, m):
    assert len(m.read(generator.randrange(10 * PAGE), 100)) == 100
    m.read_into(0, bytearray(PAGE))
    m.reader().read(10)
    m.segment(0, 10).read()

@allowing(*USUAL)
def keeps_views(generator, m):
    views = [m.view(), *m.pages()]
    for _ in range(20):
        for view in views:
            view[:] = 1
            view.sum()

@allowing(*USUAL)
def flushes(generator, m):
    m.flush(generator.randrange(2 * PAGE), 1, wait=generator.random() < 0.05)
    m.fileno()
    repr(m)

lock = [threading.Lock() for _ in names]
run(*[(work,) for work in (opens, closes, resizes, writes, reads, keeps_views, flushes)] * 2)
for m in slots:
    m.close(force=True)
assert sorted(os.listdir(folder)) == list("0123")
"""

RESIZED = """
m = mmapio.MappedFile.open(f"{folder}/file", "x+", 10 * PAGE)
m.view()[:] = 1
first = m.view(0, PAGE)

def resizes(generator):
    m.resize(generator.randrange(PAGE, 40 * PAGE), force=True)

def writes(generator, number):
    # The first page is always there: whatever else happens, no store to it is lost.
    value = generator.randrange(256)
    m.write(number, bytes([value]))
    assert m.read(number, 1)[0] == first[number] == value

def reads(generator):
    assert len(m.read()) >= PAGE
    assert sum(len(piece) for piece in m.pages()) >= PAGE

run((resizes,), (resizes,), *[(writes, number) for number in range(4)], (reads,))
assert os.path.getsize(f"{folder}/file") == len(m)
"""

CLOSED = """
def closes(generator, number):
    m = mmapio.MappedFile.open(f"{folder}/{number}", "a+", 3 * PAGE)
    views = [m.view() for _ in range(3)]
    starter = threading.Barrier(6)
    def close():
        starter.wait()
        m.close(force=True)
        assert m.closed
    def use(view):
        starter.wait()
        for _ in range(10):
            view[:] = 1
            view.sum()
    threads = [threading.Thread(target=close) for _ in range(4)]
    threads += [threading.Thread(target=use, args=(views[n],)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def held():
    return open("/proc/self/maps").read().count(folder), len(os.listdir("/proc/self/fd"))

before = held() if sys.platform == "linux" else None
run((closes, 0), (closes, 1))
assert before is None or held() == before
"""

CLOSED_TOGETHER = """
def closes_all(number):
    starter.wait()
    try:
        for m in many:
            m.close()
    except BaseException:
        failures.append(traceback.format_exc())

for _ in range(10):
    many = [mmapio.MappedFile.anonymous(1) for _ in range(1000)]
    starter = threading.Barrier(4)
    threads = [threading.Thread(target=closes_all, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
"""

RECLOSED = """
# A close that is refused must not be seen by those who use the mapping meanwhile.
m = mmapio.MappedFile.anonymous(PAGE)
kept = m.view()

def closes(generator):
    try:
        m.close()
    except InUseError:
        return
    raise AssertionError("closed under a view")

def uses(generator):
    assert m.read(5, 1) == bytes(1)
    m.view(5, 1)
    assert len(m) == PAGE
    m.view(0, 8, "f8")

run((closes,), (closes,), (uses,), (uses,))
"""


@pytest.mark.parametrize("code", [ANYTHING, RESIZED, CLOSED, CLOSED_TOGETHER, RECLOSED])
def test_threads_that_share_a_mapping_never_crash(
    tmp_path: Path, run_python: Callable[..., str], code: str
) -> None:
    run_python(HAMMER + code, str(tmp_path))


def test_a_descriptor_is_not_closed_while_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number could be that of another file by then."""
    m = MappedFile.open(tmp_path / "file", "x+", 5000)
    closer = threading.Thread(target=m.close, kwargs={"force": True})

    def slow(fd: int, offset: int, length: int) -> None:
        closer.start()
        closer.join(0.2)
        os.fstat(fd)

    m.fileno()
    monkeypatch.setattr(_os, "start_writeback", slow)
    m.flush(wait=False)
    closer.join()
    assert m.closed


@forking
def test_a_child_that_is_forked_meanwhile_can_go_on(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, sys, threading
import mmapio
m = mmapio.MappedFile.open(sys.argv[1], "x+", 5000)
m.fileno()
child = os.fork()
if child == 0:
    m.write(0, b"child")
    m.resize(6000)
    m.flush()
    m.close()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), m.read(0, 5).decode())
m.close()
"""
    assert run_python(code, str(tmp_path / "file")) == "0 child\n"

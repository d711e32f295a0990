"""A bus error that is not of a mapping of mmapio ends the process as it always did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmapio import guard

pytestmark = pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))

# What happens, in the order of the words given; the last one is to end the process.
PROGRAM = """
import ctypes, faulthandler, gc, mmap, os, signal, sys, threading
import mmapio

folder = sys.argv[1]

def path_of(name):
    path = os.path.join(folder, f"{name}-{os.getpid()}")
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    return path

def map():
    global m
    m = mmapio.MappedFile.open(path_of("ours"))

def lose():
    "Let a mapping of mmapio meet a loss."
    path = path_of("lost")
    m = mmapio.MappedFile.open(path)
    os.truncate(path, 0)
    try:
        m.read()
    except mmapio.MappingLostError:
        print("lost", flush=True)

def cut():
    "Cut off the file that is mapped, at the beginning."
    os.truncate(m.path, 0)

def touch():
    "Meet the loss, without a guard block, which would put the handler back on top."
    m.view(50_000, 1)[0]
    try:
        m.check()
    except mmapio.MappingLostError:
        print("lost", flush=True)

def store():
    "Meet a loss by a store, having put faulthandler on top if it came after ours."
    w = mmapio.MappedFile.open(path_of("stored"), "r+")
    if "dump" in sys.argv and sys.argv.index("dump") > sys.argv.index("map"):
        faulthandler.disable()
        dump()
    os.truncate(w.path, 0)
    w.view(50_000, 1)[0] = 1
    try:
        w.check()
    except mmapio.MappingLostError:
        print("lost", flush=True)

def touch_in_thread():
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()

def refill():
    "Let the file be whole again, and mapped again."
    with open(m.path, "wb") as file:
        file.write(b"x" * 100_000)
    m.recover()

def close():
    m.close()

def ensure():
    with m.guard():
        pass

def fault():
    "Read what a mapping of the standard library has lost."
    path = path_of("foreign")
    with open(path, "r+b") as file:
        foreign = mmap.mmap(file.fileno(), 0)
        os.truncate(path, 0)
        foreign[50_000]

def fault_in_thread():
    thread = threading.Thread(target=fault)
    thread.start()
    thread.join()

def send():
    os.kill(os.getpid(), signal.SIGBUS)

def dump():
    faulthandler.enable()

def handle():
    signal.signal(signal.SIGBUS, lambda *_: print("handled", flush=True))

def ignore():
    signal.signal(signal.SIGBUS, signal.SIG_IGN)

def fork():
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            print("child", -status, flush=True)
        os._exit(100 - status if status < 0 else status)

for word in sys.argv[2:]:
    globals()[word]()
print("alive", flush=True)
"""


def outcome(folder: Path, words: str) -> tuple[int, list[str], str]:
    """Return the status, what was printed and what went to the error output."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: each for key, each in os.environ.items() if key != "PYTHONFAULTHANDLER"},
    )
    return done.returncode, done.stdout.split(), done.stderr


HANDLERS = {
    "absent": "map",
    "before": "dump map",
    "after": "map dump",
    "after and ensured": "map dump ensure",
    "twice": "dump map dump ensure",
}
FAULTS = ("fault", "send", "fault_in_thread", "fork fault", "fork send")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("handlers", HANDLERS.values(), ids=HANDLERS)
def test_it_dies_of_it(tmp_path: Path, handlers: str, fault: str) -> None:
    status, printed, told = outcome(tmp_path, f"{handlers} {fault}")
    fork = "fork" in fault
    assert status == (107 if fork else -7), told
    assert printed == (["child", "7"] if fork else [])
    assert told.count("Fatal Python error: Bus error") == ("dump" in handlers), told


@pytest.mark.parametrize("fork", ["", "fork"])
@pytest.mark.parametrize("handlers", [HANDLERS["absent"], HANDLERS["after and ensured"]])
def test_it_dies_of_it_after_a_loss_of_ours_too(tmp_path: Path, handlers: str, fork: str) -> None:
    status, printed, told = outcome(tmp_path, f"{handlers} lose {fork} lose fault")
    assert status == (107 if fork else -7), told
    assert printed == (["lost", "lost", "child", "7"] if fork else ["lost", "lost"])
    assert told.count("Fatal Python error: Bus error") == ("dump" in handlers), told


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("handlers", HANDLERS.values(), ids=HANDLERS)
def test_a_loss_is_ours_whoever_has_the_signal_first(
    tmp_path: Path, handlers: str, thread: bool
) -> None:
    """Also after faulthandler, which sends the signal anew to the handler before it."""
    meet = "touch_in_thread" if thread else "touch"
    status, printed, told = outcome(tmp_path, f"{handlers} cut {meet} store")
    assert status == 0, told
    assert printed == ["lost", "lost", "alive"]
    dumps = {HANDLERS["after"]: 2, HANDLERS["after and ensured"]: 1}.get(handlers, 0)
    assert told.count("Fatal Python error: Bus error") == dumps, told


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("before", ["cut touch", "cut touch refill", "cut touch refill cut touch"])
@pytest.mark.parametrize("handlers", ["map dump", "dump map dump"])
def test_it_dies_of_it_after_a_loss_that_came_by_another_handler(
    tmp_path: Path, handlers: str, before: str, fault: str
) -> None:
    """The kernel still has the address of the old fault then."""
    status, printed, told = outcome(tmp_path, f"{handlers} {before} {fault}")
    fork = "fork" in fault
    assert status == (107 if fork else -7), told
    assert printed == ["lost"] * before.count("touch") + (["child", "7"] if fork else [])


@pytest.mark.parametrize("order", [("map", "handle"), ("handle", "map")])
def test_a_handler_of_a_signal_that_was_sent_is_called(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    status, printed, told = outcome(tmp_path, f"{' '.join(order)} send lose send lose")
    assert status == 0, told
    assert sorted(printed) == ["alive", "handled", "handled", "lost", "lost"]


def test_a_signal_that_was_ignored_still_is(tmp_path: Path) -> None:
    assert outcome(tmp_path, "ignore map send lose send")[:2] == (0, ["lost", "alive"])


def test_what_was_closed_is_watched_no_longer(tmp_path: Path) -> None:
    status, printed, _ = outcome(tmp_path, "map close fault")
    assert (status, printed) == (-7, [])

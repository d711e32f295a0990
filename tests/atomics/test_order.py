"""Memory order of the atomic operations, and the code that kernels with them compile to."""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from mmapio import atomics
from mmapio.atomics._methods import compiled


@numba.njit
def bump(a, index):
    return atomics.fetch_add(a, index, 1)


@numba.njit
def all_orders(a):
    atomics.store(a, 0, 1, order="relaxed")
    atomics.store(a, 0, 2, order="release")
    atomics.store(a, 0, 3, order="seq_cst")
    atomics.fence("acquire")
    total = atomics.load(a, 0, order="relaxed")
    atomics.fence("release")
    total += atomics.load(a, 0, order="acquire")
    total += atomics.load(a, 0, order="seq_cst")
    atomics.fence("acq_rel")
    total += atomics.fetch_add(a, 0, 1, order="relaxed")
    total += atomics.fetch_add(a, 0, 1, order="acquire")
    total += atomics.fetch_add(a, 0, 1, order="release")
    total += atomics.fetch_add(a, 0, 1, order="acq_rel")
    total += atomics.fetch_add(a, 0, 1, "seq_cst")
    atomics.compare_exchange(a, 0, 8, 9, order="relaxed")
    atomics.compare_exchange(a, 0, 9, 10, order="acquire")
    atomics.compare_exchange(a, 0, 10, 11, order="release")
    atomics.compare_exchange(a, 0, 11, 12, order="acq_rel")
    atomics.compare_exchange(a, 0, 12, 13, order="seq_cst")
    atomics.fence(order="seq_cst")
    return total


def test_every_order_compiles_to_itself():
    a = np.zeros(1, "i4")
    assert all_orders(a) == all_orders.py_func(np.zeros(1, "i4")) == 34
    assert a[0] == 13
    [llvm] = all_orders.inspect_llvm().values()
    found = re.findall(r"(store|load) atomic .*?(monotonic|acquire|release|seq_cst),", llvm)
    assert set(found) >= {("store", "monotonic"), ("store", "release"), ("store", "seq_cst")}
    assert set(found) >= {("load", "monotonic"), ("load", "acquire"), ("load", "seq_cst")}
    pairs = re.findall(r"cmpxchg .*? (\w+) (\w+), align", llvm)
    assert set(pairs) == {
        ("monotonic", "monotonic"),
        ("acquire", "acquire"),
        ("release", "monotonic"),
        ("acq_rel", "acquire"),
        ("seq_cst", "seq_cst"),
    }
    orders = set(re.findall(r"atomicrmw add .*? (\w+), align", llvm))
    assert orders == {"monotonic", "acquire", "release", "acq_rel", "seq_cst"}
    assert set(re.findall(r"fence (\w+)", llvm)) == {"acquire", "release", "acq_rel", "seq_cst"}


MACHINE = {"x86_64": r"\block\b|\bxchg", "AMD64": r"\block\b|\bxchg"}
MACHINE |= dict.fromkeys(
    ("aarch64", "arm64"), r"\b(ld(add|set|clr|eor|s?max|s?min)|swp|cas|ldaxr|ldxr)"
)
CALLS = r"^\s+(callq?|blr?)\s"


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4"])
def test_the_machine_code_has_an_atomic_instruction_and_no_call(dtype):
    if platform.machine() not in MACHINE:
        pytest.skip(f"no pattern for the instructions of {platform.machine()}")
    kernel = numba.njit(bump.py_func)
    kernel(np.zeros(1, dtype), 0)
    [assembly] = kernel.inspect_asm().values()
    body = assembly.partition("-- End function")[0].partition(".Lfunc_end")[0]
    assert re.search(MACHINE[platform.machine()], body)
    assert not re.search(CALLS, body, re.MULTILINE)

    plain = numba.njit(plain_bump)
    plain(np.zeros(1, dtype), 0)
    [assembly] = plain.inspect_asm().values()
    assert not re.search(MACHINE[platform.machine()], assembly.partition(".Lfunc_end")[0])


def plain_bump(a, index):
    a[index] += 1


def test_parallel_kernels():
    @numba.njit(parallel=True)
    def kernel(a, count):
        for i in numba.prange(count):
            atomics.fetch_add(a, i % 2, 1)
            atomics.fetch_max(a, 2, i)
        return atomics.load(a, 0)

    a = np.zeros(3, "i8")
    assert kernel(a, 100_000) == 50_000
    assert a.tolist() == [50_000, 50_000, 99_999]
    [signature] = kernel.signatures
    assert kernel.get_metadata(signature)["parfor_diagnostics"].count_parfors() == 1


CACHED = """
import sys
import numba, numpy as np
sys.path.insert(0, sys.argv[1])
import user
a = np.zeros(2, "u4")
user.kernel(a)
from mmapio import atomics
print(a[0], sum(user.kernel.stats.cache_hits.values()), atomics.AtomicCell(a, 1).fetch_add(7))
"""


def test_kernels_are_cached(tmp_path, run_python):
    (tmp_path / "user.py").write_text(
        "import numba\n"
        "from mmapio import atomics\n"
        "@numba.njit(cache=True)\n"
        "def kernel(a):\n"
        "    atomics.fetch_add(a, 0, 3, order='relaxed')\n"
    )
    folder = str(tmp_path / "cache")
    assert run_python(CACHED, str(tmp_path), NUMBA_CACHE_DIR=folder).split() == ["3", "0", "0"]
    assert run_python(CACHED, str(tmp_path), NUMBA_CACHE_DIR=folder).split() == ["3", "1", "0"]


PLAIN_PYTHON = """
import numba, numpy as np
from mmapio import atomics
@numba.njit
def kernel(a):
    return atomics.fetch_add(a, 0, 3), atomics.fence(), atomics.load(a, 0)
print(kernel(np.zeros(2, "u4")))
"""


def test_kernels_run_as_python_where_the_compiler_is_off(run_python):
    assert run_python(PLAIN_PYTHON, NUMBA_DISABLE_JIT="1") == "(0, None, 3)\n"


@pytest.mark.parametrize(
    ("broken", "error"),
    [("enable_caching", RuntimeError("no locator")), ("compile", OSError(28, "disk full"))],
)
def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, broken, error):
    real, calls = getattr(CPUDispatcher, broken), []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise error
        return real(*arguments)

    monkeypatch.setattr(CPUDispatcher, broken, fail_once)
    assert compiled(lambda: 7)() == 7
    assert calls


# --- order --------------------------------------------------------------------------------------


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls at once and return what they returned."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def messages(flag_first: bool) -> SimpleNamespace:
    """Return a sender and a receiver; the mutant raises the flag before it writes the message."""

    @numba.njit(nogil=True)
    def send(words, message, rounds):
        for i in range(1, rounds + 1):
            if flag_first:
                atomics.store(words, 0, i, order="release")
                for _ in range(10):
                    atomics.load(words, 8, order="relaxed")
            message[0] = i
            message[8] = i
            if not flag_first:
                atomics.store(words, 0, i, order="release")

    @numba.njit(nogil=True)
    def receive(words, message, rounds):
        seen, early = 0, 0
        while seen < rounds:
            seen = atomics.load(words, 0, order="acquire")
            early += (message[8] < seen) | (message[0] < seen)
        return early

    return SimpleNamespace(send=send, receive=receive)


def early_flags(pair: SimpleNamespace, rounds: int) -> int:
    """Return how often the receiver saw a flag without its message."""
    words, message = np.zeros(16, "i8"), np.zeros(16, "i8")
    _, early = in_threads(
        lambda: pair.send(words, message, rounds), lambda: pair.receive(words, message, rounds)
    )
    return early


def test_release_and_acquire_pass_messages_in_order():
    pair = messages(flag_first=False)
    early_flags(pair, 1)
    assert early_flags(pair, 10_000_000) == 0


def test_messages_sent_too_late_are_noticed():
    pair = messages(flag_first=True)
    early_flags(pair, 1)
    assert happens(lambda: early_flags(pair, 1_000_000) > 0)


def happens(event: Callable[[], bool]) -> bool:
    """Return whether an event of chance comes to pass in half a minute of trying."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if event():
            return True
    return False


def dekker(order: str, fenced: bool) -> Callable[..., Any]:
    """Return a thread that raises its own flag and looks at the other's, in step with the other."""

    @numba.njit(nogil=True)
    def enter(flags, step, me, rounds, saw):
        for i in range(rounds):
            atomics.fetch_add(step, 0, 1)
            while atomics.load(step, 0) < 2 * (i + 1):
                pass
            atomics.store(flags, (i, me * 8), 1, order=order)
            if fenced:
                atomics.fence("seq_cst")
            saw[i] = atomics.load(flags, (i, 8 - me * 8), order=order)

    return enter


def both_missed(enter: Callable[..., Any], rounds: int) -> int:
    """Return in how many rounds neither thread saw the other's flag."""
    flags, step = np.zeros((rounds, 16), "i4"), np.zeros(1, "i8")
    saw = np.zeros((2, rounds), "i4")
    in_threads(
        lambda: enter(flags, step, 0, rounds, saw[0]), lambda: enter(flags, step, 1, rounds, saw[1])
    )
    return int((saw.sum(axis=0) == 0).sum())


@pytest.mark.parametrize(("order", "fenced"), [("seq_cst", False), ("relaxed", True)])
def test_sequential_consistency_orders_a_store_before_a_load(order, fenced):
    enter = dekker(order, fenced)
    both_missed(enter, 0)
    assert both_missed(enter, 20_000) == 0


def test_a_relaxed_store_is_seen_after_a_later_load():
    # what the test above would see if seq_cst were weaker: every processor of today reorders these
    enter = dekker("relaxed", False)
    both_missed(enter, 0)
    assert happens(lambda: both_missed(enter, 50_000) > 0)


# --- a stack without a lock ---------------------------------------------------------------------


@numba.njit(nogil=True)
def churn(head, below, mine, rounds):
    """Pop two nodes and push them back, over and over; `head` is a count and a node, 32 bit each.

    The count makes a head that was popped and pushed back differ from itself.
    """
    for _ in range(rounds):
        taken = 0
        for _try in range(2):
            done = False
            while not done:
                old = atomics.load(head, 0, order="acquire")
                node = old & 0xFFFF_FFFF
                if node == 0:
                    break
                new = ((old >> 32) + 1) << 32 | atomics.load(below, node, order="relaxed")
                _, done = atomics.compare_exchange(head, 0, old, new, order="acq_rel")
            if done:
                mine[taken] = node
                taken += 1
        for k in range(taken):
            done = False
            while not done:
                old = atomics.load(head, 0, order="relaxed")
                atomics.store(below, mine[k], old & 0xFFFF_FFFF, order="relaxed")
                new = ((old >> 32) + 1) << 32 | mine[k]
                _, done = atomics.compare_exchange(head, 0, old, new, order="acq_rel")


def test_a_stack_loses_no_node():
    nodes = 5
    head, below = np.array([nodes], "i8"), np.arange(-1, nodes)
    churn(head.copy(), below.copy(), np.zeros(2, "i8"), 1)
    in_threads(*[lambda: churn(head, below, np.zeros(2, "i8"), 50_000) for _ in range(3)])
    found, node = [], int(head[0] & 0xFFFF_FFFF)
    while node and len(found) <= nodes:
        found.append(node)
        node = int(below[node])
    assert sorted(found) == [1, 2, 3, 4, 5]

"""The power goes: what was said to be safe is there, in a simulator fed with real system calls."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from simulator import Safe, Step, Sync, Write, cut, moments, steps_of
from straced import calls
from workload import STEPS, is_allowed, states

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace is for Linux")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    folder = tmp_path_factory.mktemp("traced")
    found = steps_of(calls("durable", str(folder / "log.npy"), str(STEPS)), str(folder))
    assert found[-1] == Safe(STEPS)
    return found


def losses(trace: list[Step], cuts: int, near: int | None = None) -> int:
    """Return how many of so many cuts lost something that was safe, or left half of something."""
    generator = random.Random(near)
    expected, lost = states(), 0
    places = moments(trace)
    if near is not None:  # cuts elsewhere would only take time
        places = places[max(0, near - 5) : near + 15]
    known: dict[tuple[int, bytes | None], bool] = {}
    for _ in range(cuts):
        moment = generator.choice(places)
        key = moment.safe, cut(moment, generator)
        if key not in known:
            known[key] = is_allowed(key[1], key[0], expected)
        lost += not known[key]
    return lost


def test_the_trace_is_all_there_is(trace: list[Step], tmp_path: Path) -> None:
    """Without a cut, what the simulator makes of the trace is what the program has left."""
    last = moments(trace)[-1]
    assert (last.sectors, last.name) == ({}, "durable")
    assert is_allowed(last.durable, STEPS, states())
    assert sum(isinstance(step, Sync) for step in trace) > STEPS


def test_no_cut_loses_what_was_safe(trace: list[Step], scale: float) -> None:
    assert losses(trace, int(100_000 * scale)) == 0


def test_without_any_of_its_syncs_a_cut_loses_something(trace: list[Step]) -> None:
    """Each sync is taken out in turn: the simulator must tell, or it proves nothing."""
    missed = []
    for number, step in enumerate(trace):
        if isinstance(step, Sync) and not is_in_one_sector(trace[number - 1], trace[number + 1]):
            mutant = trace[:number] + trace[number + 1 :]
            if losses(mutant, 400, near=number) == 0:
                missed.append((number, trace[number - 2 : number + 3]))
    assert missed == []


def is_in_one_sector(rows: Step, header: Step) -> bool:
    """Return whether rows lie in the sector of the header that tells of them.

    A sector is written whole or not at all, so that the header is never there without these rows.
    """
    if not (isinstance(rows, Write) and isinstance(header, Write) and header.offset == 0):
        return False
    return rows.offset > 0 and rows.offset + len(rows.data) <= 512


def test_in_any_other_order_a_cut_loses_something(trace: list[Step]) -> None:
    """A header goes out before the sync of the rows that it tells of."""
    missed, tried = [], 0
    for number in range(1, len(trace) - 1):
        before, header = trace[number], trace[number + 1]
        is_header = isinstance(header, Write) and header.offset == 0
        rows_in_front = isinstance(trace[number - 1], Write) and trace[number - 1].offset > 0
        if isinstance(before, Sync) and is_header and rows_in_front:
            tried += 1
            mutant = [*trace[: number - 1], header, *trace[number - 1 : number + 1]]
            mutant += trace[number + 2 :]
            if losses(mutant, 400, near=number) == 0:
                missed.append(number)
    assert tried > STEPS // 2
    assert missed == []

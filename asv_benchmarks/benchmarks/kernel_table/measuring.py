"""Wall and CPU time of ours and of peers, taken in turns in one process."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmapio import kernels

from .arrays import FEW_ITEMS, Arrays
from .cases import Case
from .works import Peer

__all__ = ["OURS", "Figures", "Measurement", "Sample", "Stage", "measure", "sampled"]

OURS = "mmapio"
SAMPLE_S = 2e-3  # a sample: many calls of what is short
PAUSE_S = 3e-4  # lets the threads of a peer fall asleep, so that nobody else is charged for them
FEWEST_SAMPLES = 5
# A peer that takes so many times as long as the best, by wall and by CPU, is not timed again.
HOPELESS = 1.6
MOST_TRIES = 12
# By floats in another order: relative to the greatest result.
TOLERANCE = {"f4": 1e-3, "f8": 1e-9}


class Sample(NamedTuple):
    """Times of a call: by the clock, and of the process, in all its threads."""

    wall_s: float
    cpu_s: float


class Figures(NamedTuple):
    """Medians of samples, and the means of the lowest fifth, which a busy machine spoils less."""

    wall_s: float
    cpu_s: float
    low_wall_s: float
    low_cpu_s: float


class Measurement(NamedTuple):
    """Figures of a case; `before` has those of another mmapio, measured in turns with these."""

    case: Case
    ours: Figures | None
    peers: dict[str, Figures]
    left_out: dict[str, str]
    before: Figures | None = None

    def best(self, of: str) -> str | None:
        """Return the peer with the least of a figure; None if there is no peer."""
        return min(self.peers, key=lambda name: getattr(self.peers[name], of), default=None)

    def ratio(self, of: str, ours: Figures | None = None) -> float | None:
        """Return the best peer's figure by ours: above 1, mmapio is faster."""
        ours, best = ours or self.ours, self.best(of)
        if ours is None or best is None:
            return None
        return float(getattr(self.peers[best], of) / getattr(ours, of))


class Stage:
    """Arrays of the case that is measured: kept from one case to the next that has the same."""

    def __init__(self) -> None:
        self.arrays: Arrays | None = None
        self.left_out: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, case: Case) -> Arrays:
        wanted = case.layout, case.dtype, case.items
        now = self.arrays
        if now is None or (now.layout, now.dtype.str[1:], now.items) != wanted:
            self.arrays = now = None  # before the next ones are made
            self.arrays = Arrays(*wanted)
            return self.arrays
        now.forget()
        return now

    def ours(self, case: Case) -> tuple[Callable[[], object] | None, str]:
        """Return our side alone, or why there is none."""
        if reason := disagreeing(case, {}).get(OURS):
            return None, reason
        arrays = self.of(case)
        return lambda: case.does.ours(kernels, arrays), ""

    def disagreeing(self, case: Case) -> dict[str, str]:
        """Return whom to leave out; that is the same for each size."""
        key = case.work, case.layout, case.dtype
        if key not in self.left_out:
            self.left_out[key] = disagreeing(case, case.does.peers)
        return self.left_out[key]

    def sides(self, case: Case) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
        """Return what to time, ours first, and why some of the peers are left out."""
        left_out = self.disagreeing(case)
        arrays = self.of(case)
        if OURS in left_out:
            return {}, left_out
        sides: dict[str, Callable[[], object]] = {OURS: lambda: case.does.ours(kernels, arrays)}
        for name, peer in case.does.peers.items():
            if name not in left_out:
                sides[name] = functools.partial(peer, arrays)
        return sides, left_out


def disagreeing(case: Case, peers: Mapping[str, Peer]) -> dict[str, str]:
    """Do the work once, of few items, and return who cannot do it, or finds something else."""
    arrays = Arrays(case.layout, case.dtype, FEW_ITEMS)
    left_out: dict[str, str] = {}
    try:
        ours = _outcome(lambda: case.does.ours(kernels, arrays), case, arrays)
    except AttributeError as error:  # this mmapio has no such kernel yet
        return {OURS: str(error)}
    for name, peer in peers.items():
        try:
            theirs = _outcome(functools.partial(peer, arrays), case, arrays)
        except NotImplementedError as error:
            left_out[name] = str(error)
        except Exception as error:  # whatever a peer says to a dtype or layout
            left_out[name] = f"raises {type(error).__name__}: {error}".splitlines()[0]
        else:
            if not _agree(ours, theirs, case.dtype):
                left_out[name] = f"finds something else: {_short(theirs)}, not {_short(ours)}"
    return left_out


def measure(case: Case, stage: Stage, seconds: float, other: Any = None) -> Measurement:
    """Measure a case for about so many seconds; `other` takes turns with another mmapio."""
    sides, left_out = stage.sides(case)
    if not sides:
        return Measurement(case, None, {}, left_out)
    contenders = _contenders(sides)
    calls = {name: inner_calls(work) for name, work in contenders.items()}
    if other is not None:
        other.prepare(case)
    found: dict[str, list[Sample]] = {name: [] for name in contenders}
    before: list[Sample] = []
    begin = time.perf_counter()
    while len(found[OURS]) < FEWEST_SAMPLES or time.perf_counter() - begin < seconds:
        for name, work in contenders.items():
            found[name].append(sampled(work, calls[name]))
            if name == OURS and other is not None:
                before += other.turn(calls[name])
    figures = {name: figures_of(samples) for name, samples in found.items()}
    ours = figures.pop(OURS)
    return Measurement(case, ours, figures, left_out, figures_of(before) if before else None)


def sampled(work: Callable[[], object], calls: int) -> Sample:
    """Take a sample, of so many calls in a row."""
    time.sleep(PAUSE_S)
    if calls > 1:
        work()  # what ran in between has taken the caches
    turns = range(calls)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in turns:
        work()
    return Sample((time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls)


def inner_calls(work: Callable[[], object]) -> int:
    """Return how many calls in a row make a sample."""
    return max(1, int(SAMPLE_S / max(min(sampled(work, 1).wall_s for _ in range(3)), 1e-7)))


def figures_of(samples: list[Sample]) -> Figures:
    wall, cpu = zip(*samples, strict=True)
    return Figures(statistics.median(wall), statistics.median(cpu), _low(wall), _low(cpu))


def _low(times: tuple[float, ...]) -> float:
    return statistics.mean(sorted(times)[: max(1, len(times) // 5)])


def _contenders(sides: dict[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """Leave out peers that cannot be the best, by some calls of each."""
    tried = {name: _tried(work) for name, work in sides.items()}
    peers = [tried[name] for name in tried if name != OURS]
    wall = min((peer.wall_s for peer in peers), default=0) * HOPELESS
    cpu = min((peer.cpu_s for peer in peers), default=0) * HOPELESS
    return {
        name: work
        for name, work in sides.items()
        if name == OURS or tried[name].wall_s <= wall or tried[name].cpu_s <= cpu
    }


def _tried(work: Callable[[], object]) -> Sample:
    """Return the least times of some calls, after one that makes columns, threads and room."""
    work()
    samples = [sampled(work, 1)]
    while len(samples) < MOST_TRIES and sum(sample.wall_s for sample in samples) < SAMPLE_S:
        samples.append(sampled(work, 1))
    return Sample(*map(min, zip(*samples, strict=True)))


def _outcome(work: Callable[[], Any], case: Case, arrays: Arrays) -> list[Any]:
    """Return what work finds, as arrays that stay as they are."""
    if case.does.changes:
        getattr(arrays, case.does.changes)[...] = 0
    found = work()
    if hasattr(found, "row"):  # a frame has a row of results
        found = np.array(found.row(0))
    return [np.array(part) for part in (found if isinstance(found, tuple) else (found,))]


def _agree(ours: list[Any], theirs: list[Any], dtype: str) -> bool:
    return len(ours) == len(theirs) and all(
        one.shape == other.shape and _close(one, other, TOLERANCE.get(dtype, TOLERANCE["f8"]))
        for one, other in zip(ours, theirs, strict=True)
    )


def _close(one: Any, other: Any, tolerance: float) -> bool:
    if one.dtype.kind in "iub" and other.dtype.kind in "iub":
        return bool(np.array_equal(one, other))
    one, other = one.astype("f8"), other.astype("f8")
    return bool(np.allclose(one, other, tolerance, tolerance * np.abs(one).max(initial=0)))


def _short(found: list[Any]) -> str:
    return ", ".join(str(part) if part.size == 1 else f"{part.shape} items" for part in found)

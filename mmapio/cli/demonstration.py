"""The demonstration: mmapio at work on text that every machine has, beside `numpy.memmap`."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..arrays.mapped_array import MappedArray
from ..arrays.opening import create
from ..arrays.opening import open as open_array
from ..errors import UnsupportedError
from ..files.whole_files import save
from ..mapping.mapped_file import MappedFile
from . import file_scan

__all__ = ["Step", "count_into", "library_sources", "line_lengths", "run"]

_MOST_BYTES: Final = 100_000_000
_LEFT_OUT: Final = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}
_CHUNK_BYTES: Final = 1 << 20
_PROCESSES: Final = 4
_REPEATS: Final = 5
_NEWLINE: Final = ord("\n")


@dataclass(frozen=True)
class Step:
    """A step of the demonstration, and its outcome.

    Attributes
    ----------
    did : str
        What, in a few words.
    found : str
        What came of it.
    seconds, peer_seconds : float or None
        How long it took, and how long with `numpy.memmap`: medians of a few runs in turns.
    ok : bool
        Whether the result is the one that was expected.
    """

    did: str
    found: str
    seconds: float | None = None
    peer_seconds: float | None = None
    ok: bool = True


def run(folder: Path) -> Iterator[Step]:
    """Run the demonstration, a step at a time.

    Parameters
    ----------
    folder : pathlib.Path
        Where the files go; some 100 MB at most.

    Yields
    ------
    Step
        What was done, as soon as it is.

    Raises
    ------
    UnsupportedError
        If this Python comes without the source text of its standard library.
    FileError
        If the folder cannot be written.

    Examples
    --------
    >>> import pathlib
    >>> from mmapio.cli import demonstration
    >>> all(step.ok for step in demonstration.run(pathlib.Path()))  # doctest: +SKIP
    True
    """
    text, lengths = folder / "library.txt", folder / "line lengths.npy"
    yield _join(text)
    yield _scan_text(text)
    yield _save_lengths(text, lengths)
    yield _open_lengths(lengths)
    yield _scan_lengths(lengths)
    yield _count_in_processes(text, folder / "counts.npy")


def library_sources() -> list[bytes]:
    """Return the source files of the standard library, as many as are sensible.

    Returns
    -------
    list of bytes
        The contents of the files, without tests and installed packages.

    Raises
    ------
    UnsupportedError
        If there are none.

    Examples
    --------
    >>> from mmapio.cli import demonstration
    >>> len(demonstration.library_sources()) > 100
    True
    """
    top = Path(sysconfig.get_path("stdlib"))
    sources: list[bytes] = []
    total = 0
    for path in sorted(top.rglob("*.py")):
        if _LEFT_OUT.isdisjoint(path.relative_to(top).parts) and total < _MOST_BYTES:
            sources.append(path.read_bytes())
            total += len(sources[-1])
    if not total:
        raise UnsupportedError(f"this Python has no source text of its standard library in {top}")
    return sources


def line_lengths(mapping: MappedFile) -> npt.NDArray[np.int64]:
    r"""Return the length of every line that ends, without its line feed.

    Parameters
    ----------
    mapping : MappedFile
        The text.

    Returns
    -------
    numpy.ndarray
        int64, one item per line feed.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.cli import demonstration
    >>> m = mmapio.MappedFile.anonymous(9)
    >>> _ = m.write(0, b"one\n\nfour")
    >>> demonstration.line_lengths(m)
    array([3, 0])
    """
    ends = [
        np.flatnonzero(chunk == _NEWLINE) + number * _CHUNK_BYTES
        for number, chunk in enumerate(mapping.chunks(_CHUNK_BYTES))
    ]
    return np.diff(np.concatenate([[-1], *ends])) - 1


def count_into(row: MappedArray, text: MappedArray) -> None:
    """Count bytes into a row of a shared table, as each of the processes does.

    It is numpy that counts, to check the kernels, which a process would take longer to import.

    Parameters
    ----------
    row : MappedArray
        int64, shape (256,).
    text : MappedArray
        uint8, one dimension.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.cli import demonstration
    >>> row = mmapio.anonymous(256, "i8")
    >>> demonstration.count_into(row, mmapio.anonymous(10, "u1"))
    >>> row[0]
    np.int64(10)
    """
    for chunk in text.chunks(_CHUNK_BYTES):
        row += np.bincount(chunk, minlength=256)


def _join(path: Path) -> Step:
    sources = library_sources()
    total = sum(map(len, sources))

    def ours() -> None:
        with MappedFile.open(path, "w+", size=total) as mapping:
            at = 0
            for source in sources:
                at += mapping.write(at, source)

    def peer() -> None:
        joined = np.memmap(path.with_suffix(".peer"), np.uint8, "w+", shape=(total,))
        at = 0
        for source in sources:
            joined[at : at + len(source)] = np.frombuffer(source, np.uint8)
            at += len(source)

    times = _medians(ours, peer)
    same = path.read_bytes() == path.with_suffix(".peer").read_bytes()
    return Step(
        "join the standard library's source text into one mapped file",
        f"{len(sources):,} files, {total:,} bytes",
        *times,
        ok=same,
    )


def _scan_text(path: Path) -> Step:
    found = file_scan.scan_file(path)
    assert isinstance(found, file_scan.BytesScan)
    times = _medians(
        lambda: file_scan.scan_file(path),
        lambda: np.bincount(np.memmap(path, np.uint8, "r"), minlength=256),
    )
    expected = np.bincount(np.memmap(path, np.uint8, "r"), minlength=256)
    return Step(
        "scan it: count every byte",
        f"{found.lines:,} lines, {found.entropy:.2f} bits of entropy per byte",
        *times,
        ok=bool((found.counts == expected).all()),
    )


def _save_lengths(text: Path, path: Path) -> Step:
    begin = time.perf_counter()
    with MappedFile.open(text) as mapping:
        lengths = line_lengths(mapping)
    save(path, lengths)
    seconds = time.perf_counter() - begin
    same = bool((np.load(path) == lengths).all())
    return Step("save the lengths of its lines", f"{lengths.size:,} integers", seconds, ok=same)


def _open_lengths(path: Path) -> Step:
    times = _medians(
        lambda: open_array(path)[-1],
        lambda: np.load(path, mmap_mode="r")[-1],
        repeats=100,
    )
    last = open_array(path)[-1]
    return Step(
        "open that array, look at its last item",
        f"the last line is {last} bytes long",
        *times,
        ok=bool(last == np.load(path)[-1]),
    )


def _scan_lengths(path: Path) -> Step:
    found = file_scan.scan_file(path)
    assert isinstance(found, file_scan.ArrayScan)
    facts = found.fields[0].statistics
    assert facts is not None

    def peer() -> None:
        array = np.load(path, mmap_mode="r")
        np.min(array), np.max(array), np.mean(array), np.std(array), np.histogram(array, bins=16)

    times = _medians(lambda: file_scan.scan_file(path), peer)
    array = np.load(path, mmap_mode="r")
    return Step(
        "scan it: extremes, mean, deviation, histogram",
        f"{facts.min} to {facts.max}, mean {facts.mean:.2f}",
        *times,
        ok=(facts.min, facts.max, facts.sum) == (np.min(array), np.max(array), np.sum(array)),
    )


def _count_in_processes(path: Path, shared: Path) -> Step:
    """Count again in four processes, each into its own row of one mapped array."""
    from .. import kernels

    text = open_array(path, dtype=np.uint8)
    table = create(shared, (_PROCESSES, 256), np.int64)
    cuts = [len(text) * part // _PROCESSES for part in range(_PROCESSES + 1)]
    jobs = [(table[part], text[cuts[part] : cuts[part + 1]]) for part in range(_PROCESSES)]
    begin = time.perf_counter()
    finished = _in_processes(jobs)
    seconds = time.perf_counter() - begin
    same = bool((table.sum(axis=0) == kernels.byte_counts(text)).all())
    size = max(len(pickle.dumps(job)) for job in jobs)
    return Step(
        f"count its bytes from {_PROCESSES} processes into one mapped array",
        f"each was sent {size} bytes, and started its own Python",
        seconds,
        ok=finished and same,
    )


def _in_processes(jobs: Sequence[tuple[npt.NDArray[Any], ...]]) -> bool:
    """Run `count_into` for every job in a process of its own; return whether all ended well."""
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=count_into, args=job, daemon=True) for job in jobs]
    try:
        with _interrupts_held_back():
            for child in children:
                child.start()
        for child in children:
            child.join()
    finally:
        for child in children:
            if child.is_alive():
                child.kill()
    return all(child.exitcode == 0 for child in children)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back until all children are started, and keep it from them.

    A half-started child would complain, and it is for the parent to end them.
    """
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        with _interrupts_blocked():  # which children inherit
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # as starting it later would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _medians(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int = _REPEATS
) -> tuple[float, float]:
    """Time two ways of doing the same, in turns; seconds."""
    times = [(_seconds(ours), _seconds(peer)) for _ in range(repeats)]
    return median(own for own, _ in times), median(other for _, other in times)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin

"""Contents of files, summarized in one pass: statistics of arrays, counts of bytes."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import format as numpy_format

from .._validation import Progress
from ..arrays.opening import open as open_array
from ..files.inspection import is_npy
from ..mapping.mapped_file import MappedFile

if TYPE_CHECKING:
    from ..kernels import Description

__all__ = ["BYTE_CLASSES", "ArrayScan", "BytesScan", "FieldScan", "plain", "scan_file"]


_BLOCK_BYTES: Final = 256 << 20  # enough for every thread, and little enough to see a bar move
_WINDOW_BYTES: Final = 64 << 20  # of a file that is released behind the scan: all in memory at once
_NEWLINE: Final = ord("\n")
_FINITE: Final = ("min", "max", "sum", "mean", "var", "std")
_WHITESPACE: Final = frozenset(b"\t\n\v\f\r ")


def _class_of(byte: int) -> str:
    character = chr(byte)
    if byte == 0:
        return "zero"
    if byte in _WHITESPACE:
        return "whitespace"
    if byte < 32 or byte == 127:
        return "control"
    if byte > 127:
        return "high"
    if character.isdigit():
        return "digits"
    return "letters" if character.isalpha() else "punctuation"


BYTE_CLASSES: Final = {
    name: np.array([_class_of(byte) == name for byte in range(256)])
    for name in ("zero", "control", "whitespace", "digits", "letters", "punctuation", "high")
}


@dataclass(frozen=True, eq=False)
class FieldScan:
    """Contents of one field of an array; an array without fields is one without a name.

    Attributes
    ----------
    name : str
        Names of nested fields with dots between; of a complex number, ``real`` and ``imag``.
    dtype : numpy.dtype
        Type of the items.
    shape : tuple of int
        Shape of the array, then that of the field.
    statistics : Description or None
        None if the items are not numbers that can be described.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    statistics: Description | None

    @property
    def count(self) -> int:
        """Number of items."""
        return prod(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the contents as a dict that JSON can hold.

        Returns
        -------
        dict
            See `plain` for the numbers that are none.
        """
        facts = {
            "name": self.name,
            "dtype": numpy_format.dtype_to_descr(self.dtype),
            "shape": list(self.shape),
            "count": self.count,
            "itemsize": self.dtype.itemsize,
        }
        if self.statistics is None:
            return facts
        found = _plain_figures(self.statistics)
        histogram = {key: found.pop(key) for key in ("counts", "edges")}
        if self.statistics.infs:
            finite = _plain_figures(self.statistics.finite)
            found["finite"] = {key: finite[key] for key in _FINITE}
        return facts | found | {"histogram": histogram}


@dataclass(frozen=True, eq=False)
class _Timed:
    """Size of a file, and the time to read it."""

    path: str
    nbytes: int
    seconds: float

    @property
    def gib_per_second(self) -> float:
        """Throughput; 0 where nothing was read."""
        return self.nbytes / self.seconds / (1 << 30) if self.nbytes else 0.0

    def _facts(self, kind: str) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": kind,
            "bytes": self.nbytes,
            "seconds": self.seconds,
            "gib_per_second": self.gib_per_second,
        }


@dataclass(frozen=True, eq=False)
class ArrayScan(_Timed):
    """Contents of an array file.

    Attributes
    ----------
    path : str
        The file.
    nbytes : int
        Size of the array.
    seconds : float
        How long the scan took, without the compilation of kernels.
    dtype : numpy.dtype
        Type of the items.
    shape : tuple of int
        Shape of the array.
    order : {"C", "F"}
        Whether the last or the first index varies fastest.
    fields : tuple of FieldScan
        What each field holds.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    fields: tuple[FieldScan, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the contents as a dict that JSON can hold.

        Returns
        -------
        dict
            The attributes; the fields as a list.
        """
        return self._facts("array") | {
            "dtype": numpy_format.dtype_to_descr(self.dtype),
            "shape": list(self.shape),
            "order": self.order,
            "fields": [field.to_json() for field in self.fields],
        }


@dataclass(frozen=True, eq=False)
class BytesScan(_Timed):
    """Contents of a file that is not an array.

    Attributes
    ----------
    path : str
        The file.
    nbytes : int
        Its size.
    seconds : float
        How long the scan took, without the compilation of kernels.
    counts : numpy.ndarray
        int64, shape (256,): how often each byte occurs.
    lines : int
        How many lines there are; the last may lack its line feed.
    """

    counts: npt.NDArray[np.int64]
    lines: int

    @property
    def classes(self) -> dict[str, int]:
        """Number of bytes in each of `BYTE_CLASSES`."""
        return {name: int(self.counts[where].sum()) for name, where in BYTE_CLASSES.items()}

    @property
    def entropy(self) -> float:
        """Shannon's entropy of single bytes, in bits per byte: 0 to 8."""
        shares = self.counts[self.counts > 0] / max(1, self.nbytes)
        return float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0

    def to_json(self) -> dict[str, Any]:
        """Return the contents as a dict that JSON can hold.

        Returns
        -------
        dict
            The attributes, the classes and the entropy.
        """
        return self._facts("bytes") | {
            "lines": self.lines,
            "entropy": self.entropy,
            "classes": self.classes,
            "counts": plain(self.counts),
        }


def scan_file(
    path: str | os.PathLike[str],
    *,
    dtype: npt.DTypeLike | None = None,
    shape: int | tuple[int, ...] | None = None,
    offset: int | None = None,
    order: Literal["C", "F"] = "C",
    bins: int = 12,
    threads: int | None = None,
    progress: Progress | None = None,
    drop_behind: bool = False,
) -> ArrayScan | BytesScan:
    """Read a whole file once, and summarize its contents.

    Parameters
    ----------
    path : str or os.PathLike
        The file: an array if it begins as a `.npy` file does or `dtype` is given, else bytes.
    dtype, shape, offset, order : optional
        As in `mmapio.open`.
    bins : int, default 12
        The most bins that histograms may have.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : callable, optional
        Called with the bytes read so far, and those there are.
    drop_behind : bool, default False
        Read ahead, and release behind the scan what was not in memory before.

    Returns
    -------
    ArrayScan or BytesScan
        What was found.

    Raises
    ------
    MmapioError
        As `mmapio.open` does.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.cli.file_scan import scan_file
    >>> mmapio.create("zeros.npy", (2, 3), "f4").close()
    >>> scan_file("zeros.npy").fields[0].statistics.zeros
    6
    """
    advance = progress or (lambda done, total: None)
    if dtype is None and not is_npy(path):
        return _scan_bytes(path, threads, advance, drop_behind)
    array = open_array(path, dtype=dtype, shape=shape, offset=offset, order=order)
    return _scan_array(path, array.ndarray, bins, threads, advance, drop_behind)


def plain(value: Any) -> Any:
    """Return a number or an array in a form that JSON can hold.

    Parameters
    ----------
    value : int, float, numpy.generic or numpy.ndarray
        The number or numbers.

    Returns
    -------
    int, float, str, list or None
        None for NaN and NaT, a text for dates and periods, ``"Infinity"`` or ``"-Infinity"`` for
        infinities: JSON has no such numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.cli.file_scan import plain
    >>> plain(np.array([1.5, np.nan, -np.inf]))
    [1.5, None, '-Infinity']
    """
    if isinstance(value, np.ndarray):
        return [plain(item) for item in (value if value.dtype.kind in "mM" else value.tolist())]
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def _plain_figures(found: Description) -> dict[str, Any]:
    """Return the figures of a description in a form that JSON can hold."""
    return {key: plain(value) for key, value in vars(found).items() if not key.startswith("_")}


def _scan_bytes(
    path: str | os.PathLike[str], threads: int | None, progress: Progress, drop_behind: bool
) -> BytesScan:
    from .. import kernels

    data = MappedFile.open(path).view()
    progress(0, data.nbytes)
    kernels.byte_counts(np.zeros(1, np.uint8))  # compiled before the clock starts
    begin = time.perf_counter()
    counts = np.zeros(256, np.int64)
    for block in _blocks(data, progress, drop_behind):
        counts += kernels.byte_counts(block, threads=threads)
    seconds = time.perf_counter() - begin
    lines = int(counts[_NEWLINE]) + bool(len(data) and data[-1] != _NEWLINE)
    return BytesScan(os.fspath(path), len(data), seconds, counts, lines)


def _scan_array(
    path: str | os.PathLike[str],
    array: npt.NDArray[Any],
    bins: int,
    threads: int | None,
    progress: Progress,
    drop_behind: bool,
) -> ArrayScan:
    from .. import kernels

    columns = list(_fields(array))
    progress(0, array.nbytes)
    for _, values in columns:
        if _is_describable(values.dtype):
            kernels.describe(np.zeros(1, values.dtype))  # compiled before the clock starts
    begin = time.perf_counter()
    blocks = _blocks(array.ravel(order="K"), progress, drop_behind)
    found = _describe(blocks, len(columns), bins, threads)
    seconds = time.perf_counter() - begin
    fields = tuple(
        FieldScan(name, values.dtype, values.shape, statistics)
        for (name, values), statistics in zip(columns, found, strict=True)
    )
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return ArrayScan(
        os.fspath(path), array.nbytes, seconds, array.dtype, array.shape, order, fields
    )


def _describe(
    blocks: Iterable[npt.NDArray[Any]], columns: int, bins: int, threads: int | None
) -> list[Description | None]:
    """Describe each field of a flat array in blocks; None for those that are no numbers."""
    from .. import kernels
    from ..kernels.statistics.merging import merge

    parts: list[list[Description]] = [[] for _ in range(columns)]
    for block in blocks:
        for part, (_, values) in zip(parts, _fields(block), strict=True):
            if _is_describable(values.dtype):
                part.append(kernels.describe(values, bins=bins, threads=threads))
    return [merge(part, bins) if part else None for part in parts]


def _blocks(
    items: npt.NDArray[Any], progress: Progress, drop_behind: bool
) -> Iterator[npt.NDArray[Any]]:
    """Cut a flat array so that its fields are read one after another while they are in memory."""
    from ..kernels.engine.read_ahead import Window

    step = max(1, (_WINDOW_BYTES if drop_behind else _BLOCK_BYTES) // items.itemsize)
    window = Window(items) if drop_behind else None
    for at in range(0, max(1, len(items)), step):
        block = items[at : at + step]
        with window.passing(at, at + len(block)) if window else contextlib.nullcontext():
            yield block
        progress((at + len(block)) * items.itemsize, items.nbytes)


def _fields(array: npt.NDArray[Any], name: str = "") -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield name and values of every field that has none itself."""
    prefix = f"{name}." if name else ""
    if array.dtype.names is not None:
        for key in array.dtype.names:
            yield from _fields(array[key], prefix + key)
    elif array.dtype.kind == "c":
        yield prefix + "real", array.real
        yield prefix + "imag", array.imag
    else:
        yield name, array


def _is_describable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufmM" and dtype.itemsize <= 8

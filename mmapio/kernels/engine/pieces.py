"""Any array as a row of native, contiguous, one-dimensional pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from operator import mul
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmapio._validation import refuse_masks
from mmapio._values import as_array
from mmapio.errors import ArgumentTypeError
from mmapio.kernels.engine.pairs import are_pairs, copy_firsts
from mmapio.kernels.engine.read_ahead import Window, require_following
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.engine.threads import run_workers
from mmapio.pagecache.memory_hints import memory_of

__all__ = [
    "Cut",
    "Pieces",
    "cut",
    "is_read_apart",
    "map_pieces",
    "most_items",
    "numbers",
    "pieces_of",
    "plain",
    "share_pieces",
    "visit_pieces",
]

R = TypeVar("R")
W = TypeVar("W")

_DIRECT_BYTES = 4 << 20
_COPIED_ITEMS = 1 << 16
_COPIED_PAIRS_BYTES = 1 << 18  # the buffer stays in the cache, beside what is read


class Cut(Protocol):
    """Parts of an array in the order of its memory, each of which one thread reads."""

    nbytes: int

    def __len__(self) -> int: ...

    def memory(self) -> NDArray[np.uint8]:
        """Return the memory of all parts, where they must follow each other."""
        ...

    def stretch(self, number: int) -> tuple[int, int]:
        """Return which bytes of the memory are a part, and what lies between it and the next."""
        ...


class Pieces:
    """Pieces of an array, by default in the order of its memory: most answers need no other.

    What lies in one native stretch is cut into views. Anything else is copied piece by piece
    into a buffer that stays in the cache, where the same kernels read it.

    Parameters
    ----------
    array : numpy.ndarray
        Of any shape, strides, alignment and byte order.
    dtype : dtype, optional
        What the pieces are converted to, if it is not the array's own.
    ordered : bool
        Cut in the order of indices, the last fastest, as ``array.flat`` goes.
    unit : int
        Every piece but the last has a multiple of so many items, if these lie in one stretch or
        `unit` is a multiple of the items behind the first index.
    extra : int
        How many of the items that follow a piece are taken with it, as far as there are so many.
    apart : bool
        The kernels take a row of native items that lie apart, so that these are not copied.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.pieces import Pieces
    >>> pieces = Pieces(np.arange(6, dtype=">i4").reshape(2, 3).T)
    >>> len(pieces), pieces.take(0, pieces.buffer())
    (1, array([0, 1, 2, 3, 4, 5], dtype=int32))
    """

    def __init__(
        self,
        array: NDArray[Any],
        *,
        dtype: Any = None,
        ordered: bool = False,
        unit: int = 1,
        extra: int = 0,
        apart: bool = False,
    ) -> None:
        self._extra = extra
        self.nbytes = array.nbytes
        kind = array.dtype if dtype is None else np.dtype(dtype)
        self.dtype = kind if kind.isnative else kind.newbyteorder("=")
        if not array.flags.c_contiguous:  # else its memory is walked upwards as it is
            array = array if ordered else _by_memory(array)
        elif not array.ndim:
            array = array.reshape(1)
        flags = array.flags
        self.direct = bool(flags.c_contiguous and flags.aligned and array.dtype == self.dtype)
        if self.direct and array.ndim > 1:
            array = array.reshape(-1)
        self._array = array
        self._in_place = self.direct or (
            apart and not extra and array.dtype == self.dtype and is_read_apart(array)
        )
        self._are_pairs = not self._in_place and are_pairs(array, self.dtype)
        items = most_items(array) if self._in_place else self._copied_items()
        self.items = max(1, items // unit) * unit
        self._axis, self._rows = (0, self.items) if self.direct else cut(array.shape, self.items)
        self._per_axis = -(-int(array.shape[self._axis]) // self._rows)
        outer = math.prod(array.shape[: self._axis])
        self._count: int = int(outer) * self._per_axis if array.size else 0

    def __len__(self) -> int:
        return self._count

    def _copied_items(self) -> int:
        """Return how many items are copied at once."""
        items = _COPIED_PAIRS_BYTES // self.dtype.itemsize if self._are_pairs else _COPIED_ITEMS
        return min(items, _DIRECT_BYTES // self._array.itemsize)

    def start(self, number: int) -> int:
        """Return how many items lie before a piece."""
        outer, part = divmod(number, self._per_axis)
        length, *rest = map(int, self._array.shape[self._axis :])
        return (outer * length + part * self._rows) * math.prod(rest)

    def memory(self) -> NDArray[np.uint8]:
        """Return the memory of all pieces, where they must follow each other."""
        require_following(self._array, self._axis)
        return memory_of(self._array)

    def stretch(self, number: int) -> tuple[int, int]:
        """Return which bytes of the memory are a piece, and what lies between it and the next."""
        stop = self._offset(number + 1) if number + 1 < len(self) else self.memory().size
        return self._offset(number), stop

    def _offset(self, number: int) -> int:
        """Return how many bytes of the memory lie before a piece, if they follow each other."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._array.shape[: self._axis]) if self._axis else ()
        return int(sum(map(mul, [*where, part * self._rows], self._array.strides)))

    def buffer(self) -> NDArray[Any]:
        """Return what `take` copies into; each thread needs its own."""
        return np.empty(0 if self._in_place else self.items, self.dtype)

    def take(self, number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Return a piece, read-only: kernels are compiled for that one kind of array."""
        if self._in_place:
            start = number * self.items
            piece = self._array[start : start + self.items + self._extra]
        elif self._extra:
            piece = np.concatenate([*self._with_followers(number, buffer)])
            piece = piece[: self.start(number + 1) - self.start(number) + self._extra]
        else:
            piece = self._copy(number, buffer)
        piece.setflags(write=False)  # it is a view of its own, or a copy
        return piece

    def _copy(self, number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Copy a piece into the beginning of the buffer."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._array.shape[: self._axis]) if self._axis else ()
        piece = self._array[where][part * self._rows : (part + 1) * self._rows]
        flat = buffer[: piece.size]
        if self._are_pairs:
            copy_firsts(piece, flat)
        else:
            np.copyto(flat.reshape(piece.shape), piece)
        return flat

    def _with_followers(self, number: int, buffer: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield copies of a piece and of as many as hold what shall follow it."""
        stop = self.start(number + 1) + self._extra
        while number < len(self) and self.start(number) < stop:
            yield self._copy(number, buffer).copy()
            number += 1


def plain(a: Any, name: str = "a") -> NDArray[Any]:
    """Return `a` as an ndarray; refuse one with a mask, which would be lost with that."""
    refuse_masks(a)
    return as_array(a, name)


def numbers(function: str, a: Any) -> NDArray[Any]:
    """Return `a` as an array of numbers that kernels can read, or refuse its type."""
    array = plain(a)
    # 2: of another package, whose float8 numpy calls a float as well.
    if array.dtype.kind not in "biuf" or array.itemsize > 8 or array.dtype.isbuiltin == 2:
        hint = "; numpy.frombuffer(a, 'u1') are its bytes" if isinstance(a, bytes) else ""
        raise ArgumentTypeError(
            f"{function} needs bool, integers or floats of at most 64 bits, got {array.dtype}{hint}"
        )
    return array


def is_read_apart(array: NDArray[Any]) -> bool:
    """Return True for a row of aligned items that kernels read where they lie apart."""
    return bool(array.ndim == 1 and array.flags.aligned)


def most_items(array: NDArray[Any]) -> int:
    """Return how many items of an array a piece has that is not copied.

    Of a row of items that lie apart, so many as there are in a stretch of memory that a piece may
    be, but no fewer than are copied at once.
    """
    items = max(1, _DIRECT_BYTES // array.itemsize)
    if array.flags.c_contiguous:
        return items
    step = max(abs(array.strides[0]), array.itemsize)
    return max(min(items, _COPIED_ITEMS), _DIRECT_BYTES // step)


def pieces_of(
    array: NDArray[Any], *, ordered: bool = False, unit: int = 1, apart: bool = False
) -> Pieces:
    """Cut an array of numbers into pieces of types that there are kernels for."""
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    dtype = np.float32 if array.dtype.kind == "f" and array.itemsize == 2 else None
    return Pieces(array, dtype=dtype, ordered=ordered, unit=unit, apart=apart)


def _by_memory(array: NDArray[Any]) -> NDArray[Any]:
    """Turn axes and directions so that memory is walked upwards, in long stretches."""
    forward = tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    turned = array[forward].transpose(order)
    return turned if turned.ndim else turned.reshape(1)


def cut(shape: tuple[int, ...], items: int) -> tuple[int, int]:
    """Return the axis to cut along and the rows of it that fit into a piece."""
    inner = 1
    for axis in range(len(shape) - 1, 0, -1):
        if inner * shape[axis] > items:
            return axis, max(1, items // inner)
        inner *= shape[axis]
    return 0, max(1, items // max(1, inner))


def share_pieces(
    make: Callable[[], W],
    work: Callable[[W, int], object],
    pieces: Cut,
    how: Scan,
    kind: object = None,
) -> list[W]:
    """Call ``work(worker, number)`` for every piece, each thread with a worker of its own.

    Returns all workers; see `run_workers`. Of what `kind` the work is decides, beside the type of
    the pieces, whether it was faster with more threads before; by default that is `work` itself.
    """
    if _are_few(pieces, how):
        worker = make()
        for number in range(len(pieces)):
            work(worker, number)
        return [worker]
    kind = kind or work
    kind = getattr(pieces, "dtype", None), getattr(kind, "__code__", kind)
    if how.drop_behind:
        work = _within(Window(pieces.memory()), work, pieces)
    return run_workers(
        len(pieces),
        make,
        work,
        threads=how.threads,
        progress=how.progress,
        nbytes=pieces.nbytes,
        kind=kind,
    )


def _are_few(pieces: Cut, how: Scan) -> bool:
    """Return True if pieces have no more bytes than one has: a job takes too long to make."""
    is_small = len(pieces) == 1 or pieces.nbytes <= _DIRECT_BYTES
    return is_small and not how.progress and not how.drop_behind


def _within(
    window: Window, work: Callable[[W, int], object], pieces: Cut
) -> Callable[[W, int], object]:
    """Return work that tells a window which memory it is done with."""

    def passing(worker: W, number: int) -> None:
        with window.passing(*pieces.stretch(number)):
            work(worker, number)

    return passing


def visit_pieces(
    visit: Callable[[int, NDArray[Any]], object],
    pieces: Pieces,
    how: Scan,
    kind: object = None,
) -> None:
    """Call `visit` with the number of each piece, and with the piece."""
    share_pieces(
        pieces.buffer,
        lambda buffer, number: visit(number, pieces.take(number, buffer)),
        pieces,
        how,
        kind or visit,
    )


def map_pieces(
    kernel: Callable[[NDArray[Any]], R], pieces: Pieces, how: Scan, kind: object = None
) -> list[R]:
    """Return the results of a kernel in the order of the pieces, whichever thread got which."""
    if len(pieces) == 1 and _are_few(pieces, how):
        return [kernel(pieces.take(0, pieces.buffer()))]
    results: list[R | None] = [None] * len(pieces)

    def visit(number: int, piece: NDArray[Any]) -> None:
        results[number] = kernel(piece)

    visit_pieces(visit, pieces, how, kind or kernel)
    return cast("list[R]", results)

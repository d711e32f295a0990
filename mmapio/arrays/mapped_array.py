"""`MappedArray`: an ndarray whose memory is a mapped file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .._validation import Progress, as_flag, as_positive
from ..errors import ArgumentError, ClosedError, UnsupportedError, clear_errors
from ..mapping.closing import WhenInUse, close_source
from ..mapping.losses import LossCheck
from ..mapping.mapped_file import MappedFile, handle_of, is_shared_by_path
from ..mapping.options import as_advice
from ..mapping.region import Region, is_all_bytes, other_references, region_at, region_of
from ..mapping.span import Hold, Span
from .numpy_writers import WRITERS, check_dump, write_arrays, write_by_numpy

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

    from ..pagecache.residency import Residency

__all__ = ["MappedArray", "array_over", "giving_plain_copies"]

A = TypeVar("A", bound="MappedArray")

_GIVE_PLAIN: Final[set[type]] = set()


def giving_plain_copies(cls: type[A]) -> type[A]:
    """Let what copies an array of a class give plain arrays.

    A class that a user derives is not one of those: numpy gives such a one its own type back.
    """
    _GIVE_PLAIN.add(cls)
    return cls


@giving_plain_copies
class MappedArray(np.ndarray[Any, np.dtype[Any]]):
    """An ndarray whose memory is a mapped file; made by `open`, `create`, `anonymous`, `memmap`.

    A slice is one too, and knows its own range of the file. Arithmetic, reductions and copies give
    plain ndarrays. It holds no Python state of its own, so slicing costs what it costs in numpy;
    what it tells of its file is found from the address of its memory.

    Picking items by a list or a mask copies them, as in numpy, and so do `ravel` and `reshape`
    where they must; such a copy keeps the type, but is not mapped: its `mapping` is None and
    `flush` raises.

    A class derived from it is treated as numpy treats any that is derived from `numpy.ndarray`:
    copies and results have that class as well, and are not mapped. It is pickled by reference too,
    as that class, unless it defines ``__reduce__``; attributes do not travel, as in numpy.

    `numpy.save`, ``savez`` and ``savetxt``, and the method `tofile`, put a new file in place of the
    one that the array is mapped from, if they are given its path; an open file that would be
    written over while it is read is refused.

    A ``with`` block closes the mapping at its end: `flush` and the like raise `ClosedError` from
    then on. The memory stays as it is until the array and all that was made from it are gone;
    `close` takes it away at once.

    Examples
    --------
    >>> import mmapio
    >>> a = mmapio.create("squares.npy", 5, "i8")
    >>> a[:] = [0, 1, 4, 9, 16]
    >>> a[2:4].flush()
    >>> a + 1
    array([ 1,  2,  5, 10, 17])
    """

    __slots__ = ()

    # As numpy.memmap has it: beside a plain array, the result is a plain array.
    __array_priority__ = -100.0

    @property
    def mapping(self) -> MappedFile | None:
        """The `MappedFile` the memory belongs to; None for a copy, which has no file."""
        region = self._region
        return None if region is None else handle_of(region.source)

    @property
    def ndarray(self) -> npt.NDArray[Any]:
        """The same memory as a plain `numpy.ndarray`."""
        root = self._root()
        if root is None:
            return self.view(np.ndarray)
        # Made from the root, not from self, so that `close` can see that it is alive.
        at = _address(self) - _address(root)
        plain = np.ndarray(self.shape, self.dtype, root, at, self.strides)
        if not self.flags.writeable:
            plain.flags.writeable = False
        return plain

    @property
    def filename(self) -> str | None:
        """Absolute path of the file; None where there is none."""
        region = self._region
        return None if region is None else region.source.path

    @property
    def offset(self) -> int | None:
        """Byte of the file at which the first item lies; None for a copy, which has no file."""
        region = self._region
        return None if region is None else region.source.offset + self._mapped_offset()

    @property
    def mode(self) -> str | None:
        """The mode the file was opened in; None for a copy, which has no file."""
        region = self._region
        return None if region is None else region.source.mode.value

    @property
    def closed(self) -> bool:
        """True if the mapping was closed."""
        region = self._region
        return region is not None and region.source.closed

    def flush(self, wait: bool = True) -> None:
        """Write the array to disk; of a slice, the slice's own bytes.

        Parameters
        ----------
        wait : bool, default True
            Return when the bytes are durable; False only starts the writing.

        Raises
        ------
        FileError
            If the drive reports an error.
        ClosedError
            If the mapping was closed.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("flushed.npy", (100, 100), "f4")
        >>> a[10:20] = 1
        >>> a[10:20].flush()
        """
        self._span().flush(wait)

    def advise(self, advice: str, *, force: bool = False) -> None:
        """Advise the system on the use of the array's memory; no advice costs data.

        Parameters
        ----------
        advice : str
            As for `MappedFile.advise`: ``"random"``, ``"sequential"``, ``"willneed"`` and others.
        force : bool, default False
            Populate even what does not fit into the memory that is available.

        Raises
        ------
        ArgumentError, MappingLostError, FileError, ReadOnlyError, ClosedError
            As for `MappedFile.advise`.
        UnsupportedError
            If this system does not take the advice, or the array is a copy, which has no file.
        InsufficientMemoryError
            As for `MappedFile.advise`.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("advised.npy", (1000, 100), "f4")
        >>> a[100:200].advise("willneed")
        """
        kind = as_advice(advice)
        self._span().advise(kind, force)

    def prefetch(self) -> None:
        """Start to read the array into memory, and return at once.

        Raises
        ------
        ReplacedError, ClosedError
            As for `MappedFile.prefetch`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("prefetched.npy", (1000, 100), "f4")
        >>> a[500:].prefetch()
        """
        self._span().prefetch()

    def release(self, evict: bool = False) -> None:
        """Take the array out of this process's memory; it is there again when it is used.

        Parameters
        ----------
        evict : bool, default False
            Take it out of the system's page cache as well, having made durable what is dirty.

        Raises
        ------
        FlushError, FileError, ClosedError
            As for `MappedFile.release`.
        UnsupportedError
            As for `MappedFile.release`; or if the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("released.npy", (1000, 100), "f4")
        >>> a[:500] = 1
        >>> a[:500].release(evict=True)
        >>> a[499, 0]
        np.float32(1.0)
        """
        self._span().release(evict)

    def lock(self, *, force: bool = False, progress: Progress | None = None) -> None:
        """Read the array in, and keep it in memory until `unlock`, or the end of the mapping.

        Parameters
        ----------
        force, progress
            As for `MappedFile.lock`.

        Raises
        ------
        FileError, InsufficientMemoryError, MappingLostError, ClosedError
            As for `MappedFile.lock`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.anonymous(1000, "u1")
        >>> a[:100].lock()
        >>> a.unlock()
        """
        self._span().lock(force, progress)

    def unlock(self) -> None:
        """Let the system take the array's pages out of memory again, should it have to.

        Raises
        ------
        ClosedError
            If the mapping was closed.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.anonymous(1000, "u1").unlock()
        """
        self._span().unlock()

    def touch_pages(
        self, *, write: bool = False, threads: int | None = None, force: bool = False
    ) -> int:
        """Map every page that the array spans, reading in what is missing.

        Parameters
        ----------
        write, threads, force
            As for `kernels.touch_pages`.

        Returns
        -------
        int
            How many pages the array lies on.

        Raises
        ------
        ReadOnlyError
            If `write` is asked of a read-only array.
        InsufficientMemoryError
            If what is missing does not fit into memory, and `force` is False.
        ClosedError
            If the mapping was closed.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.anonymous((100, 100), "u1")
        >>> a[:10].touch_pages()
        1
        """
        from ..kernels import touch_pages

        self._span().check_open()
        return touch_pages(self.ndarray, write=write, threads=threads, force=force)

    def residency(self, *, buckets: int | None = 128) -> Residency:
        """Report how much of the array is in memory; of a slice, the slice's own bytes.

        Parameters
        ----------
        buckets
            As for `MappedFile.residency`.

        Returns
        -------
        Residency
            Figures in bytes of the pages that the array lies on, and a map.

        Raises
        ------
        AccessError, ReplacedError, ClosedError
            As for `MappedFile.residency`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("half.npy", (1000, 1000), "f8")
        >>> a[:500] = 1
        >>> a[:500].residency().fraction
        1.0
        """
        return self._span().residency(buckets)

    def check(self) -> None:
        """Raise if bytes of the array have been lost since the file was opened.

        Raises
        ------
        MappingLostError, ReplacedError, ClosedError
            As for `MappedFile.check`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import os, mmapio
        >>> a = mmapio.create("table.bin", 100_000, "u1", raw=True)
        >>> os.truncate("table.bin", 50_000)
        >>> a[:50_000].check()
        >>> a.check()
        Traceback (most recent call last):
        mmapio.errors.MappingLostError: [Errno ...] bytes 50000 to 100000 of the file were lost \
under the mapping, and read zeros: another program has cut the file off: '...table.bin'
        """
        self._span().check()

    def guard(self) -> LossCheck:
        """Return a context manager that checks the array at its end, for code that uses it.

        Returns
        -------
        LossCheck
            For a ``with`` block; see `MappedFile.guard`.

        Raises
        ------
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("summed.npy", (100, 100), "f4")
        >>> with a.guard():
        ...     total = a.sum()
        """
        source = self._mapped_region().source
        Hold(source).check_open()
        return LossCheck(source, self.check)

    def recover(self) -> int:
        """Remap lost pages from the file, as far as it reaches now.

        Returns
        -------
        int
            Bytes of memory that show the file again; see `MappedFile.recover`.

        Raises
        ------
        ReplacedError, ClosedError
            As for `MappedFile.recover`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.create("whole.npy", 100).recover()
        0
        """
        return Hold(self._mapped_region().source).recover()

    def chunks(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        """Iterate over the array, some rows at a time; the last piece may be short.

        Parameters
        ----------
        rows : int
            How many items of the first dimension a piece has.

        Returns
        -------
        iterator of numpy.ndarray
            Plain arrays over the same memory.

        Raises
        ------
        ArgumentError
            If `rows` is not 1 or more, or the array has no dimension.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.anonymous((10, 3), "i4")
        >>> [piece.shape for piece in a.chunks(4)]
        [(4, 3), (4, 3), (2, 3)]
        """
        step = as_positive(rows, "rows")
        if self.ndim == 0:
            raise ArgumentError("an array without dimensions has no rows")
        plain = self.ndarray
        return (plain[at : at + step] for at in range(0, len(plain), step))

    def close(self, force: bool = False) -> None:
        """Close the mapping; the array itself reads zeros from then on.

        Parameters
        ----------
        force : bool, default False
            Close even while other arrays over the mapping are alive; they read zeros too.

        Raises
        ------
        InUseError
            If slices or other arrays over the mapping are alive, and `force` is False. What was
            made by `numpy.asarray` or `memoryview` of this very array cannot be told from another
            name for it, and does not count; it reads zeros as well.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.anonymous(3, "i4")
        >>> part = a[1:]
        >>> a.close()
        Traceback (most recent call last):
        mmapio.errors.InUseError: cannot close the mapping of <anonymous>: arrays over it are \
alive; drop them, or close(force=True), after which they read zeros
        """
        insists = force is not False and as_flag(force, "force")
        self._close(WhenInUse.ZERO if insists else WhenInUse.REFUSE)

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError("the array's mapping is closed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Not strict as `close` is: a loop variable may well hold the last chunk; nor does it take
        # the memory from what numpy.asarray made of the array, which nobody can see.
        close_source(self._mapped_region().source, WhenInUse.KEEP)

    def _close(self, when_in_use: WhenInUse) -> None:
        region = self._region_if_alone()
        if region is None:
            clear_errors()  # what only they hold, nobody uses
            region = self._region_if_alone()
        if region is None:
            close_source(self._mapped_region().source, when_in_use)
        else:
            close_source(region.source, when_in_use, 1)

    def _region_if_alone(self) -> Region | None:
        """Return the region if this is the only array over the file.

        Each has the one root for its base (see `array_over`), which then is all that refers to the
        bytes.
        """
        root = self._root()
        if root is None or other_references(root) != 1:
            return None
        return region_of(root.base)  # type: ignore[arg-type]

    def _root(self) -> MappedArray | None:
        """Return the array over all the bytes that this one is made from, but no other way."""
        root = self.base
        return root if type(root) is type(self) and is_all_bytes(root.base) else None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        if array is self:
            return array
        if type(self) not in _GIVE_PLAIN:
            return super().__array_wrap__(array, context)
        if return_scalar:
            return array[()]
        # Of the methods of ndarray only some that make views ask for this, squeeze for one.
        return array.view(np.ndarray if array.flags.owndata else type(self))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        # numpy hands the types on unread, apart from asking whether they are its own.
        try:
            special = _SPECIAL.get(getattr(func, "__name__", ""))
            if special is None or not str(func.__module__).startswith("numpy"):
                result = super().__array_function__(func, types, args, kwargs)
            else:
                call = functools.partial(super().__array_function__, func, types)
                result = special(call, func.__name__, args, kwargs)
        except BaseException:
            call = None
            del self, args, kwargs  # an error that is kept keeps no array in use by this frame
            raise
        if type(result) in (tuple, list):
            return type(result)(map(_plain_if_copy, result))
        return _plain_if_copy(result)

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(self)
        mapping = self.mapping if kind.__reduce__ is np.ndarray.__reduce__ else None
        if mapping is None or not is_shared_by_path(mapping):
            if kind in _GIVE_PLAIN:
                return self.view(np.ndarray).__reduce_ex__(protocol)
            return super().__reduce_ex__(protocol)
        at = self._mapped_offset()
        writeable = self.flags.writeable
        facts = (mapping, at, self.shape, self.dtype, self.strides, writeable)
        return _rebuild, facts if kind is MappedArray else (*facts, kind)

    def dump(self, file: Any) -> None:
        """Pickle the array to a file, as `numpy.ndarray.dump`; the pickle refers to its own file.

        Parameters
        ----------
        file : str, os.PathLike or file object
            Where the pickle goes: to any file but the one that the array is mapped from.

        Raises
        ------
        ArgumentError
            If it is that one.
        """
        check_dump(self, file)
        super().dump(file)

    @property
    def _region(self) -> Region | None:
        return region_at(self)

    def _mapped_region(self) -> Region:
        region = self._region
        if region is None:
            raise UnsupportedError("this array is a copy in memory: it has no file")
        return region

    def _mapped_offset(self) -> int:
        """Return where in the mapping the first item lies, in bytes."""
        return _address(self) - self._mapped_region().address

    def _span(self) -> Span:
        """Return the bytes from the array's lowest to its highest, gaps of strides included."""
        region = self._mapped_region()
        if self.size == 0:
            return Span(region.source, 0, 0, region)
        low, high = byte_bounds(self)
        return Span(region.source, low - region.address, high - low, region)


def array_over(
    region: Region,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
    order: Literal["C", "F"] = "C",
    kind: type[A] = MappedArray,  # type: ignore[assignment]
) -> A:
    """Return the array that lies at a byte of a region, where there is room for it.

    numpy gives a view of a view the first array of the same type for its base. So one array over
    all the bytes, which no user ever sees, becomes the base of the array and of all its slices;
    and how many of them are alive is the number of references to it.
    """
    root = region.bytes().view(kind)
    if strides is None:
        if dtype.subdtype is not None:  # its dimensions come last, as in numpy
            shape, dtype = shape + dtype.shape, dtype.base
        if order == "C":
            return _new_array(kind, shape, dtype, root, offset)
    return _new_array(kind, shape, dtype, root, offset, strides, order)


_new_array: Final = np.ndarray.__new__


def _rebuild(
    mapping: MappedFile,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    strides: tuple[int, ...],
    writeable: bool,
    kind: type[A] = MappedArray,  # type: ignore[assignment]
) -> A:
    """Return the array that was pickled by reference."""
    array = array_over(mapping._region, dtype, shape, offset, strides, kind=kind)
    if not writeable:
        array.flags.writeable = False
    return array


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _plain_if_copy(result: Any) -> Any:
    if type(result) in _GIVE_PLAIN and result._region is None:
        return result.view(np.ndarray)
    return result


def _on_plain(
    call: Callable[[Any, Any], Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a function, which numpy has a short cut in for its own classes, with a plain array."""
    gives_views = name == "structured_to_unstructured"
    first = "arr" if gives_views else "a"
    array = args[0] if args else kwargs[first]
    if type(array) not in _GIVE_PLAIN:
        return call(args, kwargs)
    # What keeps the memory must be seen by `close`; what is over with the call may cost less.
    plain = array.ndarray if gives_views else array.view(np.ndarray)
    result = call((plain, *args[1:]), kwargs) if args else call((), {**kwargs, first: plain})
    is_view = gives_views and type(result) is np.ndarray and region_at(result) is not None
    return result.view(type(array)) if is_view else result


# Functions of numpy that are not to have the array as it is, by name: importing those of
# numpy.lib.recfunctions would take long.
_SPECIAL: Final[dict[str, Callable[[Any, str, Any, Any], Any]]] = {
    **dict.fromkeys(("nanmin", "nanmax", "structured_to_unstructured"), _on_plain),
    **dict.fromkeys(WRITERS, write_by_numpy),
}


def _giving_plain(name: str) -> Callable[..., Any]:
    """Return an ndarray method that copies, so that the copy of our own classes is plain."""
    method = getattr(np.ndarray, name)

    @functools.wraps(method)
    def on_plain(self: MappedArray, *args: Any, **kwargs: Any) -> Any:
        try:
            plain = self.view(np.ndarray) if type(self) in _GIVE_PLAIN else self
            return method(plain, *args, **kwargs)
        except BaseException:
            plain = None  # an error that is kept keeps no array in use by this frame
            del self, args, kwargs
            raise

    return on_plain


@functools.wraps(np.ndarray.tofile)
def _tofile(self: MappedArray, *args: Any, **kwargs: Any) -> None:
    write: Any = functools.partial(np.ndarray.tofile, self)
    try:
        if args or "file" in kwargs:
            target = args[0] if args else kwargs.pop("file")
            write_arrays([self], target, lambda file: write(file, *args[1:], **kwargs))
        else:
            write(**kwargs)  # which says what is missing
    except BaseException:
        del self, args, kwargs, write  # an error that is kept keeps no array in use by this frame
        raise


MappedArray.tofile = _tofile  # type: ignore[method-assign, assignment]

for _name in (
    "__copy__",
    "__deepcopy__",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "astype",
    "byteswap",
    "choose",
    "compress",
    "copy",
    "dot",
    "flatten",
    "repeat",
    "round",
    "take",
):
    setattr(MappedArray, _name, _giving_plain(_name))

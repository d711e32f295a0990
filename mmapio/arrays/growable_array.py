"""`GrowableArray`: a `.npy` file that grows along its first axis, while others read it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy import ndarray

from .. import _os
from .._polling import poll
from .._validation import as_count, as_dtype, as_flag, full_shape
from .._values import as_items
from ..errors import (
    ArgumentError,
    ClosedError,
    FileError,
    InUseError,
    OutOfBoundsError,
    ReadOnlyError,
    UnsupportedError,
)
from ..files.descriptors import as_path
from ..guard import losses_at
from ..guard.lost_memory import raise_if_source_lost
from ..mapping.flushing import sync_errors
from ..mapping.losses import LossCheck
from ..mapping.mapped_file import MappedFile
from ..mapping.options import MapOptions, Touch
from ..modes import Mode
from .mapped_array import MappedArray
from .numpy_writers import WRITERS
from .room_to_grow import CAPACITY, map_file_with_room, map_path_with_room
from .row_file import RowFile
from .row_layout import check_layout, new_row_type
from .row_reader import RowReader

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["GrowableArray"]

_PIECE_BYTES: Final = 8 << 20


class GrowableArray:
    """A `.npy` file that grows along its first axis, in place; made by `open`.

    One process at a time appends rows. Any number of others read them, and see all rows of a commit
    or none. The file is a valid `.npy` file at every commit. Arrays over it
    (`array`, ``g[...]``) are views, of the file's own memory, and stay valid while it grows.

    A ``with`` block commits and closes at its end. After an error it closes without a commit, and
    the next writer drops the rows that were not committed. On a closed array, `shape`, `dtype`,
    `committed` and `len` keep their values; everything else raises `ClosedError`.

    Parameters
    ----------
    mapping : MappedFile
        The mapped file; use `open` instead.
    file : RowFile or RowReader, optional
        The same file, locked, to write to; or what follows its writer.

    Examples
    --------
    >>> import mmapio
    >>> g = mmapio.GrowableArray.open("log.npy", "a+", dtype="f8", row_shape=(3,))
    >>> g.append([1, 2, 3])
    >>> g.extend([[4, 5, 6], [7, 8, 9]])
    >>> g.commit()
    >>> reader = mmapio.GrowableArray.open("log.npy")
    >>> reader[-1], len(reader)
    (array([7., 8., 9.]), 3)
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_count",
        "_cuts",
        "_durable",
        "_fast",
        "_file",
        "_is_changing",
        "_layout",
        "_mapping",
        "_may_be_left",
        "_most",
        "_plan",
        "_plan_of_many",
        "_side",
    )

    def __init__(self, mapping: MappedFile, file: RowFile | RowReader | None = None) -> None:
        self._side = side = RowReader(mapping) if file is None else file
        self._mapping = mapping if isinstance(side, RowFile) else side.mapping
        self._file = file if isinstance(file, RowFile) else None
        self._array: npt.NDArray[Any] | None = None
        self._durable = -1  # how many rows are known to be durable
        self._layout = self._side.layout
        dtype, shape, _, _ = self._layout
        self._plan, self._plan_of_many = (
            _os.RowPlan.of(dtype, shape, losses_at(), many).pack() for many in (False, True)
        )
        self._count = self._side.committed
        self._may_be_left = False  # by a write that failed: bytes behind the rows are ours
        self._most = self._count  # with what is being appended, as far as it is in the file
        self._cuts = 0  # how often rows were dropped
        self._is_changing = False  # whether a call is changing the rows in more than one step
        self._fast = self._file  # None meanwhile, so that none is appended the short way

    @classmethod
    def open(
        cls,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        mode: str = "r",
        *,
        dtype: npt.DTypeLike | None = None,
        row_shape: int | tuple[int, ...] | None = None,
        capacity: int | str = CAPACITY,
        recover: Literal["rows"] | None = None,
        guard: bool = True,
        touch: Touch = "never",
        advise: str | None = None,
        hugepages: bool = False,
        lock: bool = False,
    ) -> Self:
        """Open a `.npy` file to append to it, or to read what another appends.

        Parameters
        ----------
        path : str, bytes or os.PathLike
            The file; one that `numpy.save` wrote, in C order, will do.
        mode : {"r", "r+", "w+", "x+", "a+"}, default "r"
            As in `MappedFile.open`: ``r`` to read, ``a+`` to append to a file that may be new, or
            empty.
        dtype : dtype_like, optional
            Type of the items; of a file that is there, what it must be. New files need one.
        row_shape : int or tuple of int, optional
            Shape of a row; of a file that is there, what it must be. Rows of a new file are single
            items if it is left out.
        capacity : int or str, default "64 GiB"
            Address space to reserve, which costs no memory. The file may grow past it: arrays made
            before then keep their place, and new ones lie in another. Where address space is
            limited (``ulimit -v``), the default is a small share of what is left.
        recover : {"rows"}, optional
            Keep the rows that were appended but never committed, as far as they are whole. They
            survive the death of the process that wrote them; after a power loss they may read
            zeros. If left out, they are dropped. Other bytes after the rows, such as those of a
            second array, are treated as rows as well; if left out, a writer refuses such a file.
        guard, touch, advise, hugepages, lock : optional
            As in `MappedFile.open`.

        Returns
        -------
        GrowableArray
            The array.

        Raises
        ------
        LockedError
            If the file has a writer already, here or in another process; `pid` is its process.
        FormatError
            If the file is not a `.npy` file that can grow, has another dtype or row shape, or has
            bytes after its rows that no growable array wrote.
        MissingFileError, ExistingFileError, DirectoryError, AccessError, FileError
            If the file cannot be opened, created or mapped.
        ArgumentError
            If an argument has a value that cannot be used.
        UnsupportedError
            On Windows, where a mapped file cannot grow.

        Notes
        -----
        The writer holds a lock (flock(2)) that the system takes away when the process dies. A
        header with no room for a larger number, as numpy wrote before 1.23, makes the writer put a
        copy of the file in its place, once.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.GrowableArray.open("points.npy", "a+", dtype="<f4", row_shape=2) as g:
        ...     g.append((0.5, 1.5))
        >>> np.load("points.npy")
        array([[0.5, 1.5]], dtype=float32)
        """
        if not _os.CAN_MAP_PAST_END:
            raise UnsupportedError("this platform cannot grow a file while it is mapped")
        kind, name = Mode.parse(mode), as_path(path)
        if kind is Mode.COPY:
            raise ArgumentError("mode 'c' writes nothing; a growable array is read in mode 'r'")
        if recover not in (None, "rows"):
            raise ArgumentError(f"recover must be 'rows' or None, got {recover!r}")
        wanted = None if dtype is None else as_dtype(dtype)
        shape = None if row_shape is None else full_shape(row_shape, 1)
        options = MapOptions(
            kind.settled,
            capacity=capacity,
            guard=guard,
            touch=touch,
            advise=advise,
            hugepages=hugepages,
            lock=lock,
        )
        if kind is Mode.READ:
            mapped = map_path_with_room(name, options)
            try:
                return cls(mapped, RowReader(mapped, wanted, shape))
            except BaseException:
                mapped.close(force=True)
                raise

        use = functools.partial(cls._of_file, wanted, shape, recover == "rows", options)
        return RowFile.open(name, kind, new_row_type(kind, wanted, shape), use)

    @classmethod
    def _of_file(
        cls,
        dtype: np.dtype[Any] | None,
        row_shape: tuple[int, ...] | None,
        keep_rows: bool,
        options: MapOptions,
        file: RowFile,
        fd: int,
    ) -> Self:
        """Return the array of a file that is open to be written; what is wrong is refused."""
        check_layout(file.layout, dtype, row_shape, file.path)
        count = file.rows_to_keep(keep_rows)
        mapped: list[MappedFile] = []

        def use(fd: int, end: int) -> None:
            mapped.append(map_file_with_room(file.path, options, fd))
            mapped[0]._follow(end)

        try:
            file.prepare(count, fd, use)
            found = cls(mapped[0], file)
            found._count = found._most = count
            return found
        except BaseException:
            for mapping in mapped:
                mapping.close(force=True)
            raise

    @property
    def array(self) -> npt.NDArray[Any]:
        """All rows as an array over the file's memory; it stays as long when more are appended.

        A writer sees what it has appended, and can change it; readers see what is committed.
        """
        found = self._array
        if found is None:
            with self._side.lock:
                while found is None or len(found) != self._count:  # one may be appended meanwhile
                    count, layout = self._count, self._layout
                    self._mapping._follow(layout.end(count))
                    shape, data = (count, *layout.shape), self._mapping._hold().bytes()
                    self._array = found = np.ndarray(shape, layout.dtype, data, layout.data_offset)
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the items."""
        return self._layout.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self._layout.shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `array`."""
        return (self._count, *self._layout.shape)

    @property
    def committed(self) -> int:
        """Number of rows that are committed, which is what others see."""
        return self._side.committed

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return str(self._mapping.path)

    @property
    def mapping(self) -> MappedFile:
        """The mapping of the file, to watch it or to advise on its pages; `truncate` resizes it."""
        return self._mapping

    @property
    def closed(self) -> bool:
        """True if it was closed."""
        return self._mapping.closed

    def append(self, row: npt.ArrayLike) -> None:
        """Append one row.

        Parameters
        ----------
        row : array_like
            Of the shape `row_shape`, and of values that `dtype` holds: numbers, texts or records in
            whatever holds them.

        Raises
        ------
        FileError
            If the row cannot be written, on a full disk for one; nothing is appended then.
        MappingLostError
            If another program has cut the file off; nothing is appended then.
        ArgumentError, ArgumentTypeError
            If it has another shape, a mask, or a value that does not fit: an integer out of range,
            a float for an integer, a text that would be cut. Floats are rounded.
        MappingLostError
            If it lies in a file that has lost it meanwhile; nothing is appended then.
        FormatError
            If another program has written behind the rows; its bytes are left alone.
        ReadOnlyError
            If the array is open for reading.
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("numbers.npy", "w+", dtype="i4")
        >>> for number in range(3):
        ...     g.append(number)
        >>> g.array
        array([0, 1, 2], dtype=int32)
        """
        # The short way, of a row that is right as it is. All else goes the long one.
        if self._put(row, self._plan, 1):
            return
        dtype, shape, _, _ = self._layout
        data = as_items(row, dtype, "row")
        if data.shape != shape:
            raise ArgumentError(f"a row has shape {shape}, got {data.shape}")
        raise_if_source_lost(row)
        if data is row or not self._put(data, self._plan, 1):
            self._append(data, 1)

    def extend(self, rows: npt.ArrayLike) -> None:
        """Append some rows: all of them, or none.

        Parameters
        ----------
        rows : array_like
            Of the shape ``(n, *row_shape)``, and of values that `dtype` holds.

        Raises
        ------
        FileError
            If they cannot be written, on a full disk for one; nothing is appended then.
        MappingLostError
            If another program has cut the file off, or the rows lie in a mapped file that has lost
            some of them meanwhile; nothing is appended then.
        ArgumentError, ArgumentTypeError
            If they have another shape, a mask, or values that do not fit, as in `append`.
        FormatError
            If another program has written behind the rows; its bytes are left alone.
        ReadOnlyError
            If the array is open for reading.
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("pairs.npy", "w+", dtype="i4", row_shape=2)
        >>> g.extend([(1, 2), (3, 4)])
        >>> len(g)
        2
        """
        dtype = self._layout.dtype
        if type(rows) is ndarray and rows.ndim and self._put(rows, self._plan_of_many, len(rows)):
            return
        data = rows if isinstance(rows, ndarray) else as_items(rows, dtype, "rows")
        if data.shape[1:] != self._layout.shape or data.ndim == 0:
            wanted = ", ".join(map(str, ("n", *self._layout.shape)))
            raise ArgumentError(f"rows have shape ({wanted}), got {data.shape}")
        raise_if_source_lost(rows)
        step = max(1, _PIECE_BYTES // self._layout.nbytes)
        if len(data) <= step:
            self._append(as_items(data, dtype, "rows"), len(data), rows)
        else:
            self._append_pieces(
                (as_items(data[i : i + step], dtype, "rows", i) for i in range(0, len(data), step)),
                len(data),
                rows,
            )
        self._writer().note_tail(self._layout.end(self._count))

    def _put(self, rows: npt.ArrayLike, plan: bytes, count: int) -> bool:
        """Append rows that are right as they are; return False to leave all else to the long way.

        A signal handler may append rows as well within any call made here, or truncate.
        """
        file, (_, _, start, row_bytes) = self._fast, self._layout
        if file is None or file.loss is not None:
            return False
        try:
            with file.lock:
                before, cuts = self._count, self._cuts
                self._most += count
                tail = _os.append_rows(file.fd, rows, plan, start + before * row_bytes)
                if not tail:
                    self._may_be_left |= tail is None
                    self._most -= count
                    return False
                if self._count == before and self._cuts == cuts:
                    self._count = before = before + count
                    if tail is not True:
                        file.take_tail(start + before * row_bytes, tail)
                else:
                    self._settle(file)
                self._array = None
                return True
        except BaseException:  # Ctrl-C may have come when it was written already
            with file.lock:
                self._settle(file)
            raise

    def _append(self, data: npt.NDArray[Any], count: int, rows: object = None) -> None:
        """Append rows by one write; a signal handler may append as well, or commit, meanwhile.

        So what is written goes to the end of the file, wherever that is by then, and only what has
        been written is counted, by the one who finds it there first.
        """
        file = self._writer()
        with file.lock:
            self._refuse_changing()
            self._refuse_foreign(file)
            self._settle(file)
            before, cuts = self._count, self._cuts
            self._most += count
            try:
                file.write(data)
                raise_if_source_lost(rows)
            except BaseException as error:
                self._may_be_left = True
                self._most -= count
                self._settle(file)  # which takes back what was written
                raise file.undone(self._count, error, data) from error
            if self._count == before and self._cuts == cuts:
                self._count = before + count
            else:
                self._settle(file)
            self._array = None

    def _append_pieces(self, pieces: Iterator[npt.NDArray[Any]], count: int, rows: object) -> None:
        """Append rows by many writes, between which nobody can append."""
        file, piece = self._writer(), None
        with file.lock:
            self._refuse_changing()
            self._refuse_foreign(file)
            try:
                self._settle(file)
                self._is_changing, self._fast = True, None
                for piece in pieces:
                    file.write(piece)
                raise_if_source_lost(rows)
                self._most += count
                self._count += count
            except BaseException as error:
                # In one step, by no call: Ctrl-C may come as one begins.
                self._is_changing, self._fast, self._may_be_left = False, self._file, True
                self._settle(file)
                raise file.undone(self._count, error, piece) from error
            finally:
                self._is_changing, self._fast = False, self._file
            self._array = None

    def _settle(self, file: RowFile) -> None:
        """Count what a call that was interrupted has appended, and drop what it has left in part.

        A signal handler may append or truncate within any call made here. So each decision is made
        on numbers that were taken after the last one, and the next step follows at once.
        """
        _, _, start, nbytes = self._layout
        is_ours = False
        while not self._is_changing and file.fd >= 0:
            cuts = self._cuts
            size = file.check_end(0)
            count, most = self._count, self._most
            rows, rest = (size - start) // nbytes, (size - start) % nbytes
            if self._cuts != cuts:
                continue
            if rows < count:
                file.check_end(start + count * nbytes)  # raises, unless some were appended since
            elif (rows > most or rest) and most == count and not self._may_be_left:
                return  # it is another program's
            elif (rows > most or rest) and not is_ours:
                file.check_header(size)  # or what is behind the rows is somebody else's
                is_ours = True
            elif rows > most or rest:
                keep = rows if rows <= most else most if most > count else count
                file.drop(start + keep * nbytes, keep)
            else:
                if rows > count:
                    self._count, self._array = rows, None
                self._may_be_left = False
                return

    def _refuse_foreign(self, file: RowFile) -> None:
        """Raise if another program has written behind the rows, where new ones are to go."""
        count = self._count
        if self._may_be_left or self._most > count:
            return
        size = file.check_end(self._layout.end(count))
        if size > self._layout.end(count) and count == self._count:
            file.check_header(size)
            raise file.foreign_error(count, size)

    def _refuse_changing(self) -> None:
        """Raise if the call that this one interrupts has changed the rows in part."""
        if self._is_changing:
            raise InUseError(
                f"the growable array of {self.path!r} is in use by the call that this one "
                "interrupts; do it when that has returned"
            )

    def commit(self, durable: bool = True) -> None:
        """Publish the rows that were appended, and make them durable.

        Parameters
        ----------
        durable : bool, default True
            Return when all rows survive a power loss, with what was stored through arrays. False
            makes them visible, and safe from the death of this process; if the power goes before
            a durable commit, the file may have to be opened with ``recover="rows"``.

        Raises
        ------
        FlushError
            If a sync fails, and from then on: what was appended since the last commit may be lost.
            Open the file anew.
        MappingLostError
            If another program has cut the file off or written it anew; nothing is written then, and
            from then on. Open the file anew.
        ReplacedError
            If there is another file at the path now. A file that was deleted, or moved to another
            path, goes on, as for `MappedFile.check`.
        ReadOnlyError
            If the array is open for reading.
        ClosedError
            If it is closed.

        Notes
        -----
        The rows are synced before the header counts them, and the header after that (fdatasync(2)).
        A file that was truncated and grew again is recognised by its header, or by zeros where the
        rows ended and a hole there. It is not if less than a page was lost, if all of it was
        written again, if those rows were zeros, or if they were appended one by one since the last
        commit. Fewer blocks alone, as `fallocate --dig-holes` leaves, are no loss.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("events.npy", "w+", dtype="i8")
        >>> g.append(1)
        >>> g.committed
        0
        >>> g.commit()
        >>> g.committed
        1
        """
        file = self._writer()
        durable = as_flag(durable, "durable")
        with file.lock, sync_errors(self._mapping._source, _commit, self._count):
            cuts = -1
            while cuts != self._cuts:  # or a signal handler has truncated it meanwhile
                count, cuts = self._count, self._cuts
                most = max(count, file.committed)
                file.check(count)
                if durable:
                    file.sync()
                if file.tells_of(count) or cuts != self._cuts:
                    continue
                file.write_header(count, most)
                if durable:
                    file.sync()
            if durable:
                file.check(count)
                if self._durable < count and cuts == self._cuts:
                    self._durable = count

    def refresh(self) -> int:
        """Show the rows that the writer has committed since.

        Returns
        -------
        int
            How many rows there are now; `array` shows as many from then on.

        Raises
        ------
        MappingLostError
            If another program has cut the file off, so that rows are missing; all is as it was.
        ReplacedError
            If there is another file at the path by now.
        FormatError
            If the rows have another dtype or shape now than `open` was asked for.
        ClosedError
            If it is closed.

        Notes
        -----
        Arrays made before stay as they are. If the writer has truncated the file, what they show of
        the rows that are gone is undefined, until other rows are there in their place.

        On overlayfs, which containers use, the first writer of a file of a lower layer is given a
        copy of it: same device and inode, another time of birth. A reader goes on with that copy;
        arrays made before stay with the old file. Any other file at the path is a `ReplacedError`.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("shared.npy", "w+", dtype="i8")
        >>> reader = mmapio.GrowableArray.open("shared.npy")
        >>> g.append(7)
        >>> g.commit()
        >>> reader.refresh()
        1
        """
        side = self._side
        if not isinstance(side, RowReader):
            self._mapping._hold().check_open()
            return self._count
        with side.lock:
            side.refresh()
            if side.committed != self._count or side.layout is not self._layout:
                self._array = None
            self._mapping, self._layout, self._count = side.mapping, side.layout, side.committed
            return self._count

    def wait(self, seen: int | None = None, timeout: float | None = None) -> int:
        """Wait until there are more rows, and show them, as `refresh` does.

        Parameters
        ----------
        seen : int, optional
            Wait for more rows than so many; than `array` shows, if left out.
        timeout : float, optional
            How long to wait at most, in seconds; as long as it takes if left out.

        Returns
        -------
        int
            How many rows there are now: more than `seen`, unless the time ran out, or the writer
            truncated the file to fewer rows than `array` showed.

        Raises
        ------
        ReplacedError, MappingLostError, FormatError
            If the file is no longer the one that was opened, as for `refresh`.
        ArgumentError, ArgumentTypeError
            If `seen` or `timeout` cannot be used.
        ClosedError
            If it is closed, perhaps by another thread meanwhile.

        Notes
        -----
        It polls the file, with pauses that grow to 1 ms. A writer sees its own rows at once, so it
        waits for rows that other threads append.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("awaited.npy", "w+", dtype="i8")
        >>> reader = mmapio.GrowableArray.open("awaited.npy")
        >>> reader.wait(timeout=0.01)
        0
        >>> g.extend([1, 2])
        >>> g.commit()
        >>> reader.wait()
        2
        >>> reader.array
        array([1, 2])
        """
        poll(self._news(seen), timeout)
        return self._count

    def _news(self, seen: int | None) -> Callable[[], bool]:
        """Return what looks whether there are more rows than `seen`, or fewer than are shown."""
        shown = self._count
        wanted = shown if seen is None else as_count(seen, "seen")
        return lambda: not shown <= self.refresh() <= wanted

    def check(self) -> None:
        """Raise if rows were lost, or the file was replaced.

        Raises
        ------
        MappingLostError
            If the file is too short for the rows, was written anew by something else, or its disk
            was full or failed when something was stored through an array.
        ReplacedError
            If there is another file at the path now.
        ClosedError
            If it is closed.

        Notes
        -----
        A reader checks the rows that `array` shows: `refresh` first, if the writer may have
        truncated the file. A writer checks all that it appended, as `commit` does.

        Examples
        --------
        >>> import os, mmapio
        >>> g = mmapio.GrowableArray.open("looked_at.npy", "w+", dtype="i8")
        >>> g.extend(range(1000))
        >>> g.check()
        >>> os.truncate("looked_at.npy", 200)
        >>> g.check()
        Traceback (most recent call last):
        mmapio.errors.MappingLostError: [Errno ...] bytes 200 to 8128 of the file were lost under \
the mapping, and read zeros: another program has cut the file off: '...looked_at.npy'
        """
        side = self._side
        with side.lock:
            mapping = self._mapping
            mapping._hold().check_open()
            side.check(self._count)
            end = min(self._layout.end(self._count), mapping.size)
            mapping._span(0, end).check_lost()

    def guard(self) -> LossCheck:
        """Return a context manager that checks at its end, for code that works on the rows.

        Returns
        -------
        LossCheck
            For a ``with`` block; see `MappedFile.guard`.

        Raises
        ------
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("summed_up.npy", "w+", dtype="i8")
        >>> g.extend(range(1000))
        >>> with g.guard():
        ...     total = g.array.sum()
        """
        self._mapping._hold().check_open()
        return LossCheck(self._mapping._source, self.check)

    def recover(self) -> int:
        """Remap lost pages from the file, as far as it reaches now.

        Returns
        -------
        int
            Bytes of memory that show the file again; see `MappedFile.recover`. What is still lost,
            `check` tells: a writer whose rows were cut off has to be opened anew.

        Raises
        ------
        ReplacedError
            If the path no longer leads to the file that was opened.
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.GrowableArray.open("all_there.npy", "w+", dtype="i8").recover()
        0
        """
        with self._side.lock:
            return self._mapping.recover()

    def truncate(self, count: int, force: bool = False) -> None:
        """Drop all rows but the first, durably if they were committed.

        Parameters
        ----------
        count : int
            How many rows are left.
        force : bool, default False
            Do it even if arrays over the file are alive in this process; what they show of the
            rows that go reads zeros from then on. Other processes should `refresh`.

        Raises
        ------
        InUseError
            If arrays over the file are alive, and `force` is False.
        OutOfBoundsError
            If there are not that many rows.
        FlushError, MappingLostError, ReplacedError
            As for `commit`.
        FormatError
            As for `append`.
        ReadOnlyError
            If the array is open for reading.
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("cut.npy", "w+", dtype="i8")
        >>> g.extend(range(10))
        >>> g.truncate(4)
        >>> g.array
        array([0, 1, 2, 3])
        """
        left, force = as_count(count, "count"), as_flag(force, "force")
        file = self._writer()
        with file.lock:
            self._refuse_changing()
            if left > self._count:
                raise OutOfBoundsError(f"there are {self._count} rows, fewer than {left}")
            file.check(self._count)
            self._refuse_foreign(file)
            try:
                self._settle(file)  # with what an interrupted append has left
                self._is_changing, self._fast = True, None
                self._truncate(file, left, force)
            finally:
                self._is_changing, self._fast = False, self._file

    def _truncate(self, file: RowFile, left: int, force: bool) -> None:
        self._array = None
        mapping, end = self._mapping, self._layout.end(left)
        count = self._count
        mapping._follow(self._layout.end(count))
        if not force and left < count:
            mapping._hold().check_unused(end)
        if left < count:
            with mapping._source.opened():
                pass  # as the cut will, which fails without a descriptor, or if the file was moved
            self._may_be_left = True  # the rows that go, until they have gone
        # Of what a call that this one interrupts is about to append, nothing is dropped.
        self._cuts, self._most = self._cuts + 1, self._most - (self._count - left)
        self._count, self._durable = left, -1
        is_committed = left < file.committed
        if is_committed:
            # First the header: it must never tell of rows that are gone.
            with sync_errors(mapping._source, _commit, left):
                file.write_header(left)
                file.sync()
        if left < count:
            try:
                mapping._follow(file.check_end(end))  # which a signal handler may have moved
                mapping.resize(end, force=True)
                file.check_end(end)  # where an append that this interrupts goes on
                file.note_tail(end)
                self._may_be_left = False
            except BaseException:  # the file tells how it went: Ctrl-C can come just after the cut
                if not (is_committed or file.ends_with(left)):
                    self._count, self._most = count, self._most + count - left
                raise

    def close(self, commit: bool = True, force: bool = False) -> None:
        """Commit, give the memory back, and let the next one write; a second time does nothing.

        Parameters
        ----------
        commit : bool, default True
            Commit what was appended, durably. False leaves it to the next writer, who drops it.
        force : bool, default False
            Close even while arrays over the file are alive, which read zeros from then on.

        Raises
        ------
        InUseError
            If arrays over the file are alive, and `force` is False; all is committed then.
        FlushError, MappingLostError, ReplacedError
            If the commit fails, or rows were lost; the array is closed all the same.

        Examples
        --------
        >>> import mmapio
        >>> g = mmapio.GrowableArray.open("closed.npy", "w+", dtype="i8")
        >>> g.append(1)
        >>> g.close()
        >>> len(mmapio.GrowableArray.open("closed.npy"))
        1
        """
        commit, force = as_flag(commit, "commit"), as_flag(force, "force")
        self._close(commit, lambda: self._mapping.close(force))

    def _close(self, commit: bool, close_mapping: Any) -> None:
        with self._side.lock:
            file = self._file
            if self.closed:
                if file is not None:
                    file.close()  # Ctrl-C may have left it open, and so locked
                return
            self._array = None
            if file is None or file.fd < 0:
                close_mapping()
                return
            failure: FileError | None = None
            try:
                try:
                    if commit:
                        self._settle(file)  # what a call that this one interrupts has appended
                    self._is_changing, self._fast = True, None  # what is appended now would be lost
                    if commit and self._is_uncommitted():
                        self.commit()
                    elif commit:
                        file.check(self._count)
                except FileError as error:
                    failure = error
                self._is_changing, self._fast = True, None
                close_mapping()
                file.close()
            finally:
                self._is_changing, self._fast = False, self._file
            if failure is not None:
                raise failure

    def _is_uncommitted(self) -> bool:
        return self._durable != self._count

    def __enter__(self) -> Self:
        self._mapping.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(kind is None, lambda: self._mapping.__exit__(kind, error, traceback))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.array, dtype, copy=copy)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        # Those that write files open them before they ask for the rows, which may be the file's.
        kind = MappedArray if getattr(func, "__name__", "") in WRITERS else ndarray
        return func(*_with_rows(args, kind), **_with_rows(kwargs, kind))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"mode={self._mapping.mode!r}"
        shape, kind = self.shape, str(self.dtype)
        return f"<GrowableArray {self._mapping._source.name} {shape} of {kind} {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._mapping._hold().check_open()
        return _reopen, (type(self), self.path)

    def _writer(self) -> RowFile:
        """Return the file, to write to it."""
        file = self._file
        if file is not None and file.fd >= 0:
            return file
        if self.closed:
            raise ClosedError(f"the growable array of {self._mapping._source.name} is closed")
        if file is not None:
            file.check_own()
        raise ReadOnlyError(f"{self.path!r} is open for reading; open it in 'r+' or 'a+'")


def _commit(count: int) -> str:
    return f"commit {count} rows"


def _reopen(kind: type[GrowableArray], path: str) -> GrowableArray:
    """Open for reading what was pickled; it has one writer already."""
    return kind.open(path)


def _with_rows(thing: Any, kind: type[npt.NDArray[Any]]) -> Any:
    """Return arguments of a function with arrays of the rows in place of growable arrays."""
    if isinstance(thing, GrowableArray):
        return thing.array.view(kind)
    if type(thing) in (tuple, list):
        return type(thing)(_with_rows(each, kind) for each in thing)
    if type(thing) is dict:
        return {name: _with_rows(each, kind) for name, each in thing.items()}
    return thing

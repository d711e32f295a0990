"""numpy's writers, onto the very file that an array is mapped from: in place of it, or refused.

They cut the file off before they read the array, which is zeros then. So what goes to the path of
a mapped file is written beside it and renamed over it, as `save` does; and what goes to an open
file that is mapped is refused, unless it comes after the array.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .. import _os
from ..errors import ArgumentError, ReplacedError, clear_frames
from ..files.descriptors import as_path, identify, size_of
from ..files.publishing import publishing
from ..guard.lost_memory import lost_error, raise_if_array_lost
from ..mapping.losses import check_file
from ..mapping.region import Region, region_at

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["WRITERS", "check_dump", "write_arrays", "write_by_numpy"]

# By name: the name of the parameter that is the file, and the suffix that numpy adds to a path.
WRITERS: Final = {
    "save": ("file", ".npy"),
    "savez": ("file", ".npz"),
    "savez_compressed": ("file", ".npz"),
    "savetxt": ("fname", ""),
}
_MORE: Final = 1 << 20  # bytes, which a disk that was full has no room for either
_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".lzma")  # by savetxt


def write_by_numpy(
    call: Callable[[Any, Any], Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Let one of numpy's writing functions, which `call` calls, write arrays safely."""
    parameter, suffix = WRITERS[name]
    first, rest = args[:1], args[1:]
    target = first[0] if first else kwargs[parameter]
    arrays = [each for each in (*rest, *kwargs.values()) if isinstance(each, np.ndarray)]

    def write(file: Any) -> None:
        if first:
            call((file, *rest), kwargs)
        else:
            call(args, {**kwargs, parameter: file})

    write_arrays(arrays, target, write, suffix)


def write_arrays(
    arrays: Iterable[npt.NDArray[Any]],
    target: Any,
    write: Callable[[Any], object],
    suffix: str = "",
) -> None:
    """Let `write` write arrays to a path or a file: the target, or one to put in its place.

    Raises
    ------
    ArgumentError
        If the target is an open file, and what is written would lie over an array.
    MappingLostError
        If a file that an array is mapped from has lost some of it, by now or meanwhile.
    FileError
        If the file cannot be replaced; it is as it was.
    """
    try:
        mapped = [(each, region) for each in arrays if (region := _open_region(each))]
        path = _path_of(target, suffix)
        if path is None:
            _check_file_object(mapped, target)
            write(target)
        elif _any_of(mapped, path):
            _write_in_place_of(path, write, mapped)
            return
        else:
            write(target)
        _check_whole(mapped)
    except BaseException as error:
        clear_frames(error)  # an error that is kept keeps no array in use
        raise


def check_dump(array: npt.NDArray[Any], target: Any) -> None:
    """Refuse to write a pickle, which refers to the file, over that file."""
    region = _open_region(array)
    if region is None:
        return
    path = _path_of(target, "")
    if path is None:
        _check_file_object([(array, region)], target)
    elif _any_of([(array, region)], path):
        raise ArgumentError(
            f"cannot dump the array over the file it is mapped from, {region.source.name}: the "
            "pickle would refer to itself; give another path, or use mmapio.save"
        )


_Mapped = list[tuple["npt.NDArray[Any]", Region]]


def _open_region(array: npt.NDArray[Any]) -> Region | None:
    """Return the region of an array over a file that is open; None of any other array."""
    region = region_at(array) if array.size else None
    is_of_file = region is not None and region.source.identity is not None
    return region if is_of_file and not region.source.closed else None  # type: ignore[union-attr]


def _path_of(target: Any, suffix: str) -> str | None:
    """Return the path that numpy will open; None for a file object, or what is neither."""
    if not isinstance(target, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(target)
    return name if name.endswith(suffix) else name + suffix


def _any_of(mapped: _Mapped, path: str) -> bool:
    """Return whether a path leads to a file that an array is mapped from."""
    if not mapped:
        return False
    try:
        there = _os.identify_path(path).identity
    except (OSError, ValueError):  # numpy will say so
        return False
    return any(region.source.identity == there for _, region in mapped)


def _write_in_place_of(path: str, write: Callable[[Any], object], mapped: _Mapped) -> None:
    if path.lower().endswith(_COMPRESSED):
        raise ArgumentError(f"cannot compress an array over the file it is mapped from: {path!r}")
    with publishing(as_path(path), "save", replace=True, durable=True) as draft:
        with open(os.dup(draft.fd), "wb") as file:
            try:
                write(file)
            except OSError as error:
                if error.errno is None:  # of numpy's own, which does not say why
                    draft.write(bytes(_MORE))
                raise
        _check_whole(mapped)


def _check_file_object(mapped: _Mapped, file: Any) -> None:
    """Refuse to write to an open file that is mapped, but for what comes after the arrays."""
    if not mapped or (fd := _descriptor_of(file)) is None:
        return
    identity, size = identify(fd, None).identity, size_of(fd, None)
    for array, region in mapped:
        source = region.source
        if source.identity != identity:
            continue
        start, stop = _place(array, region)
        start, stop = source.offset + start, source.offset + stop
        if size < stop:
            why = "as opening a file for writing does"
            raise lost_error(source, max(start, size), stop, "truncated", why)
        if _position(file, fd, size) < stop:
            _refuse(source.name)


def _refuse(name: str) -> NoReturn:
    raise ArgumentError(
        f"cannot write an array to the open file that it is mapped from, {name}: it would change "
        "while it is read; give the path, which is replaced when all is written, or mmapio.save"
    )


def _descriptor_of(file: Any) -> int | None:
    if isinstance(file, int):
        return file
    try:
        fd = file.fileno()
    except (AttributeError, OSError, ValueError):  # as BytesIO, or a closed file, which numpy tells
        return None
    return fd if isinstance(fd, int) else None


def _position(file: Any, fd: int, size: int) -> int:
    """Return where writing to an open file will begin, or a byte before that."""
    mode = getattr(file, "mode", None)
    if isinstance(mode, str) and "a" in mode:
        return size
    try:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        return at if isinstance(file, int) else min(at, file.tell())
    except (OSError, AttributeError, ValueError):
        return 0


def _check_whole(mapped: _Mapped) -> None:
    """Raise if a file has lost what arrays are mapped from: what was written may be zeros."""
    for array, region in mapped:
        raise_if_array_lost(array)
        with contextlib.suppress(ReplacedError):  # the mapping has the old file whole
            check_file(region, *_place(array, region))


def _place(array: npt.NDArray[Any], region: Region) -> tuple[int, int]:
    """Return where in the mapping the bytes of an array begin and end."""
    low, high = byte_bounds(array)
    return low - region.address, high - region.address

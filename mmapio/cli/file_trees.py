"""Files as named, and the files in folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import MmapioError, file_error

__all__ = ["OnError", "files_under"]

OnError = Callable[[Path, MmapioError], None]


def files_under(
    paths: Iterable[Path], on_error: OnError, leave_out: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Yield files as they are named, and all files in folders, in order of their names.

    What is named is left to whoever works on it, whatever it is. Within folders, links to files
    are followed and links to folders are not; pipes, sockets and devices are passed over. A file
    that can be reached in several ways comes once. `leave_out` tells what else is passed over in
    folders. `on_error` is told of links that lead nowhere and of folders that cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            found = path.stat()
        except (OSError, ValueError):  # who opens it is told why
            yield path
            continue
        if not stat.S_ISDIR(found.st_mode):
            if _is_new(found, seen):
                yield path
            continue
        for inner in _in_folder(path, on_error):
            if leave_out is not None and leave_out(inner):
                continue
            try:
                known = inner.stat()
            except OSError as error:
                on_error(inner, file_error(error, "follow the link", str(inner)))
                continue
            if stat.S_ISREG(known.st_mode) and _is_new(known, seen):
                yield inner


def _in_folder(folder: Path, on_error: OnError) -> Iterator[Path]:
    """Yield all in a folder and in those below it, but the folders themselves."""

    def tell(error: OSError) -> None:
        on_error(Path(error.filename), file_error(error, "list the folder", error.filename))

    for place, below, names in os.walk(folder, onerror=tell):
        below.sort()  # the walk goes on in this order; links to folders it does not follow
        yield from (Path(place, name) for name in sorted(names))


def _is_new(found: os.stat_result, seen: set[tuple[int, int]]) -> bool:
    """Note a file, and return whether it is seen for the first time."""
    key = (found.st_dev, found.st_ino)
    if key in seen and found.st_ino:  # where there are no numbers, all files are new
        return False
    seen.add(key)
    return True

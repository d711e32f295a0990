"""What of a mapping is told when others change its file: `watch`."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from ..errors import UnsupportedError
from ..files.watch import Change, Counter, Watch
from ._resident import ResidentContent

__all__ = ["WatchedContent", "watch_content"]


class WatchedContent(ResidentContent):
    """Bytes whose file can be watched: the part of `MappedFile` that tells of changes to it."""

    __slots__ = ()

    def watch(
        self,
        callback: Callable[[Change], object],
        *,
        debounce_ms: int = 50,
        generation: Counter | None = None,
    ) -> Watch:
        """Call back whenever the file at the path of the mapping changes, or is another one.

        Parameters
        ----------
        callback : callable
            Called with each `Change`, in a thread of its own. An exception that it raises goes to
            `threading.excepthook`, and the watch goes on.
        debounce_ms : int, default 50
            How many milliseconds nothing must happen before what has happened is told of, as one
            change. A file that never rests is told of at ten times that.
        generation : Generation, optional
            What is bumped by those who store through mappings of the file: it is told as
            ``"modified"``, because the system tells of no such store.

        Returns
        -------
        Watch
            To `stop` it. It goes on whether or not that is held, until the mapping is closed or
            goes; a callback that holds the mapping keeps it.

        Raises
        ------
        MissingExtraError
            If watchfiles is not installed.
        UnsupportedError
            If there is no file with a path.
        FileError
            If its folder cannot be watched, or the system watches no more folders.
        ArgumentError, ArgumentTypeError
            If an argument has a value, or a type, that cannot be used.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It is the path that is watched, by its folder (inotify(7), or what other systems have): also
        the file that is renamed over the first one, and the one created where that was removed. A
        change before the watch began, but after the file was opened, is told of if there is another
        file by now, or none.

        What raises no event is seen at a look once a second: changes on a network file system by
        other machines, and, on Linux, the first store through a mapping after its pages were
        written to the drive, for only then the time of the file changes.

        A child made by `fork` has no watch.

        Examples
        --------
        >>> import mmapio, os, queue
        >>> m = mmapio.MappedFile.open("seen.bin", "x+", size=10)
        >>> changes = queue.Queue()
        >>> watch = m.watch(changes.put)
        >>> mmapio.delete("seen.bin")
        >>> changes.get(timeout=30).kind
        'removed'
        >>> watch.stop()
        """
        return watch_content(self, callback, debounce_ms, generation)


def watch_content(
    content: ResidentContent,
    callback: Callable[[Change], object],
    debounce_ms: int,
    generation: Counter | None,
    at_end: Callable[[], object] | None = None,
) -> Watch:
    """Watch the file of a mapping for as long as that is open, without keeping it."""
    content._open_state()
    source = content._source
    if source.path is None:
        raise UnsupportedError(f"{source.name} has no path to watch; open the file by one")
    held = weakref.ref(source)

    def alive() -> bool:
        found = held()
        return found is not None and not found.closed

    return Watch(source.path, callback, source.facts, alive, debounce_ms, generation, at_end)

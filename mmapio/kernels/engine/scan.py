"""Options that all scans share: threads, a progress bar, and what becomes of memory behind them."""

from __future__ import annotations

from dataclasses import dataclass

from mmapio._validation import as_flag
from mmapio.kernels.engine.threads import thread_count

__all__ = ["Scan", "scan_of"]


@dataclass(frozen=True, slots=True)
class Scan:
    """Options of a pass over an array.

    Parameters
    ----------
    threads : int, optional
        See `thread_count`.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Read ahead, and release behind the scan what was not in memory before.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If one of them is out of range or of a wrong type.

    Examples
    --------
    >>> from mmapio.kernels.engine.scan import Scan
    >>> Scan(2)
    Scan(threads=2, progress=False, drop_behind=False)
    """

    threads: int | None = None
    progress: bool = False
    drop_behind: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None:
            thread_count(self.threads)
        if self.progress is not False:
            as_flag(self.progress, "progress")
        if self.drop_behind is not False:
            as_flag(self.drop_behind, "drop_behind")


_USUAL = Scan()


def scan_of(threads: int | None, progress: bool, drop_behind: bool) -> Scan:
    """Return the options of a scan; of most there is only one object, which takes no time to make.

    Parameters
    ----------
    threads, progress, drop_behind
        As for `Scan`.

    Returns
    -------
    Scan
        Checked.

    Examples
    --------
    >>> from mmapio.kernels.engine.scan import scan_of
    >>> scan_of(None, False, False) is scan_of(None, False, False)
    True
    """
    if threads is None and progress is False and drop_behind is False:
        return _USUAL
    return Scan(threads, progress, drop_behind)

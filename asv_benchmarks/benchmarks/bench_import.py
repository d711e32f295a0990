"""Cost of the package before it does anything: row 23 of the targets."""

from __future__ import annotations

import statistics

from . import common
from .common import FIND_MMAPIO, run_fresh, target

TIME_IMPORT = """
from time import perf_counter
begin = perf_counter()
import {module}
print(perf_counter() - begin)
"""


class Import:
    """Row 23, ``import mmapio`` in a fresh process: at most 1.25 x the time of numpy's import."""

    rounds = 1
    repeat = 3

    def timeraw_mmapio(self) -> tuple[str, str]:
        return "import mmapio", FIND_MMAPIO

    def timeraw_numpy(self) -> tuple[str, str]:
        return "import numpy", FIND_MMAPIO

    @target(row=23, at_most=1.25)
    def track_ratio_numpy(self) -> float:
        """Import of mmapio in a fresh process, against numpy's (target: at most 1.25)."""
        import_s("mmapio")  # the first time in an environment may write the bytecode
        turns = [(import_s("mmapio"), import_s("numpy")) for _ in range(common.FRESH_ROUNDS)]
        ours, peer = map(statistics.median, zip(*turns, strict=True))
        return float(ours / peer)


def import_s(module: str) -> float:
    """Return how long an import takes in a fresh process, not counting the process."""
    return float(run_fresh(TIME_IMPORT.format(module=module)))

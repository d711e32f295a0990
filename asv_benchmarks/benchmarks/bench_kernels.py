"""Every kernel beside the best of its peers: rows 30 and 31 of the targets."""

from __future__ import annotations

from . import common
from .common import target
from .kernel_table.arrays import DTYPES, SIZES
from .kernel_table.cases import Case, cases
from .kernel_table.measuring import Measurement, Stage, measure
from .kernel_table.works import WORKS

# asv's figures are of these; `ratios.py` and the page, which are thorough, are of all.
FEW_DTYPES = ("f8", "u1")
SECONDS, THOROUGH_S = 0.02, 0.3
LARGE = "256MiB"
# The table, where it has been measured already, as for the page that shows it: these cases alone.
MEASURED: dict[Case, Measurement] = {}
REASON = "the pictures of all kernels show in which cases"


class KernelTimes:
    """Time of each kernel in cache, over one dtype: for the history."""

    params = common.few(sorted(WORKS), 3)
    param_names = ("kernel",)
    rounds = 1
    repeat = (1, 5, 1.0)
    warmup_time = 0.0

    def setup(self, kernel: str) -> None:
        case = cases([kernel], dtypes=FEW_DTYPES, sizes=["1MiB", "100k"])[0]
        self.stage = Stage()
        work, reason = self.stage.ours(case)
        if work is None:
            raise NotImplementedError(reason)
        self.work = work

    def time_mmapio(self, kernel: str) -> None:
        self.work()


class Kernels:
    """Time of a kernel as a multiple of the best peer's: the worst case, by wall or CPU time."""

    params = common.few(sorted(WORKS))
    param_names = ("kernel",)

    @target(row=30, at_most=1.0, reason=REASON)
    def track_worst_large(self, kernel: str) -> float:
        """Kernel over 256 MiB, against its best peer, the worst case (target: at most 1)."""
        return worst(kernel, [LARGE] if common.LARGE_BYTES >= 1 << 28 else ["16MiB"])

    @target(row=31, at_most=1.0, reason=REASON)
    def track_worst_in_cache(self, kernel: str) -> float:
        """Kernel over 16 MiB or less, against its best peer, the worst case (target: at most 1)."""
        return worst(kernel, [size for size in SIZES if size != LARGE])


def worst(kernel: str, sizes: list[str]) -> float:
    """Return the greatest ratio of our time and the best peer's, by wall or CPU, of all cases."""
    thorough = bool(MEASURED) or common.BUDGET_S > 1
    stage, compared = Stage(), []
    for case in cases([kernel], dtypes=DTYPES if thorough else FEW_DTYPES, sizes=sizes):
        if not MEASURED:
            found = measure(case, stage, THOROUGH_S if thorough else SECONDS)
        elif case in MEASURED:
            found = MEASURED[case]
        else:
            continue
        compared += [found.ratio("wall_s"), found.ratio("cpu_s")]
    ratios = [1 / ratio for ratio in compared if ratio is not None]
    if not ratios:
        raise common.Skip(f"there is nothing to compare {kernel} with")
    return max(ratios)

"""Results are the same to the last bit on every processor, whatever vectors it has."""

from __future__ import annotations

import every_kernel
import pytest
from llvmlite import binding
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from scripts import run_script

# Of floats alone: these have an order of additions. More of them with MMAPIO_TEST_SCALE.
FEW = "f4 f8", "C", "sum mean var describe histogram"
ALL = "f4 f8 i4 u1", "C F strided"
# What numpy and BLAS, which add in vectors too, are told of an old processor.
HIDDEN = " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name])
OLD = {"NPY_DISABLE_CPU_FEATURES": HIDDEN, "OPENBLAS_CORETYPE": "Nehalem"}
LEVELS = {"x86-64-v2": "sse4.2", "x86-64-v3": "avx2", "x86-64-v4": "avx512f"}


def results_on(level: str, scale: float) -> dict[str, str]:
    how = ALL if scale > 1 else FEW
    old = OLD if level == "x86-64-v2" else {}
    processor = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": "", **old}
    lines = run_script(every_kernel.__file__, *how, longer=scale, **processor)
    return dict(line.split("\t") for line in lines)


@pytest.mark.timeout(1200)
def test_processors_find_the_same(scale: float) -> None:
    host = binding.get_host_cpu_features()
    levels = [level for level, feature in LEVELS.items() if host.get(feature)]
    if scale <= 1:
        levels = [*levels[:1], *levels[1:][-1:]]  # the oldest and the newest
    oldest, *others = (results_on(level, scale) for level in levels)
    for found in others:
        assert every_kernel.different(oldest, found) == []

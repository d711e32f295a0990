"""Measure every kernel, layout, dtype and size beside the best of its peers, a line each.

Usage: ``python asv_benchmarks/kernels_table.py [--only sum,axis0] [--dtypes f8,i4] [--sizes 1MiB]
[--layouts 1-d] [--seconds S] [--against COMMIT] [--below] [--json FILE] [--picture FILE.svg]``.
With ``--figures FILE`` it shows what was measured before.
"""

from program import run
from reporting.kernel_table import main

if __name__ == "__main__":
    run(main)

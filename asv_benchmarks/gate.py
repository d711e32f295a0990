"""Compare the speed of two commits on this machine, and fail if one of the benchmarks got slower.

Usage: ``python asv_benchmarks/gate.py [BASE] [HEAD]``. Each is a commit, or a directory with a
source tree: ``.`` is the working tree. HEAD is the commit that is checked out unless it is given,
and BASE where HEAD left the main branch.

The exit status is 1 if a benchmark is slower or does not run any more, and if none could be
measured; 2 if there is no such commit.
"""

from gating.gate import main
from program import run

if __name__ == "__main__":
    run(main)

"""Try the gate itself: does it keep quiet where nothing changed, and find what was made slower?

Usage: ``python asv_benchmarks/honesty.py``. It lets the gate compare two copies of this source tree
20 times, and then a copy with each of five copies in which one function was made slower, by a
quarter of the time of the benchmark that is to find it. The exit status is 0 if there was at most
one false alarm and all five were found.
"""

from gating.honesty import main
from program import run

if __name__ == "__main__":
    run(main)

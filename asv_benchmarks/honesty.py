"""Try the gate itself: does it keep quiet where nothing changed, and find what was made slower?

Usage: ``python asv_benchmarks/honesty.py [--state FILE]``. It lets the gate compare two copies of
this source tree 20 times, and then, five times each, a copy with one of twelve in which a function
or the loop of a kernel was made slower, by a quarter of the time of the benchmark that is to find
it. The exit status is 0 if there was no false alarm, and each slow-down that could be made on this
machine was found each time.
"""

from gating.honesty import main
from program import run

if __name__ == "__main__":
    run(main)

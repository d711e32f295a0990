"""Measure how mmapio does beside its peers, and print a line for each target.

Usage: ``python asv_benchmarks/ratios.py [ROW ...]``, with the rows of the targets to measure; all
of them if there are none. The exit status is 1 if a target was missed.
"""

from program import run
from reporting.ratios import main

if __name__ == "__main__":
    run(main)

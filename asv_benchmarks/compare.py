"""Measure what the crate's page of figures has, and all targets, and write it as Markdown.

Usage: ``python asv_benchmarks/compare.py [--quick] [--output docs/performance.md]``. Without
``--output`` the page goes to the terminal; with it the figures are written beside it, as JSON, and
the pictures of kernels. ``--figures FILE`` makes the page of such a file, and measures nothing; to
measure takes Linux. ``--only-kernels`` measures the kernels anew, or takes them of
``--kernels FILE``, and keeps all other figures that lie beside the page.
"""

from program import run
from reporting.figures import main

if __name__ == "__main__":
    run(main)

"""The benchmarks, and the programs beside them, can be imported as from their own directory."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "asv_benchmarks"))

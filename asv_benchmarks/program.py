"""Run, ending and exit status that the programs beside this file share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any


def run(main: Callable[[list[str]], int]) -> None:
    """Run a program with the arguments of the command line, and exit with its status."""
    clear_up_when_ended()
    sys.exit(main(sys.argv[1:]))


def clear_up_when_ended() -> None:
    """Let SIGTERM end this process as Ctrl-C does: temporary directories are gone then."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)

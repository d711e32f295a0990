"""What the programs of this directory do when they are told to end."""

from __future__ import annotations

import signal
import sys
from typing import Any


def clear_up_when_ended() -> None:
    """Let SIGTERM end this process as Ctrl-C does: temporary directories are gone then."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)

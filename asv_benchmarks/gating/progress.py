"""Progress of a long run, told on standard error."""

from __future__ import annotations

import time
from typing import TextIO

__all__ = ["Progress"]

# A log gets a line now and then; a terminal has the newest one in place of the one before.
EVERY_S = 10
CLEAR = "\r\x1b[K"


class Progress:
    """A line that tells what is done: rewritten on a terminal, every ten seconds elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.last_s = float("-inf")

    def tell(self, what: str) -> None:
        """Say what begins now."""
        if self.stream.isatty():
            self.stream.write(CLEAR + what)
        elif time.monotonic() - self.last_s >= EVERY_S:
            self.last_s = time.monotonic()
            self.stream.write(f"{time.strftime('%H:%M:%S')} {what}\n")
        self.stream.flush()

    def end(self) -> None:
        """Leave no line behind on a terminal."""
        if self.stream.isatty():
            self.stream.write(CLEAR)
            self.stream.flush()

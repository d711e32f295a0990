"""Address space that a compiler needs: LLVM ends the process where it finds none."""

from __future__ import annotations

import errno
import sys
from typing import Final

from .. import _os

__all__ = ["check_room_to_compile"]

# Its library takes 156 MiB, with what it compiles here; once that is there, a few are enough.
_ROOM_BYTES: Final = 192 << 20
_ROOM_ONCE_LOADED_BYTES: Final = 16 << 20


def check_room_to_compile() -> None:
    """Raise an error if LLVM is better not loaded, for a limit of this process's memory."""
    left = _os.address_space_left()
    needed = _ROOM_ONCE_LOADED_BYTES if "llvmlite.binding" in sys.modules else _ROOM_BYTES
    if left is not None and left < needed:
        reason = f"too little address space is left for a compiler, {left} bytes (ulimit -v)"
        raise OSError(errno.ENOMEM, reason)

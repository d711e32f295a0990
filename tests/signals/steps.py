"""Steps of a call between which CPython may run a signal handler, one after the other.

It looks for signals where a Python function begins, where a loop goes round, and after a call. A
signal that comes at any other time is handled at the next of these.
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import mmapio

PACKAGE = str(Path(mmapio.__file__).parent)


@functools.cache
def steps_of(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions before which there may be a signal."""
    found, before = set(), ""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name.startswith(("RESUME", "JUMP_BACKWARD")) or before.startswith("CALL"):
            found.add(instruction.offset)
        before = name
    return frozenset(found)


def at_each_step(
    call: Callable[[], object], handle: Callable[[], object], within: str = PACKAGE
) -> int:
    """Call a function, and another before each of its steps; return how many there are.

    Parameters
    ----------
    call, handle : callable
        The function, and what a signal handler does within it.
    within : str, optional
        Beginning of the names of the files whose steps count.
    """
    count = 0
    files: dict[str, bool] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        name = frame.f_code.co_filename
        if not files.setdefault(name, name.startswith(within)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti in steps_of(frame.f_code):
            count += 1
            handle()
        return trace

    before = sys.gettrace()
    gc.disable()  # the finalizers of other tests' garbage are no steps of this call
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count

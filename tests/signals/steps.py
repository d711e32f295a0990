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

CALL = dis.opmap["CALL"]
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


@functools.cache
def _calls_of(code: CodeType) -> dict[int, tuple[int, bool]]:
    """Return the steps that follow a call: its offset, and whether the same code handles errors."""
    entries, found = dis.Bytecode(code).exception_entries, {}

    def handler_at(offset: int) -> int | None:
        return next((e.target for e in entries if e.start <= offset < e.end), None)

    before = None
    for instruction in dis.get_instructions(code):
        if before is not None and before.opname.startswith("CALL"):
            is_same = handler_at(before.offset) == handler_at(instruction.offset)
            found[instruction.offset] = before.opcode, is_same
        before = instruction
    return found


def _is_in_finalizer(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def interrupted(
    step: int, call: Callable[[], object], within: str = PACKAGE
) -> KeyboardInterrupt | None:
    """Call a function, and raise `KeyboardInterrupt` at a step, if there is one; return it.

    An exception comes from the call before it, which a `try` may be around, and never when a
    function that is written in Python returns. Finalizers are left out, of which none comes.
    """
    count = 0
    returned: set[int] = set()  # those that have just been returned to, by Python functions

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        code, offset = frame.f_code, frame.f_lasti
        if not code.co_filename.startswith(within) or _is_in_finalizer(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            is_step = True
            if frame.f_back is not None:
                returned.add(id(frame.f_back))
        elif event == "opcode":
            is_return = id(frame) in returned
            returned.discard(id(frame))
            opcode, is_same = _calls_of(code).get(offset, (-1, True))
            is_step = offset in steps_of(code) and is_same and not (is_return and opcode == CALL)
        else:
            return trace
        if is_step:
            count += 1
            if count > step:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(before)
    return None

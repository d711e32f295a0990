"""The buffer protocol of a class written in Python, on Python 3.11."""

from __future__ import annotations

import abc
import contextlib
import ctypes
import gc
import io
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmapio._os import _buffer311
from mmapio._os._buffer311 import export_buffer
from mmapio._os._machine_code import can_keep
from mmapio.errors import ClosedError, UnsupportedError

only_311 = pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11),
    reason="this Python knows __buffer__ itself",
)
pytestmark = only_311


class Holder:
    """An exporter of what it holds; of nothing, once that is None."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    @property
    def _buffer(self) -> Any:
        if self.held is None:
            raise ClosedError("closed")
        return self.held


class EarlyChild(Holder):
    """A subclass that was there before its base could export."""


class EarlyGrandchild(EarlyChild):
    """The same, one further down."""


if not only_311.args[0]:
    export_buffer(Holder, "_buffer")


class LateChild(Holder):
    """A subclass that came after."""


class Mixed(abc.ABC, LateChild):
    """One with a metaclass, and with its base in second place."""


def export(holder: object) -> memoryview:
    return memoryview(holder)  # type: ignore[arg-type]


def test_the_buffer_is_that_of_the_attribute() -> None:
    data = np.arange(6, dtype="<i4").reshape(2, 3)
    view = export(Holder(data))
    assert (view.format, view.shape, view.readonly) == ("i", (2, 3), False)
    view.cast("B")[0] = 9
    assert data[0, 0] == 9


@pytest.mark.parametrize("kind", [EarlyChild, EarlyGrandchild, LateChild, Mixed])
def test_subclasses_export_too(kind: type[Holder]) -> None:
    assert bytes(export(kind(b"data"))) == b"data"


def test_whatever_takes_buffers_takes_it(tmp_path: Any) -> None:
    holder: Any = Holder(bytearray(b"data"))
    assert np.frombuffer(holder, "u1").tolist() == list(b"data")
    assert bytes(holder) == b"data"
    assert io.BytesIO(b"new!").readinto(holder) == 4
    (tmp_path / "file").write_bytes(holder)
    assert (tmp_path / "file").read_bytes() == b"new!"


def test_the_view_keeps_the_memory() -> None:
    held = bytearray(b"data")
    view = export(Holder(held))
    with pytest.raises(BufferError):
        held.append(0)
    view.release()
    held.append(0)


def test_an_error_of_the_attribute_passes_through() -> None:
    with pytest.raises(ClosedError, match="closed"):
        export(Holder(None))


def test_an_error_leaves_no_exporter_in_the_view() -> None:
    # struct Py_buffer begins with two pointers: the memory, and who exports it.
    view = (ctypes.c_void_p * 16)(*[1] * 16)
    with pytest.raises(ClosedError):
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(Holder(None)), view, 0)
    assert view[1] is None


def test_what_has_no_buffer_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="bytes-like object is required, not 'int'"):
        export(Holder(3))


def test_a_read_only_attribute_refuses_writers() -> None:
    holder: Any = Holder(b"data")
    assert export(holder).readonly
    with pytest.raises(TypeError, match="read-write"):
        io.BytesIO(b"new!").readinto(holder)
    assert holder.held == b"data"


def test_nothing_is_leaked() -> None:
    held = bytearray(b"data")
    good, bad, wrong = Holder(held), Holder(None), Holder(3)

    def use(times: int) -> None:
        for _ in range(times):
            export(good).release()
            for holder in (bad, wrong):
                with contextlib.suppress(ClosedError, TypeError):
                    export(holder)

    def references() -> list[int]:
        return [sys.getrefcount(each) for each in (held, good, bad, "_buffer", None, 3)]

    use(10)
    before = references()
    tracemalloc.start()
    use(1000)
    first = tracemalloc.get_traced_memory()[0]
    use(100_000)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 10_000
    assert max(abs(now - then) for now, then in zip(references(), before, strict=True)) < 100


def test_many_threads_can_export() -> None:
    holder = Holder(bytearray(b"data"))
    wrong = []

    def work() -> None:
        for turn in range(5000):
            if bytes(export(holder)) != b"data":
                wrong.append(turn)
            with pytest.raises(ClosedError):
                export(Holder(None))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_can_export() -> None:
    holder = Holder(bytearray(b"data"))
    child = os.fork()
    if child == 0:
        export(holder)[0] = 0
        os._exit(sum(export(holder)[:1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert holder.held == b"data"


def test_the_code_outlives_its_makers() -> None:
    kind = type("Kind", (), {"__getattr__": lambda _, name: name.encode()})
    export_buffer(kind, "-".join(["made", "here"]))
    gc.collect()
    others = ["-".join(["made", str(number)]) for number in range(1000, 2000)]
    assert bytes(export(kind())) == b"made-here"
    assert len(set(others)) == 1000


def test_the_first_attribute_is_kept_and_nothing_compiled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = type("Kind", (), {"first": b"first", "second": b"second"})
    export_buffer(kind, "first")
    monkeypatch.delattr(_buffer311, "_compile")
    export_buffer(kind, "second")
    assert bytes(export(kind())) == b"first"


def test_a_class_that_exports_already_is_left_alone() -> None:
    base = type("Base", (), {"attribute": b"other"})
    child = type("Child", (base, bytearray), {})
    export_buffer(base, "attribute")
    export_buffer(child, "attribute")
    assert bytes(export(base())) == b"other"
    assert bytes(export(child(b"own"))) == b"own"


@pytest.mark.parametrize("builtin", [int, bytearray])
def test_a_builtin_class_is_refused(builtin: type[object]) -> None:
    with pytest.raises(UnsupportedError, match=repr(builtin.__name__)):
        export_buffer(builtin, "__doc__")


@pytest.mark.parametrize("version", [(3, 12, 0), (3, 13, 1)])
def test_newer_versions_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    kind = type("Kind", (), {"attribute": b"data"})
    export_buffer(kind, "attribute")
    with pytest.raises(TypeError, match="bytes-like object is required"):
        export(kind())


def test_llvmlite_is_imported_only_to_compile(
    run_python: Callable[..., str], tmp_path: Any
) -> None:
    code = """
import sys
from mmapio._os._buffer311 import export_buffer
class Kind:
    attribute = b"data"
print("llvmlite" in sys.modules)
export_buffer(Kind, "attribute")
print("llvmlite" in sys.modules, bytes(memoryview(Kind())))
"""
    told = [run_python(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines() for _ in range(2)]
    assert told[0] == ["False", "True b'data'"]
    assert told[1] == ["False", f"{not can_keep()} b'data'"]


def test_it_works_until_the_interpreter_has_gone(run_python: Callable[..., str]) -> None:
    code = """
import os, sys
from mmapio._os._buffer311 import export_buffer
class Kind:
    attribute = b"data"
    def __del__(self, write=os.write):
        write(1, self)
export_buffer(Kind, "attribute")
sys.kept = Kind()  # the module sys is emptied after all others
"""
    assert run_python(code) == "data"

"""Errors that somebody keeps, as the prompt of Python does: they keep no array in use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, MappedFile, RingBuffer, SeqLock, atomics, errors, guard, kernels

SIZE = 1000

MAPPING: dict[str, Callable[[MappedFile], object]] = {
    "view, range": lambda m: m.view(50, SIZE),
    "view, items": lambda m: m.view(0, 5, "i4"),
    "view, dtype": lambda m: m.view(0, 8, "nonsense"),
    "view, objects": lambda m: m.view(0, 8, object),
    "read": lambda m: m.read(50, SIZE),
    "read_into": lambda m: m.read_into(50, m.view()),
    "read_into, gaps": lambda m: m.read_into(0, m.view()[::2]),
    "write": lambda m: m.write(50, m.view()),
    "write, objects": lambda m: m.write(0, np.array([m.view(), None], object)),
    "chunks": lambda m: m.chunks(0),
    "segment": lambda m: m.segment(50, SIZE),
    "segment, view": lambda m: m.segment(0, 10).view(5, 10),
    "segment, write": lambda m: m.segment(0, 10).write(5, m.view(0, 10)),
    "reader": lambda m: m.reader().seek(-1),
    "atomic": lambda m: m.atomic(1, "i8"),
    "atomic, dtype": lambda m: m.atomic(0, "S3"),
    "atomic_array": lambda m: m.atomic_array(0, SIZE, "i8"),
    "atomic_array, index": lambda m: m.atomic_array(0, 4, "i8").load(4),
    "touch_pages": lambda m: m.touch_pages(50, SIZE),
    "touch_pages, threads": lambda m: m.touch_pages(threads=0),
    "advise": lambda m: m.advise("well"),
    "advise, range": lambda m: m.advise("random", 50, SIZE),
    "prefetch": lambda m: m.prefetch(50, SIZE),
    "release": lambda m: m.release(50, SIZE),
    "punch_hole": lambda m: m.punch_hole(50, SIZE),
    "lock": lambda m: m.lock(50, SIZE),
    "unlock": lambda m: m.unlock(50, SIZE),
    "residency": lambda m: m.residency(50, SIZE),
    "residency, buckets": lambda m: m.residency(buckets=-1),
    "check": lambda m: m.check(50, SIZE),
    "flush": lambda m: m.flush(50, SIZE),
    "mark_dirty": lambda m: m.mark_dirty(50, SIZE),
    "resize": lambda m: m.resize(-1),
    "resize, too large": lambda m: m.resize(2**62),
    "read, lost": lambda m: lose(m, m.read),
    "write, lost": lambda m: lose(m, lambda: m.write(0, m.view())),
    "check, lost": lambda m: lose(m, m.check),
    "flush, lost": lambda m: lose(m, m.flush),
    "guard, lost": lambda m: lose(m, m.guard().__enter__),
    "fileno": lambda m: lose(m, lambda: (os.unlink(str(m.path)), m.fileno())),
    "open": lambda m: MappedFile.open(str(m.path), "x+", 5),
    "from_fd": lambda m: MappedFile.from_fd(m.fileno(), "r+", length=10**9),
    "anonymous": lambda m: MappedFile.anonymous(-1),
    "watch": lambda m: m.watch(None),  # type: ignore[arg-type]
}

ARRAYS: dict[str, Callable[[Any], object]] = {
    "iter": lambda a: a[1:].chunks(0),
    "advise": lambda a: a[1:].advise("well"),
    "touch_pages": lambda a: a[1:].touch_pages(threads=0),
    "residency": lambda a: a[1:].residency(buckets=-1),
    "save": lambda a: mmapio.save("/no such folder/x.npy", a[1:]),
    "scatter": lambda a: kernels.scatter(a, a[:2].astype("i8"), a[:3]),
    "scatter_add": lambda a: kernels.scatter_add(a, [10**9], a[:1]),
    "gather": lambda a: kernels.gather(a[1:], [10**9]),
    "map_chunks": lambda a: kernels.map_chunks(a[1:], nothing, 10),
    "reduce_chunks": lambda a: kernels.reduce_chunks(a[1:], nothing, 0),
    "sum": lambda a: kernels.sum(a[1:], axis=7),
    "mean": lambda a: kernels.mean(a[1:], axis=7),
    "var": lambda a: kernels.var(a[1:], axis=7),
    "std": lambda a: kernels.std(a[1:], axis=7),
    "min": lambda a: kernels.min(a[:0]),
    "max": lambda a: kernels.max(a[:0]),
    "minmax": lambda a: kernels.minmax(a[:0]),
    "argmin": lambda a: kernels.argmin(a[:0]),
    "argmax": lambda a: kernels.argmax(a[:0]),
    "histogram": lambda a: kernels.histogram(a[1:], bins=-1),
    "describe": lambda a: kernels.describe(a[1:], bins=-1),
    "find": lambda a: kernels.find(a[1:], "text"),
    "find_all": lambda a: kernels.find_all(a[1:], "text"),
    "count": lambda a: kernels.count(a[1:], "text"),
    "count_nonzero": lambda a: kernels.count_nonzero(a[1:].view("S8")),
    "byte_counts": lambda a: kernels.byte_counts(a[1:], threads=0),
    "checksum": lambda a: kernels.checksum(a[1:], algorithm="nonsense"),
    "kernels.touch_pages": lambda a: kernels.touch_pages(a[1:], threads=0),
    "AtomicArray": lambda a: atomics.AtomicArray(a[1:].view("S8")),
    "append": lambda a: growable().append(a),
    "extend": lambda a: growable().extend(a.view("S8")[1:]),
    "push_many": lambda a: RingBuffer.anonymous(4, "i4").push_many(a.view("S8")[1:]),
    "push": lambda a: RingBuffer.anonymous(4, "i4").push(a[1:]),
    "SeqLock.write": lambda a: SeqLock.anonymous("i4").write(a[1:]),
}


def lose(m: MappedFile, call: Callable[[], object]) -> None:
    if guard.why_not() is not None:
        pytest.skip(str(guard.why_not()))
    os.truncate(str(m.path), 0)
    assert not m.view().any()
    call()


def nothing(chunk: Any) -> Any:
    raise ZeroDivisionError


def growable() -> GrowableArray:
    return GrowableArray.open("growing.npy", "w+", dtype="i4")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[BaseException]]:
    monkeypatch.chdir(tmp_path)
    errors: list[BaseException] = []
    yield errors
    errors.clear()


@pytest.mark.parametrize("call", MAPPING)
def test_a_mapping_can_be_closed(kept: list[BaseException], call: str) -> None:
    m = MappedFile.open("bytes", "w+", size=SIZE)
    keep_error(kept, lambda: MAPPING[call](m))
    m.close()


@pytest.mark.parametrize("call", [call for call in MAPPING if "lost" not in call])
def test_a_mapping_can_be_resized(kept: list[BaseException], call: str) -> None:
    if call == "fileno":
        pytest.skip("its file is gone")
    m = MappedFile.open("bytes", "w+", size=SIZE)
    keep_error(kept, lambda: MAPPING[call](m))
    m.resize(10)


@pytest.mark.parametrize("call", ARRAYS)
def test_an_array_can_be_closed(kept: list[BaseException], call: str) -> None:
    a = mmapio.create("items.npy", SIZE, "f8")
    keep_error(kept, lambda: ARRAYS[call](a))
    a.close()


def test_every_method_is_tried() -> None:
    public = {name for name in dir(MappedFile) if callable(getattr(MappedFile, name))}
    tried = {name.split(",")[0] for name in MAPPING}
    # Refused under an array, which is tried below; and these raise nothing but by what is tried.
    rest = {"close", "detach", "pages", "recover", "is_hugepage_backed"}
    assert {name for name in public if not name.startswith("_")} - rest <= tried


def test_every_kernel_is_tried() -> None:
    left_out = {"Description", "KernelError", "compile_all"}
    assert {name.removeprefix("kernels.") for name in ARRAYS} >= {*kernels.__all__} - left_out


def keep_error(kept: list[BaseException], call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException as error:
        kept.append(error)
    assert kept, "it raises nothing"


@pytest.mark.parametrize("call", ["close", "detach", "resize"])
def test_a_refusal_holds_nothing_itself(kept: list[BaseException], call: str) -> None:
    m = MappedFile.open("bytes", "w+", size=SIZE)
    view = m.view()
    keep_error(kept, lambda: m.resize(10) if call == "resize" else getattr(m, call)())
    del view
    m.close()


def test_what_users_hold_is_in_use_all_the_same() -> None:
    """Only frames of this package are cleared; what a user's own frame holds is the user's."""
    m = MappedFile.anonymous(SIZE)

    def use() -> None:
        view = m.view()
        assert view.size
        m.view(0, SIZE + 1)

    with pytest.raises(mmapio.OutOfBoundsError) as raised:
        use()
    with pytest.raises(mmapio.InUseError):
        m.close()
    del raised
    m.close()


def test_a_kept_error_still_tells_where_it_came_from(kept: list[BaseException]) -> None:
    a = mmapio.anonymous(SIZE)
    keep_error(kept, lambda: kernels.sum(a[1:], axis=7))
    view = a[1:]
    with pytest.raises(mmapio.InUseError):
        a.close()
    del view
    traceback, names = kept[0].__traceback__, []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert {"keep_error", "sum"} <= {*names}


def test_threads_may_raise_while_another_closes() -> None:
    """The table of errors changes while it is searched for frames."""
    done: list[int] = []

    def fail() -> None:
        while not done:
            with pytest.raises(mmapio.MmapioError):
                mmapio.anonymous(-1)

    threads = [threading.Thread(target=fail) for _ in range(3)]
    for thread in threads:
        thread.start()
    m = MappedFile.anonymous(SIZE)
    view = m.view()
    for _ in range(1000):
        with pytest.raises(mmapio.InUseError):
            m.close()
    done.append(1)
    for thread in threads:
        thread.join()
    del view
    m.close()


def test_frames_of_packages_with_a_like_name_are_left_alone(tmp_path: Path) -> None:
    path = f"{errors._PACKAGE.rstrip(os.sep)}_plugins{os.sep}x.py"
    names: dict[str, Any] = {}
    exec(compile("def f(m):\n    view = m.view()\n    m.view(0, 10**6)", path, "exec"), names)
    m = MappedFile.anonymous(SIZE)
    with pytest.raises(mmapio.OutOfBoundsError):
        names["f"](m)
    with pytest.raises(mmapio.OutOfBoundsError) as raised:
        names["f"](m)
    with pytest.raises(mmapio.InUseError):
        m.close()
    assert raised.value.__traceback__ is not None

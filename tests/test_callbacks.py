"""Callbacks of users that raise: they stop nobody from cleaning up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio.cli.advise import advise_file
from mmapio.cli.touch import touch_file

ENDS = [ValueError, SystemExit, KeyboardInterrupt]


def failing(*_: object) -> NoReturn:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("kind", ENDS, ids=lambda kind: kind.__name__)
def test_a_mapping_is_closed_whatever_on_error_raises(
    kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: reported.append(error[0]))

    def on_error(_: mmapio.FlushError) -> NoReturn:
        raise kind("by the user")

    policy = mmapio.FlushPolicy.every_millis(10**6, on_error)
    m = mmapio.MappedFile.open(tmp_path / "file", "w+", size=10, flush_policy=policy)
    m.write(0, b"x")
    monkeypatch.setattr(_os, "sync", failing)
    expected = mmapio.FlushError if kind is ValueError else kind
    with pytest.raises(expected):
        m.close()
    assert m.closed
    assert reported == ([ValueError] if kind is ValueError else [])


@pytest.mark.parametrize("kind", ENDS, ids=lambda kind: kind.__name__)
def test_all_others_are_flushed_at_exit_and_in_the_background(
    kind: type[BaseException], run_python: Callable[..., str], tmp_path: Path
) -> None:
    code = f"""if True:
        import os, sys, mmapio
        sys.excepthook = lambda *error: None
        def on_error(error): raise {kind.__name__}
        real, bad = mmapio._os.sync, []
        def sync(address, length, failed):
            if length == 10:
                raise OSError(5, "Input/output error")
            real(address, length, failed)
            os.write(1, b"synced ")
        every = mmapio.FlushPolicy.every_millis
        mappings = []
        for size, millis in ((10, int(sys.argv[2])), (20, 10**6), (10, 10**6), (30, 10**6)):
            name = os.path.join(sys.argv[1], str(len(mappings)))
            m = mmapio.MappedFile.open(name, "w+", size=size, flush_policy=every(millis, on_error))
            mappings.append(m)
        mmapio._os.sync = sync
        for m in mappings:
            try:
                m.write(0, b"x")
            except mmapio.FlushError:
                pass
        if int(sys.argv[2]) == 1:
            import time
            while mappings[0]._source.ledger.failure is None:
                time.sleep(0.001)
    """
    for millis in (10**6, 1):
        folder = tmp_path / str(millis)
        folder.mkdir()
        out = run_python(code, str(folder), str(millis), MMAPIO_NATIVE="0")
        assert out == "synced synced "


@pytest.mark.parametrize("step", range(2))
def test_a_forced_close_that_fails_can_be_tried_again(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = mmapio.MappedFile.open(tmp_path / "file", "w+", size=4096)
    old = m.view()
    m.resize(1 << 20, force=True)  # to another place
    new = m.view()
    old[0] = 7
    covered, real = [0], _os.cover

    def cover(*arguments: int) -> None:
        covered[0] += 1
        if covered[0] == step + 1:
            raise OSError(12, "Cannot allocate memory")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_os, "cover", cover)
        with pytest.raises(mmapio.FileError, match="Cannot allocate memory"):
            m.close(force=True)
    assert not m.closed
    assert old[0] == new[0] == m.read(0, 1)[0] == 7
    m.write(0, b"\x08")
    assert old[0] == 8
    m.close(force=True)
    assert m.closed
    assert not old.any()
    assert not new.any()


def append_until_it_fails(
    g: mmapio.GrowableArray, begun: threading.Event, errors: list[Exception]
) -> None:
    row = np.array(1)
    try:
        while True:
            g.append(row)
            begun.set()
    except Exception as error:
        errors.append(error)


def test_who_appends_while_another_thread_closes_learns_that_it_is_closed(tmp_path: Path) -> None:
    for number in range(20):
        g = mmapio.GrowableArray.open(tmp_path / f"{number}.npy", "w+", dtype="i8")
        begun, errors = threading.Event(), list[Exception]()
        thread = threading.Thread(target=append_until_it_fails, args=(g, begun, errors))
        thread.start()
        assert begun.wait(60)
        g.close()
        thread.join()
        assert [type(error) for error in errors] == [mmapio.ClosedError]


class Raising:
    """A progress callback that raises at one of its calls."""

    def __init__(self, kind: type[BaseException], at: int) -> None:
        self.kind = kind
        self.left = at

    def __call__(self, done: int, total: int) -> None:
        if self.left == 0:
            raise self.kind("by the user")
        self.left -= 1


def to_npy(folder: Path, progress: Raising) -> object:
    return mmapio.to_npy(folder / "raw", folder / "new.npy", "u1", progress=progress)


def to_raw(folder: Path, progress: Raising) -> object:
    return mmapio.to_raw(folder / "old.npy", folder / "new.raw", progress=progress)


def lock(folder: Path, progress: Raising) -> object:
    with mmapio.MappedFile.open(folder / "raw") as m:
        return m.lock(progress=progress)


def advise(folder: Path, progress: Raising) -> object:
    return advise_file(folder / "raw", "willneed", progress)


def touch(folder: Path, progress: Raising) -> object:
    return touch_file(folder / "raw", progress=progress)


@pytest.mark.parametrize("kind", ENDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("at", range(2))
@pytest.mark.parametrize("call", [to_npy, to_raw, lock, advise, touch], ids=lambda c: c.__name__)
def test_a_progress_that_raises_ends_the_call_and_leaves_nothing(
    call: Callable[[Path, Raising], object], at: int, kind: type[BaseException], tmp_path: Path
) -> None:
    (tmp_path / "raw").write_bytes(b"\1" * (1 << 20))
    np.save(tmp_path / "old.npy", np.ones(1 << 17))
    before, threads = sorted(tmp_path.iterdir()), threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    progress = Raising(kind, at)
    with pytest.raises(kind, match="by the user"):
        call(tmp_path, progress)
    assert progress.left == 0
    assert sorted(tmp_path.iterdir()) == before
    assert threading.active_count() == threads
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    call(tmp_path, Raising(kind, 100))  # no lock is held, and no name is taken

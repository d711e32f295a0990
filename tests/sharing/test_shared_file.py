"""Files, headers and closing, which counters, seqlocks, ring buffers and generations share."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import Generation, MappedFile, RingBuffer, SeqLock, ShardedCounter, guard

RECORD = np.dtype([("id", "<u4"), ("name", "S5"), ("at", ">f8", (2,))])


def change(part: Any) -> None:
    """Do to a part what it is there for."""
    if isinstance(part, ShardedCounter):
        part.add(3)
    elif isinstance(part, SeqLock):
        part.write((1, b"one", (2, 3)))
    elif isinstance(part, RingBuffer):
        part.push((1, b"one", (2, 3)))
    else:
        part.bump()


def content(part: Any) -> Any:
    """Return what can be seen of a part."""
    if isinstance(part, SeqLock):
        return part.count, part.read()
    return len(part) if isinstance(part, RingBuffer) else part.value


OPENED: dict[type, Callable[..., Any]] = {
    ShardedCounter: lambda path, mode="a+": ShardedCounter.open(path, mode, shards=4),
    SeqLock: lambda path, mode="a+": SeqLock.open(path, mode, RECORD, slots=3),
    RingBuffer: lambda path, mode="a+": RingBuffer.open(path, mode, RECORD, capacity=5),
    Generation: lambda path, mode="a+": Generation.open(path, mode),
}
IN_MEMORY: dict[type, Callable[[], Any]] = {
    ShardedCounter: lambda: ShardedCounter.anonymous(4),
    SeqLock: lambda: SeqLock.anonymous(RECORD, 3),
    RingBuffer: lambda: RingBuffer.anonymous(RECORD, 5),
    Generation: Generation.anonymous,
}
KINDS = list(OPENED)

unpinned = pytest.mark.skipif(
    os.name == "nt", reason="Windows neither truncates nor replaces a file that is mapped"
)
guarded = pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))
CUT = "import os, sys; os.truncate(sys.argv[1], int(sys.argv[2]))"
REPLACE = "import os, sys; os.replace(sys.argv[1] + '.new', sys.argv[1])"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_a_part_for_whoever_opens_it(kind, tmp_path):
    path = tmp_path / "part"
    part = OPENED[kind](path)
    change(part)
    others = [kind.open(path), kind.open(path, "r"), kind.open(path, "r+"), OPENED[kind](path)]
    others += [kind(MappedFile.open(path)), pickle.loads(pickle.dumps(part)), copy.copy(part)]
    assert [content(other) for other in others] == [content(part)] * len(others)
    change(others[-2])
    assert content(others[0]) == content(part)
    assert part.path == others[-2].path == str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_in_memory_is_new_and_cannot_be_sent(kind):
    part = IN_MEMORY[kind]()
    before = content(part)
    change(part)
    assert content(part) != before
    assert part.path is None
    assert "<anonymous>" in repr(part)
    with pytest.raises(mmapio.UnsupportedError, match=f"the {kind.KIND} in .* cannot be pickled"):
        pickle.dumps(part)


@pytest.mark.parametrize("kind", KINDS)
def test_modes_are_those_of_files(kind, tmp_path):
    path = tmp_path / "part"
    with pytest.raises(mmapio.MissingFileError):
        kind.open(path, "r+")
    first = OPENED[kind](path, "x+")
    change(first)
    with pytest.raises(mmapio.ExistingFileError):
        OPENED[kind](path, "x+")
    second = OPENED[kind](path, "w+")
    assert content(second) == content(IN_MEMORY[kind]())
    assert content(first) != content(second)
    with pytest.raises(mmapio.ArgumentError, match="a private copy"):
        kind.open(path, "c")


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_part_refuses_to_change(kind, tmp_path):
    OPENED[kind](tmp_path / "part")
    part = kind.open(tmp_path / "part", "r")
    before = content(part)
    with pytest.raises(mmapio.ReadOnlyError, match=f"the {kind.KIND} in .* is open for reading"):
        change(part)
    assert content(part) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_part_says_so_and_gives_its_memory_back(kind, tmp_path):
    with MappedFile.open(tmp_path / "part", "x+", size=1):
        pass
    with OPENED[kind](tmp_path / "part", "w+") as part:
        mapping = part._file.mapping
        change(part)
    part.close()
    for use in (content, change, lambda part: part.lines, lambda part: part.path):
        with pytest.raises(mmapio.ClosedError, match=f"the {kind.KIND} is closed"):
            use(part)
    assert repr(part) == f"<{kind.__name__} closed>"
    gc.collect()
    mapping.close()  # which would be refused if anything still used it
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        part.nonsense  # noqa: B018


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_a_closed_part_keep_the_memory(kind, tmp_path):
    part = OPENED[kind](tmp_path / "part")
    lines = part.lines
    part.close()
    lines[0, 0] = 3
    assert kind.open(tmp_path / "part").lines[0, 0] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_is_as_documented(kind, tmp_path):
    part = OPENED[kind](tmp_path / "part")
    raw = (tmp_path / "part").read_bytes()
    magic, name, lines, zeros = struct.unpack("=8s16sQ32s", raw[:64])
    assert (magic, name.rstrip(b"\0"), lines) == (
        b"mmapio\0\1",
        kind.KIND.encode(),
        len(part.lines),
    )
    assert not any(zeros)
    assert raw[64:70] == b"\x93NUMPY"
    start = part.lines.ctypes.data - part._file.mapping.view().ctypes.data
    assert start % 128 == 0
    assert start + 128 * lines + part.slots.nbytes == len(raw)
    assert part.slots.nbytes == 0 or part.slots.ctypes.data - part.lines.ctypes.data == 128 * lines
    assert part.lines.strides == (128, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_and_every_changed_byte_of_a_header_is_one_clear_error(kind, tmp_path):
    path = tmp_path / "part"
    OPENED[kind](path)
    whole = path.read_bytes()
    header = OPENED[kind](path).lines.ctypes.data - kind.open(path)._file.mapping.view().ctypes.data
    for size in [*range(0, 200, 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(mmapio.FormatError):
            kind.open(path, "r+")
    opened = 0
    for at in range(min(header, 200)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            content(kind.open(path))
            opened += 1  # a byte that means nothing, or another number that fits as well
        except (mmapio.FormatError, mmapio.ArgumentError, mmapio.MisalignedError):
            pass
    assert opened < header // 2


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_is_refused_by_name(kind, tmp_path):
    for other in KINDS:
        OPENED[other](tmp_path / other.__name__)
        if other is not kind:
            with pytest.raises(mmapio.FormatError, match=f"is no {kind.KIND} but a '{other.KIND}'"):
                kind.open(tmp_path / other.__name__)
    mmapio.create(tmp_path / "x.npy", 100, "f8").close()
    with pytest.raises(mmapio.FormatError, match=r"it begins with b'.x93NUMPY"):
        kind.open(tmp_path / "x.npy")
    newer = (tmp_path / kind.__name__).read_bytes().replace(b"mmapio\0\1", b"mmapio\0\2")
    (tmp_path / "newer").write_bytes(newer)
    with pytest.raises(mmapio.FormatError, match="has layout 2; this mmapio knows 1"):
        kind.open(tmp_path / "newer")


def test_a_file_that_is_there_must_be_as_asked_for(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    ShardedCounter.open(paths[0], shards=4)
    SeqLock.open(paths[1], dtype="f8", slots=4)
    RingBuffer.open(paths[2], dtype="f8", capacity=4)
    for wrong in (
        lambda: ShardedCounter.open(paths[0], shards=5),
        lambda: SeqLock.open(paths[1], dtype="f4", slots=4),
        lambda: SeqLock.open(paths[1], dtype="f8", slots=5),
        lambda: RingBuffer.open(paths[2], "r", dtype=("f8", 2), capacity=4),
        lambda: RingBuffer.open(paths[2], dtype="i8", capacity=4),
    ):
        with pytest.raises(mmapio.FormatError, match=r"holds a \w+ of .*, not of "):
            wrong()
    assert len(ShardedCounter.open(paths[0]).lines) == 4
    assert RingBuffer.open(paths[2]).capacity == 4


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: ShardedCounter.open(path, shards=0), mmapio.ArgumentError),
        (lambda path: ShardedCounter.anonymous(-1), mmapio.ArgumentError),
        (lambda path: ShardedCounter.anonymous(1.5), mmapio.ArgumentTypeError),
        (lambda path: SeqLock.anonymous("f8", slots=1), mmapio.ArgumentError),
        (lambda path: SeqLock.anonymous("O"), mmapio.ArgumentError),
        (lambda path: SeqLock.open(path), mmapio.MissingFileError),
        (lambda path: SeqLock.open(path, "x+"), mmapio.ArgumentError),
        (lambda path: RingBuffer.anonymous("f8", 0), mmapio.ArgumentError),
        (lambda path: RingBuffer.anonymous("nonsense", 1), mmapio.ArgumentTypeError),
        (lambda path: RingBuffer.anonymous("f8", 2**62), mmapio.ArgumentError),
        (lambda path: RingBuffer.open(path, dtype="f8"), mmapio.ArgumentError),
        (lambda path: RingBuffer.open(path, capacity=3), mmapio.ArgumentError),
        (lambda path: RingBuffer.open(path), mmapio.MissingFileError),
        (lambda path: Generation.open(path, "nonsense"), mmapio.ArgumentError),
        (lambda path: Generation.open(path.parent), mmapio.DirectoryError),
        (lambda path: RingBuffer(str(path)), mmapio.ArgumentTypeError),
        (lambda path: Generation.at(path, 0), mmapio.ArgumentTypeError),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_no_file(make, error, tmp_path):
    with pytest.raises(error):
        make(tmp_path / "part")
    assert list(tmp_path.iterdir()) == []


def test_names_come_without_numba(run_python: Callable[..., str]) -> None:
    code = "import mmapio, sys; print('numba' in sys.modules, 'ShardedCounter' in dir(mmapio))"
    assert run_python(code).split() == ["False", "True"]


def test_parts_lie_within_a_larger_file(tmp_path: Path) -> None:
    RingBuffer.open(tmp_path / "ring", dtype="i4", capacity=3).push(9)
    data = (tmp_path / "ring").read_bytes()
    (tmp_path / "large").write_bytes(bytes(4096) + data + bytes(100))
    ring = RingBuffer(MappedFile.open(tmp_path / "large", "r+", offset=4096))
    assert (ring.pop(), ring.pop()) == (9, None)


def test_an_open_part_can_be_looked_at_and_a_closed_one_says_what_it_is():
    counter = mmapio.ShardedCounter.anonymous()
    assert {"add", "value", "lines"} <= set(dir(counter))
    assert not hasattr(counter, "nothing of the kind")
    counter.close()
    assert "add" in dir(counter)
    with pytest.raises(mmapio.ClosedError):
        _ = counter.value


@unpinned
@guarded
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["a+", "r"])
def test_methods_that_find_no_bytes_say_so(kind, mode, tmp_path, run_python):
    OPENED[kind](tmp_path / "part")
    part = kind.open(tmp_path / "part", mode)
    part.check()
    run_python(CUT, str(tmp_path / "part"), "0")
    uses = [content, kind.check, lambda part: part.guard().__enter__()]
    if mode != "r":
        uses.append(change)
    for use in uses * 2:
        if (use, kind) == (change, ShardedCounter):
            continue  # which is as fast as it can be, and leaves it to `value`
        with pytest.raises(mmapio.MappingLostError, match=r"bytes 0 to \d+ of the file were lost"):
            use(part)
    assert kind is SeqLock or repr(part) == f"<{kind.__name__} {part.path} lost or damaged>"


@unpinned
@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (ShardedCounter, content),
        (SeqLock, content),
        (SeqLock, change),
        (RingBuffer, change),
        (RingBuffer, lambda ring: ring.push_many(np.zeros(1, RECORD))),
        (Generation, change),
    ],
)
def test_numbers_that_became_zeros_without_a_signal_are_not_believed(
    kind, use, tmp_path, run_python
):
    """They lie in the page in which the file ends now."""
    part = OPENED[kind](tmp_path / "part")
    change(part)
    run_python(CUT, str(tmp_path / "part"), "100")
    with pytest.raises(mmapio.MappingLostError, match="cut the file off"):
        use(part)


@unpinned
@guarded
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_ends_with_the_loss_that_it_has_met(kind, tmp_path, run_python):
    part = OPENED[kind](tmp_path / "part")
    change(part)
    before = content(part)
    saved = (tmp_path / "part").read_bytes()

    def work() -> None:
        with part.guard():
            run_python(CUT, str(tmp_path / "part"), "0")
            part.lines[0, 0] += 1

    with pytest.raises(mmapio.MappingLostError) as caught:
        work()
    assert caught.value.cause == "truncated"
    with open(tmp_path / "part", "r+b") as file:
        file.write(saved)
    assert part.recover() == len(saved) + -len(saved) % 4096
    part.check()
    assert content(part) == before
    with part.guard():
        change(part)


@unpinned
@pytest.mark.parametrize("kind", KINDS)
def test_zeros_behind_a_new_end_are_found_by_check(kind, tmp_path, run_python):
    """The page that holds the end is zeroed without a signal, and so is what grows again."""
    part = OPENED[kind](tmp_path / "part")
    size = (tmp_path / "part").stat().st_size
    run_python(CUT, str(tmp_path / "part"), str(size - 1))
    with pytest.raises(mmapio.MappingLostError, match="cut the file off"):
        part.check()
    for length in (0, size):
        os.truncate(tmp_path / "part", length)
    part.recover()
    with pytest.raises(mmapio.MappingLostError, match="something else grew it again"):
        part.check()
    (tmp_path / "other").write_bytes(b"x" * size)
    with open(tmp_path / "part", "r+b") as file:
        file.write(b"x" * size)
    with pytest.raises(mmapio.FormatError, match=f"the {kind.KIND} in .* was overwritten"):
        part.check()


@unpinned
@pytest.mark.parametrize("kind", KINDS)
def test_another_file_at_the_path_is_found_by_check(kind, tmp_path, run_python):
    part = OPENED[kind](tmp_path / "part")
    change(part)  # a first one would notice
    os.unlink(tmp_path / "part")
    part.check()  # nobody can open another one
    OPENED[kind](tmp_path / "part.new")
    run_python(REPLACE, str(tmp_path / "part"))
    change(part)
    with pytest.raises(mmapio.ReplacedError), part.guard():
        pass
    with pytest.raises(mmapio.ReplacedError):
        part.check()


WAITS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "pop": (RingBuffer, lambda ring: ring.pop(timeout=None)),
    "pop_many": (RingBuffer, lambda ring: ring.pop_many(timeout=None)),
    "push": (RingBuffer, lambda ring: ring.push(np.zeros((), RECORD), timeout=None)),
    "push_many": (RingBuffer, lambda ring: ring.push_many(np.zeros(3, RECORD), timeout=None)),
    "wait_for_change": (Generation, lambda generation: generation.wait_for_change(0)),
}


@unpinned
@pytest.mark.parametrize("what", ["truncated", "replaced"])
@pytest.mark.parametrize("name", WAITS)
def test_who_waits_is_told_that_nothing_will_come(name, what, tmp_path, run_python):
    kind, wait = WAITS[name]
    part = OPENED[kind](tmp_path / "part")
    if name.startswith("push"):
        assert part.push_many(np.zeros(9, RECORD)) == 5
    OPENED[kind](tmp_path / "part.new")
    raised: list[BaseException] = []

    def waits() -> None:
        try:
            wait(part)
        except BaseException as error:
            raised.append(error)

    waiter = threading.Thread(target=waits, daemon=True)
    waiter.start()
    if what == "truncated":
        run_python(CUT, str(tmp_path / "part"), "100")
    else:
        run_python(REPLACE, str(tmp_path / "part"))
    waiter.join(30)
    expected = mmapio.MappingLostError if what == "truncated" else mmapio.ReplacedError
    assert [type(error) for error in raised] == [expected]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_without_a_file_is_always_there(kind):
    part = IN_MEMORY[kind]()
    with part.guard():
        change(part)
    part.check()
    assert part.recover() == 0
    assert part.mapping.path is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_part_checks_nothing(kind, tmp_path):
    part = OPENED[kind](tmp_path / "part")
    assert part.mapping.path == part.path
    part.close()
    for use in (kind.check, kind.guard, kind.recover, kind.__enter__, pickle.dumps):
        with pytest.raises(mmapio.ClosedError, match=f"the {kind.KIND} is closed"):
            use(part)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_meanwhile_is_all_that_other_threads_can_meet(kind, tmp_path):
    errors: list[BaseException] = []

    def use(part: Any) -> None:
        try:
            while True:
                content(part)
                part.check()
                with part.guard():
                    change(part)
                part.recover()
        except mmapio.ClosedError:
            pass
        except BaseException as error:
            errors.append(error)

    for n in range(20):
        part = OPENED[kind](tmp_path / str(n))
        threads = [threading.Thread(target=use, args=(part,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        content(part)
        part.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert [error for error in errors if not isinstance(error, mmapio.FormatError)] == []
    assert not errors or kind is RingBuffer  # which has two producers here


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        (RingBuffer, [3, 4], "of 3 records 4 were taken out"),
        (RingBuffer, [90, 1], "of 90 records 1 were taken out, and it has room for 5"),
        (SeqLock, [-1], "-1 records were written"),
    ],
)
def test_damaged_numbers_are_one_clear_error(kind, numbers, message, tmp_path):
    part = OPENED[kind](tmp_path / "part")
    part.lines[:, 0] = numbers
    for use in (
        lambda: kind.open(tmp_path / "part"),
        lambda: OPENED[kind](tmp_path / "part", "r"),
        part.check,
    ):
        with pytest.raises(mmapio.FormatError, match=message):
            use()
    if kind is RingBuffer:
        for use in (
            lambda: len(part),
            part.pop,
            part.pop_many,
            lambda: part.push(np.zeros((), RECORD)),
            lambda: part.push_many(np.zeros(2, RECORD), timeout=30),
        ):
            with pytest.raises(mmapio.FormatError, match=message):
                use()
        assert repr(part).endswith("lost or damaged>")
        assert part.lines[:, 0].tolist() == numbers


def with_header(kind: type, lines: int, shape: tuple[int, ...], fortran: bool = False) -> bytes:
    """Return a file of a kind whose header tells of so many lines and of such slots."""
    header = struct.pack("=8s16sQ32x", b"mmapio\0\1", kind.KIND.encode(), lines)  # type: ignore[attr-defined]
    text = str({"descr": "<f8", "fortran_order": fortran, "shape": shape}).encode()
    npy = b"\x93NUMPY\1\0" + struct.pack("<H", 117) + text.ljust(116) + b"\n"
    return header + npy + bytes(-len(header + npy) % 128 + 4096)


@pytest.mark.parametrize(
    ("kind", "lines", "shape", "fortran"),
    [
        (RingBuffer, 1, (4,), False),
        (RingBuffer, 3, (4,), False),
        (RingBuffer, 2, (0,), False),
        (RingBuffer, 2, (), False),
        (RingBuffer, 2, (4, 2), True),
        (SeqLock, 2, (4,), False),
        (SeqLock, 1, (1,), False),
        (SeqLock, 1, (0,), False),
        (Generation, 2, (0,), False),
        (ShardedCounter, 0, (0,), False),
    ],
)
def test_a_header_of_what_cannot_work_is_refused(kind, lines, shape, fortran, tmp_path):
    (tmp_path / "part").write_bytes(with_header(kind, lines, shape, fortran))
    with pytest.raises(mmapio.FormatError, match="damaged"):
        kind.open(tmp_path / "part")
    right = {RingBuffer: 2, ShardedCounter: 3}.get(kind, 1)
    (tmp_path / "part").write_bytes(with_header(kind, right, (5,)))
    kind(MappedFile.open(tmp_path / "part")).check()

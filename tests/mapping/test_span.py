"""`Span`: the one place that holds a mapping open, whatever other threads do to it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile

# What each public name is used for in the storm. None is left out, but for a name that makes
# what has nothing to do with a file.
USES = {
    "advise": "m.advise('random', 10, 5000)",
    "anonymous": "",
    "atomic": "m.atomic(64, 'i8').fetch_add(1)",
    "atomic_array": "m.atomic_array(64, 4, 'i8').load(1)",
    "capacity": "m.capacity",
    "check": "m.check()",
    "chunks": "[chunk[0] for chunk in m.chunks(5000)]",
    "close": "m.close(); reopen()",
    "closed": "m.closed",
    "detach": "os.close(m.detach()); reopen()",
    "fileno": "os.fstat(m.fileno())",
    "flush": "m.flush(10, 5000, wait=False)",
    "flush_policy": "m.flush_policy",
    "from_fd": "MappedFile.from_fd(m.fileno()).read(0, 1)",
    "guard": "exec('with m.guard(): m.view()[:10].sum()')",
    "guarded": "m.guarded",
    "is_hugepage_backed": "m.is_hugepage_backed()",
    "lock": "m.lock(0, 5000)",
    "mark_dirty": "m.mark_dirty(0, 100)",
    "mode": "m.mode",
    "offset": "m.offset",
    "open": "MappedFile.open(path, 'r+').view(0, 5)[:] = 1",
    "pages": "[page[0] for page in m.pages()]",
    "path": "m.path",
    "pending_bytes": "m.pending_bytes",
    "pending_writes": "m.pending_writes",
    "prefetch": "m.prefetch(10, 5000)",
    "punch_hole": "m.punch_hole(10, 5000)",
    "read": "m.read(10, 5000)",
    "read_into": "m.read_into(10, bytearray(5000))",
    "reader": "m.reader().readall()",
    "recover": "m.recover()",
    "release": "m.release(); m.release(10, 5000, evict=True)",
    "residency": "m.residency()",
    "resize": "m.resize(sizes(), force=True); m.resize(sizes())",
    "segment": "m.segment(10, 5000).write(5, b'xyz')",
    "size": "len(m), m.size",
    "touch_pages": "m.touch_pages()",
    "unlock": "m.unlock()",
    "view": "m.view(10, 5000)[::100].sum()",
    "watch": "m.watch(print).stop(wait=False)",
    "write": "m.write(10, bytes(5000))",
}
# These hold arrays themselves, so that closing and resizing may be refused.
HOLDING = {"atomic", "atomic_array", "chunks", "guard", "pages", "view"}
USED = [name for name, code in USES.items() if code]

STORM = """if True:
    import faulthandler, itertools, os, sys, threading, time, warnings
    import numpy as np
    import mmapio
    from mmapio import MappedFile
    faulthandler.dump_traceback_later(100, exit=True)
    sys.setswitchinterval(1e-5)
    path, seconds, *uses = sys.argv[1:]
    (first, holds_first), *others = [(use[1:], use[0] == "+") for use in uses]
    sizes = itertools.cycle([1 << 16, 1 << 12, 3 << 16, 10_000, 1 << 14]).__next__

    def reopen():
        global m
        m = MappedFile.open(path, "r+", capacity=1 << 17)
        if m.size < 1 << 12:
            m.resize(1 << 14)

    def storm(code, wrong):
        run = compile(code, code, "exec")
        while not done:
            try:
                exec(run, globals())
            except mmapio.InUseError as error:
                if not holds:
                    wrong.append(f"{code}: {error}")
                    return
            except mmapio.MmapioError:
                pass
            except BaseException as error:
                wrong.append(f"{code}: {error!r}")
                return

    open(path, "wb").write(bytes(1 << 14))
    for other, holds_other in others:
        holds = holds_first or holds_other
        reopen()
        done, wrong = [], []
        threads = [threading.Thread(target=storm, args=(code, wrong)) for code in (first, other)]
        for thread in threads:
            thread.start()
        time.sleep(float(seconds))
        done.append(1)
        for thread in threads:
            thread.join()
        assert not wrong, wrong
    print("alive")
"""


def test_no_public_name_is_left_out() -> None:
    public = {name for name in dir(MappedFile) if not name.startswith("_")}
    assert public == USES.keys()


@pytest.mark.parametrize("first", USED)
def test_pairs_of_methods_in_two_threads(
    first: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_python: Callable[..., str],
    scale: float,
) -> None:
    """Each with itself, and with all that come after it.

    Nothing crashes or hangs, there is no foreign error, and nothing is in use without an array.
    """
    uses = ["-+"[name in HOLDING] + USES[name] for name in [first, *USED[USED.index(first) :]]]
    path = tmp_path_factory.mktemp("storm") / "file"
    assert run_python(STORM, str(path), str(0.03 * scale), *uses) == "alive\n"


def test_release_against_resize(
    tmp_path_factory: pytest.TempPathFactory, run_python: Callable[..., str], scale: float
) -> None:
    """With the place of before and the size of after, it gave up pages that are another's."""
    path = tmp_path_factory.mktemp("storm") / "file"
    resize = "m.resize(1 << 12); m.resize(1 << 24)"
    assert run_python(STORM, str(path), str(5 * scale), "-m.release()", "-" + resize) == "alive\n"


def test_an_interrupt_leaves_no_lock(run_python: Callable[..., str], scale: float) -> None:
    """It may come between any two instructions of the call that holds the mapping."""
    code = """if True:
        import signal, sys, threading, time
        import mmapio

        class Stop(Exception): pass

        def stop(*what): raise Stop

        def is_free():
            found = []
            def look():
                found.append(m._source.lock.acquire(timeout=5))
                if found[0]:
                    m._source.lock.release()
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            return found[0] and not m._source.busy

        signal.signal(signal.SIGALRM, stop)
        m = mmapio.MappedFile.anonymous(4096)
        end, count = time.monotonic() + float(sys.argv[1]), 0
        uses = [lambda: m.unlock(0, 0), lambda: m.read(0, 9), lambda: m.write(0, b"x"), m.flush]
        while time.monotonic() < end:
            use = uses[count % len(uses)]
            count += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 3e-4 + count % 50 * 1e-6)
                while True:
                    use()
            except Stop:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert is_free(), use
        m.resize(10)
        print("free")
    """
    assert run_python(code, str(3 * scale)) == "free\n"


def test_a_handler_may_use_what_it_interrupts(run_python: Callable[..., str], scale: float) -> None:
    """While another thread resizes, and waits for the call that the handler has interrupted."""
    code = """if True:
        import faulthandler, signal, sys, threading, time
        import mmapio
        faulthandler.dump_traceback_later(100, exit=True)
        m = mmapio.MappedFile.anonymous(1 << 12, capacity=1 << 24)

        def handle(*what):
            m.check()
            m.read(0, 10)

        def resize():
            while not done:
                for size in (1 << 12, 1 << 16):
                    try:
                        m.resize(size)
                    except mmapio.InUseError:  # by the call that was interrupted
                        pass

        done = []
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
        thread = threading.Thread(target=resize)
        thread.start()
        end = time.monotonic() + float(sys.argv[1])
        while time.monotonic() < end:
            m.write(0, bytes(4096))
        done.append(1)
        thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("alive")
    """
    assert run_python(code, str(2 * scale)) == "alive\n"


@pytest.mark.parametrize("wrong", ["no", 1, None, np.zeros(2)])
def test_flags_are_true_or_false(wrong: Any) -> None:
    m = MappedFile.anonymous(100)
    for call in (
        lambda: m.flush(wait=wrong),
        lambda: m.release(evict=wrong),
        lambda: m.lock(force=wrong),
        lambda: m.advise("normal", force=wrong),
        lambda: m.touch_pages(write=wrong),
        lambda: m.touch_pages(force=wrong),
        lambda: m.resize(100, force=wrong),
        lambda: m.close(force=wrong),
        lambda: m.chunks(10, copy=wrong),
        lambda: m.lock(progress="no function"),
    ):
        with pytest.raises(mmapio.ArgumentTypeError, match="must be"):
            call()

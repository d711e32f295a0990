"""`Span`: the one place that holds a mapping open, whatever other threads do to it meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
    "resize": "m.resize(sizes(), force=True)",
    "segment": "m.segment(10, 5000).write(5, b'xyz')",
    "size": "len(m), m.size",
    "touch_pages": "m.touch_pages()",
    "unlock": "m.unlock()",
    "view": "m.view(10, 5000)[::100].sum()",
    "watch": "m.watch(print).stop(wait=False)",
    "write": "m.write(10, bytes(5000))",
}
USED = [name for name, code in USES.items() if code]

STORM = """if True:
    import faulthandler, itertools, os, sys, threading, time, warnings
    import numpy as np
    import mmapio
    from mmapio import MappedFile
    faulthandler.dump_traceback_later(100, exit=True)
    sys.setswitchinterval(1e-5)
    path, seconds, first, *others = sys.argv[1:]
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
            except mmapio.MmapioError:
                pass
            except BaseException as error:
                wrong.append(f"{code}: {error!r}")
                return

    open(path, "wb").write(bytes(1 << 14))
    for other in others:
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
    """Each with itself, and with all that come after it: no crash, no hang, no foreign error."""
    others = [USES[name] for name in USED[USED.index(first) :]]
    path = tmp_path_factory.mktemp("storm") / "file"
    assert run_python(STORM, str(path), str(0.03 * scale), USES[first], *others) == "alive\n"


def test_release_against_resize(
    tmp_path_factory: pytest.TempPathFactory, run_python: Callable[..., str], scale: float
) -> None:
    """With the place of before and the size of after, it gave up pages that are another's."""
    path = tmp_path_factory.mktemp("storm") / "file"
    resize = "m.resize(1 << 12); m.resize(1 << 24, force=True)"
    assert run_python(STORM, str(path), str(5 * scale), "m.release()", resize) == "alive\n"

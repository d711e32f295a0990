"""Forks while other threads are at work: a child hangs on no lock that they held.

The first half finds, in the source, locks and threads that are not made anew in a child. The
second half forks for real.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mmapio
from mmapio import _forking

FOLDER = Path(__file__).parents[1] / "mmapio"
THREADING = {
    *("Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"),
    *("Thread", "Timer", "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"),
    *("ThreadPoolExecutor", "allocate_lock"),
}
MODULES = {"threading", "queue", "_thread", "multiprocessing", "concurrent.futures"}

# Where nothing has to be made anew: the class or function, and the reason.
SHORT_LIVED = {
    "_forking._renew_compilers": "renews locks of others",
    "aio.waiting._Call": "lives for one call, and is never waited for",
    "files.watch.Watch": "a child has no watch: its `active` is False there",
    "mapping.page_advice._start_reading": "not waited for, and not noted as running",
}


def made_of_threading(node: ast.AST) -> bool:
    """Return True for a call that makes a lock, an event, a queue or a thread."""
    if not isinstance(node, ast.Call):
        return False
    module, _, name = ast.unparse(node.func).rpartition(".")
    return name in THREADING and (module in MODULES or not module)


def called_names(tree: ast.AST) -> set[str]:
    """Return the names of all that is called."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def stored(tree: ast.AST) -> set[str]:
    """Return the attributes and variables that what is made of threading is assigned to."""
    names = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value is not None
            and any(map(made_of_threading, ast.walk(node.value)))
        ):
            names |= assigned(node)
    return names


def assigned(node: ast.Assign | ast.AnnAssign) -> set[str]:
    """Return what is assigned to."""
    return set(map(ast.unparse, node.targets if isinstance(node, ast.Assign) else [node.target]))


def registered_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Return the functions of a module that are called in every child."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).endswith("renew_with") for each in node.decorator_list)
    ]


def is_registered(tree: ast.Module, kind: ast.ClassDef) -> bool:
    """Return True if all instances of a class, or the only one, are renewed in every child."""
    if any(name.endswith("renew_in_child") for name in called_names(kind)):
        return True
    only = [
        ast.unparse(node.targets[0])
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == f"{kind.name}()"
    ]
    calls = {ast.unparse(node) for node in tree.body if isinstance(node, ast.Expr)}
    return any(
        call.endswith((f"renew_in_child({name})", f"renew_with({name}.renew)"))
        for name in only
        for call in calls
    )


def breaches_of_class(tree: ast.Module, kind: ast.ClassDef) -> Iterator[str]:
    if any(kind.name in called_names(each) for each in registered_functions(tree)):
        return  # made anew as a whole
    renew = [
        node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == "renew"
    ]
    if not renew:
        yield "has no method `renew`"
    elif not is_registered(tree, kind):
        yield "is not registered with _forking"
    else:
        lasting = {name for name in stored(kind) if name.startswith("self.")}
        renewed: set[str] = set().union(
            *(
                assigned(node)
                for node in ast.walk(renew[0])
                if isinstance(node, ast.Assign | ast.AnnAssign)
            )
        )
        yield from (f"does not renew {name}" for name in sorted(lasting - renewed))


def breaches(tree: ast.Module) -> list[tuple[str, str]]:
    """Return the top-level classes and functions with locks or threads that a child keeps."""
    found = []
    renewed = registered_functions(tree)
    for node in tree.body:
        if not any(map(made_of_threading, ast.walk(node))) or node in renewed:
            continue
        if isinstance(node, ast.ClassDef):
            found += [(node.name, breach) for breach in breaches_of_class(tree, node)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, "is not registered with _forking.renew_with"))
        else:
            names = stored(node)
            if not any(names & stored(each) for each in renewed):
                found.append((", ".join(sorted(names)), "is not renewed in a child"))
    return found


def all_breaches() -> dict[str, str]:
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        module = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        for name, breach in breaches(ast.parse(path.read_text("utf-8"))):
            found[f"{module}.{name}"] = breach
    return found


def test_what_a_child_must_have_anew_is_registered() -> None:
    found = all_breaches()
    assert {name: breach for name, breach in found.items() if name not in SHORT_LIVED} == {}
    assert sorted(SHORT_LIVED.keys() - found) == []  # nothing is excused in vain


GOOD = """
import threading
class Ledger:
    def __init__(self):
        self.renew()
        _forking.renew_in_child(self)
    def renew(self):
        self._lock = threading.Lock()
    def start(self):
        threading.Thread(target=print).start()
_lock = threading.Lock()
@_forking.renew_with
def _start_afresh():
    global _lock
    _lock = threading.Lock()
"""


@pytest.mark.parametrize(
    ("old", "new", "breach"),
    [
        ("", "", None),
        ("        _forking.renew_in_child(self)\n", "", "Ledger is not registered"),
        ("def renew(", "def refresh(", "Ledger has no method `renew`"),
        ("self.renew()", "self._news = threading.Event()", "Ledger does not renew self._news"),
        ("self.renew()", "self._jobs = queue.Queue()", "Ledger does not renew self._jobs"),
        ("_start_afresh():", "_start_afresh():\n    return\ndef _other():", "_other is not"),
        ("@_forking.renew_with\n", "", "_lock is not renewed in a child"),
        (
            "class Ledger:",
            "class Ledger:\n    lock = RLock()\nclass Other:",
            "Ledger has no method",
        ),
    ],
)
def test_the_rule_can_fail(old: str, new: str, breach: str | None) -> None:
    found = [f"{name} {text}" for name, text in breaches(ast.parse(GOOD.replace(old, new)))]
    assert found == [] if breach is None else any(breach in text for text in found)


class Renewable:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.renewed = 0

    def renew(self) -> None:
        self.renewed += 1
        if self.error is not None:
            raise self.error


def test_one_that_cannot_be_renewed_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr("sys.excepthook", lambda *error: told.append(error[1]))
    monkeypatch.setattr(_forking, "_functions", [])
    error = OSError("cannot be closed")
    things = [Renewable(error), Renewable(), Renewable(error), Renewable()]
    monkeypatch.setattr(_forking, "_objects", set())
    for thing in things:
        _forking.renew_in_child(thing)
    _forking._renew()
    assert [thing.renewed for thing in things] == [1, 1, 1, 1]
    assert told == [error, error]


def test_what_is_gone_is_listed_no_more_and_no_code_of_python_runs_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In such code, a Ctrl-C that comes would be lost."""
    monkeypatch.setattr(_forking, "_objects", set())
    thing, ran = Renewable(), list[str]()
    _forking.renew_in_child(thing)
    assert len(_forking._objects) == 1
    sys.setprofile(lambda frame, event, argument: ran.append(event))
    del thing
    sys.setprofile(None)
    assert "call" not in ran
    assert not _forking._objects


# Real forks --------------------------------------------------------------------------------------

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

HELD = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import mmapio
array = mmapio.create(sys.argv[1], 100)
handle = mmapio.MappedFile.open(sys.argv[1])
closed = mmapio.MappedFile.open(sys.argv[1])
closed.close()
held, done = threading.Barrier(2), threading.Event()
def hold():
    with array.mapping._source.lock, handle._source.lock, closed._source.lock:
        held.wait()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    array.advise("random")
    handle.advise("random")
    try:
        closed.check()
    except mmapio.ClosedError:
        os._exit(7)
done.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@forking
def test_a_child_waits_for_no_lock_of_a_mapping(
    run_python: Callable[..., str], tmp_path: Path
) -> None:
    assert run_python(HELD, str(tmp_path / "a.npy")).split() == ["7"]


HAMMER = """
import asyncio, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads: that is what is tested
import numpy as np
import mmapio
sys.setswitchinterval(1e-5)
{prepare}
def use():
    {use}
use()
def hammer():
    while True:
        use()
for _ in range(2):
    threading.Thread(target=hammer, daemon=True).start()
time.sleep(0.05)
ended = []
for _ in range({forks}):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            for _ in range(5):
                {child}
            code = 0
        finally:
            os._exit(code)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if ended[-1]:
        break
print(ended, flush=True)
os._exit(0)
"""

OBJECTS = {
    "Generation": ("g = mmapio.Generation.anonymous()", "g.bump(); g.wait_for_change(-5)", None),
    "Generation.changed": (
        "g = mmapio.Generation.anonymous()\n"
        "async def wait(): return await asyncio.wait_for(g.changed(g.value), 9)\n"
        "def bump():\n"
        "    while True: time.sleep(0.001); g.bump()\n"
        "threading.Thread(target=bump, daemon=True).start()",
        "asyncio.run(wait())",
        None,
    ),
    "RingBuffer": (
        "r = mmapio.RingBuffer.anonymous('i8', 8)\n"
        "def push_and_pop():\n"
        "    try: r.push(1); r.pop(); r.push_many([1, 2]); r.pop_many()\n"
        "    except mmapio.FormatError: pass  # it is not made for so many at once\n",
        "push_and_pop()",
        None,
    ),
    "RingBuffer.check": (
        "r = mmapio.RingBuffer.open('k.ring', dtype='i8', capacity=8)\n"
        "def guarded():\n"
        "    with r.guard(): len(r)\n",
        "r.check(); guarded(); r.pop(timeout=1e-5); r.recover()",
        None,
    ),
    "SeqLock": ("s = mmapio.SeqLock.anonymous('i8')", "s.write(1); s.read()", None),
    "ShardedCounter": ("c = mmapio.ShardedCounter.anonymous()", "c.add(1); c.value", None),
    "MappedFile": (
        "m = mmapio.MappedFile.open('m.bin', 'w+', size=1 << 16)\n"
        "def work():\n"
        "    size = 1 << (16 + time.monotonic_ns() % 2)\n"
        "    try: m.check(); m.flush(0, 9, wait=False); m.residency(0, 9); m.resize(size, True)\n"
        "    except mmapio.MmapioError: pass  # another process resizes the same file\n",
        "work()",
        None,
    ),
    "MappedFile.flush": (
        "m = mmapio.MappedFile.open('n.bin', 'w+', size=1 << 16)",
        "m.write(0, b'x'); m.flush()",
        None,
    ),
    "MappedArray.guard": (
        "a = mmapio.create('g.npy', 1000)\ndef guarded():\n    with a.guard(): a.sum()\n",
        "guarded(); a.advise('random'); a.mapping.view()",
        None,
    ),
    "GrowableArray.append": (
        "g = mmapio.GrowableArray.open('w.npy', 'w+', dtype='i8')\n"
        "def append():\n"
        "    try: g.append(1)\n"
        "    except mmapio.ReadOnlyError: pass  # it is the parent's\n",
        "append(); g.shape; g.closed",
        None,
    ),
    "GrowableArray.commit": (
        "g = mmapio.GrowableArray.open('c.npy', 'w+', dtype='i8')",
        "g.append(1); g.commit(durable=False)",
        "len(g); g.refresh(); mmapio.GrowableArray.open('c.npy').refresh()",
    ),
    "GrowableArray.refresh": (
        "w = mmapio.GrowableArray.open('r.npy', 'w+', dtype='i8')\n"
        "w.append(1); w.commit()\n"
        "g = mmapio.GrowableArray.open('r.npy')",
        "g.refresh(); len(g); g.array",
        None,
    ),
    "GrowableArray.wait": (
        "w = mmapio.GrowableArray.open('v.npy', 'w+', dtype='i8')\n"
        "w.append(1); w.commit()\n"
        "g = mmapio.GrowableArray.open('v.npy')",
        "g.wait(timeout=1e-5); g.check(); g.recover()",
        None,
    ),
    "FlushPolicy.every_millis": (
        "policy = mmapio.FlushPolicy.every_millis(1)\n"
        "m = mmapio.MappedFile.open('f.bin', 'w+', size=4096, flush_policy=policy)\n"
        "def open_one():\n"
        "    name = f'{threading.get_ident()}.bin'\n"
        "    mmapio.MappedFile.open(name, 'w+', size=9, flush_policy=policy).close()",
        "m.write(0, b'x'); m.pending_bytes; open_one()",
        None,
    ),
    "aio.watch": (
        "m = mmapio.MappedFile.open('a.bin', 'w+', size=4096)\n"
        "changes = mmapio.aio.watch(m, debounce_ms=1)\n"
        "async def next_one():\n"
        "    async for change in changes: return change",
        "os.utime('a.bin'); time.sleep(0.001)",
        "asyncio.run(next_one()); changes.stop()",
    ),
    "aio.flush": (
        "m = mmapio.MappedFile.open('i.bin', 'w+', size=4096)\n"
        "async def flush(): m.write(0, b'x'); await mmapio.aio.flush(m)",
        "asyncio.run(flush())",
        None,
    ),
    "a closed MappedFile": (
        "m = mmapio.MappedFile.open('l.bin', 'w+', size=4096)\n"
        "m.close()\n"
        "def check():\n"
        "    try: m.check()\n"
        "    except mmapio.ClosedError: m.close()",
        "check()",
        None,
    ),
    "pages": (
        "m = mmapio.MappedFile.open('p.bin', 'w+', size=1 << 16)",
        "m.lock(); m.unlock(); m.advise('random'); m.prefetch(); m.release(); m.recover()",
        None,
    ),
    "GrowableArray.open": (
        "def open_one():\n"
        "    name = f'{os.getpid()}-{threading.get_ident()}.npy'\n"
        "    g = mmapio.GrowableArray.open(name, 'w+', dtype='i8')\n"
        "    g.append(1); g.truncate(0); g.close()",
        "open_one()",
        None,
    ),
    "files": (
        "a = np.ones(100); a.tofile('o.raw')\n"
        "def work():\n"
        "    name = f'{os.getpid()}-{threading.get_ident()}.npy'\n"
        "    mmapio.save(name, a); mmapio.copy(name, f'copy-{name}')\n"
        "    mmapio.to_npy('o.raw', f'new-{name}', dtype='f8', overwrite=True)\n"
        "    mmapio.open(name)[0]",
        "work()",
        None,
    ),
    "MappedFile.watch": (
        "m = mmapio.MappedFile.open('t.bin', 'w+', size=4096)\n"
        "watch = m.watch(lambda change: None, debounce_ms=1)",
        "os.utime('t.bin'); watch.active; time.sleep(0.001)",
        "watch.stop(); watch.active",
    ),
    "kernels": (
        "from mmapio import kernels\n"
        "a = np.ones((1000, 10))\n"
        "m = mmapio.MappedFile.open('q.bin', 'w+', size=1 << 20)",
        "kernels.sum(a, threads=3); kernels.describe(a, threads=3); m.touch_pages(threads=3)",
        None,
    ),
    "kernels of users": (
        "import numba\n"
        "from mmapio import kernels\n"
        "a = np.ones(100_000)\n"
        "out = np.empty_like(a)\n"
        "@numba.njit\n"
        "def negative(chunk): return -chunk\n"
        "@numba.njit\n"
        "def first(chunk): return chunk[0]\n"
        "@numba.njit\n"
        "def add(x, y): return x + y",
        "kernels.map_chunks(a, negative, out, chunk=1000, threads=3); "
        "kernels.reduce_chunks(a, first, add, 0.0, chunk=1000, threads=3)",
        None,
    ),
}


@forking
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", OBJECTS)
def test_no_child_hangs(
    name: str,
    run_python: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: float,
) -> None:
    prepare, use, child = OBJECTS[name]
    monkeypatch.chdir(tmp_path)
    forks = max(1, round(20 * scale))
    code = HAMMER.format(prepare=prepare, use=use, child=child or use, forks=forks)
    assert run_python(code).strip() == str([0] * forks)


# What is imported and compiled on first use.
FIRST_USES = {
    "a kernel": "mmapio.kernels.sum(np.ones(10))",
    "a cell": "m.atomic(0, 'i8').load()",
    "aio": "importlib.import_module('mmapio.aio')",
    "numba": "importlib.import_module('numba').njit(lambda x: x + 1)(3)",
}


@forking
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FIRST_USES)
def test_a_child_may_import_what_a_thread_of_its_parent_was_importing(
    name: str, run_python: Callable[..., str]
) -> None:
    use = FIRST_USES[name]
    code = f"""if True:
        import importlib, os, signal, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np
        import mmapio
        m = mmapio.MappedFile.anonymous(1 << 16)
        threading.Thread(target=lambda: {use}, daemon=True).start()
        pids = []
        for pause_s in (0, 0.01, 0.01):  # while it imports, not while numba compiles
            time.sleep(pause_s)
            pid = os.fork()
            if pid == 0:
                signal.alarm(50)
                code = 1
                try:
                    {use}
                    code = 0
                finally:
                    os._exit(code)
            pids.append(pid)
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(set(ended), flush=True)
        os._exit(0)
    """
    assert run_python(code) == "{0}\n"


@forking
def test_a_child_that_a_handler_forks_within_a_kernel_is_told_that_its_threads_are_gone(
    run_python: Callable[..., str],
) -> None:
    code = """if True:
        import os, signal, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import mmapio
        from mmapio.kernels.engine.threads import run_chunks
        helping, forked = threading.Event(), threading.Event()
        parent = os.getpid()
        def body(chunk, worker):
            if worker:
                helping.set()
                forked.wait()
            elif not forked.is_set():
                helping.wait()
                pid = os.fork()
                if not pid:
                    signal.alarm(20)
                    return
                forked.set()
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        try:
            run_chunks(3, body, threads=2)
        except mmapio.UnsupportedError:
            os._exit(5 if os.getpid() != parent else 1)
        os._exit(2) if os.getpid() != parent else print("done", flush=True)
    """
    assert run_python(code).split() == ["5", "done"]


@forking
def test_a_copy_of_its_descriptor_in_a_child_keeps_no_file_locked(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.npy"
    g = mmapio.GrowableArray.open(path, "w+", dtype="i8")
    copy = os.dup(g._file.fd)  # as a child has it that has not come to close it, or to `exec`
    try:
        g.close()
        mmapio.GrowableArray.open(path, "r+").close()
    finally:
        os.close(copy)


@forking
def test_a_child_of_a_process_that_awaits_a_change_is_woken_itself(
    run_python: Callable[..., str],
) -> None:
    code = """
import asyncio, os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads: that is what is tested
import mmapio
g = mmapio.Generation.anonymous()
threading.Thread(target=lambda: asyncio.run(g.changed(0)), daemon=True).start()
time.sleep(0.3)
if os.fork() == 0:
    print(asyncio.run(asyncio.wait_for(g.changed(0), 10)), flush=True)
    os._exit(0)
time.sleep(0.3)
g.bump()
os.wait()
"""
    assert run_python(code).split() == ["1"]

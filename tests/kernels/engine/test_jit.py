"""The cache of compiled code: it may cost time, and nothing else."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio import kernels
from mmapio.kernels.engine import jit
from mmapio.kernels.engine.jit import KERNELS, _CacheFile

SCAN = """
import numpy as np
from mmapio import kernels
print(kernels.byte_counts(np.frombuffer(b"abracadabra", "u1"))[97])
"""
PACKAGE = os.path.dirname(mmapio.__file__)
TOUCH = """
import numpy as np
from mmapio.kernels import touch
touch.touch_pages(np.zeros(100_000, "u1"))
print(sum(touch._touch_reading.stats.cache_hits.values()))
"""
HITS = """
from mmapio.kernels.statistics import counts
print(sum(counts._add_words.stats.cache_hits.values()))
"""


def test_a_folder_that_can_be_written_saves_time(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    assert run_python(SCAN + HITS, NUMBA_CACHE_DIR=str(tmp_path)) == "5\n0\n"
    assert run_python(SCAN + HITS, NUMBA_CACHE_DIR=str(tmp_path)) == "5\n1\n"


@pytest.mark.parametrize("kind", ["under a file", "refused by the kernel"])
def test_a_folder_that_cannot_be_made_costs_time_only(
    kind: str, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """Numba's own cache raises here, once no other folder is left either."""
    (tmp_path / "file").write_text("")
    blocked = str(tmp_path / "file" / "cache") if kind == "under a file" else "/proc/1/cache"
    found = run_python(
        SCAN + HITS, NUMBA_CACHE_DIR=blocked, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator"
    )
    assert found == "5\n0\n"


def test_a_folder_that_goes_away_costs_time_only(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """It is there at import, and a file in its place at the first call."""
    code = f"""
        import pathlib, shutil
        import mmapio.kernels
        folder = pathlib.Path({str(tmp_path / "cache")!r})
        assert folder.is_dir()
        shutil.rmtree(folder)
        folder.write_text("")
    """
    code = textwrap.dedent(code) + SCAN
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == "5\n"


def test_a_torn_cache_file_costs_time_only(tmp_path: Path, run_python: Callable[..., str]) -> None:
    run_python(SCAN, NUMBA_CACHE_DIR=str(tmp_path))
    garbage, number = b"\x80\x05garbage", pickle.dumps(3)
    for suffix, content in (("nbi", b""), ("nbi", garbage), ("nbc", b""), ("nbc", number)):
        files = list(tmp_path.rglob(f"*_add_words*.{suffix}"))
        assert files
        for file in files:
            file.write_bytes(content)
        assert run_python(SCAN + HITS, NUMBA_CACHE_DIR=str(tmp_path)) == "5\n0\n"
    assert run_python(SCAN + HITS, NUMBA_CACHE_DIR=str(tmp_path)) == "5\n1\n"


def test_no_reader_ever_gets_the_code_of_another(tmp_path: Path) -> None:
    """One process saves in the middle of another's save, over what an older version left.

    Numba's own file fails here: it numbers its files, and writes the index before the data.
    """
    right = {"f4": "code of f4", "f8": "code of f8"}
    stale, first, second, reader = (
        _CacheFile(str(tmp_path), "kernel", stamp) for stamp in ("old", "new", "new", "new")
    )
    stale.save("f8", "old code of f8")
    load, save_index, save_data = first._load_index, first._save_index, first._save_data

    def check() -> None:
        for key, code in right.items():
            assert reader.load(key) in (None, code)

    def load_and_be_overtaken() -> dict[object, str]:
        index: dict[object, str] = load()
        second.save("f4", right["f4"])
        return index

    first._load_index = load_and_be_overtaken
    first._save_index = lambda index: (save_index(index), check())
    first._save_data = lambda name, data: (save_data(name, data), check())
    first.save("f8", right["f8"])
    check()
    assert reader.load("f8") == right["f8"]


def test_processes_may_compile_at_once(tmp_path: Path) -> None:
    code = """
        import sys, time, numpy as np
        from mmapio import kernels
        a = np.arange(1, 1000).astype(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        print(kernels.sum(a))
    """
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(mmapio.__file__).parents[1]),
    }
    for _ in range(2):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code), dtype],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for dtype in ("f4", "f8", "f4", "f8")
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        answers = [float(process.communicate("go\n")[0]) for process in processes]
        assert answers == [499_500.0] * 4
    assert len(list(tmp_path.rglob("*split_sum*.nbc"))) == 2


def test_kernels_of_two_processes_keep_their_own_parts(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """Each part is the first that its process compiles, and a helper made both."""
    (tmp_path / "two_kernels.py").write_text(
        textwrap.dedent("""
            import math, numba
            from mmapio.kernels.engine.jit import inside, jit

            def plus(x): return x + 1
            def minus(x): return x - 1

            def define(function, step):
                def large(x):  # so large that it stays a function
                    for _ in range(x):
                        y = math.sin(math.cos(math.sin(math.cos(math.sin(math.cos(x))))))
                        y = math.sin(math.cos(math.sin(math.cos(math.sin(math.cos(y))))))
                        y = math.sin(math.cos(math.sin(math.cos(math.sin(math.cos(y))))))
                        x += step if abs(y) < 2 else math.sin(math.cos(math.sin(y))) > 0
                    return x
                inside(function)(lambda x: large)

            define(plus, 1)
            define(minus, -1)

            @jit(lambda: [(numba.int64,)])
            def more(x): return plus(x)

            @jit(lambda: [(numba.int64,)])
            def less(x): return minus(x)
        """)
    )

    def run(calls: str) -> str:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport two_kernels as two\n"
        return run_python(code + f"print({calls})", NUMBA_CACHE_DIR=str(tmp_path / "cache"))

    assert run("two.more(5)") == "10\n"
    assert run("two.less(5)") == "0\n"
    assert run("two.more(5), two.less(5)") == "10 0\n"


def test_an_edit_of_any_source_that_is_compiled_in_makes_the_cache_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_python: Callable[..., str]
) -> None:
    """Numba's own stamp covers the file of the kernel, and not those that it takes parts from."""
    package = tmp_path / "mmapio"
    monkeypatch.chdir(tmp_path)  # it comes first in the search for modules
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))

    def hits() -> str:
        return run_python(TOUCH, NUMBA_CACHE_DIR=str(tmp_path), PYTHONPATH=str(tmp_path))

    assert hits() == "0\n"
    for edited in ("atomics/_ir.py", "kernels/engine/jit.py", "kernels/rows/copying.py"):
        with open(package / edited, "a") as file:
            file.write("# edited\n")
        assert hits() == "0\n", edited
    with open(package / "errors.py", "a") as file:
        file.write("# edited\n")
    assert hits() == "1\n"


@pytest.mark.timeout(600)
def test_everything_can_be_compiled_ahead() -> None:
    """`compile_all` names all that is ever compiled, whatever the types of arrays."""
    assert kernels.compile_all() > 100
    for dtype in (*map(np.dtype, "efd?bhilBHIL"), *map(np.dtype, (">f4", ">f8", ">i4", ">u8"))):
        a = np.ones((3, 2), dtype)
        for function in (kernels.sum, kernels.mean, kernels.var, kernels.minmax):
            for axis in (None, 0):
                function(a, axis)
        for function in (kernels.describe, kernels.argmin, kernels.count_nonzero):
            function(a)
        for bins in (10, [0, 1, 2], np.array([0, 2], "u8")):
            kernels.histogram(a, bins)
        assert kernels.find_all(a, 1).size == 6
        assert kernels.find(a, 1) == 0
        kernels.checksum(np.resize(a, 5000))
    kernels.byte_counts(np.zeros(3, "u1"))
    kernels.find(np.zeros(3, "u1"), b"ab")
    for dispatcher, signatures in KERNELS:
        # Not those of users, nor of the examples in docstrings, which may have run before.
        if dispatcher.py_func.__code__.co_filename.startswith(PACKAGE):
            assert {*dispatcher.signatures} <= {*signatures()}, dispatcher


def test_ctrl_c_ends_a_compilation_after_it_is_done() -> None:
    """In the midst of it, a function that LLVM calls would swallow it."""
    done = []

    @jit.uninterrupted
    def compile_(what: str) -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(what)

    with pytest.raises(KeyboardInterrupt):
        compile_("whole")
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    thread = threading.Thread(target=jit.uninterrupted(done.append), args=("in a thread",))
    thread.start()
    thread.join()
    assert done == ["whole", "in a thread"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
def test_kernels_are_compiled_without_interruption(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """Ctrl-C at every stage of the first calls: it is never lost, nor turned into another error."""
    code = """if True:
        import signal
        import numpy as np
        from mmapio import kernels

        def press(number, frame):
            raise KeyboardInterrupt

        a, ended = np.arange(9), 0
        signal.signal(signal.SIGINT, press)
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        for delay in np.linspace(0.01, 0.6, 12):
            signal.setitimer(signal.ITIMER_REAL, delay)
            try:
                for function in (kernels.sum, kernels.minmax, kernels.find_all, kernels.var):
                    function(a, *([3] if function is kernels.find_all else []))
                signal.pause()
            except KeyboardInterrupt:
                ended += 1
        print(ended, kernels.sum(a))
    """
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "12 36\n"


def test_the_registry_knows_every_kernel() -> None:
    assert all(hasattr(kernels, name) for name in kernels.__all__)  # imports all of them
    names = {kernel.dispatcher.__name__ for kernel in KERNELS}
    assert {"describe_floats", "_add_words", "int_sum", "moments", "find_match"} <= names
    assert {"sum_int_columns", "find_pattern", "count_even", "_fold_blocks"} <= names


def test_loading_from_the_cache_leaves_the_compiler_alone(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """It would import all that numba can compile; and the code works all the same afterwards."""
    code = """if True:
        import sys
        import numba
        import numpy as np
        from mmapio import kernels
        print(kernels.sum(np.arange(10)), kernels.sum(np.arange(20.0)))
        print([name for name in ("numba.np.linalg", "numba.np.arrayobj") if name in sys.modules])
        @numba.njit
        def norm(a):
            return np.linalg.norm(a) + kernels.sum(a)
        print(norm(np.full(4, 1.0)), kernels.sum(np.arange(10.0)))
    """
    compile_both = "import numpy as np; from mmapio import kernels; "
    compile_both += "kernels.sum(np.arange(10)); kernels.sum(np.arange(10.0))"
    run_python(compile_both, NUMBA_CACHE_DIR=str(tmp_path))
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "45 190.0\n[]\n6.0 45.0\n"

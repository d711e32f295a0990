"""Native functions take the places of composed ones: once, and unless somebody has replaced one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest

from mmapio import _os
from mmapio._os import _composed, _native
from mmapio._os._native import NAMES, _building, _Places
from mmapio._os._native._language import function_names

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

Functions = dict[str, Callable[..., object]]


def composed() -> Functions:
    return {name: lambda *args, name=name: (name, args) for name in [*NAMES, "other"]}


def native() -> Functions:
    return {name: lambda *args, name=name: ("native", name, args) for name in NAMES}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Functions:
    """Native functions that are found, until the test takes them away."""
    functions = native()
    monkeypatch.setattr(_native, "native_functions", lambda: functions)
    return functions


def test_the_names_are_those_of_the_code() -> None:
    assert sorted(function_names(_building.TEXT)) == sorted(NAMES)


def test_each_has_a_composed_function_of_the_same_name() -> None:
    for name in NAMES:
        assert any(name in vars(module) for module in (_composed, _os._posix, _os._linux)), name


def test_the_first_call_puts_all_in_their_places(found: Functions) -> None:
    names = composed()
    _Places(names, list(names))
    assert names["sync"](1, 2) == ("native", "sync", (1, 2))
    assert all(names[name] is found[name] for name in NAMES)
    assert names["other"]() == ("other", ())


def test_none_that_is_there_leaves_the_composed_ones(found: Functions) -> None:
    names, before = composed(), composed()
    names.update(before)
    _Places(names, list(names))
    found.clear()
    assert names["sync"]() == ("sync", ())
    assert names == before


def test_they_are_looked_for_again(found: Functions) -> None:
    names = composed()
    places = _Places(names, list(names))
    found.clear()
    names["sync"]()
    found.update(native())
    places.take()
    assert all(names[name] is found[name] for name in NAMES)
    found.clear()
    places.take()
    assert names["sync"]()[0] == "native"  # type: ignore[index]


@pytest.mark.parametrize("name", ["other", "sync", "start_writeback"])
def test_who_replaces_one_is_called(name: str, found: Functions) -> None:
    names = composed()
    _Places(names, list(names))
    names[name] = lambda *_: "replaced"
    left = next(each for each in NAMES if each != name)
    assert names[left](1) == (left, (1,))
    assert names[name](1) == "replaced"
    assert not any(names[each] in found.values() for each in NAMES)


def test_threads_may_call_the_first_at_once(found: Functions) -> None:
    names = composed()
    _Places(names, list(names))
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(names["sync"](7))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [("native", "sync", (7,))] * 4


def test_while_a_test_replaces_one_none_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    _os.sync(0, 0, [])
    before = _os.sync_unchanged
    with monkeypatch.context() as patch:
        patch.setattr(_os, "identify", lambda fd: None)
        assert _os.sync_unchanged is _composed.sync_unchanged
        patch.setattr(_os, "sync", print)
    assert _os.sync_unchanged is before


CODE = """
import sys
import mmapio
mapping = mmapio.MappedFile.open(sys.argv[1], "w+", 4096)
mapping.flush(0, 4096, wait=False)
print(type(mmapio._os.sync).__name__, "llvmlite.binding" in sys.modules)
"""


def test_a_second_process_loads_no_llvm(run_python: Callable[..., str], tmp_path: object) -> None:
    cache = {"NUMBA_CACHE_DIR": f"{tmp_path}/cache"}
    assert run_python(CODE, f"{tmp_path}/a", **cache).split()[0] == "builtin_function_or_method"
    assert run_python(CODE, f"{tmp_path}/a", **cache).split() == [
        "builtin_function_or_method",
        "False",
    ]


def test_it_can_be_switched_off(run_python: Callable[..., str], tmp_path: object) -> None:
    out = run_python(CODE, f"{tmp_path}/a", MMAPIO_NATIVE="0")
    assert out.split()[0] == "function"


def test_a_first_process_has_native_functions_once_the_guard_is_compiled(
    run_python: Callable[..., str], tmp_path: object
) -> None:
    code = CODE.replace("mapping =", "mmapio._os.sync(0, 0, [])\nmapping =")
    out = run_python(code, f"{tmp_path}/a", NUMBA_CACHE_DIR=f"{tmp_path}/cache")
    assert out.split() == ["builtin_function_or_method", "True"]


def test_code_that_must_not_be_made_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def refuse(code: bytes) -> int:
        raise OSError("executable memory is refused")

    monkeypatch.setattr(_os, "map_code", refuse)
    assert "llvmlite.binding" not in sys.modules or _native.native_functions() == {}
    with pytest.raises(OSError, match="refused"):
        _native.native_functions(compiles=True)


def test_kernels_compile_it_for_processes_that_come_later(
    run_python: Callable[..., str], tmp_path: object
) -> None:
    cache = {"NUMBA_CACHE_DIR": f"{tmp_path}/cache"}
    code = CODE.replace("import mmapio\n", "import mmapio, mmapio.kernels\n")
    assert run_python(code, f"{tmp_path}/a", MMAPIO_GUARD="0", **cache).split()[0].startswith("bu")
    out = run_python(CODE, f"{tmp_path}/a", MMAPIO_GUARD="0", **cache)
    assert out.split() == ["builtin_function_or_method", "False"]

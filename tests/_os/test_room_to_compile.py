"""Room to compile, and what goes on without where address space is limited (``ulimit -v``)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio import _os, guard
from mmapio._os._room_to_compile import check_room_to_compile

only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits address space, and tells how much is used"
)

LIMITED = """
import resource, sys, warnings, mmapio
soft = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))
a = mmapio.create(sys.argv[1], 1000)
a[:] = 1
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with a.guard():
        total = a.sum()
print(total, a.mapping.guarded, len(caught), *(str(each.message) for each in caught))
g = mmapio.GrowableArray.open(sys.argv[1] + "2", "w+", dtype="u1")
g.extend([97] * 5_000_000)
g.commit()
print(len(g.array), bytes(g.mapping.view(128, 3)))
"""


def test_room_is_needed_only_where_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    for left, loaded in [(None, False), (1 << 30, False), (32 << 20, True)]:
        with monkeypatch.context() as patch:
            patch.setattr(_os, "address_space_left", lambda left=left: left)
            if not loaded:
                patch.delitem(sys.modules, "llvmlite.binding", raising=False)
            else:
                patch.setitem(sys.modules, "llvmlite.binding", sys)
            check_room_to_compile()
    monkeypatch.setattr(_os, "address_space_left", lambda: 1 << 20)
    with pytest.raises(OSError, match="too little address space is left"):
        check_room_to_compile()


@only_linux
@pytest.mark.parametrize("left", [60 << 20, 100 << 20, 150 << 20, 160 << 20, 180 << 20])
def test_without_room_all_but_the_guard_is_there(
    tmp_path: Path, run_python: Callable[..., str], left: int
) -> None:
    if guard.why_not() is not None:
        pytest.skip(f"no guard: {guard.why_not()}")
    told = run_python(LIMITED, str(tmp_path / "a.npy"), str(left), NUMBA_CACHE_DIR=str(tmp_path))
    first, second = told.splitlines()
    assert first.startswith("1000.0 False 1 the mapping of ")
    assert "is not guarded: it cannot be compiled here" in first
    assert second == "5000000 b'aaa'"


@only_linux
def test_code_that_was_kept_needs_no_room_to_compile(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    if guard.why_not() is not None:
        pytest.skip(f"no guard: {guard.why_not()}")
    kept = {"NUMBA_CACHE_DIR": str(tmp_path)}
    run_python("import sys, mmapio; mmapio.create(sys.argv[1], 1)", str(tmp_path / "b"), **kept)
    told = run_python(LIMITED, str(tmp_path / "a.npy"), str(60 << 20), **kept)
    assert told.splitlines() == ["1000.0 True 0", "5000000 b'aaa'"]

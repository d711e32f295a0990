"""The commands that look at the page cache and change it: what all of them do alike."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmapio import _os
from mmapio.pagecache.residency import residency_of

PAGE = _os.PAGE_SIZE
pytestmark = [
    pytest.mark.page_cache,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
    ),
]


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return refuse


WITHOUT_NUMBA = """
import sys
from mmapio.__main__ import main
sys.argv[0] = "mmapio"
try:
    main()
except SystemExit as end:
    assert not end.code
assert "numba" not in sys.modules
assert "matplotlib" not in sys.modules
"""


@pytest.mark.parametrize(
    ("command", "told"), [("touch", "touched in"), ("evict", "evicted as far")]
)
def test_who_is_not_told_can_do_it_all_the_same(
    run_command: Callable[..., Any],
    command: str,
    told: str,
    cold: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As to a file of root's that others may read."""
    with monkeypatch.context() as patch:
        patch.setattr(_os, "cache_facts", refusing(errno.EPERM))
        patch.setattr(_os, "sees_cache", lambda fd: False)
        found = run_command(command, cold, cold.parent / "none")
        refused = run_command("residency", cold)
    assert found.status == 1
    assert f"  {told}" in found.out
    assert "the system does not tell you" in found.out
    assert found.err.count("\n") == 1
    assert (residency_of(cold).resident == 0) == (command == "evict")
    assert refused.status == 1
    assert "the system tells only who owns it or may write to it" in refused.err


@pytest.mark.parametrize("command", ["residency", "touch", "evict"])
def test_one_file_does_not_stop_the_others(
    run_command: Callable[..., Any], command: str, path: Path, tree: Path
) -> None:
    (tree / "broken").symlink_to("nowhere")
    found = run_command(command, tree / "none", tree / "pipe", tree, path)
    assert found.status == 1
    lines = found.err.splitlines()
    assert [line.partition(": '")[0] for line in lines] == [
        "mmapio: error: [Errno 2] cannot follow the link: No such file or directory",
        "mmapio: error: [Errno 2] cannot open in mode 'r': No such file or directory",
        "mmapio: error: [Errno 19] cannot map: not a regular file (a pipe or a device)",
    ]
    assert f"{path}\n" in found.out
    assert "\n5 files\n" in found.out


@pytest.mark.skipif(
    not hasattr(os, "setresuid") or os.geteuid() != 0, reason="only root can become somebody else"
)
@pytest.mark.parametrize("command", ["residency", "info"])
def test_a_file_that_may_not_be_read_does_not_stop_the_others(
    run_command: Callable[..., Any], command: str
) -> None:
    with tempfile.TemporaryDirectory() as name:  # the folders of pytest are closed to others
        closed, open_to_all = Path(name, "closed"), Path(name, "open")
        for path, permissions in ((closed, 0o000), (open_to_all, 0o666)):
            path.write_bytes(bytes(PAGE))
            path.chmod(permissions)
        Path(name).chmod(0o755)
        run_command(command, open_to_all)  # all that is imported, which others may not read
        os.setresuid(65534, 65534, 0)
        try:
            found = run_command(command, closed, open_to_all)
        finally:
            os.setresuid(0, 0, 0)
    assert found.status == 1
    assert re.fullmatch(rf"mmapio: error: .*Permission denied: '{closed}'\n", found.err)
    assert found.out.startswith(f"{open_to_all}\n")


@pytest.mark.parametrize("command", ["residency", "touch", "evict"])
def test_a_pseudo_file(run_command: Callable[..., Any], command: str) -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("there is no /proc")
    found = run_command(command, "/proc/self/status")
    assert (found.status, found.out) == (1, "")
    assert "a pseudo-file, which tells no size" in found.err


@pytest.mark.parametrize("command", ["residency", "touch", "evict"])
def test_a_folder_without_files(
    run_command: Callable[..., Any], command: str, tmp_path: Path
) -> None:
    assert run_command(command, tmp_path) == (0, "", f"mmapio: no files in {tmp_path}\n")
    found = run_command(command, tmp_path, "--json")
    assert (found.status, found.json) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["residency"],
        ["touch"],
        ["evict"],
        ["touch", "--threads", "0", "x"],
        ["residency", "--watch", "--json", "x"],
        ["residency", "--watch", "--png", "x.png", "x"],
        ["residency", "--interval", "0", "x"],
        ["residency", "--png", "-", "x"],
        ["evict", ""],
        ["info", ""],
    ],
)
def test_wrong_usage_has_its_own_status(
    run_command: Callable[..., Any], arguments: list[str]
) -> None:
    assert run_command(*arguments).status == 2


@pytest.mark.parametrize("command", ["residency", "touch", "evict"])
def test_help_fits_into_a_terminal(run_command: Callable[..., Any], command: str) -> None:
    found = run_command(command, "--help")
    assert found.status == 0
    assert max(map(len, found.out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["residency", "evict"])
def test_what_only_asks_imports_little(
    command: str, path: Path, run_python: Callable[..., str]
) -> None:
    assert str(path) in run_python(WITHOUT_NUMBA, command, str(path))

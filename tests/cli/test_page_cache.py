"""The commands that look at the page cache and change it, as people use them."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest

import mmapio
from mmapio import _os
from mmapio.cli.page_cache import evict as evict_file
from mmapio.pagecache.residency import residency_of

PAGE = _os.PAGE_SIZE
SIZE = 1 << 20
COMMAND = [sys.executable, "-W", "error", "-m", "mmapio"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}

pytestmark = [
    pytest.mark.page_cache,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
    ),
]
needs_terminal = pytest.mark.skipif(
    not hasattr(pexpect, "spawn"), reason="this platform has no pseudo-terminals"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(np.random.default_rng(7).bytes(SIZE))
    return path


@pytest.fixture
def cold(path: Path) -> Path:
    if evict_file(path).after.resident:
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder of what there is: files, nothing, holes, pipes and links."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a").write_bytes(b"a" * 3 * PAGE)
    (tree / "b").write_bytes(b"b" * 100)
    (tree / "empty").touch()
    with (tree / "holes").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"h" * PAGE)
    os.mkfifo(tree / "pipe")
    (tree / "link").symlink_to("b")
    return tree


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return refuse


def in_terminal(*arguments: str | Path, columns: int = 80, **environment: str) -> Any:
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
    return pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *map(str, arguments)],
        env=ENVIRONMENT | terminal | environment,  # type: ignore[arg-type]
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=60,
    )


# Residency ----------------------------------------------------------------------------------------


def test_residency_draws_a_bar(run_command: Callable[..., Any], path: Path) -> None:
    found = run_command("residency", path)
    assert (found.status, found.err) == (0, "")
    name, bar, figures = found.out.splitlines()
    assert name == str(path)
    assert bar == "  " + "█" * 70 + "  100.0%"
    assert figures.startswith("  1.00 MiB of 1.00 MiB in memory")


@pytest.mark.parametrize("columns", [5, 20, 40, 100, 300])
def test_bars_fit_the_terminal(run_command: Callable[..., Any], columns: int, path: Path) -> None:
    bar = run_command("residency", path, columns=columns).out.splitlines()[1]
    assert len(bar) == min(max(columns, 14), 100)


def test_residency_of_what_was_evicted(run_command: Callable[..., Any], cold: Path) -> None:
    bar, figures = run_command("residency", cold).out.splitlines()[1:]
    assert bar == "  " + "·" * 70 + "    0.0%"
    assert figures == "  0 bytes of 1.00 MiB in memory"


def test_residency_of_a_tree(run_command: Callable[..., Any], tree: Path) -> None:
    found = run_command("residency", tree)
    assert (found.status, found.err) == (0, "")
    names = [line for line in found.out.splitlines() if line.startswith(str(tree))]
    assert names == [str(tree / name) for name in ("b", "empty", "holes", "deep/a")]
    assert "\n4 files\n  " in found.out
    assert found.out.count("%") == 4  # none of the empty file, one of all


def test_residency_as_json(run_command: Callable[..., Any], path: Path, tree: Path) -> None:
    found = run_command("residency", "--json", path, tree / "empty", tree / "none")
    whole, empty, broken = found.json
    assert found.status == 1
    assert (whole["path"], whole["length"], whole["resident"]) == (str(path), SIZE, SIZE)
    assert len(whole["map"]) == 128
    assert (empty["fraction"], empty["map"]) == (1, [])
    assert set(broken) == {"path", "error"}
    assert len(found.out.splitlines()) < 40  # a line for a map, not one for each of its numbers


def test_json_keeps_texts_as_they_are(run_command: Callable[..., Any], tmp_path: Path) -> None:
    names = ["a [1,  2]", "b [  ]", 'c "[']
    for name in names:
        (tmp_path / name).touch()
    entries = run_command("residency", "--json", tmp_path).json
    assert [Path(entry["path"]).name for entry in entries] == names


def test_residency_draws_a_picture(
    run_command: Callable[..., Any], tree: Path, tmp_path: Path
) -> None:
    from PIL import Image

    picture = tmp_path / "picture.png"
    found = run_command("residency", tree, "--png", picture)
    assert (found.status, found.err) == (0, "")
    with Image.open(picture) as image:
        assert image.width > 1000
        assert image.height > 4 * 100
        assert len(image.getcolors(1 << 24)) > 10


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("none/picture.png", "cannot draw: No such file or directory"),
        (".", "cannot draw: Is a dir"),
    ],
)
def test_a_picture_that_cannot_be_written(
    run_command: Callable[..., Any], target: str, complaint: str, path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / target)
    assert found.status == 1
    assert complaint in found.err
    assert "in memory" in found.out


@pytest.mark.parametrize(
    ("name", "begin"), [("a.pdf", b"%PDF"), ("a.SVG", b"<?xml"), ("a", b"\x89PNG")]
)
def test_a_picture_is_what_its_suffix_says(
    run_command: Callable[..., Any], name: str, begin: bytes, path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / name)
    assert (found.status, found.err) == (0, "")
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_a_picture_of_an_unknown_kind(
    run_command: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / "a.xyz")
    assert found.status == 1
    assert re.search("cannot draw '.*a.xyz': .*supported formats: .*png", found.err)


def test_a_picture_of_nothing(run_command: Callable[..., Any], tmp_path: Path) -> None:
    found = run_command("residency", tmp_path / "none", "--png", tmp_path / "picture.png")
    assert found.status == 1
    assert "there is nothing to draw" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_matplotlib(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    found = run_command("residency", path, "--png", tmp_path / "picture.png")
    assert found.status == 1
    assert "pip install 'mmapio[plot]'" in found.err


# Touch and evict ----------------------------------------------------------------------------------


def test_touch_brings_a_file_in(run_command: Callable[..., Any], cold: Path) -> None:
    found = run_command("touch", cold)
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith(f"{cold}\n  1.00 MiB of 1.00 MiB in memory, 1.00 MiB read in ")
    assert residency_of(cold).fraction == 1


def test_touch_leaves_holes_out(run_command: Callable[..., Any], tree: Path, cold: Path) -> None:
    evict_file(tree / "holes")
    (found,) = run_command("touch", "--json", tree / "holes").json
    assert found["bytes"] == 64 << 20
    assert PAGE <= found["resident"] < 16 << 20
    assert residency_of(tree / "holes", 32 << 20, PAGE).fraction == 1


def test_touch_and_evict_a_tree(run_command: Callable[..., Any], tree: Path, cold: Path) -> None:
    found = run_command("evict", tree)
    assert (found.status, found.err) == (0, "")
    assert "\n4 files\n  " in found.out
    assert found.out.rstrip().endswith(" evicted")
    assert residency_of(tree / "deep" / "a").resident == 0
    found = run_command("touch", tree, "--threads", "2")
    assert (found.status, found.err) == (0, "")
    assert residency_of(tree / "deep" / "a").fraction == 1
    assert residency_of(tree / "b").fraction == 1


def test_evict_loses_nothing_that_was_stored(run_command: Callable[..., Any], cold: Path) -> None:
    path = cold
    a = mmapio.open(path, "r+", dtype="<u4")
    a[:] = np.arange(a.size)
    del a
    (found,) = run_command("evict", "--json", path).json
    assert found["reasons"] == []
    assert found["resident"] == 0
    assert np.array_equal(np.fromfile(path, "<u4"), np.arange(SIZE // 4))


def test_evict_tells_who_keeps_a_file(run_command: Callable[..., Any], cold: Path) -> None:
    path = cold
    if sys.platform != "linux":
        pytest.skip("only Linux tells who maps a file")
    with mmapio.MappedFile.open(path) as mapping:
        mapping.touch_pages()
        found = run_command("evict", path)
        assert found.status == 0
        assert f"  1.00 MiB stays: mapped by process {os.getpid()}\n" in found.out
    assert run_command("evict", path).out == f"{path}\n  1.00 MiB evicted\n"


@pytest.fixture
def on_tmpfs() -> Iterator[Path]:
    if sys.platform != "linux" or not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    path = Path("/dev/shm") / f"mmapio-test-{os.getpid()}"
    path.write_bytes(b"x" * PAGE)
    yield path
    path.unlink()


def test_evict_tells_what_lies_in_memory_only(
    run_command: Callable[..., Any], on_tmpfs: Path
) -> None:
    found = run_command("evict", on_tmpfs)
    assert "stays: tmpfs has no other place for it\n" in found.out
    assert on_tmpfs.read_bytes() == b"x" * PAGE


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


def test_a_platform_that_cannot_evict(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "drop_cached", refusing(errno.ENOTSUP))
    found = run_command("evict", path)
    assert (found.status, found.out) == (1, "")
    assert f"not supported: {str(path)!r}" in found.err


def test_an_error_of_the_drive(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "sync_data", refusing(errno.EIO))
    found = run_command("evict", path)
    assert found.status == 1
    assert "cannot evict: Input/output error" in found.err
    assert residency_of(path).fraction == 1


# What may be wrong --------------------------------------------------------------------------------


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


@pytest.mark.parametrize("command", ["residency", "evict"])
def test_what_only_asks_imports_little(
    command: str, path: Path, run_python: Callable[..., str]
) -> None:
    assert str(path) in run_python(WITHOUT_NUMBA, command, str(path))


# In pipes and terminals ---------------------------------------------------------------------------


def test_a_pipe_that_knows_only_ascii(path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "residency", path],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii", "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1] == "  " + "#" * 30 + "  100.0%"
    assert done.stderr == ""


@needs_terminal
def test_a_terminal_gets_colours_and_may_refuse_them(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    terminal = in_terminal("residency", path)
    terminal.expect_exact("\x1b[36m" + "█" * 70 + "\x1b[0m")  # cyan; what is dirty is yellow
    terminal.expect(pexpect.EOF)
    terminal = in_terminal("residency", path, NO_COLOR="1")
    terminal.expect(pexpect.EOF)
    assert "\x1b[36m" not in terminal.before
    assert "█" in terminal.before


@needs_terminal
def test_touch_shows_how_far_it_is(path: Path, tree: Path) -> None:
    terminal = in_terminal("touch", path, tree)
    terminal.expect(r"files: +0%\|")
    terminal.expect(r"file\.bin: +\d+%\|")
    terminal.expect_exact("5 files")
    terminal.expect(pexpect.EOF)
    terminal = in_terminal("touch", "--quiet", path, tree)
    terminal.expect(pexpect.EOF)
    assert "%|" not in terminal.before


@needs_terminal
def test_watch_follows_until_interrupted(cold: Path) -> None:
    terminal = in_terminal("residency", "--watch", "--interval", "0.05", cold)
    terminal.expect(r"0\.0%")
    cold.read_bytes()
    terminal.expect(r"100\.0%")
    evict_file(cold)
    terminal.expect(r"  0\.0%")
    cold.unlink()
    terminal.expect(r"No such file or directory")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Traceback" not in terminal.before


@needs_terminal
def test_watch_follows_the_size_of_the_terminal(path: Path, tmp_path: Path) -> None:
    for n in range(12):
        (tmp_path / f"small{n:02}").write_bytes(b"x")
    terminal = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "residency", "--watch", "--interval", "0.05", "."],
        cwd=str(tmp_path),  # so that names are short: what is too wide is cut off
        env={k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "LINES")}  # type: ignore[arg-type]
        | {"TERM": "xterm-256color"},
        dimensions=(24, 60),
        encoding="utf-8",
        timeout=60,
    )
    # Of 23 lines the total takes two, and what is left out one: six files of three lines fit.
    terminal.expect_exact("... and 7 more")
    terminal.expect_exact("13 files")
    terminal.setwinsize(12, 40)
    terminal.expect_exact("... and 11 more")
    terminal.expect_exact("13 files")
    terminal.expect(r"[^█](█+)\x1b")
    assert len(terminal.match[1]) == 30
    terminal.setwinsize(60, 90)
    terminal.expect_exact("small11")
    terminal.expect_exact("13 files")
    terminal.expect(r"[^█](█+)\x1b")
    assert len(terminal.match[1]) == 80
    terminal.sendintr()
    terminal.expect(pexpect.EOF)


def test_watch_in_a_pipe_goes_on_below(path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "residency", "-w", "--interval", "0.01", path],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [process.stdout.readline() for _ in range(9)]
        process.stdout.close()
        assert process.stderr.read() == ""
    assert seen[:3] == seen[3:6] == seen[6:]
    assert re.search(r"100\.0%", seen[1])

"""The command line as people use it: in a terminal, in a pipe, on files whole and broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pexpect
import pytest

import mmapio

COMMAND = [sys.executable, "-W", "error", "-m", "mmapio"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(mmapio.__file__).parents[1]),
    "PYTHONUNBUFFERED": "",  # output that waits until the end can meet a pipe that was closed
}
GIB = 1 << 30

needs_terminal = pytest.mark.skipif(
    not hasattr(pexpect, "spawn"), reason="this platform has no pseudo-terminals"
)


WITHOUT_NUMBA = """
import sys
from mmapio.__main__ import main

sys.argv[0] = "mmapio"
try:
    main()
except SystemExit as end:
    assert not end.code
assert "numba" not in sys.modules
"""


# With all kernels, warming up takes the better part of a minute.
FEW_KERNELS = """
import sys
from mmapio import kernels
from mmapio.__main__ import main
from mmapio.kernels.engine import jit

assert all(hasattr(kernels, name) for name in kernels.__all__)
few = [k for k in jit.KERNELS if k.dispatcher.__name__ == "find_match"]
jit.KERNELS[:] = few
try:
    status = main()
except SystemExit as end:
    status = end.code
"""
CACHE_STATS = """
stats = [kernel.dispatcher.stats for kernel in few]
print("loaded", sum(sum(each.cache_hits.values()) for each in stats))
print("compiled", sum(sum(each.cache_misses.values()) for each in stats))
"""


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def run(run_command: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that runs a command within this process."""
    return run_command


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run_apart(*arguments: str | Path, **environment: str) -> Result:
    """Run a command in a process of its own, whose output goes into pipes."""
    with start(*arguments, **environment) as process:
        out, err = process.communicate(timeout=100)
    return Result(process.returncode, out, err)


def in_terminal(
    *arguments: str | Path, command: Sequence[str] = COMMAND, **environment: str
) -> pexpect.spawn[str]:
    terminal = {"TERM": "xterm-256color", "COLUMNS": "80"}
    return pexpect.spawn(
        command[0],
        [*command[1:], *map(str, arguments)],
        env=ENVIRONMENT | terminal | environment,  # type: ignore[arg-type]
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
    )


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.npy"
    np.save(path, np.random.default_rng(7).normal(size=(1000, 20)))
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("two words\n" * 100)
    return path


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    path = tmp_path / "truncated.npy"
    np.save(path, np.zeros(1000))
    os.truncate(path, 5000)
    return path


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


# What scan tells ----------------------------------------------------------------------------------


def test_scan_prints_statistics_and_histogram(run: Callable[..., Result], numbers: Path) -> None:
    values = np.load(numbers)
    found = run("scan", numbers)
    assert (found.status, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0] == str(numbers)
    assert lines[1] == "  float64, shape (1000, 20), 156.25 KiB"
    assert re.search(r"^  count +20,000 ", found.out, re.M)
    assert re.search(rf"^  min +{values.min():.6g} ", found.out, re.M)
    assert re.search(rf"^  std +{values.std():.6g} ", found.out, re.M)
    assert re.search(r" -1 to  0  █+[▏▎▍▌▋▊▉]? +3\d\.\d%$", found.out, re.M)
    assert re.search(r"  4 to  5  ▏ +0\.0%$", found.out, re.M)
    assert max(map(len, lines[1:])) <= 80


def test_scan_prints_classes_of_bytes(run: Callable[..., Result], text: Path) -> None:
    found = run("scan", text)
    assert found.status == 0
    assert re.search(r"^  lines +100 ", found.out, re.M)
    assert re.search(r" letters  █+ +80\.0%$", found.out, re.M)
    assert re.search(r" whitespace  █+[▏▎▍▌▋▊▉]? +20\.0%$", found.out, re.M)


def test_scan_tells_every_field(run: Callable[..., Result], tmp_path: Path) -> None:
    place = [("x", "f4"), ("y", "f4")]
    np.save(tmp_path / "a.npy", np.ones(10, [("at", place), ("tag", "S5")]))
    found = run("scan", tmp_path / "a.npy").out
    assert "  2 fields, 13 bytes an item, shape (10,), 130 bytes\n" in found
    assert "  at.x  float32, shape (10,)\n" in found
    assert "  tag  |S5, shape (10,)\n  count           10\n  item size  5 bytes\n" in found


def test_scan_reads_raw_items(run: Callable[..., Result], tmp_path: Path) -> None:
    values = np.arange(12, dtype=">i2").reshape(3, 4)
    (tmp_path / "raw").write_bytes(b"header!" + values.tobytes())
    options = ("--dtype", ">i2", "--shape", "-1,4", "--offset", "7")
    (found,) = run("scan", "--json", *options, tmp_path / "raw").json
    assert (found["dtype"], found["shape"]) == (">i2", [3, 4])
    assert (found["fields"][0]["min"], found["fields"][0]["sum"]) == (0, 66)


def test_json_agrees_with_numpy(run: Callable[..., Result], tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(size=5000)
    values[:3] = np.nan, np.inf, 0
    np.save(tmp_path / "a.npy", values)
    (found,) = run("scan", "--json", tmp_path / "a.npy").json
    (field,) = found["fields"]
    assert (found["kind"], found["bytes"], found["shape"]) == ("array", 40000, [5000])
    assert (field["count"], field["nans"], field["infs"], field["zeros"]) == (5000, 1, 1, 1)
    assert (field["min"], field["max"]) == (np.nanmin(values), "Infinity")
    assert (field["mean"], field["std"]) == ("Infinity", None)
    kept = values[np.isfinite(values)]
    expected, _ = np.histogram(kept, field["histogram"]["edges"])
    assert field["histogram"]["counts"] == expected.tolist()


def test_json_is_one_document_for_all_files(
    run: Callable[..., Result], numbers: Path, text: Path
) -> None:
    found = run("scan", "--json", numbers, text, numbers)
    assert [entry["kind"] for entry in found.json] == ["array", "bytes", "array"]
    assert found.err == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(
    run: Callable[..., Result], numbers: Path, threads: int
) -> None:
    (found,) = run("scan", "--json", "--threads", str(threads), numbers).json
    (expected,) = run("scan", "--json", numbers).json
    assert found["fields"] == expected["fields"]


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((0, 3), "f4, i4"), np.array(1.5)])
def test_arrays_without_items_or_dimensions(
    run: Callable[..., Result], values: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", values)
    for options in ([], ["--json"]):
        assert run("scan", *options, tmp_path / "a.npy").status == 0


def test_an_empty_file(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    found = run("scan", tmp_path / "empty")
    assert (found.status, found.err) == (0, "")
    assert "  0 bytes\n" in found.out
    (entry,) = run("scan", "--json", tmp_path / "empty").json
    assert (entry["bytes"], entry["lines"], entry["entropy"]) == (0, 0, 0)


def test_the_files_that_numpy_ships(run: Callable[..., Result]) -> None:
    files = sorted(Path(np.__file__).parent.rglob("*.npy"))
    if not files:
        pytest.skip("this numpy was installed without its tests")
    found = run("scan", "--json", *files)
    for path, entry in zip(files, found.json, strict=True):
        try:
            with warnings.catch_warnings(action="ignore"):
                expected = np.load(path)
        except ValueError:
            assert "pickled Python objects" in entry["error"]
        else:
            assert entry["shape"] == list(expected.shape)
            assert [field["count"] for field in entry["fields"]] == [expected.size]


# What info tells ----------------------------------------------------------------------------------


def test_info_prints_the_header(run: Callable[..., Result], numbers: Path) -> None:
    found = run("info", numbers)
    assert found.status == 0
    assert found.out.startswith(f"{numbers}\n  kind       .npy array, version 1.0\n")
    assert "  shape      (1000, 20), C order, 20,000 items\n" in found.out
    assert "  data       160,000 bytes (156.25 KiB) from byte 128\n" in found.out
    assert "  alignment  128 bytes; items are aligned\n" in found.out


def test_info_tells_what_is_missing(run: Callable[..., Result], truncated: Path) -> None:
    found = run("info", truncated)
    assert found.status == 0
    assert "  missing    3,128 bytes (3.05 KiB): the file is truncated\n" in found.out


def test_info_as_json(run: Callable[..., Result], numbers: Path, text: Path) -> None:
    array, other = run("info", "--json", numbers, text).json
    assert (array["kind"], array["data_offset"], array["shape"]) == ("npy", 128, [1000, 20])
    assert (other["kind"], other["bytes"]) == ("bytes", 1000)


# What warmup leaves -------------------------------------------------------------------------------


def test_what_warmup_compiles_is_there_for_other_processes(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = FEW_KERNELS + CACHE_STATS
    first, again = (run_python(code, "warmup", NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    line = r"6 kernels are ready, after [\d.]+ m?s\n"
    assert re.fullmatch(line + "loaded 0\ncompiled 6\n", first)
    assert re.fullmatch(line + "loaded 6\ncompiled 0\n", again)


def test_warmup_fails_where_nothing_can_be_kept(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("")
    folder = {
        "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache"),
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    code = "import sys; sys.stderr = sys.stdout" + FEW_KERNELS + "print(status)"
    told = run_python(code, "warmup", **folder).splitlines()
    assert told[-1] == "1"
    assert re.fullmatch(
        r"mmapio: error: .*cannot keep compiled code: .*; set NUMBA_CACHE_DIR to .*", told[-2]
    )


@needs_terminal
def test_a_terminal_shows_how_far_warmup_is(tmp_path: Path) -> None:
    terminal = warm_up_in_terminal(tmp_path)
    terminal.expect(r"kernels: +0%\|")
    assert terminal.before.strip() == ""
    terminal.expect(r"kernels: +[1-9]\d*%\|.* [1-9]\d*/6 ")
    terminal.expect(r"\r {40,}\r6 kernels are ready, after ")  # the bar is wiped
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@needs_terminal
def test_a_quiet_warmup_shows_no_bar(tmp_path: Path) -> None:
    terminal = warm_up_in_terminal(tmp_path, "--quiet")
    terminal.expect(pexpect.EOF)
    assert terminal.before is not None
    assert re.fullmatch(r"6 kernels are ready, after [^\n]+\n", terminal.before)


@needs_terminal
@pytest.mark.parametrize("wait", [0, 0.1, 0.2])
def test_interrupt_ends_warmup_whatever_it_meets(wait: float, tmp_path: Path) -> None:
    """Where it meets a function that LLVM calls, it would be lost, or end in a traceback."""
    terminal = warm_up_in_terminal(tmp_path)
    terminal.expect(r"kernels: +[1-9]\d*%\|")
    time.sleep(wait)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert terminal.before is not None
    assert "Traceback" not in terminal.before
    assert "ready" not in terminal.before


def warm_up_in_terminal(folder: Path, *options: str) -> pexpect.spawn[str]:
    """Compile a few kernels, none of which is in the cache yet."""
    command = [*COMMAND[:-2], "-c", FEW_KERNELS + "sys.exit(status)"]
    return in_terminal("warmup", *options, command=command, NUMBA_CACHE_DIR=str(folder))


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["scan", "info"])
def test_the_other_files_are_looked_at(
    run: Callable[..., Result], command: str, numbers: Path, text: Path, tmp_path: Path
) -> None:
    found = run(command, numbers, tmp_path / "none", text)
    assert found.status == 1
    assert found.out.startswith(f"{numbers}\n")
    assert f"\n{text}\n" in found.out
    assert re.fullmatch(r"mmapio: error: .*No such file or directory: '.*none'\n", found.err)


def test_errors_are_in_the_json_as_well(
    run: Callable[..., Result], numbers: Path, truncated: Path
) -> None:
    found = run("scan", "--json", truncated, numbers)
    broken, whole = found.json
    assert found.status == 1
    assert broken == {"path": str(truncated), "error": broken["error"]}
    assert "truncated" in broken["error"]
    assert whole["shape"] == [1000, 20]
    assert found.err.startswith("mmapio: error: ")


def test_an_error_names_its_file(run: Callable[..., Result], truncated: Path) -> None:
    os.truncate(truncated, 50)
    found = run("scan", truncated)
    assert found.err.startswith(f"mmapio: error: {truncated}: .npy header is truncated")
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scna", "x"],
        ["scan", "--shape", "3", "x"],
        ["scan", "--offset", "3", "x"],
        ["scan", "--dtype", "nonsense", "x"],
        ["scan", "--dtype", "f4", "--shape", "3,x", "x"],
        ["scan", "--threads", "0", "x"],
        ["scan", "--order", "K", "x"],
        ["info", "--unknown", "x"],
        ["warmup", "x"],
    ],
)
def test_wrong_usage_has_its_own_status(run: Callable[..., Result], arguments: list[str]) -> None:
    assert run(*arguments).status == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on this platform")
def test_names_are_harmless_to_a_terminal(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "red\x1b[31m[bold]"
    path.touch()
    found = run("scan", path, tmp_path / "none\x07")
    assert "\x1b" not in found.out
    assert r"red\x1b[31m[bold]" in found.out
    assert "\x07" not in found.err


# Around it ----------------------------------------------------------------------------------------


def test_version(run: Callable[..., Result]) -> None:
    assert run("--version") == (0, f"mmapio {mmapio.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["scan", "--help"], ["info", "-h"], ["warmup", "-h"]]
)
def test_help_fits_into_a_terminal(run: Callable[..., Result], arguments: list[str]) -> None:
    found = run(*arguments)
    assert found.status == 0
    assert "Usage: mmapio" in found.out
    assert max(map(len, found.out.splitlines())) <= 80


def test_no_arguments_give_help(run: Callable[..., Result]) -> None:
    assert "Usage: mmapio" in "".join(run()[1:])


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", __file__]])
def test_what_scans_nothing_imports_no_numba(
    arguments: list[str], run_python: Callable[..., str]
) -> None:
    assert run_python(WITHOUT_NUMBA, *arguments)


@pytest.mark.parametrize("missing", ["typer", "rich", "tqdm"])
def test_what_is_not_installed_is_told_in_one_line(missing: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    found = run_apart("scan", __file__, PYTHONPATH=path)
    expected = f"this needs {missing}, which is not installed; pip install 'mmapio[cli]'"
    assert found == (2, "", f"mmapio: error: {expected}\n")


# In a pipe ----------------------------------------------------------------------------------------


def test_a_pipe_gets_plain_text(numbers: Path, text: Path) -> None:
    found = run_apart("scan", numbers, text)
    assert (found.status, found.err) == (0, "")
    assert "\x1b" not in found.out
    assert "█" in found.out


def test_a_pipe_that_knows_only_ascii(numbers: Path, tmp_path: Path) -> None:
    path = tmp_path / "Zähler"
    path.touch()
    found = run_apart("scan", numbers, path, PYTHONIOENCODING="ascii")
    assert (found.status, found.err) == (0, "")
    assert re.search(r" -1 to  0  #+ +3\d\.\d%$", found.out, re.M)
    assert r"Z\xe4hler" in found.out


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on this platform")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.bin")
    Path(os.fsdecode(path)).write_bytes(b"abc")
    for options in ([], ["--json"]):
        found = run_apart("scan", *options, os.fsdecode(path))
        assert (found.status, found.err) == (0, "")
        assert r"\udcff.bin" in found.out


@pytest.mark.parametrize(
    "arguments", [["scan"], ["scan", "--json"], ["info", "--json"], ["--help"], ["--version"]]
)
def test_a_reader_that_left_is_no_traceback(arguments: list[str], text: Path) -> None:
    files = [text] * 3 if not arguments[0].startswith("-") else []
    with start(*arguments, *files) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_first_line_is_enough(numbers: Path) -> None:
    command = subprocess.list2cmdline([*COMMAND, "scan", *[str(numbers)] * 50])
    if sys.platform == "win32":
        pytest.skip("head is no command of this platform")
    found = subprocess.run(
        f"{command} | head -1", shell=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (found.stdout, found.stderr) == (f"{numbers}\n", "")


def test_a_sparse_file_of_four_gib(tmp_path: Path) -> None:
    path = tmp_path / "sparse.npy"
    mmapio.create(path, GIB + 1, "<u4", reserve=False).close()
    (info,) = run_apart("info", "--json", path).json
    assert info["data_bytes"] == 4 * (GIB + 1)
    (found,) = run_apart("scan", "--json", path).json
    (field,) = found["fields"]
    assert (field["count"], field["zeros"], field["max"]) == (GIB + 1, GIB + 1, 0)
    assert found["gib_per_second"] > 0


# In a terminal ------------------------------------------------------------------------------------


@needs_terminal
def test_a_terminal_gets_a_bar_and_colours(numbers: Path) -> None:
    terminal = in_terminal("scan", numbers)
    terminal.expect(r"numbers\.npy: +0%\|")
    assert terminal.before.strip() == ""
    terminal.expect(r"\r {40,}\r\x1b\[1m")  # the bar is wiped, and the title bold
    terminal.expect_exact("\x1b[36m██")  # cyan
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@needs_terminal
@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_a_quiet_scan_shows_no_bar(option: str, numbers: Path) -> None:
    terminal = in_terminal("scan", option, numbers)
    terminal.expect(pexpect.EOF)
    assert terminal.before is not None
    assert "numbers.npy\x1b[0m" in terminal.before
    assert "%|" not in terminal.before


@needs_terminal
def test_interrupt_ends_a_long_scan_at_once(tmp_path: Path) -> None:
    path = sparse(tmp_path / "long", 64 * GIB)
    terminal = in_terminal("scan", path)
    terminal.expect(r"long: +[1-9]\d*%\|")
    begin = time.perf_counter()
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert time.perf_counter() - begin < 2
    assert terminal.before is not None
    assert "Traceback" not in terminal.before


@needs_terminal
def test_the_terminal_is_as_it_was_after_an_interrupt(tmp_path: Path) -> None:
    path = sparse(tmp_path / "long", 64 * GIB)
    shell = pexpect.spawn("/bin/sh", env=ENVIRONMENT | {"PS1": "ready"}, encoding="utf-8")
    shell.expect_exact("ready")
    shell.sendline(f"stty -a; {subprocess.list2cmdline([*COMMAND, 'scan', str(path)])}")
    shell.expect(r"(speed .*?)long: +0%\|")
    before = shell.match[1]
    shell.expect(r"long: +[1-9]\d*%\|")
    shell.sendintr()
    shell.expect_exact("ready")
    shell.sendline("echo status $?; stty -a; echo end")
    shell.expect(r"status 130\r\n(speed .*)end\r\n")
    assert " echo " in before
    assert before.split() == shell.match[1].split()

"""`mmapio convert`: one file, many, folders, and what is wrong with some of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio

Run = Callable[..., Any]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.bin"
    path.write_bytes(np.arange(12, dtype="<f4").tobytes())
    return path


def test_there_and_back_again(run_command: Run, raw: Path) -> None:
    made = raw.with_suffix(".npy")
    found = run_command("convert", raw, "--dtype", "<f4", "--shape", "-1,4", "--order", "F")
    assert (found.status, found.err) == (0, "")
    assert re.fullmatch(
        rf"{raw} -> {made}\n  float32, shape \(3, 4\), F order, 48 bytes in [\d.]+ [mu]?s\n",
        found.out,
    )
    expected = np.arange(12, dtype="<f4").reshape(3, 4, order="F")
    assert np.array_equal(np.load(made), expected)
    found = run_command("convert", made, "--to", raw.with_name("again"))
    assert (found.status, found.err) == (0, "")
    told = found.out.splitlines()[-1]
    assert told == "  read it with dtype='<f4', shape=(3, 4), order='F'"
    assert raw.with_name("again").read_bytes() == raw.read_bytes()
    options = eval(f"dict({told.partition('with')[2]})")
    assert np.array_equal(mmapio.open(raw.with_name("again"), **options), expected)


@pytest.mark.parametrize(
    ("dtype", "shape"), [(">i2", (24,)), ("[('a', '<f4'), ('b', 'u1', 4)]", (6,)), ("f4,f8", (4,))]
)
def test_dtypes_are_what_numpy_takes_them_for(
    run_command: Run, raw: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    (found,) = run_command("convert", raw, "--dtype", dtype, "--json").json
    made = np.load(raw.with_suffix(".npy"))
    assert found["shape"] == [*shape]
    assert found["target"] == str(raw.with_suffix(".npy"))
    assert (made.shape, made.tobytes()) == (shape, raw.read_bytes())


def test_many_go_into_a_folder(run_command: Run, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("one", "two.dat", "raw.bin"):
        (tmp_path / "in" / name).write_bytes(bytes(8))
    arguments = (raw, tmp_path / "in", tmp_path / "none", "--to", tmp_path / "out")
    found = run_command("convert", *arguments, "--dtype", "f8")
    assert found.status == 1
    errors = found.err.splitlines()
    assert len(errors) == 2
    assert re.search(r"in.raw\.bin: .*raw\.bin was made into .*out.raw\.npy already", errors[0])
    assert "No such file or directory" in errors[1]
    assert found.out.splitlines()[-2] == "3 files"
    made = {path.name: np.load(path).size for path in (tmp_path / "out").iterdir()}
    assert made == {"one.npy": 1, "two.npy": 1, "raw.npy": 6}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_folder_goes_into_a_folder_however_much_is_in_it(
    run_command: Run, raw: Path, tmp_path: Path, count: int
) -> None:
    (tmp_path / "in").mkdir()
    for n in range(count):
        (tmp_path / "in" / f"{n}.bin").write_bytes(raw.read_bytes())
    for target in ("new", "raw.bin", "new/", "new/."):
        path = os.path.join(tmp_path, target)
        found = run_command("convert", tmp_path / "in", "--to", path, "--dtype", "f4")
        assert (found.status, found.out) == (2, "")
        assert "folder" in found.err
        assert sorted(os.listdir(tmp_path)) == ["in", "raw.bin"]
    (tmp_path / "out").mkdir()
    for target in ("out", "out/"):
        path = os.path.join(tmp_path, target)
        found = run_command(
            "convert", tmp_path / "in", "--to", path, "--dtype", "f4", "--overwrite"
        )
        assert found.status == 0
        assert len(os.listdir(tmp_path / "out")) == count


def test_one_file_goes_into_no_folder_that_is_not_there(run_command: Run, raw: Path) -> None:
    before = sorted(os.listdir(raw.parent))
    for target in ("new/", "new/.", "raw.bin/"):
        path = os.path.join(raw.parent, target)
        found = run_command("convert", raw, "--to", path, "--dtype", "f4", "--overwrite")
        assert found.status == 2
        assert "there is no folder" in found.err
        assert sorted(os.listdir(raw.parent)) == before


def test_folders_are_converted_again_and_back(run_command: Run, tmp_path: Path) -> None:
    """The output of a first run is not a raw file of the second one."""
    (tmp_path / "a.raw").write_bytes(bytes(8))
    for nbytes in (8, 16):
        (tmp_path / "a.raw").write_bytes(bytes(nbytes))
        found = run_command("convert", tmp_path, "--dtype", "f4", "--overwrite")
        assert (found.status, found.err) == (0, "")
        assert np.load(tmp_path / "a.npy").size == nbytes // 4
    for _ in range(2):
        found = run_command("convert", tmp_path, "--overwrite")
        assert (found.status, found.err) == (0, "")
        assert (tmp_path / "a.bin").read_bytes() == bytes(16)
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "empty" / "b.npy", [1])
    found = run_command("convert", tmp_path / "empty", "--dtype", "f4")
    assert (found.status, found.out) == (0, "")
    assert found.err == f"mmapio: no such files in {tmp_path / 'empty'}\n"


def test_what_could_not_be_converted_has_no_claim_to_its_target(
    run_command: Run, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", [1])
    (tmp_path / "a.raw").write_bytes(bytes(8))
    files = (tmp_path / "a.npy", tmp_path / "a.raw")
    found = run_command("convert", *files, "--dtype", "f4", "--overwrite")
    assert found.status == 1
    (error,) = found.err.splitlines()
    assert "a.npy' is a .npy file: leave out the dtype" in error
    assert np.load(tmp_path / "a.npy").tolist() == [0, 0]


def test_no_items_are_left_out_unasked(run_command: Run, raw: Path) -> None:
    found = run_command("convert", raw, "--dtype", "<f4", "--shape=3,3")
    assert (found.status, found.out) == (1, "")
    assert "has 48 bytes, and shape (3, 3) of 4-byte items takes 36: give the shape" in found.err
    assert not raw.with_suffix(".npy").exists()
    assert run_command("convert", raw, "--dtype", "<f4", "--shape=-1,3").status == 0


def test_nothing_is_overwritten_unasked(run_command: Run, raw: Path) -> None:
    made = raw.with_suffix(".npy")
    made.write_bytes(b"old")
    found = run_command("convert", raw, "--dtype", "u1")
    assert (found.status, made.read_bytes()) == (1, b"old")
    assert "File exists; overwrite=True (--overwrite) replaces it" in found.err
    assert run_command("convert", raw, "--dtype", "u1", "--overwrite").status == 0
    assert np.load(made).size == 48
    found = run_command("convert", made, "--dtype", "u1", "--overwrite", "--offset", "0")
    assert "is the file that is to be converted" in found.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "3"],
        ["--offset", "0"],
        ["--order", "F"],
        ["--dtype", "nonsense"],
        ["--dtype", "[('a',"],
        ["second", "--to", "none"],
    ],
)
def test_wrong_usage_has_its_own_status(run_command: Run, raw: Path, arguments: list[str]) -> None:
    assert run_command("convert", raw, *arguments).status == 2
    assert [path.name for path in raw.parent.iterdir()] == ["raw.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no bash here")
def test_the_shell_completes_commands_and_options() -> None:
    for words, expected in [
        ("mmapio conv", "convert"),
        ("mmapio convert --over", "--overwrite"),
        ("mmapio advise will", "willneed"),
    ]:
        completing = {
            "_MMAPIO_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
            "PYTHONPATH": str(Path(mmapio.__file__).parents[1]),
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "mmapio"],
            env=os.environ | completing,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.split() == [expected], done.stderr

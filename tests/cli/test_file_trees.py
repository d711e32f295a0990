"""Files in folders are found, each once, and what cannot be reached is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import mmapio
from mmapio.cli.file_trees import files_under

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


class Told:
    """Collects what the walk complains of."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def __call__(self, path: Path, error: mmapio.MmapioError) -> None:
        self.errors.append((path.name, str(error)))


def under(*paths: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of the files found, and what was told."""
    told = Told()
    return [path.name for path in files_under(paths, told)], told.errors


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in ("b/2", "b/1", "a", "c/d/3", ".hidden"):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tree / "empty").mkdir()
    return tree


def test_a_folder_gives_all_files_in_order(tree: Path) -> None:
    assert under(tree) == ([".hidden", "a", "1", "2", "3"], [])


def test_the_order_is_not_that_of_the_file_system(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = os.walk

    def backwards(*arguments: object, **options: object) -> object:
        for place, below, names in walk(*arguments, **options):  # type: ignore[call-overload]
            below.sort(reverse=True)
            yield place, below, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert under(tree) == ([".hidden", "a", "1", "2", "3"], [])


def test_files_come_as_they_are_named(tree: Path) -> None:
    assert under(tree / "c", tree / "a", tree / "b" / "2")[0] == ["3", "a", "2"]


def test_a_file_that_is_named_twice_comes_once(tree: Path) -> None:
    os.link(tree / "a", tree / "z")
    assert under(tree / "a", tree, tree / "a")[0] == ["a", ".hidden", "1", "2", "3"]


def test_what_is_not_there_is_left_to_whoever_opens_it(tree: Path) -> None:
    assert under(tree / "none", tree / "b") == (["none", "1", "2"], [])
    assert under(Path("nul\0l")) == (["nul\0l"], [])


def test_nothing_in_a_folder(tree: Path) -> None:
    assert under(tree / "empty") == ([], [])
    assert under() == ([], [])


@links
def test_links_to_files_are_followed_and_to_folders_are_not(tree: Path) -> None:
    other = tree.parent / "other"
    other.mkdir()
    (other / "far").write_text("")
    (tree / "b" / "to_far").symlink_to(other / "far")
    (tree / "b" / "to_a").symlink_to(tree / "a")
    (tree / "loop").symlink_to(tree)
    (tree / "outside").symlink_to(other)
    assert under(tree)[0] == [".hidden", "a", "1", "2", "to_far", "3"]
    assert under(tree / "loop")[0] == [".hidden", "a", "1", "2", "to_far", "3"]


@links
def test_a_link_that_leads_nowhere_is_told(tree: Path) -> None:
    (tree / "b" / "broken").symlink_to("nowhere")
    found, told = under(tree)
    assert found == [".hidden", "a", "1", "2", "3"]
    ((name, text),) = told
    assert name == "broken"
    assert "cannot follow the link: No such file or directory" in text
    assert under(tree / "b" / "broken") == (["broken"], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no such pipes")
def test_pipes_in_folders_are_passed_over(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    assert under(tree)[0] == [".hidden", "a", "1", "2", "3"]
    assert under(tree / "pipe")[0] == ["pipe"]


def test_a_folder_that_cannot_be_listed_is_told(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may list any.
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, ((name, text),) = under(tree)
    assert found == [".hidden", "a", "3"]
    assert (name, "cannot list the folder: Permission denied" in text) == ("b", True)

"""Source trees of commits, side by side."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

# What the branch of a pull request goes into, by the names that a clone may have for it.
MAIN = ("origin/main", "main")


class TreeError(RuntimeError):
    """Raised when there is no such commit, or nothing to measure in it."""


def git(repository: Path, *arguments: str) -> str:
    """Return what a git command prints."""
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise TreeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def merge_base(repository: Path, head: str) -> str:
    """Return where `head` left the main branch; the commit before it, if it has not."""
    commit = git(repository, "rev-parse", "--verify", f"{head}^{{commit}}")
    for main in MAIN:
        try:
            base = git(repository, "merge-base", main, commit)
        except TreeError:
            continue  # there is no such branch
        return base if base != commit else git(repository, "rev-parse", "--verify", f"{commit}^")
    raise TreeError(f"there is no {' and no '.join(MAIN)} to compare {head} with: name a BASE")


def tree_of(repository: Path, what: str, directory: Path) -> tuple[Path, str]:
    """Return a tree of files, and its name: a directory as it is, a commit unpacked into one."""
    if (Path(what) / "mmapio").is_dir():
        return Path(what).resolve(), what
    commit = git(repository, "rev-parse", "--verify", f"{what}^{{commit}}")
    name = git(repository, "log", "-1", "--format=%h %s", commit)
    archive = directory / f"{commit}.tar"
    git(repository, "archive", f"--output={archive}", commit)
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    archive.unlink()
    if not (directory / "mmapio").is_dir():
        raise TreeError(f"there is no mmapio in {name}")
    return directory, name


def kept_tree_of(repository: Path, what: str) -> tuple[Path, str]:
    """Return a tree that stays, with what was compiled of it, for the next time it is asked for."""
    if (Path(what) / "mmapio").is_dir():
        return Path(what).resolve(), what
    commit = git(repository, "rev-parse", "--verify", f"{what}^{{commit}}")
    name = git(repository, "log", "-1", "--format=%h %s", commit)
    kept = repository / ".asv" / "trees" / commit
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as directory:
            unpacked = Path(directory) / commit
            unpacked.mkdir()
            tree_of(repository, commit, unpacked)
            unpacked.rename(kept)
    return kept, name

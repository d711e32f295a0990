"""The stamp of source files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmapio import _sources
from mmapio._sources import sources_stamp


def test_any_change_below_a_folder_changes_the_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sources, "_PACKAGE", str(tmp_path))
    deep = tmp_path / "kernels" / "rows" / "copying.py"
    deep.parent.mkdir(parents=True)
    deep.write_text("a = 1\n")
    stamps = [sources_stamp("kernels")]
    deep.write_text("a = 10\n")
    stamps.append(sources_stamp("kernels"))
    os.utime(deep, ns=(0, 0))
    stamps.append(sources_stamp("kernels"))
    deep.rename(deep.with_stem("copies"))
    stamps.append(sources_stamp("kernels"))
    assert len(set(stamps)) == 4
    (tmp_path / "errors.py").write_text("")
    (deep.parent / "copying.pyc").write_text("")
    assert sources_stamp("kernels") == stamps[-1]


def test_a_package_in_an_archive_has_a_stamp_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sources, "_PACKAGE", "/no/such/archive.zip/mmapio")
    assert sources_stamp("kernels") == sources_stamp("atomics")

"""`mmapio info`: headers, sizes, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_info_prints_the_header(run_command: Callable[..., Any], numbers: Path) -> None:
    found = run_command("info", numbers)
    assert found.status == 0
    assert found.out.startswith(f"{numbers}\n  kind       .npy array, version 1.0\n")
    assert "  shape      (1000, 20), C order, 20,000 items\n" in found.out
    assert "  data       160,000 bytes (156.25 KiB) from byte 128\n" in found.out
    assert "  alignment  128 bytes; items are aligned\n" in found.out


def test_info_tells_what_is_missing(run_command: Callable[..., Any], truncated: Path) -> None:
    found = run_command("info", truncated)
    assert found.status == 0
    assert "  missing    3,128 bytes (3.05 KiB): the file is truncated\n" in found.out


def test_info_as_json(run_command: Callable[..., Any], numbers: Path, text: Path) -> None:
    array, other = run_command("info", "--json", numbers, text).json
    assert (array["kind"], array["data_offset"], array["shape"]) == ("npy", 128, [1000, 20])
    assert (other["kind"], other["bytes"]) == ("bytes", 1000)

"""Lines of targets: one for all figures of a target, and each reason once."""

from __future__ import annotations

from typing import Any

from reporting import page, target_lines


def found(what: str, figure: float | None, reason: str = "the disk is slow") -> dict[str, Any]:
    said = {"name": "bench.Some.track", "row": 7, "unit": "x", "at_most": 1.0, "figure": figure}
    return said | {"what": what, "reason": reason, "skipped": "" if figure else "no disk"}


SIZES = [found("Open, one element, 8 MiB", 0.9), found("Open, one element, 1 GiB", 1.004)]


def test_all_sizes_of_a_target_are_one_line() -> None:
    reasons: list[str] = []
    assert target_lines.line(SIZES, reasons) == (
        "| 7 | Open, one element | 0.9 to 1.004 (2) | 1 x | "
        "**1 of 2 missed**: 1 GiB 1.004; reason 1 |"
    )
    assert reasons == ["the disk is slow"]
    target_lines.line(SIZES, reasons)
    assert reasons == ["the disk is slow"]


def test_the_worst_are_named_and_others_counted() -> None:
    group = [found(f"Scan, {kind}, f8", 1 + at / 10, "") for at, kind in enumerate("abcde")]
    assert target_lines.line(group, []) == (
        "| 7 | Scan | 1 to 1.4 (5) | 1 x | "
        "**4 of 5 missed**: e f8 1.4, d f8 1.3, c f8 1.2 and 1 more |"
    )


def test_equal_figures_are_one_and_absent_ones_are_told() -> None:
    group = [found("Send, 1 MiB", 0.5), found("Send, 1 GiB", 0.5001), found("Send, 1 TiB", None)]
    assert target_lines.line(group, []) == ("| 7 | Send | 0.5 | 1 x | met; 1 skipped: no disk |")
    assert target_lines.counts(group) == {"count": 3, "met": 2, "missed": 0, "skipped": 1}


def test_a_reason_stands_on_the_page_once() -> None:
    other = [one | {"name": "bench.Other.track"} for one in SIZES]
    assert page.targets([*SIZES, *other]).count("the disk is slow") == 1

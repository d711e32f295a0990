"""The tables of the crate: all there, and all can be measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks import common
from reporting import crate_tables


@pytest.mark.parametrize(
    ("nbytes", "told"),
    [(1, "1 B"), (1536, "1536 B"), (1 << 10, "1 KiB"), (3 << 20, "3 MiB"), (16 << 40, "16 TiB")],
)
def test_sizes_are_told_in_the_unit_that_divides_them(nbytes: int, told: str) -> None:
    assert crate_tables.size(nbytes) == told


def test_all_tables_of_the_crate_are_there() -> None:
    assert [kind.title for kind in crate_tables.TABLES] == [
        "Iterating over 16 MiB",
        "Reading in sequence: in place, or copied",
        "Reading at random: in place, or copied",
        "Touching pages that are mapped",
        "Flushing a few bytes",
        "Atomic additions to one word, 10,000 in each thread",
        "Writing 4 MiB by 64 KiB, under each flush policy",
        "Operations on files",
        "Growth of cost with work",
    ]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="is measured on Linux alone")


@on_linux
@pytest.mark.parametrize("kind", crate_tables.TABLES, ids=lambda kind: kind.__name__)
def test_tables_can_be_measured(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "ROUNDS", 1)
    monkeypatch.setattr(common, "SAMPLE_S", 0)
    monkeypatch.setattr(common, "LARGE_BYTES", 32 << 20)
    rows = kind().measure()["rows"]
    assert all(taken > 0 for row in rows for taken in row["seconds"].values())
    assert all(next(iter(row["seconds"])) == "mmapio" for row in rows)
    assert len({row["what"] for row in rows}) == len(rows)


def test_a_table_that_cannot_go_on_keeps_what_it_has() -> None:
    class Half(crate_tables.Table):  # type: ignore[misc, name-defined]
        note = "By one thread."

        def rows(self) -> Iterator[Any]:
            yield crate_tables.Row("first", "", {}, {"mmapio": lambda: 1.0})
            raise NotImplementedError("there is no /dev/shm")

    found = Half().measure()
    assert [row["what"] for row in found["rows"]] == ["first"]
    assert found["note"] == "By one thread. The rest was skipped: there is no /dev/shm."

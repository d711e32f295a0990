"""Modes: their names, what they allow, and how they open a file that is there."""

from __future__ import annotations

import pytest

from mmapio.errors import ArgumentError
from mmapio.modes import Access, Mode

TABLE = [
    ("r", Access.READ, "r"),
    ("r+", Access.WRITE, "r+"),
    ("w+", Access.WRITE, "r+"),
    ("x+", Access.WRITE, "r+"),
    ("a+", Access.WRITE, "r+"),
    ("c", Access.COPY, "c"),
]


def test_every_mode_is_in_the_table() -> None:
    assert [mode.value for mode in Mode] == [name for name, _, _ in TABLE]


@pytest.mark.parametrize(("name", "access", "settled"), TABLE)
def test_a_mode_knows_its_access_and_how_its_file_is_opened_again(
    name: str, access: Access, settled: str
) -> None:
    mode = Mode.parse(name)
    assert mode.value == name
    assert mode.access is access
    assert mode.settled is Mode.parse(settled)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("readonly", Mode.READ),
        ("readwrite", Mode.UPDATE),
        ("write", Mode.REPLACE),
        ("copyonwrite", Mode.COPY),
        (Mode.COPY, Mode.COPY),
    ],
)
def test_the_long_names_of_numpy_are_known(name: object, mode: Mode) -> None:
    assert Mode.parse(name) is mode


@pytest.mark.parametrize("name", ["w", "R", "", "rw", b"r", None, 0, ["r"]])
def test_another_mode_is_refused_with_what_came_and_what_there_is(name: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        Mode.parse(name)
    assert str(caught.value) == (
        f"mode must be one of 'r', 'r+', 'w+', 'x+', 'a+', 'c', got {name!r}"
    )

"""Benchmarks that the gate compares: those that `gate.toml` names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parents[1]
LIST = "gate.toml"


class Benchmark(NamedTuple):
    """A method of the suite, what to call it with, and how long a turn of it takes at least."""

    name: str
    parameters: tuple[Any, ...] = ()
    instructions: bool = False
    turn_ms: float = 10

    def __str__(self) -> str:
        given = ", ".join(map(str, self.parameters))
        return self.name.removeprefix("bench_") + (f"({given})" if given else "")


def chosen(text: str) -> list[Benchmark]:
    """Return the benchmarks that a `gate.toml` names.

    Examples
    --------
    >>> chosen('[[benchmark]]\\nname = "bench_a.A.time_b"\\nturn_ms = 30')
    [Benchmark(name='bench_a.A.time_b', parameters=(), instructions=False, turn_ms=30)]
    """
    return [
        Benchmark(**_known(entry) | {"parameters": (*entry.get("parameters", ()),)})
        for entry in tomllib.loads(text)["benchmark"]
    ]


def _known(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the list of another commit says, and this program does not know."""
    return {name: value for name, value in entry.items() if name in Benchmark._fields}


def suite_of(tree: Path) -> Path:
    """Return the directory of benchmarks of a tree; of this file, if that tree has no list yet."""
    suite = tree / HERE.name
    return suite if (suite / LIST).exists() else HERE


def listed_in(suite: Path) -> list[Benchmark]:
    """Return what a directory of benchmarks has in its list; nothing, if it has none."""
    file = suite / LIST
    return chosen(file.read_text(encoding="utf-8")) if file.exists() else []

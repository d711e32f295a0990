"""Classes of benchmarks: found, and set up and torn down as asv does it."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

import benchmarks


@contextlib.contextmanager
def prepared(kind: type, parameters: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield a benchmark between its `setup` and its `teardown`, if it has them, as asv does."""
    benchmark = kind()
    try:
        if hasattr(benchmark, "setup"):
            benchmark.setup(*parameters)
        yield benchmark
    finally:
        if hasattr(benchmark, "teardown"):
            benchmark.teardown(*parameters)


def classes() -> Iterator[type]:
    """Yield every class of benchmarks."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("bench_"):
            found = importlib.import_module(f"benchmarks.{module.name}")
            yield from (
                kind
                for kind in vars(found).values()
                if isinstance(kind, type) and kind.__module__ == found.__name__
            )


def combinations(kind: type) -> list[tuple[Any, ...]]:
    """Return all choices of parameters of a class, as asv understands them."""
    params: Any = getattr(kind, "params", ())
    several = bool(params) and isinstance(params[0], tuple | list)
    return list(itertools.product(*(params if several or not params else [params])))

"""Packages that scan arrays too: imported where they are installed, and what they keep items in."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PACKAGES", "arrow_array", "frame", "missing", "package", "series", "table"]

PACKAGES = ("numpy", "bottleneck", "polars", "pyarrow", "duckdb", "numexpr")


@functools.cache
def package(name: str) -> Any:
    """Import a package, or say that it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotImplementedError(f"{name.partition('.')[0]} is not installed") from error


def missing() -> list[str]:
    """Return the packages that no comparison has, because they are not installed."""
    return [name for name in PACKAGES if not _is_there(name)]


def series(a: NDArray[Any]) -> Any:
    """Return a polars Series over an array's memory."""
    found = package("polars").Series("x", in_one_piece(a))
    return _over_same_memory(found, found.to_arrow().buffers()[1].address, a)


def frame(a: NDArray[Any]) -> Any:
    """Return a polars DataFrame over the columns of a table in F order."""
    polars = package("polars")
    if not a.flags.f_contiguous:
        raise NotImplementedError("a polars DataFrame has columns that lie in one piece")
    return polars.DataFrame([polars.Series(str(i), column) for i, column in enumerate(a.T)])


def arrow_array(a: NDArray[Any]) -> Any:
    """Return a pyarrow Array over an array's memory."""
    found = package("pyarrow").array(in_one_piece(a))
    return _over_same_memory(found, found.buffers()[1].address, a)


def table(a: NDArray[Any]) -> Any:
    """Return a duckdb connection, in which `t` is a table of a column `x`: an array's memory."""
    connection = package("duckdb").connect()
    connection.register("t", package("pyarrow").table({"x": arrow_array(a)}))
    return connection


def in_one_piece(a: NDArray[Any]) -> NDArray[Any]:
    """Return the items as they lie in memory."""
    flat = a.ravel("K")
    if not np.shares_memory(flat, a):
        raise NotImplementedError("columns of this package lie in one piece, without gaps")
    return flat


def _is_there(name: str) -> bool:
    try:
        package(name)
    except NotImplementedError:
        return False
    return True


def _over_same_memory(found: Any, address: int, a: NDArray[Any]) -> Any:
    if address != a.ctypes.data:
        raise NotImplementedError("this package would work on a copy")
    return found

"""The work of each kernel, and the same work by its peers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import DTYPES, Arrays
from .peers import package

__all__ = ["WORKS", "Peer", "Work"]

Peer = Callable[[Arrays], Any]
AXIS_0 = ("C 5000 wide", "C 100 wide", "C 3 wide", "F 1000 wide")
WHOLE = ("1-d", "strided", "F 1000 wide")
LINES = ("1-d", "strided")
BINS = 64
PATTERN = bytes(range(255, 247, -1))  # 8 bytes that are absent
# numpy takes seconds for a histogram of more, and 16 bytes an item for the variance of bytes.
FEWER_ITEMS, MANY_ITEMS = 1 << 22, 1 << 26


class Work(NamedTuple):
    """The same work by mmapio, whose kernels are the first argument, and by peers.

    `peers` have names that begin with their package. `changes` names the array that it changes.
    """

    ours: Callable[[Any, Arrays], Any]
    peers: dict[str, Peer]
    layouts: tuple[str, ...] = ("1-d",)
    dtypes: tuple[str, ...] = DTYPES
    most_items: int | None = None
    changes: str = ""


def _query(sql: str) -> Peer:
    """Return what duckdb does for a query with one row of results."""

    def ask(d: Arrays) -> Any:
        found = d.table.execute(f"select {sql} from t").fetchone()
        return found[0] if len(found) == 1 else found

    return ask


def _evaluated(expression: str) -> Peer:
    """Return what numexpr does for an expression of `a`, and of `v`, the rare value."""

    def evaluate(d: Arrays) -> Any:
        return package("numexpr").evaluate(expression, {"a": d.a, "v": d.rare})

    return evaluate


def _arrow(name: str, **options: Any) -> Peer:
    return lambda d: getattr(package("pyarrow.compute"), name)(d.arrow, **options).as_py()


def _bottleneck(name: str, **options: Any) -> Peer:
    return lambda d: getattr(package("bottleneck"), name)(d.a, **options)


def _first_true(mask: NDArray[np.bool_]) -> int:
    at = int(mask.argmax())
    return at if mask[at] else -1


def _or_absent(found: int | None) -> int:
    return -1 if found is None else found


def _arrow_equal(d: Arrays, value: Any) -> Any:
    return package("pyarrow.compute").equal(d.arrow, value)


def _numpy_summary(d: Arrays) -> tuple[Any, ...]:
    low, high = d.a.min(), d.a.max()
    np.histogram(d.a, 256, (low, high))
    return d.a.size, low, high, d.a.sum(dtype="f8"), d.a.mean(dtype="f8"), d.a.var(dtype="f8")


def _our_summary(kernels: Any, d: Arrays) -> tuple[Any, ...]:
    found = kernels.describe(d.a)
    return found.count, found.min, found.max, found.sum, found.mean, found.var


def _put(d: Arrays) -> NDArray[Any]:
    np.put(d.target, d.picks, d.a[: d.picks.size])
    return d.target


def _store(rows: str, picks: str, values: Callable[[Arrays], Any]) -> Peer:
    def store(d: Arrays) -> NDArray[Any]:
        target: NDArray[Any] = getattr(d, rows)
        target[getattr(d, picks)] = values(d)
        return target

    return store


def _add_at(target: str, picks: str) -> Peer:
    def add(d: Arrays) -> NDArray[Any]:
        found: NDArray[Any] = getattr(d, target)
        np.add.at(found, getattr(d, picks), d.a[: getattr(d, picks).size])
        return found

    return add


def _add_bincount(d: Arrays) -> NDArray[Any]:
    picks = d.picks_of_thousand
    sums = np.bincount(picks, d.a[: picks.size], minlength=1000)
    wide = sums if d.dtype.kind == "f" else sums.astype("i8")  # which wraps as the kernel does
    found: NDArray[Any] = d.thousand
    found += wide.astype(d.dtype)
    return found


def _our_change(name: str, target: str, picks: str, values: Callable[[Arrays], Any]) -> Any:
    def change(kernels: Any, d: Arrays) -> NDArray[Any]:
        found: NDArray[Any] = getattr(d, target)
        getattr(kernels, name)(found, getattr(d, picks), values(d))
        return found

    return change


def _gathered(rows: str, picks: str, **more: Peer) -> Work:
    return Work(
        lambda k, d: k.gather(getattr(d, rows), getattr(d, picks)),
        {
            "numpy take": lambda d: np.take(getattr(d, rows), getattr(d, picks), axis=0),
            "numpy take clip": lambda d: np.take(
                getattr(d, rows), getattr(d, picks), axis=0, mode="clip"
            ),
            "numpy []": lambda d: getattr(d, rows)[getattr(d, picks)],
            **more,
        },
    )


def _along_columns(name: str, **options: Any) -> Work:
    """Return a reduction of columns; that of polars has a frame of them."""
    skipping = f"nan{name}"
    return Work(
        lambda k, d: getattr(k, name)(d.a, axis=0),
        {
            "numpy": lambda d: getattr(np, name)(d.a, axis=0),
            "bottleneck": _bottleneck(skipping, axis=0),
            "polars": lambda d: getattr(d.frame, name)(**options),
        },
        AXIS_0,
        most_items=MANY_ITEMS if name in ("var", "std") else None,
    )


def _moment(name: str, arrow: str, sql: str) -> Work:
    return Work(
        lambda k, d: getattr(k, name)(d.a),
        {
            "numpy": lambda d: getattr(np, name)(d.a),
            "bottleneck": _bottleneck(f"nan{name}"),
            "polars": lambda d: getattr(d.series, name)(ddof=0),
            "pyarrow": _arrow(arrow),
            "duckdb": _query(sql),
        },
        LINES,
        most_items=MANY_ITEMS,
    )


def _extreme(name: str) -> Work:
    return Work(
        lambda k, d: getattr(k, name)(d.a),
        {
            "numpy": lambda d: getattr(np, name)(d.a),
            "bottleneck": _bottleneck(f"nan{name}"),
            "polars": lambda d: getattr(d.series, name)(),
            "pyarrow": _arrow(name),
            "duckdb": _query(f"{name}(x)"),
            "numexpr": _evaluated(f"{name}(a)"),
        },
        WHOLE,
    )


def _place_of_extreme(name: str) -> Work:
    return Work(
        lambda k, d: getattr(k, name)(d.a),
        {
            "numpy": lambda d: getattr(np, name)(d.a),
            "bottleneck": _bottleneck(f"nan{name}"),
            "polars": lambda d: getattr(d.series, f"arg_{name[3:]}")(),
        },
        WHOLE,
    )


def _all_places(of: Callable[[Arrays], Arrays], value: Callable[[Arrays], Any]) -> Work:
    return Work(
        lambda k, d: k.find_all(of(d).a, value(d)),
        {
            "numpy": lambda d: np.flatnonzero(of(d).a == value(d)),
            "polars": lambda d: (of(d).series == value(d)).arg_true(),
            "pyarrow": lambda d: package("pyarrow.compute").indices_nonzero(
                _arrow_equal(of(d), value(d))
            ),
        },
        LINES,
        most_items=MANY_ITEMS,
    )


WORKS: dict[str, Work] = {
    "sum": Work(
        lambda k, d: k.sum(d.a),
        {
            "numpy": lambda d: np.sum(d.a),
            "bottleneck": _bottleneck("nansum"),
            "polars": lambda d: d.series.sum(),
            "pyarrow": _arrow("sum"),
            "duckdb": _query("sum(x)"),
            "numexpr": _evaluated("sum(a)"),
        },
        WHOLE,
    ),
    "mean": Work(
        lambda k, d: k.mean(d.a),
        {
            "numpy": lambda d: np.mean(d.a),
            "bottleneck": _bottleneck("nanmean"),
            "polars": lambda d: d.series.mean(),
            "pyarrow": _arrow("mean"),
            "duckdb": _query("avg(x)"),
        },
        LINES,
    ),
    "var": _moment("var", "variance", "var_pop(x)"),
    "std": _moment("std", "stddev", "stddev_pop(x)"),
    "min": _extreme("min"),
    "max": _extreme("max"),
    "minmax": Work(
        lambda k, d: k.minmax(d.a),
        {
            "numpy": lambda d: (np.min(d.a), np.max(d.a)),
            "bottleneck": lambda d: (_bottleneck("nanmin")(d), _bottleneck("nanmax")(d)),
            "polars": lambda d: (d.series.min(), d.series.max()),
            "pyarrow": lambda d: tuple(_arrow("min_max")(d).values()),
            "duckdb": _query("min(x), max(x)"),
        },
        LINES,
    ),
    "argmin": _place_of_extreme("argmin"),
    "argmax": _place_of_extreme("argmax"),
    "count": Work(
        lambda k, d: k.count(d.a, d.rare),
        {
            "numpy": lambda d: np.count_nonzero(d.a == d.rare),
            "polars": lambda d: (d.series == d.rare).sum(),
            "pyarrow": lambda d: package("pyarrow.compute").sum(_arrow_equal(d, d.rare)).as_py(),
            "duckdb": _query("count(*) filter (x = 251)"),
            "numexpr": lambda d: np.count_nonzero(_evaluated("a == v")(d)),
            "bytes": lambda d: d.raw.count(bytes([d.rare])),
        },
        LINES,
    ),
    "count_nonzero": Work(
        lambda k, d: k.count_nonzero(d.a),
        {
            "numpy": lambda d: np.count_nonzero(d.a),
            "polars": lambda d: (d.series != 0).sum(),
            "duckdb": _query("count(*) filter (x <> 0)"),
            "numexpr": lambda d: np.count_nonzero(_evaluated("a != 0")(d)),
        },
        LINES,
    ),
    "find": Work(
        lambda k, d: k.find(d.a, d.absent),
        {
            "numpy": lambda d: _first_true(d.a == d.absent),
            "polars": lambda d: _or_absent(d.series.index_of(d.absent)),
            "pyarrow": lambda d: package("pyarrow.compute").index(d.arrow, d.absent).as_py(),
            "bytes": lambda d: d.raw.find(bytes([d.absent])),
        },
        LINES,
    ),
    "find-bytes": Work(
        lambda k, d: k.find(d.a, PATTERN),
        {"bytes": lambda d: d.raw.find(PATTERN)},
        dtypes=("u1",),
    ),
    "find_all-few": _all_places(lambda d: d, lambda d: d.rare),
    "find_all-many": _all_places(lambda d: d.coarse, lambda d: d.dtype.type(1)),
    "axis0-sum": _along_columns("sum"),
    "axis0-mean": _along_columns("mean"),
    "axis0-max": _along_columns("max"),
    "axis0-var": _along_columns("var", ddof=0),
    "histogram-even": Work(
        lambda k, d: k.histogram(d.a, BINS, d.ends)[0],
        {
            "numpy": lambda d: np.histogram(d.a, BINS, d.ends)[0],
            "polars": lambda d: d.series.hist(bin_count=BINS)["count"],
        },
        most_items=FEWER_ITEMS,
    ),
    "histogram-uneven": Work(
        lambda k, d: k.histogram(d.a, d.edges)[0],
        {
            "numpy": lambda d: np.histogram(d.a, d.edges)[0],
            "polars": lambda d: d.series.hist(bins=d.edges.tolist())["count"],
        },
        most_items=FEWER_ITEMS,
    ),
    "describe": Work(_our_summary, {"numpy": _numpy_summary}, most_items=FEWER_ITEMS),
    "gather-items": _gathered(
        "a",
        "picks",
        polars=lambda d: d.series.gather(d.picks),
        pyarrow=lambda d: d.arrow.take(package("pyarrow").array(d.picks)),
    ),
    "gather-256B": _gathered("short_rows", "picks_of_short_rows"),
    "gather-1KiB": _gathered("long_rows", "picks_of_long_rows"),
    "scatter-items": Work(
        _our_change("scatter", "target", "picks", lambda d: d.a[: d.picks.size]),
        {
            "numpy []": _store("target", "picks", lambda d: d.a[: d.picks.size]),
            "numpy put": _put,
        },
        changes="target",
    ),
    "scatter-256B": Work(
        _our_change("scatter", "target_rows", "picks_of_short_rows", lambda d: d.new_rows),
        {"numpy []": _store("target_rows", "picks_of_short_rows", lambda d: d.new_rows)},
        changes="target_rows",
    ),
    "scatter_add-items": Work(
        _our_change("scatter_add", "target", "picks", lambda d: d.a[: d.picks.size]),
        {"numpy add.at": _add_at("target", "picks")},
        changes="target",
    ),
    "scatter_add-1000": Work(
        _our_change(
            "scatter_add",
            "thousand",
            "picks_of_thousand",
            lambda d: d.a[: d.picks_of_thousand.size],
        ),
        {
            "numpy add.at": _add_at("thousand", "picks_of_thousand"),
            "numpy bincount": _add_bincount,
        },
        changes="thousand",
    ),
    "checksum": Work(
        lambda k, d: k.checksum(d.a), {"zlib": lambda d: zlib.crc32(d.a)}, dtypes=("u1",)
    ),
    "byte_counts": Work(
        lambda k, d: k.byte_counts(d.a),
        {"numpy": lambda d: np.bincount(d.a, minlength=256)},
        dtypes=("u1",),
        most_items=MANY_ITEMS,
    ),
}

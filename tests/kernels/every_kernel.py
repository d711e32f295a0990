"""Every public kernel over small arrays: results to compare between ways to run them.

As a script, it prints a result a line: ``name of the case``, a tab, ``bits``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple, is_dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from samples import LAYOUTS

from mmapio import kernels

Case = Callable[[NDArray[Any]], object]

WITHOUT_RESULTS = {"Description", "compile_all"}  # a class, and what has no array to read
# Kernels of users' own take long to compile: they are called with few types.
OF_USERS = {"map_chunks", "reduce_chunks", "inside"}
FOR_USERS = {"f8 C", "i4 C"}
SHAPE = (97, 53)  # ends within vectors, blocks and rows of lanes


@numba.njit
def peak(chunk: Any, scale: Any) -> Any:
    return np.float64(chunk.max()) * scale


@numba.njit
def larger(x: Any, y: Any) -> Any:
    return max(x, y)


@numba.njit
def doubled(chunk: Any) -> Any:
    return chunk.astype(np.float64) + chunk


def reduced(a: NDArray[Any]) -> object:
    return kernels.reduce_chunks(a, peak, larger, 0.0, chunk=10, args=(3,))


def mapped(a: NDArray[Any]) -> object:
    out = np.zeros(a.shape, np.float64)
    kernels.map_chunks(a, doubled, out, chunk=10)
    return out


def scattered(store: Callable[..., None]) -> Case:
    def case(a: NDArray[Any]) -> object:
        target = np.ones((9, *a.shape[1:]), a.dtype)
        store(target, [3, -1, 3, 0], a[:4])
        return target

    return case


def inside(a: NDArray[Any]) -> object:
    return _inside(a, a.flat[7])


@numba.njit
def _inside(a: Any, value: Any) -> Any:
    moments = (
        kernels.sum(a),
        kernels.mean(a),
        kernels.var(a),
        kernels.var(a, ddof=1),
        kernels.std(a),
    )
    extremes = kernels.minmax(a), kernels.min(a), kernels.max(a)
    places = kernels.argmin(a), kernels.argmax(a), kernels.find(a, value)
    counts = kernels.count(a, value), kernels.count_nonzero(a)
    return moments, extremes, places, counts, kernels.find_all(a, value)


def bytes_of(a: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(a).view("u1").reshape(-1)


CASES: dict[str, list[Case]] = {
    **{
        name: [getattr(kernels, name), lambda a, name=name: getattr(kernels, name)(a, axis=0)]
        for name in ("sum", "mean", "std", "var", "min", "max", "minmax")
    },
    "argmax": [kernels.argmax],
    "argmin": [kernels.argmin],
    "byte_counts": [lambda a: kernels.byte_counts(bytes_of(a))],
    "checksum": [kernels.checksum],
    "count": [lambda a: kernels.count(a, a.flat[7])],
    "count_nonzero": [kernels.count_nonzero],
    "describe": [
        kernels.describe,
        lambda a: kernels.describe(a, bins=10),
        lambda a: kernels.describe(a, axis=0),
    ],
    "find": [
        lambda a: kernels.find(a, a.flat[-1]),
        lambda a: kernels.find(bytes_of(a), bytes(bytes_of(a)[-5:])),
    ],
    "find_all": [
        lambda a: kernels.find_all(a, a.flat[7]),
        lambda a: kernels.find_all(bytes_of(a), bytes(bytes_of(a)[20:22])),
    ],
    "gather": [lambda a: kernels.gather(np.ascontiguousarray(a), [[3, -1], [0, 3]])],
    "histogram": [
        kernels.histogram,
        lambda a: kernels.histogram(a, [0, 1, 3, 100]),
        lambda a: kernels.histogram(a, 7, (1, 90)),
    ],
    "map_chunks": [mapped],
    "reduce_chunks": [reduced],
    "scatter": [scattered(kernels.scatter)],
    "scatter_add": [scattered(kernels.scatter_add)],
    "touch_pages": [lambda a: kernels.touch_pages(a) > 0],
}


ALL = " ".join([*CASES, "inside"])


def bits(value: object) -> str:
    """Return a result as text that differs wherever the results do, were it by one bit."""
    if is_dataclass(value) and not isinstance(value, type):
        return bits(astuple(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(bits, value))})"
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":  # whose memory is addresses
            return f"{value.shape}:{value.tolist()}"
        return f"{value.dtype}{value.shape}:{value.tobytes().hex()}"
    return f"{type(value).__name__} {value.hex() if isinstance(value, float) else value}"


def different(some: dict[str, str], others: dict[str, str]) -> list[str]:
    """Return the names of the cases whose results are not the same."""
    assert some.keys() == others.keys()
    return [key for key in some if some[key] != others[key]]


def outcome(case: Case, a: NDArray[Any]) -> str:
    try:
        return bits(case(a))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def arrays(dtypes: str, layouts: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield arrays of numbers of very different size, some of them not finite, with their names."""
    rng = np.random.default_rng(14)
    for dtype in dtypes.split():
        is_float = np.dtype(dtype).kind == "f"
        spread = np.ldexp(rng.normal(size=SHAPE), rng.integers(-30 if is_float else 0, 30, SHAPE))
        with np.errstate(all="ignore"):
            a = spread.astype(dtype) if is_float else spread.astype("i8").astype(dtype)
        for layout in layouts.split():
            yield f"{dtype} {layout}", LAYOUTS[layout](a)
        if a.dtype.kind == "f":
            a[5, 6:8] = np.nan, -np.inf
            yield f"{dtype} with NaN", a


def results(dtypes: str, layouts: str, names: str = ALL) -> dict[str, str]:
    """Return the bits of kernels' results, by the name of the case."""
    return {
        f"{name}[{number}] of {kind}": outcome(case, a)
        for kind, a in arrays(dtypes, layouts)
        for name, cases in {**CASES, "inside": [inside]}.items()
        if name in names.split() and (name not in OF_USERS or kind in FOR_USERS)
        for number, case in enumerate(cases)
    }


if __name__ == "__main__":
    for case, found in results(*sys.argv[1:]).items():
        print(case, repr(found), sep="\t")  # noqa: T201

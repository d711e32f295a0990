"""Errors in users' kernels: what is wrong, in one sentence, and on which line."""

from __future__ import annotations

import re
from typing import Any

import numba
import numpy as np
import pytest
from kernels_of_users import add, extremes, first, njit, scaled

from mmapio.errors import KernelError
from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks


@njit
def with_text(chunk: Any) -> Any:
    return chunk[0] + "text"


@njit
def with_attribute(chunk: Any) -> Any:
    return chunk.nonsense


@njit
def with_name(chunk: Any) -> Any:
    return undefined + 1  # type: ignore[name-defined]  # noqa: F821


@njit
def that_stores(chunk: Any) -> Any:
    chunk[0] = 1
    return 1


@njit
def that_calls(chunk: Any) -> Any:
    return with_attribute(chunk)


@njit
def that_returns_both(chunk: Any) -> Any:
    if chunk[0]:
        return 1
    return "text"


@njit
def that_opens(chunk: Any) -> Any:
    with open("file"):
        return 1


@njit
def of_a_view(chunk: Any) -> Any:
    return chunk[:1]


@njit
def of_nothing(chunk: Any) -> None:
    pass


@numba.njit("int64(int64)")
def of_a_number(chunk: Any) -> Any:
    return chunk


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (with_text, [r"no implementation of add(uint8, ", 'return chunk[0] + "text"']),
        (with_attribute, ["Unknown attribute 'nonsense'", "return chunk.nonsense"]),
        (with_name, ["'undefined' is not defined", "return undefined + 1"]),
        (that_stores, ["Cannot modify readonly array", ": chunk[0] = 1"]),
        (that_calls, ["kernel that_calls()", "Unknown attribute", "return chunk.nonsense"]),
        (that_returns_both, ["Can't unify return type", "test_messages.py:", ": return"]),
        (that_opens, ["kernel that_opens() does not compile", "context manager"]),
        (of_a_view, ["returns readonly array(uint8, 1d, C); it must return"]),
        (of_nothing, ["returns none; it must return a number"]),
        (of_a_number, ["of_a_number() was compiled for other types than (readonly array(uint8"]),
        (of_a_number, ["; leave the signature out of its decorator"]),
        (extremes, ["kernel extremes() returns UniTuple(uint8 x 2), but init is int64"]),
        (scaled, ["kernel scaled() is called with 1 arguments: missing", "'factor'"]),
        (len, ["kernel must be compiled with numba.njit, and 'len' is not"]),
        (3, ["kernel must be compiled with numba.njit, and 'int' is not"]),
    ],
)
def test_the_users_error_is_said_in_a_line(kernel: Any, said: list[str]) -> None:
    with pytest.raises(KernelError) as caught:
        reduce_chunks(np.zeros(5, "u1"), kernel, add, 0)
    message = str(caught.value)
    for part in said:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_kernel_without_a_file_to_point_into() -> None:
    names: dict[str, Any] = {}
    exec("def typed_in(chunk):\n    return chunk.nonsense", names)
    with pytest.raises(KernelError, match=r"Unknown attribute 'nonsense' of type [^:]*\)$"):
        reduce_chunks(np.zeros(5, "u1"), njit(names["typed_in"]), add, 0)


@pytest.mark.parametrize(
    ("combine", "init", "said"),
    [
        (max, 0, "combine must be compiled with numba.njit, and 'max' is not"),
        (first, 0, "combine first() is called with 2 arguments: too many"),
        (scaled, "text", "init must be a number, an array or a tuple of these, got unicode_type"),
        (scaled, [1], "init must be a number"),
        (add, np.uint8(0), "combine add() of uint8 and uint8 returns uint64, but init is uint8"),
        (add, (1, 2), "kernel first() returns uint8, but init is UniTuple(int64 x 2)"),
        (add, np.zeros(3), "kernel first() returns uint8, but init is array(float64, 1d, C)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*reflected list")
def test_what_is_wrong_with_combine_or_init(combine: Any, init: Any, said: str) -> None:
    with pytest.raises(KernelError) as caught:
        reduce_chunks(np.zeros(5, "u1"), first, combine, init)
    assert said in str(caught.value)


def test_what_is_wrong_with_args() -> None:
    a = np.zeros(5)
    with pytest.raises(KernelError, match="called with 2 arguments: too many positional"):
        reduce_chunks(a, first, add, 0.0, args=(1,))
    said = "args[0] of type 'dict' cannot be handed to a kernel"
    with pytest.raises(KernelError, match=re.escape(said)):
        reduce_chunks(a, scaled, add, 0.0, args=({},))
    with pytest.raises(KernelError, match=re.escape(said)):
        map_chunks(a, scaled, np.empty(5), args=({},))
    with pytest.raises(KernelError, match=r"^args\[1\] of type 'object' cannot"):
        reduce_chunks(a, scaled, add, 0.0, args=(1, (2, object())))
    with pytest.raises(KernelError, match=r"^init is 1180591620717411303424, but integers .* 64 b"):
        reduce_chunks(a, first, add, 2**70)
    with pytest.raises(KernelError, match=r"^args\[0\] is -9223372036854775809, but integers"):
        reduce_chunks(a, scaled, add, 0.0, args=(-(2**63) - 1,))


@numba.njit  # type: ignore[untyped-decorator]
def changes_its_chunk(chunk: Any) -> Any:
    chunk *= 2
    return chunk.sum()


@numba.njit  # type: ignore[untyped-decorator]
def sorts_its_chunk(chunk: Any) -> Any:
    chunk.sort()
    return chunk[0]


@numba.njit  # type: ignore[untyped-decorator]
def makes_an_array_of_a_string(chunk: Any) -> Any:
    return np.zeros("3")


@numba.njit  # type: ignore[untyped-decorator]
def added(x: Any, y: Any) -> Any:
    return x + y


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (changes_its_chunk, "does it change a chunk"),
        (makes_an_array_of_a_string, "Cannot parse input types"),
    ],
)
def test_what_is_wrong_with_a_kernel_is_said(kernel: Any, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        reduce_chunks(np.ones(9), kernel, added, 0.0)


def test_no_message_is_about_stages_of_the_compiler() -> None:
    with pytest.raises(KernelError) as caught:
        reduce_chunks(np.ones(9), sorts_its_chunk, added, 0.0)
    assert "Failed in" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_object_mode_is_refused_by_name() -> None:
    kernel = numba.jit(lambda chunk: 1.0, forceobj=True)
    with pytest.raises(KernelError, match="object mode; compile it with"):
        reduce_chunks(np.ones(9), kernel, added, 0.0)

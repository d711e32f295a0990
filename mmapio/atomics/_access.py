"""Atomic loads, stores, exchanges and fences, for kernels and for Python."""

from __future__ import annotations

from typing import Any

from mmapio.atomics import _cells
from mmapio.atomics._overloads import (
    kernel_compare_exchange,
    kernel_fence,
    kernel_load,
    kernel_operation,
)

__all__ = ["compare_exchange", "exchange", "fence", "load", "store"]


@kernel_load
def load(a: Any, index: Any, order: str = "seq_cst") -> Any:
    """Return the value of a cell, never half of one.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    order : {"seq_cst", "acquire", "relaxed"}
        Memory order; a literal inside kernels.

    Returns
    -------
    bool, int or float
        The value.

    Raises
    ------
    OutOfBoundsError
        From Python only, if the array has no such element.
    MisalignedError
        If the cell does not lie at a multiple of its own size.
    ArgumentError, ArgumentTypeError
        If the dtype, the index or the order is not one for this operation.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> atomics.load(np.array([[1, 2], [3, 4]]), (1, 0))
    3
    """
    return _cells.call("load", a, index, order)


@kernel_operation
def store(a: Any, index: Any, value: Any, order: str = "seq_cst") -> None:
    """Set the value of a cell, as a whole.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        The new value.
    order : {"seq_cst", "release", "relaxed"}
        Memory order; a literal inside kernels.

    Raises
    ------
    OutOfBoundsError
        From Python only, if the array has no such element.
    MisalignedError
        If the cell does not lie at a multiple of its own size.
    ReadOnlyError
        If the memory is read-only.
    ArgumentError, ArgumentTypeError
        If the dtype, the index or the order is not one for this operation; from Python also if a
        value does not fit the dtype, and nothing is stored then.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> flags = np.zeros(2, "?")
    >>> atomics.store(flags, 1, True, order="release")
    >>> flags
    array([False,  True])
    """
    _cells.call("store", a, index, order, value)


@kernel_operation
def exchange(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Set the value of a cell and return the one before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        The new value.
    order : {"seq_cst", "acq_rel", "acquire", "release", "relaxed"}
        Memory order; a literal inside kernels.

    Returns
    -------
    bool, int or float
        The value before.

    Raises
    ------
    OutOfBoundsError
        From Python only, if the array has no such element.
    MisalignedError
        If the cell does not lie at a multiple of its own size.
    ReadOnlyError
        If the memory is read-only.
    ArgumentError, ArgumentTypeError
        If the dtype, the index or the order is not one for this operation; from Python also if a
        value does not fit the dtype, and nothing is stored then.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> a = np.array([1.5, 2.5])
    >>> atomics.exchange(a, 0, 7), a
    (1.5, array([7. , 2.5]))
    """
    return _cells.call("exchange", a, index, order, value)


@kernel_compare_exchange
def compare_exchange(
    a: Any, index: Any, expected: Any, desired: Any, order: str = "seq_cst"
) -> tuple[Any, bool]:
    """Set the value of a cell if it is the expected one.

    If another value is found there is no release: ``"acq_rel"`` is then ``"acquire"``, and
    ``"release"`` is ``"relaxed"``.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    expected : bool, int or float
        What the cell has to hold.
    desired : bool, int or float
        What it then holds.
    order : {"seq_cst", "acq_rel", "acquire", "release", "relaxed"}
        Memory order; a literal inside kernels.

    Returns
    -------
    tuple of (bool, int or float) and bool
        The value before, and whether it was replaced.

    Raises
    ------
    OutOfBoundsError
        From Python only, if the array has no such element.
    MisalignedError
        If the cell does not lie at a multiple of its own size.
    ReadOnlyError
        If the memory is read-only.
    ArgumentError, ArgumentTypeError
        If the dtype, the index or the order is not one for this operation; from Python also if a
        value does not fit the dtype, and nothing is stored then.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> a = np.array([5], "u2")
    >>> atomics.compare_exchange(a, 0, 5, 6), atomics.compare_exchange(a, 0, 5, 7), a
    ((5, True), (6, False), array([6], dtype=uint16))
    """
    result: tuple[Any, bool] = _cells.call("compare_exchange", a, index, order, expected, desired)
    return result


@kernel_fence
def fence(order: str = "seq_cst") -> None:
    """Order the loads and stores before it against those after it.

    Parameters
    ----------
    order : {"seq_cst", "acq_rel", "acquire", "release"}
        Memory order; a literal inside kernels.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the order is not one for a fence.

    Examples
    --------
    >>> from mmapio import atomics
    >>> atomics.fence("release")
    """
    _cells.fence(order)

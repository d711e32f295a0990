"""Atomic changes that return the value before, for kernels and for Python."""

from __future__ import annotations

from typing import Any

from mmapio.atomics import _cells
from mmapio.atomics._overloads import kernel_operation

__all__ = ["fetch_add", "fetch_and", "fetch_max", "fetch_min", "fetch_or", "fetch_sub", "fetch_xor"]


@kernel_operation
def fetch_add(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Add to a cell and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        What to add.
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
    >>> a = np.array([250], "u1")
    >>> atomics.fetch_add(a, 0, 10), a
    (250, array([4], dtype=uint8))
    """
    return _cells.call("fetch_add", a, index, order, value)


@kernel_operation
def fetch_sub(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Subtract from a cell and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        What to subtract.
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
    >>> a = np.array([0.5])
    >>> atomics.fetch_sub(a, 0, 2), a
    (0.5, array([-1.5]))
    """
    return _cells.call("fetch_sub", a, index, order, value)


@kernel_operation
def fetch_and(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Keep the bits of a cell that the value has too, and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        The bits to keep.
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
    >>> a = np.array([0b1100])
    >>> atomics.fetch_and(a, 0, 0b1010), a
    (12, array([8]))
    """
    return _cells.call("fetch_and", a, index, order, value)


@kernel_operation
def fetch_or(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Set bits of a cell and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        The bits to set.
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
    >>> a = np.array([False])
    >>> atomics.fetch_or(a, 0, True), a
    (False, array([ True]))
    """
    return _cells.call("fetch_or", a, index, order, value)


@kernel_operation
def fetch_xor(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Flip bits of a cell and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        The bits to flip.
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
    >>> a = np.array([0b1100])
    >>> atomics.fetch_xor(a, 0, 0b1010), a
    (12, array([6]))
    """
    return _cells.call("fetch_xor", a, index, order, value)


@kernel_operation
def fetch_min(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Lower a cell to a value if it is greater, and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        What the cell is at most.
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
    >>> a = np.array([np.nan, -1.0])
    >>> atomics.fetch_min(a, 0, 3), atomics.fetch_min(a, 1, 3), a
    (nan, -1.0, array([ 3., -1.]))
    """
    return _cells.call("fetch_min", a, index, order, value)


@kernel_operation
def fetch_max(a: Any, index: Any, value: Any, order: str = "seq_cst") -> Any:
    """Raise a cell to a value if it is less, and return the value before.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array; or a record, whose field is then the index.
    index : int, tuple of int, or str
        Which element, one integer per dimension; for a record, the field's name.
    value : bool, int or float
        What the cell is at least.
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
    >>> record = np.zeros(2, [("best", "i4"), ("last", "i4")])[1]
    >>> atomics.fetch_max(record, "best", 9), record
    (0, np.void((9, 0), dtype=[('best', '<i4'), ('last', '<i4')]))
    """
    return _cells.call("fetch_max", a, index, order, value)

"""Arrays as arguments of which a kernel gets the address alone, whatever their type and layout.

To find out the type of an array, and to take it apart, costs numba more than a short kernel takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, register_model, unbox
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import inside

__all__ = ["ADDRESSED", "address_of"]

# Of the structure that numpy calls an array: what follows the head of the object. All extensions
# that are compiled for numpy rely on its place, numba among them.
_DATA_OFFSET = object.__basicsize__
_WORD: Any = cgutils.intp_t


class _Addressed(numba.types.Type):  # type: ignore[misc]  # numba has no types
    """An array that nothing but its address is known of."""

    def __init__(self) -> None:
        super().__init__(f"Addressed({_DATA_OFFSET})")


ADDRESSED = _Addressed()


def address_of(array: NDArray[Any]) -> int:
    """Return where the first item of an argument lies, which must be of exactly numpy's type."""
    return array.ctypes.data


class _AddressModel(models.PrimitiveModel):  # type: ignore[misc]
    """Address as an integer: what a kernel has of such an argument."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WORD)


def _read_address(_kind: Any, array: Any, c: Any) -> NativeValue:
    """Emit a look into the array."""
    place = cgutils.pointer_add(c.builder, array, _DATA_OFFSET, _WORD.as_pointer())
    return NativeValue(c.builder.load(place))


def _emit_integer(_typing: Any, array: Any) -> Any:
    """Type and emit nothing: the address is all that there is."""
    return numba.types.int64(array), lambda _context, _builder, _signature, arguments: arguments[0]


register_model(_Addressed)(_AddressModel)
unbox(_Addressed)(_read_address)
_as_integer = intrinsic(_emit_integer)


@inside(address_of)
def _address_inside(array: Any) -> Callable[..., int]:
    return lambda array: _as_integer(array)

"""A platform that can do nothing: the package imports, and every call says so plainly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

from ..errors import UnsupportedError
from . import _contract


def _refusing(function: FunctionType) -> Callable[..., NoReturn]:
    """Return a function of the same signature that refuses."""

    @functools.wraps(function)
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise UnsupportedError(
            "this platform cannot map files; mmapio needs Linux, macOS or Windows"
        )

    refuse.__module__ = __name__
    return refuse


for _name in _contract.NAMES:
    _thing = getattr(_contract, _name)
    globals()[_name] = _refusing(_thing) if isinstance(_thing, FunctionType) else _thing

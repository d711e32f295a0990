"""Optional dependencies: the one place that imports them by name."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Return an optional module, or name the extra that brings it.

    A module that is there but fails to import is broken, not missing: its own error passes.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise MissingExtraError(
            f"this needs {error.name}, which is not installed; pip install 'mmapio[{extra}]'",
            name=error.name,
        ) from None

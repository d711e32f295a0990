"""Fixtures for tests of native functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmapio._os import _native


@pytest.fixture(scope="module")
def native() -> dict[str, Callable[..., Any]]:
    """Return all native functions by name."""
    return _native.native_functions(compiles=True)

"""Fixtures for files that belong to several users."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that all users may look into, and change; others' temporary ones are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
        folder.chmod(0o777)


@pytest.fixture
def as_user() -> Callable[..., AbstractContextManager[None]]:
    """Return a function that makes a block run as another user, with other groups."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")

    @contextlib.contextmanager
    def become(user: int = 65534, *groups: int) -> Iterator[None]:
        before = os.getgroups()
        os.setgroups(groups)
        os.setegid(user)
        os.seteuid(user)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)

    return become

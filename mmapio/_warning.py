"""Warnings that point at the line of the user's that led to them, however deep they arise."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from types import FrameType
from typing import Final

__all__ = ["warn"]

_PACKAGE: Final = os.path.dirname(__file__) + os.sep


def warn(message: str) -> None:
    """Warn of what cannot be done here, at the nearest caller that is not of this package."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RuntimeWarning, stacklevel=level - 1 if frame is None else level)


def _is_ours(frame: FrameType) -> bool:
    """Return whether a frame is of this package, or of contextlib between two that are."""
    if frame.f_code.co_filename == contextlib.__file__:
        return frame.f_back is not None and _is_ours(frame.f_back)
    return frame.f_code.co_filename.startswith(_PACKAGE)

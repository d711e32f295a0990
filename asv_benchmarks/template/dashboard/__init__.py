"""A plugin of asv: complete pages, steps that are surely there, and quick runs kept apart.

`asv.conf.json` names it in ``plugins``; asv calls `setup`.
"""

from __future__ import annotations

from .offline import Offline
from .quick import keep_apart
from .steps import judge_by_two

__all__ = ["Offline", "setup"]


def setup() -> None:
    """Change what asv does by itself."""
    keep_apart()
    judge_by_two()

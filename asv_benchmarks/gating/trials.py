"""Outcomes of trials of the gate, kept in a file so that a long series can be gone on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .chosen import HERE

__all__ = ["Trials"]


class Trials:
    """Outcomes so far, of one state of the code: those of another one are forgotten."""

    def __init__(self, file: Path | None, repository: Path) -> None:
        self.file = file
        self.code = _digest(repository)
        self.quiet: list[bool] = []
        self.plants: dict[str, dict[str, Any]] = {}
        if file is not None and file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["code"] == self.code:
                self.quiet, self.plants = kept["quiet"], kept["plants"]

    def of(self, plant: str) -> dict[str, Any]:
        """Return what is known of a plant: nothing, or its code and when it was found."""
        return self.plants.get(plant, {})

    def add_quiet(self, passed: bool) -> None:
        """Note whether a run passed where nothing had changed."""
        self.quiet.append(passed)
        self._keep()

    def add_plant(self, plant: str, code: str | None) -> None:
        """Note the code that makes a plant; None if there is none here."""
        self.plants[plant] = {"code": code, "found": []}
        self._keep()

    def add_found(self, plant: str, found: bool) -> None:
        """Note whether a plant was found, once more."""
        self.plants[plant]["found"].append(found)
        self._keep()

    def _keep(self) -> None:
        if self.file is not None:
            kept = {"code": self.code, "quiet": self.quiet, "plants": self.plants}
            self.file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _digest(repository: Path) -> str:
    """Return what stands for all code that a trial depends on."""
    found = hashlib.sha256()
    for top in ("mmapio", HERE.name):
        for file in sorted((repository / top).rglob("*.py")):
            found.update(file.read_bytes())
    found.update((HERE / "gate.toml").read_bytes())
    return found.hexdigest()[:16]

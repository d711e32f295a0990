"""A process that has the kernels of another tree, and takes turns with this one.

Started as a program, ``python -P other_kernels.py TREE SUITE``, it is that process.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__)


class OtherKernels:
    """The kernels of another tree, as `measuring.measure` asks for them."""

    def __init__(self, tree: Path) -> None:
        from .sides import Process  # the process itself needs no such thing

        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-P", str(HERE), str(tree), str(HERE.parents[1])]
        self.process = Process(tree, command, env)

    def prepare(self, case: Any) -> None:
        """Make arrays of the case, and call its kernel once."""
        self.process.send("prepare", case=case)
        self.skips = bool(self.process.answer()["skipped"])

    def turn(self, calls: int) -> list[Any]:
        """Return a sample of so many calls in a row; none if that tree has no such kernel."""
        from benchmarks.kernel_table.measuring import Sample

        if self.skips:
            return []
        self.process.send("turn", calls=calls)
        return [Sample(**self.process.answer())]

    def close(self) -> None:
        self.process.close()


class Worker:
    """Answers of the process, each by the method that is asked for."""

    def __init__(self) -> None:
        self.cases = importlib.import_module("benchmarks.kernel_table.cases")
        self.measuring = importlib.import_module("benchmarks.kernel_table.measuring")
        self.stage = self.measuring.Stage()

    def prepare(self, case: list[str]) -> dict[str, Any]:
        wanted = self.cases.Case(*case)
        self.work, reason = self.stage.ours(wanted)
        if self.work is not None:
            self.work()
        return {"skipped": reason}

    def turn(self, calls: int) -> dict[str, float]:
        sample: dict[str, float] = self.measuring.sampled(self.work, calls)._asdict()
        return sample


def main(tree: str, suite: str) -> None:
    """Answer requests until there are no more."""
    sys.path[:0] = [tree, suite]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a kernel prints is no answer
    mmapio = importlib.import_module("mmapio")
    if not os.path.abspath(mmapio.__file__).startswith(os.path.join(os.path.abspath(tree), "")):
        sys.exit(f"{mmapio.__file__} was imported, where {tree} is to be measured")
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("do"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

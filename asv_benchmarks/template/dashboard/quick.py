"""Quick runs: each benchmark once, of which nothing can be read but whether it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from asv.commands.continuous import Continuous
from asv.commands.run import Run
from asv.console import log

__all__ = ["keep_apart"]

APART = "-quick"
# The benchmarks look for it: files are then small, and of long lists of parameters a few are taken.
QUICK = "MMAPIO_BENCHMARK_QUICK"


def keep_apart() -> None:
    """Let the commands that know ``--quick`` keep such results in a directory of their own."""
    for command in (Run, Continuous):
        command.run_from_conf_args = classmethod(_apart(command.run_from_conf_args.__func__))


def _apart(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_apart(cls: Any, conf: Any, args: Any, **more: Any) -> Any:
        if args.quick:
            conf.results_dir = conf.results_dir.rstrip("/") + APART
            os.environ[QUICK] = "1"
            log.info(
                f"A quick run takes one sample of each: it is kept in {conf.results_dir}, "
                "and never published"
            )
        return run(cls, conf, args, **more)

    return run_apart

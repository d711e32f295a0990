"""No `time_` benchmark compiles: `setup` has called its kernel with the same types.

Each benchmark is set up and timed in a process that has compiled nothing yet, as asv does it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import common
from reporting import suite

AT_ONCE = 4  # in one test: where nothing is in the cache yet, each compiles for seconds


def timed(module: str) -> int:
    """Return how many `time_` benchmarks a module has, each with its parameters."""
    return sum(
        name.startswith("time_") * len(suite.combinations(kind))
        for kind in suite.classes()
        if kind.__module__ == module
        for name in dir(kind)
    )


MODULES = sorted({kind.__module__ for kind in suite.classes()})
PARTS = [(module, at) for module in MODULES for at in range(0, timed(module), AT_ONCE)]

CHECK = """
import json, os, sys, tempfile
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from benchmarks import common
common.LARGE_BYTES = 1 << 22
from reporting import suite

compiled = []

def listen():
    # What numba calls where a function gets types that are new to it, what the kernels of users are
    # compiled by, and what makes the guard's machine code. Code that comes from the cache on disk
    # counts as well: the next machine has none.
    from llvmlite.binding import ExecutionEngine
    from numba.core.dispatcher import Dispatcher

    def told(kind, name, who):
        original = getattr(kind, name)
        def method(self, *arguments, **keywords):
            compiled.append(who(self))
            return original(self, *arguments, **keywords)
        setattr(kind, name, method)

    told(Dispatcher, "_compile_for_args", lambda one: one.py_func.__qualname__)
    told(Dispatcher, "compile", lambda one: one.py_func.__qualname__)
    told(ExecutionEngine, "finalize_object", lambda one: "machine code")

def tried(kind, name, parameters):
    compiled.clear()
    try:
        with suite.prepared(kind, parameters) as benchmark:
            compiled.clear()
            getattr(benchmark, name)(*parameters)
            return sorted(set(compiled))
    except NotImplementedError:
        return []

def in_a_child(work):
    if not hasattr(os, "fork"):
        return work()
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return json.loads(found)

listen()
tempfile.tempdir = sys.argv[3]
kinds = [kind for kind in suite.classes() if kind.__module__ == sys.argv[4]]
benchmarks = [
    (kind, name, parameters)
    for kind in kinds
    for name in dir(kind)
    if name.startswith("time_")
    for parameters in suite.combinations(kind)
]
for kind, name, parameters in benchmarks[int(sys.argv[5]) : int(sys.argv[6])]:
    if found := in_a_child(lambda: tried(kind, name, parameters)):
        print(kind.__name__, name, *parameters, ":", *found)
"""


def compiled_by(module: str, at: int, directory: Path, where: Path) -> list[str]:
    """Return which benchmarks of a part of a module compile while the clock runs, and what."""
    roots = [str(Path(common.mmapio.__file__).parents[1]), str(where)]
    part = [module, str(at), str(at + AT_ONCE)]
    command = [sys.executable, "-P", "-c", CHECK, *roots, str(directory), *part]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("module", "at"), PARTS)
def test_no_time_benchmark_compiles(module: str, at: int, tmp_path: Path) -> None:
    suite_of_project = Path(common.__file__).parents[1]
    assert compiled_by(module, at, tmp_path, suite_of_project) == []


PLANTED = """
import numba
import numpy as np

@numba.njit
def twice(x):
    return x + x

class Planted:
    def setup(self): twice(1)
    def time_ready(self): twice(2)
    def time_other_type(self): twice(2.0)
    def time_new(self): numba.njit(lambda x: x)(1)
"""


def test_a_benchmark_that_compiles_is_found(tmp_path: Path) -> None:
    suite_of_project = Path(common.__file__).parents[1]
    shutil.copytree(suite_of_project / "reporting", tmp_path / "reporting")
    planted = tmp_path / "benchmarks"
    planted.mkdir()
    (planted / "__init__.py").touch()
    shutil.copy(common.__file__, planted)
    (planted / "bench_planted.py").write_text(PLANTED)
    assert compiled_by("benchmarks.bench_planted", 0, tmp_path, tmp_path) == [
        "Planted time_new : Planted.time_new.<locals>.<lambda>",
        "Planted time_other_type : twice",
    ]

"""Fixtures for every test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

import mmapio
from mmapio.__main__ import main
from mmapio._os import _native

SCALE = float(os.environ.get("MMAPIO_TEST_SCALE", "1"))
LONGER = max(1.0, SCALE)

# A slow machine is no bug, and a failure found once must come back.
settings.register_profile("mmapio", deadline=None, print_blob=True)
settings.load_profile("mmapio")


def pytest_configure() -> None:
    """Let tests interrupt what they start, also where this was started in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests whose rounds are multiplied as many times as long."""
    for item in items:
        if LONGER > 1 and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGER * float(config.getini("timeout"))))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Try a test marked `page_cache` up to three times: the kernel may take pages at any time."""
    if item.get_closest_marker("page_cache") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(3):
        if isinstance(item, pytest.Function):
            item._initrequest()  # fixtures are made anew
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not any(report.failed for report in reports):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


class _WatchedOs(types.ModuleType):
    """`mmapio._os`: while a test has replaced one of its functions, none of them is native.

    A native one would make the system call that the test wants to fail, and not call the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        for places in _native._places:
            if name in places._known:
                own = (places._known[name], places._composed.get(name))
                wrapped = getattr(value, "__wrapped__", None)
                is_own = any(value is each for each in own) or wrapped is own[1] is not None
                (_replaced.discard if is_own else _replaced.add)(name)
                put = places._composed if _replaced else places._known
                vars(self).update(
                    {each: put[each] for each in _native.NAMES if each not in _replaced}
                )


_replaced: set[str] = set()
mmapio._os.__class__ = _WatchedOs  # type: ignore[assignment]


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Return a function that runs code in a fresh interpreter, where warnings are errors.

    It returns what the code printed; keywords are added to the environment.
    """

    def run(code: str, *arguments: str, **environment: str) -> str:
        path = str(Path(mmapio.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            env=os.environ | {"PYTHONPATH": path} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60 * LONGER,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
        return done.stdout

    return run


class Result(NamedTuple):
    """Output of a command, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Return a function that runs a command of `mmapio` within this process."""

    def run(*arguments: str | Path, columns: int = 80) -> Result:
        monkeypatch.setattr(sys, "argv", ["mmapio", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as caught:
            main()
        return Result(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def start_worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that runs a test file as a program, in a new process.

    It takes the file and its arguments; what is still running after the test is killed.
    """
    workers: list[subprocess.Popen[str]] = []

    def start(file: str, *arguments: object) -> subprocess.Popen[str]:
        path = [str(Path(mmapio.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        worker = subprocess.Popen(
            [sys.executable, "-W", "error", file, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()


@pytest.fixture
def scale() -> float:
    """Return by what ``MMAPIO_TEST_SCALE`` multiplies the rounds of long tests."""
    return SCALE

"""Registry of locks, threads and tables that a forked child needs new ones of.

A lock that another thread holds while the process forks is never released in the child, and a
thread that is noted as running is not there. So each object that has one registers here, and is
told to replace them before the child does anything else (fork(2), pthread_atfork(3)).

Of the packages that are imported on first use, and of the compilers in them, the locks are renewed
too. A fork cannot wait for those instead: by then it holds locks of `logging` and others, which
whoever imports or compiles may wait for. It does wait for LLVM, which has locks of its own, and
waits for nobody.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["renew_in_child", "renew_with"]


class _Renewable(Protocol):
    """An object with locks or threads of its own."""

    def renew(self) -> None: ...


# No WeakSet: what removes from one is Python, in which a Ctrl-C that comes is lost.
_objects: set[weakref.ref[_Renewable]] = set()
_functions: list[Callable[[], object]] = []


def renew_in_child(thing: _Renewable) -> None:
    """Call the `renew` of an object in every child that is forked while it lives."""
    _objects.add(weakref.ref(thing, _objects.discard))


def renew_with(function: Callable[[], object]) -> Callable[[], object]:
    """Call a function in every forked child, when all objects have been renewed."""
    _functions.append(function)
    return function


def _renew() -> None:
    alive = [thing for ref in list(_objects) if (thing := ref()) is not None]
    for renew in (*(thing.renew for thing in alive), *_functions):
        try:
            renew()
        except Exception:  # the child would go on with the locks of all others
            sys.excepthook(*sys.exc_info())


# Packages that are imported on first use.
_PACKAGES: Final = {"mmapio", "numba", "llvmlite", "watchfiles", "anyio", *sys.stdlib_module_names}
# Locks of compilers, each in the last attribute.
_LOCKS: Final = (
    ("numba.core.compiler_lock", "global_compiler_lock._lock"),
    ("numba.core.registry", "cpu_target.typing_context.callstack._lock"),
    ("llvmlite.binding.ffi", "lib._lock._lock"),  # held within LLVM
)
_LONGEST_WAIT_S: Final = 30.0


class _Fork(threading.local):
    """The lock of LLVM while this thread forks, if it is there."""

    llvm: Any = None


_fork = _Fork()


def _lock_llvm() -> None:
    """Wait until no thread is within LLVM."""
    _, _fork.llvm = _attribute(*_LOCKS[-1])
    if _fork.llvm is not None and not _fork.llvm.acquire(timeout=_LONGEST_WAIT_S):
        _fork.llvm = None


def _unlock_llvm() -> None:
    if _fork.llvm is not None:
        with contextlib.suppress(RuntimeError):  # it was not locked, since Ctrl-C came
            _fork.llvm.release()
        _fork.llvm = None


def _attribute(module: str, path: str) -> tuple[Any, Any]:
    """Return the owner of an attribute that others may not have in all versions, and its value."""
    owner: Any = None
    value: Any = sys.modules.get(module)
    for name in path.split("."):
        owner, value = value, getattr(value, name, None)
    return owner, value


def _forget_imports() -> None:
    """Forget modules that another thread was importing: the child imports them anew.

    Their locks would never be released, and Python makes no new ones. It is about packages that are
    imported on first use, and what these import; not about a program that forks as it is imported.
    """
    bootstrap: Any = importlib._bootstrap
    me = threading.get_ident()
    importing: set[int] = set()
    for name, of in list(bootstrap._module_locks.items()):  # the first that was begun first
        owner = getattr(of(), "owner", None)
        if owner is None or owner == me:
            continue
        if name.partition(".")[0] in _PACKAGES:
            importing.add(owner)
        if owner in importing:
            bootstrap._module_locks.pop(name, None)
            for each in [each for each in sys.modules if f"{each}.".startswith(f"{name}.")]:
                del sys.modules[each]


def _renew_compilers() -> None:
    """Replace the locks of compilers that another thread holds."""
    for module, path in _LOCKS:
        owner, lock = _attribute(module, path)
        if lock is not None and not lock._is_owned():
            setattr(owner, path.rpartition(".")[2], threading.RLock())


def _begin_child() -> None:
    _unlock_llvm()
    for begin in (_forget_imports, _renew_compilers):
        with contextlib.suppress(AttributeError):  # another Python or numba may lack their parts
            begin()
    _renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock_llvm, after_in_parent=_unlock_llvm, after_in_child=_begin_child
    )

"""Compiler of all kernels: numba with our defaults, typed, and a cache that never fails."""

from __future__ import annotations

import errno
import functools
import hashlib
import signal
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import caching
from numba.core.runtime import rtsys
from numba.extending import overload, register_jitable

from mmapio import guard
from mmapio._os._buffer311 import prepare_buffers
from mmapio._os._native import look_again
from mmapio._sources import sources_stamp
from mmapio._validation import Progress
from mmapio.errors import file_error
from mmapio.kernels.engine.uncompiled import JIT_DISABLED, as_compiled, by_type, define

__all__ = [
    "JIT_DISABLED",
    "KERNELS",
    "Kernel",
    "by_type",
    "compile_all",
    "entry",
    "inside",
    "jit",
    "machine_code",
    "part",
    "piece_type",
    "piece_types",
    "uninterrupted",
]

P = ParamSpec("P")
R = TypeVar("R")

# Which parts of numba have types depends on its version.
_IndexDataCacheFile: Any = caching.IndexDataCacheFile
_FunctionCache: Any = caching.FunctionCache
_runtime: Any = rtsys

# What is not said here, a part would take over from a user's kernel that calls it.
_DEFAULTS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}


Signatures = Callable[[], list[tuple[Any, ...]]]


class Kernel(NamedTuple):
    """A compiled function, and the argument types that `compile_all` builds it for."""

    dispatcher: Any
    signatures: Signatures


KERNELS: list[Kernel] = []
_refusals: list[OSError] = []  # to keep compiled code: of no interest to those who only call it


def jit(
    signatures: Signatures, *, cache: bool = True, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function with numba: without the GIL, cached on disk, and typed.

    Parameters
    ----------
    signatures : callable
        Returns the tuples of numba types that `compile_all` builds the function for. Nothing is
        compiled before it is called, and what is called with other types is compiled then.
    cache : bool
        Keep the compiled code on disk. A folder that cannot be written costs the compilation
        again in the next process, and raises nothing.
    **options
        Options of `numba.njit`; they override ``nogil=True, error_model="numpy", fastmath=False``.

    Returns
    -------
    callable
        A decorator that keeps the type of what it decorates. With ``NUMBA_DISABLE_JIT=1``, the
        function runs as it is, and what it returns is the same.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import jit
    >>> @jit(lambda: [], cache=False)
    ... def twice(x: int) -> int:
    ...     return 2 * x
    >>> twice(21)
    42
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if JIT_DISABLED:
            return as_compiled(function)
        dispatcher = numba.njit(**{**_DEFAULTS, **options})(function)
        dispatcher.compile = uninterrupted(dispatcher.compile)
        if cache:
            _keep_on_disk(dispatcher, function)
        KERNELS.append(Kernel(dispatcher, signatures))
        return cast("Callable[P, R]", dispatcher)

    return decorate


def uninterrupted(compile_: Callable[P, R]) -> Callable[P, R]:
    """Let Ctrl-C end a compilation after it is done: LLVM calls Python back, and loses it there.

    Parameters
    ----------
    compile_ : callable
        What compiles. It has to do in the main thread alone, which is where Ctrl-C ends things.

    Returns
    -------
    callable
        It, followed by what Ctrl-C does, if it was pressed meanwhile.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import uninterrupted
    >>> uninterrupted(len)("abc")
    3
    """

    @functools.wraps(compile_)
    def compile_whole(*args: P.args, **kwargs: P.kwargs) -> R:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            return compile_(*args, **kwargs)
        pressed: list[Any] = []
        signal.signal(signal.SIGINT, lambda *what: pressed.append(what))
        try:
            return compile_(*args, **kwargs)
        finally:
            signal.signal(signal.SIGINT, handler)
            if pressed:
                handler(*pressed[-1])

    return compile_whole


def part(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let kernels call a function that Python itself runs uncompiled.

    It becomes a part of the kernels that call it: nothing is built or cached for it alone.

    Parameters
    ----------
    **options
        Options of `numba.njit`; they override ``error_model="numpy", fastmath=False``.

    Returns
    -------
    callable
        A decorator that returns the function itself.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import part
    >>> @part()
    ... def half(x: float) -> float:
    ...     return x / 2
    >>> half(3)
    1.5
    """
    decorate: Callable[[Callable[P, R]], Callable[P, R]]
    decorate = register_jitable(**{**_DEFAULTS, **options})
    return decorate


def inside(
    function: Callable[..., object], **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Define what a call of a Python function means inside kernels.

    If `by_type` made that function, the same runs in Python.

    Parameters
    ----------
    function : callable
        What kernels call.
    **options
        As for `part`.

    Returns
    -------
    callable
        A decorator of the function that gets the types of the arguments, and returns what they
        are to be passed to. An mmapio error that it raises reaches the user as it is.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import inside, jit
    >>> def double(x):
    ...     return x + x
    >>> @inside(double)
    ... def _double(x):
    ...     return lambda x: 2 * x
    >>> jit(lambda: [], cache=False)(lambda x: double(x))(21)
    42
    """
    register: Callable[[Callable[P, R]], Callable[P, R]]
    register = overload(function, strict=False, jit_options={**_DEFAULTS, **options})

    def decorate(typer: Callable[P, R]) -> Callable[P, R]:
        define(function, cast("Callable[..., Any]", typer))
        register(_named_apart(typer, function))
        return typer

    return decorate


def _named_apart(typer: Callable[P, R], function: Callable[..., object]) -> Callable[P, R]:
    """Return a typer of which what it returns is named after the function that it is for.

    Numba tells functions of the same name and types apart by a count within a process. A kernel
    keeps its parts when cached: where a helper makes typers, those of two functions may have been
    counted alike by two processes, and one process that loads both would run one for the other.
    """
    ending = f".{function.__module__}.{function.__qualname__}"

    @functools.wraps(typer)
    def named(*args: P.args, **kwargs: P.kwargs) -> R:
        found: Any = typer(*args, **kwargs)
        name = getattr(found, "__qualname__", "")
        if "<locals>" in name and not name.endswith(ending):
            found.__qualname__ = name + ending
        return cast("R", found)

    return named


def piece_type(dtype: str) -> Any:
    """Return numba's type of what kernels read: a native, contiguous, read-only row.

    Parameters
    ----------
    dtype : str
        The items, as numpy names them.

    Returns
    -------
    numba.types.Array
        For the signatures that `jit` takes.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import piece_type
    >>> piece_type("f4").dtype, piece_type("f4").mutable
    (float32, False)
    """
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C", readonly=True)


def piece_types(dtype: str) -> list[Any]:
    """Return that type and the type of a row of items that may lie apart.

    Parameters
    ----------
    dtype : str
        The items, as numpy names them.

    Returns
    -------
    list of numba.types.Array
        For the kernels that `Pieces` need not copy items for.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import piece_types
    >>> [kind.layout for kind in piece_types("f4")]
    ['C', 'A']
    """
    near = piece_type(dtype)
    return [near, near.copy(layout="A")]


def entry(kernel: Callable[P, R], *types: Any) -> Callable[P, R]:
    """Return what calls a kernel for arguments of these types, without a look at what they are.

    Parameters
    ----------
    kernel : callable
        Made by `jit`.
    *types : numba.types.Type
        The arguments' types. Other arguments than these crash the process.

    Returns
    -------
    callable
        It takes positional arguments alone, and half as long to call.

    Examples
    --------
    >>> import numba
    >>> from mmapio.kernels.engine.jit import entry, jit
    >>> twice = jit(lambda: [], cache=False)(lambda x: 2 * x)
    >>> entry(twice, numba.int64)(21)
    42
    """
    found: Callable[P, R]
    found = kernel if JIT_DISABLED else cast("Any", kernel).compile(types)
    return found


def machine_code(kernel: Callable[P, R], *types: Any) -> Callable[..., R]:
    """Return what a kernel runs for some types, for half the price of a call.

    Nobody looks at what it is given, apart from the size of items: so the arguments have to be as
    the types say, but that arrays may be writable, and of items with the same size.

    Parameters
    ----------
    kernel : callable
        As `jit` returned it.
    *types : numba.types.Type
        Of its arguments: the first is an array of one dimension, the others are numbers.

    Returns
    -------
    callable
        Takes as many arguments. With ``NUMBA_DISABLE_JIT=1`` they become what the types say.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.jit import jit, machine_code, piece_type
    >>> @jit(lambda: [], cache=False)
    ... def first(x):
    ...     return x[0]
    >>> machine_code(first, piece_type("i1"))(np.array([255], "u1"))
    -1
    """
    run = cast("Any", kernel)
    if JIT_DISABLED:
        dtypes: list[np.dtype[Any]] = [numba.np.numpy_support.as_dtype(each) for each in types[1:]]
        seen = numba.np.numpy_support.as_dtype(types[0].dtype)

        def call(x: Any, *others: Any) -> Any:
            numbers = (dtype.type(each) for dtype, each in zip(dtypes, others, strict=True))
            return run(x.view(seen), *numbers)

        return call
    return entry(kernel, *types)


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel for the types that it names, or load it from the cache.

    The machine code that mapping files takes is made ready as well, and kept beside them.

    Parameters
    ----------
    progress : callable, optional
        Called as ``progress(done, total)`` before the first specialisation and after each.

    Returns
    -------
    int
        How many specialisations are ready; 0 with ``NUMBA_DISABLE_JIT=1``, for there are none then.

    Raises
    ------
    FileError
        If they are ready in this process, but cannot be kept on disk for others.

    Examples
    --------
    >>> from mmapio.kernels.engine.jit import compile_all
    >>> compile_all()  # doctest: +SKIP
    192
    """
    guard.prepare()
    prepare_buffers()
    work = [(kernel.dispatcher, types) for kernel in KERNELS for types in kernel.signatures()]
    for done, (dispatcher, types) in enumerate(work):
        if progress is not None:
            progress(done, len(work))
        dispatcher.compile(types)
    if progress is not None:
        progress(len(work), len(work))
    if _refusals:
        hint = "set NUMBA_CACHE_DIR to a folder that can be written"
        raise file_error(_refusals[-1], "keep compiled code", None, hint)
    return len(work)


def _keep_on_disk(dispatcher: Any, function: Callable[..., object]) -> None:
    """Give the dispatcher our cache; numba's own raises where no folder is writable."""
    try:
        dispatcher._cache = _Cache(function)
    except OSError as error:
        _refusals.append(error)
    except RuntimeError as error:  # numba's, of all the folders that it tried
        _refusals.append(PermissionError(errno.EACCES, str(error)))


class _CacheFile(_IndexDataCacheFile):  # type: ignore[misc]
    """Cache files whose entries are named by their content, where numba counts.

    Two processes that compile at once would give the same number to different signatures, and
    an index is written before its data, so a reader could take the code of another function.
    """

    def save(self, key: Any, data: Any) -> None:
        digest = hashlib.sha256(repr((key, self._source_stamp, self._version)).encode())
        name = self._data_name_pattern.format(number=int.from_bytes(digest.digest()[:8]))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})

    def _load_index(self) -> dict[Any, str]:
        try:
            return cast("dict[Any, str]", super()._load_index())
        except Exception:  # a torn or foreign pickle can raise anything
            return {}


class _Cache(_FunctionCache):  # type: ignore[misc]
    """A cache that, when the disk fails it, behaves as if it were empty."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)
        stamp = (self._impl.locator.get_source_stamp(), _STAMP)
        self._cache_file = _CacheFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load machine code, and nothing that is only needed to compile more of it.

        Numba's own method starts with `refresh`, which imports all that numba can compile, scipy's
        linear algebra among it: 10 times what is left. Compiling refreshes by itself. A kernel that
        hashes would lack the seed, which comes with it; none does.
        """
        try:
            _runtime.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:  # a torn or foreign pickle can raise anything
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _refusals.append(error)


# Of all that a kernel may take parts from; numba's own stamp covers the kernel's file only.
_STAMP = sources_stamp("atomics", "kernels")

look_again()  # LLVM is loaded: what is compiled by nothing else can be

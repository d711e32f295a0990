"""Files of machine code, in the folders where numba keeps its own, but without numba.

Code from a file is run, so it must be what this user, or root, has written: the file belongs to
either, nobody else may write to it, and it is no link to another. Others who may write to the
folder can put away a file or put an older one in its place, and no more: the digest in it covers
what the code was made from.

Whatever cannot be read, or is not as it should be, is as if it were not there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import Final

try:
    from _blake2 import blake2b  # without the OpenSSL that hashlib loads, which takes 3 ms
except ImportError:
    from hashlib import blake2b

__all__ = ["code_folders", "keep_code", "kept_code", "key_of"]

_LONGEST_FILE: Final = 1 << 20
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_DIGEST_SIZE: Final = 32


def key_of(*parts: object) -> bytes:
    """Return what stands for all that code is made from."""
    return blake2b(repr(parts).encode(), digest_size=_DIGEST_SIZE).digest()


def kept_code(key: bytes) -> bytes | None:
    """Return what was kept under a key; None if nothing was that may be trusted."""
    for path in _paths(key):
        with contextlib.suppress(OSError):
            content = _read_own(path)
            if content is not None and content[:_DIGEST_SIZE] == _digest(key, content):
                return content[_DIGEST_SIZE:]
    return None


def keep_code(key: bytes, body: bytes) -> None:
    """Keep something in the first folder that takes it; if none does, that is no error."""
    content = bytes(_DIGEST_SIZE) + body
    for path in _paths(key):
        with contextlib.suppress(OSError):
            _write(path, _digest(key, content) + body)
            return


def code_folders() -> list[str]:
    """Return where code is kept: in the folder named for it, else the package's, else the user's.

    One that is named for it is the only one, so that to empty it is to be rid of all code.
    """
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [os.path.join(os.path.abspath(named), "mmapio")]
    folders = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(home):  # it is not where there is no home
        folders.append(os.path.join(home, "numba", "mmapio"))
    return folders


def _paths(key: bytes) -> list[str]:
    return [os.path.join(folder, f"code-{key[:8].hex()}.bin") for folder in code_folders()]


def _digest(key: bytes, content: bytes) -> bytes:
    """Return the digest of what follows the place of the digest."""
    parts = key + content[_DIGEST_SIZE:]
    return blake2b(parts, digest_size=_DIGEST_SIZE).digest()


def _read_own(path: str) -> bytes | None:
    """Return the content of a file if nobody but this user and root can have written it."""
    if sys.platform == "win32":  # which has other owners and modes
        return None
    # Not blocking: it may be a pipe.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    fd = os.open(path, flags)
    try:
        facts = os.fstat(fd)
        is_safe = stat.S_ISREG(facts.st_mode) and not facts.st_mode & _WRITABLE_BY_OTHERS
        if is_safe and facts.st_uid in (os.geteuid(), 0) and facts.st_size <= _LONGEST_FILE:
            return os.read(fd, _LONGEST_FILE)
        return None
    finally:
        os.close(fd)


def _write(path: str, content: bytes) -> None:
    """Put a whole file in place in one step, whoever else does so at the same time."""
    if sys.platform == "win32":
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            if os.write(fd, content) != len(content):
                raise OSError(f"only a part of {len(content)} bytes could be written")
        finally:
            os.close(fd)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise

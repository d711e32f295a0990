"""Attributes of a file that a new one takes over: owner, group, permissions, ACL, and others."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import Final

from .._warning import warn
from ..errors import FileError

__all__ = ["Attributes", "narrow"]

_ACL: Final = "system.posix_acl_access"
# Of the inode and its contents, not of the file that a user knows; another file's would be wrong.
_OF_INODE: Final = ("trusted.overlay.", "user.overlay.", "security.ima", "security.evm")
# Not allowed, an owner that this container does not know, or a file system without owners.
_REFUSED: Final = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
# What a user has set, and would miss.
_OF_USER: Final = ("user.", "system.")


class Attributes:
    """Owner, group, permissions and extended attributes of a file.

    Parameters
    ----------
    path : str
        The file, which must be there.
    doing : str
        Beginning of the message of an error, if it is no regular file.
    """

    def __init__(self, path: str, doing: str) -> None:
        facts = os.stat(path)
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):  # rename refuses those
            reason = f"cannot {doing}: what is there is not a regular file"
            if stat.S_ISBLK(facts.st_mode) or stat.S_ISCHR(facts.st_mode):
                reason += "; a device is written in place, in mode 'r+'"
            raise FileError(errno.EINVAL, reason, path)
        self._path = path
        self._owner, self._group, self._mode = facts.st_uid, facts.st_gid, facts.st_mode
        self._extended: dict[str, bytes] = {}
        self._lost: list[str] = []
        if sys.platform == "linux":
            for name in _names(path):
                try:
                    self._extended[name] = os.getxattr(path, name)
                except OSError:
                    self._lost.append(name)

    @classmethod
    def of_replaced(cls, path: str, doing: str) -> Attributes | None:
        """Return those of the file at a path, which will be replaced; None if there is none."""
        try:
            return cls(path, doing)
        except FileNotFoundError:
            return None

    def give(self, fd: int) -> None:
        """Give them to another file, as far as the system lets; warn of those that a user misses.

        The contents are there already: to write them may take permissions away.
        """
        if sys.platform == "win32":
            return
        is_owned, is_in_group = self._give_owner(fd)
        lost = [] if is_in_group else [f"group {self._group}"]
        if sys.platform == "linux" and _ACL not in self._extended:
            with contextlib.suppress(OSError):
                os.removexattr(fd, _ACL)  # it came from the directory
        kept = 0o1777 | (stat.S_ISUID if is_owned else 0) | (stat.S_ISGID if is_in_group else 0)
        os.fchmod(fd, self._mode & kept)
        lost += [name for name in self._lost if name.startswith(_OF_USER)]
        lost += [name for name in self._give_extended(fd) if name.startswith(_OF_USER)]
        if lost:
            message = f"the new file at {self._path!r} does not keep of the old one: "
            warn(message + ", ".join(lost))

    def _give_owner(self, fd: int) -> tuple[bool, bool]:
        """Give owner and group, or the group alone; return what has been given."""
        for owner in (self._owner, -1):
            try:
                if sys.platform != "win32":
                    os.fchown(fd, owner, self._group)
                break
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
        facts = os.fstat(fd)
        return facts.st_uid == self._owner, facts.st_gid == self._group

    def _give_extended(self, fd: int) -> list[str]:
        """Give the extended attributes; return the names of those that cannot be given."""
        refused: list[str] = []
        if sys.platform == "linux":
            for name, value in self._extended.items():
                try:
                    os.setxattr(fd, name, value)
                except OSError:
                    refused.append(name)
        return refused


def _names(path: str) -> list[str]:
    """Return the names of the extended attributes of a file that another may have as well."""
    found: list[str] = []
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the file system has none
            found = os.listxattr(path)
    return [name for name in found if not name.startswith(_OF_INODE)]


def narrow(fd: int, permissions: int) -> None:
    """Take permissions from a new file, beyond those that the umask has taken."""
    if sys.platform != "win32":
        os.fchmod(fd, os.fstat(fd).st_mode & permissions & 0o777)

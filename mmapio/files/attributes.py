"""Attributes of a file that a new one takes over: owner, group, permissions, ACL, and others."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
from typing import Final

from .._warning import warn
from ..errors import DirectoryError, FileError

__all__ = ["Attributes", "narrow"]

_ACL: Final = "system.posix_acl_access"
# Of linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
_ACL_VERSION_BYTES: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")
_ACL_GROUP_OBJ, _ACL_OTHER = 0x04, 0x20
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
        if stat.S_ISDIR(facts.st_mode):  # rename would say so, when all is written
            reason = f"cannot {doing}: a directory is there; name a file in it"
            raise DirectoryError(errno.EISDIR, reason, path)
        if not stat.S_ISREG(facts.st_mode):
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
        # The list first: without it, the permissions of the group are all that any entry gives.
        refused = [*self._lost, *self._give_list(fd, is_in_group)]
        os.fchmod(fd, self._permissions(is_owned, is_in_group, _ACL in refused))
        others = {name: value for name, value in self._extended.items() if name != _ACL}
        refused += _refused(fd, others)
        lost = [] if is_in_group else [f"group {self._group}"]
        lost += [name for name in refused if name.startswith(_OF_USER)]
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

    def _give_list(self, fd: int, is_in_group: bool) -> list[str]:
        """Give the access control list, or none; return its name if it cannot be given."""
        found = self._extended.get(_ACL)
        if found is not None:
            return _refused(fd, {_ACL: found if is_in_group else _for_another_group(found)})
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.removexattr(fd, _ACL)  # it came from the directory
        return []

    def _permissions(self, is_owned: bool, is_in_group: bool, has_lost_list: bool) -> int:
        """Return those of the file, less what would give another group, or user, more than before.

        Another group is one of all others.
        """
        mode = stat.S_IMODE(self._mode)
        if not is_owned:
            mode &= ~stat.S_ISUID
        if not is_in_group:
            mode &= ~stat.S_ISGID
        if has_lost_list:
            mode &= ~stat.S_IRWXG
        elif not is_in_group and _ACL not in self._extended:
            mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
        return mode


def _refused(fd: int, extended: dict[str, bytes]) -> list[str]:
    """Give a file extended attributes; return the names of those that it does not take."""
    refused: list[str] = []
    if sys.platform == "linux":
        for name, value in extended.items():
            try:
                os.setxattr(fd, name, value)
            except OSError:
                refused.append(name)
    return refused


def _for_another_group(acl: bytes) -> bytes:
    """Return a list that gives the group of the file no more than all others."""
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_VERSION_BYTES:]))
    others = next((given for tag, given, _ in entries if tag == _ACL_OTHER), 0)
    return acl[:_ACL_VERSION_BYTES] + b"".join(
        _ACL_ENTRY.pack(tag, given & others if tag == _ACL_GROUP_OBJ else given, who)
        for tag, given, who in entries
    )


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

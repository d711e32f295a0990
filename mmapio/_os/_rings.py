"""Rings of requests that the system shares with a process: where their parts lie."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FilePlace", "RingPlan"]


class FilePlace(NamedTuple):
    """File and offset that lie at an address, by the name that it had or has."""

    path: str
    device_major: int
    device_minor: int
    inode: int
    offset: int


class RingPlan(NamedTuple):
    """Descriptor of a ring, and the offsets of its parts in what it maps, in bytes.

    `length` bytes from offset 0 on hold words of 32 bits and the completions; the `requests` are
    mapped from an offset of their own on. There are as many of them as `entries`, and of
    completions `room`.
    """

    fd: int
    entries: int
    room: int
    length: int
    requests: int
    head: int
    tail: int
    order: int
    done_head: int
    done_tail: int
    done: int

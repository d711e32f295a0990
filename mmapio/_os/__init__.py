"""The operating system: one function per system call, the same names on every platform.

Callers write ``_os.sync(...)``, through the package, so that tests can put a failing one in place.
When one is first called, some give way to native ones of the same name; see `_native`.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from ._contract import NAMES
from ._facts import MAPPED as MAPPED
from ._facts import CacheFacts as CacheFacts
from ._facts import FileFacts as FileFacts
from ._facts import Identity as Identity
from ._memory import Advice as Advice
from ._memory import Area as Area
from ._memory import Backing as Backing
from ._memory import LockLimit as LockLimit
from ._memory import MemoryUse as MemoryUse
from ._rings import FilePlace as FilePlace
from ._rings import RingPlan as RingPlan
from ._rows import TAIL_BYTES as TAIL_BYTES
from ._rows import RowPlan as RowPlan

# The first module that has a name gives it.
_modules: tuple[ModuleType, ...]
if os.environ.get("MMAPIO_OS") == "stub":
    from . import _stub

    _modules = (_stub,)
elif sys.platform == "linux":
    from . import (
        _composed,
        _linux,
        _linux_cache,
        _linux_cachestat,
        _linux_code,
        _linux_huge,
        _linux_proc,
        _linux_ring,
        _linux_room,
        _linux_smaps,
        _linux_use,
        _posix,
    )

    _modules = (
        _linux,
        _linux_cache,
        _linux_cachestat,
        _linux_code,
        _linux_huge,
        _linux_proc,
        _linux_ring,
        _linux_room,
        _linux_smaps,
        _linux_use,
        _composed,
        _posix,
    )
elif sys.platform == "win32":
    from . import _composed, _windows

    _modules = (_windows, _composed)
else:
    from . import _composed, _posix

    _modules = (_posix, _composed)

if TYPE_CHECKING:
    from ._contract import *
else:
    for _name in NAMES:
        globals()[_name] = next(vars(module)[_name] for module in _modules if _name in vars(module))

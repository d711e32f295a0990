"""`GrowableArray` against a list: whatever is done to it, in whatever order."""

from __future__ import annotations

import gc
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mmapio import GrowableArray, _os
from mmapio.errors import InUseError

PAGE = _os.PAGE_SIZE
ROW = 24
# As many rows as fill pages, nearly, and a few.
counts = st.sampled_from([1, PAGE // ROW, 2 * PAGE // ROW + 1]) | st.integers(0, 50)


class GrowableArrayMachine(RuleBasedStateMachine):
    """One writer, one reader, and arrays over the file that outlive what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "grown.npy"
        self.rows = 0  # of the writer
        self.committed = 0
        self.seen = 0  # by the reader
        self.values: list[int] = []
        self.next = 1
        self.views: list[tuple[Any, int]] = []

    @initialize(pages=st.sampled_from([0, 1, 3, 1000]))
    def create(self, pages: int) -> None:
        self.capacity = pages * PAGE
        self.g = GrowableArray.open(
            self.path, "x+", dtype="<i8", row_shape=3, capacity=self.capacity
        )
        self.reader = GrowableArray.open(self.path, capacity=self.capacity)

    def teardown(self) -> None:
        if hasattr(self, "g"):
            self.g.close(force=True)
            self.reader.close(force=True)
        shutil.rmtree(self.folder)

    def new_rows(self, count: int) -> Any:
        values = list(range(self.next, self.next + count))
        self.next += count
        self.values += values
        return np.repeat(np.array(values, "<i8"), 3).reshape(count, 3)

    def is_as(self, array: Any, count: int) -> bool:
        return bool((array == np.array(self.values[:count])[:, np.newaxis]).all())

    @rule(as_list=st.booleans())
    def append(self, as_list: bool) -> None:
        row = self.new_rows(1)[0]
        self.g.append(row.tolist() if as_list else row)
        self.rows += 1

    @rule(count=counts, contiguous=st.booleans())
    def extend(self, count: int, contiguous: bool) -> None:
        rows = self.new_rows(count)
        self.g.extend(rows if contiguous else np.array(rows, order="F"))
        self.rows += count

    @rule(durable=st.booleans())
    def commit(self, durable: bool) -> None:
        self.g.commit(durable)
        self.committed = self.rows

    @rule()
    def refresh(self) -> None:
        self.seen = self.reader.refresh()
        assert self.seen == self.committed

    @rule()
    def look(self) -> None:
        self.views.append((self.g.array, self.rows))

    @rule(part=st.floats(0, 1), force=st.booleans())
    def truncate(self, part: float, force: bool) -> None:
        left = int(part * self.rows)
        if self.views and not force and left < self.rows:
            with pytest.raises(InUseError):
                self.g.truncate(left)
            gc.collect()
            return
        self.views.clear()
        self.g.truncate(left, force)
        del self.values[left:]
        self.rows, self.committed = left, min(left, self.committed)
        self.seen = self.reader.refresh()

    @rule(recover=st.sampled_from([None, "rows"]))
    def reopen(self, recover: Any) -> None:
        self.views.clear()
        self.g.close(commit=False)
        self.g = GrowableArray.open(self.path, "r+", recover=recover, capacity=self.capacity)
        if recover is None:
            del self.values[self.committed :]
            self.rows = self.committed

    @invariant()
    def everybody_sees_what_they_should(self) -> None:
        if not hasattr(self, "g"):
            return
        assert (len(self.g), self.g.committed) == (self.rows, self.committed)
        assert self.is_as(self.g.array, self.rows)
        assert len(self.reader) == self.seen
        assert self.is_as(self.reader.array, self.seen)
        loaded = np.load(self.path)
        assert len(loaded) == self.committed
        assert self.is_as(loaded, self.committed)
        for view, count in self.views:
            assert self.is_as(view, count)


TestGrowableArray = GrowableArrayMachine.TestCase
TestGrowableArray.settings = settings(max_examples=60, stateful_step_count=25)
TestGrowableArray.pytestmark = [
    pytest.mark.skipif(not _os.CAN_MAP_PAST_END, reason="here a mapped file cannot grow")
]

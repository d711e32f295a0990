"""A state machine: mapped arrays of one path against plain arrays, whatever is done to them."""

from __future__ import annotations

import gc
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import mmapio

DTYPES = ["<i4", ">i2", "u1", "<f8", ">u8"]
SHAPES = hnp.array_shapes(max_dims=3, min_side=0, max_side=6)
IN_PLACE: list[Callable[[Any, Any], Any]] = [np.add, np.multiply, np.maximum, np.copyto]


@dataclass(eq=False)
class Group:
    """All arrays over one mapping, each beside the part of the model that it must equal."""

    file: Any  # the model of the file that is mapped
    array: Any
    model: Any
    views: list[tuple[Any, Any]] = field(default_factory=list)

    def pairs(self) -> list[tuple[Any, Any]]:
        return [(self.array, self.model), *self.views]


class MappedArrays(RuleBasedStateMachine):
    """Every array that was opened before the file was replaced keeps the old model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "x.npy"
        self.groups: list[Group] = []
        self.zeros: list[Any] = []  # arrays of mappings that were closed by force
        self.model: Any = None  # of the file that is at the path now

    def teardown(self) -> None:
        for group in self.groups:
            group.array.close(force=True)
        shutil.rmtree(self.folder)

    def group(self, data: st.DataObject) -> Group:
        return data.draw(st.sampled_from(self.groups))

    def pair(self, data: st.DataObject) -> tuple[Any, Any]:
        return data.draw(st.sampled_from(self.group(data).pairs()))

    def writable_pair(self, data: st.DataObject) -> tuple[Any, Any] | None:
        array, model = self.pair(data)
        return (array, model) if array.flags.writeable else None

    @initialize(dtype=st.sampled_from(DTYPES), shape=SHAPES, order=st.sampled_from("CF"))
    def create(self, dtype: str, shape: tuple[int, ...], order: Any) -> None:
        self.replace(dtype, shape, order)

    @rule(dtype=st.sampled_from(DTYPES), shape=SHAPES, order=st.sampled_from("CF"))
    def replace(self, dtype: str, shape: tuple[int, ...], order: Any) -> None:
        array = mmapio.create(self.path, shape, dtype, order=order, overwrite=True)
        self.model = np.zeros(shape, dtype, order)
        self.groups.append(Group(self.model, array, self.model))

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        array, model = self.pair(data)
        mmapio.save(self.path, array)
        self.model = model.copy("A")

    @rule(mode=st.sampled_from(["r", "r+", "a+"]))
    def reopen(self, mode: str) -> None:
        self.groups.append(Group(self.model, mmapio.open(self.path, mode), self.model))

    @rule(seed=st.integers(0, 9))
    def open_a_private_copy(self, seed: int) -> None:
        private = mmapio.open(self.path, "c")
        np.testing.assert_array_equal(private, self.model)
        private[...] = seed
        private.flush()
        assert (private == seed).all()

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def keep_a_view(self, data: st.DataObject) -> None:
        group = self.group(data)
        array, model = data.draw(st.sampled_from(group.pairs()))
        index = data.draw(
            hnp.basic_indices(array.shape, allow_newaxis=True, max_dims=array.ndim + 1)
        )
        if isinstance(array[index], np.ndarray):
            group.views.append((array[index], model[index]))

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), change=st.sampled_from(["T", "ravel", "ndarray", "chunk"]))
    def keep_another_view(self, data: st.DataObject, change: str) -> None:
        group = self.group(data)
        array, model = data.draw(st.sampled_from(group.pairs()))
        if change == "T":
            group.views.append((array.T, model.T))
        elif change == "ravel" and array.flags.c_contiguous:
            group.views.append((array.ravel(), model.ravel()))
        elif change == "ndarray" and isinstance(array, mmapio.MappedArray):
            group.views.append((array.ndarray, model))
        elif (
            change == "chunk"
            and isinstance(array, mmapio.MappedArray)
            and array.ndim
            and len(array)
        ):
            group.views.append((next(array.chunks(2)), model[:2]))

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def drop_a_view(self, data: st.DataObject) -> None:
        group = self.group(data)
        if group.views:
            group.views.pop(data.draw(st.integers(0, len(group.views) - 1)))

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), seed=st.integers(0, 100))
    def assign_a_slice(self, data: st.DataObject, seed: int) -> None:
        if pair := self.writable_pair(data):
            array, model = pair
            index = data.draw(hnp.basic_indices(array.shape))
            values = np.arange(np.size(array[index])).reshape(np.shape(array[index])) % 50 + seed
            array[index] = values
            model[index] = values

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), seed=st.integers(0, 100))
    def assign_by_mask_and_by_list(self, data: st.DataObject, seed: int) -> None:
        if pair := self.writable_pair(data):
            array, model = pair
            mask = np.random.default_rng(seed).random(array.shape) < 0.5
            array[mask] = seed
            model[mask] = seed
            if array.ndim and len(array):
                rows = data.draw(st.lists(st.integers(-len(array), len(array) - 1), max_size=4))
                array[rows] = seed + 1
                model[rows] = seed + 1

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), operation=st.sampled_from(IN_PLACE), amount=st.integers(0, 5))
    def change_in_place(self, data: st.DataObject, operation: Any, amount: int) -> None:
        if pair := self.writable_pair(data):
            for target in pair:
                if operation is np.copyto:
                    np.copyto(target, amount)
                else:
                    assert operation(target, amount, out=target) is target

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), wait=st.booleans())
    def flush(self, data: st.DataObject, wait: bool) -> None:
        group = self.group(data)
        array, _ = data.draw(st.sampled_from(group.pairs()))
        if not isinstance(array, mmapio.MappedArray):
            return
        try:
            array.flush(wait)
        except mmapio.ReplacedError:  # the path has lost the file
            assert group.file is not self.model

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
    def pickle(self, data: st.DataObject, protocol: int) -> None:
        group = self.group(data)
        array, model = data.draw(st.sampled_from(group.pairs()))
        if not isinstance(array, mmapio.MappedArray):
            return
        pickled = pickle.dumps(array, protocol)
        assert len(pickled) < 1024
        if group.file is not self.model:
            with pytest.raises(mmapio.ReplacedError):
                pickle.loads(pickled)
            return
        again = pickle.loads(pickled)
        assert again.flags.writeable == array.flags.writeable
        assert again.strides == array.strides
        self.groups.append(Group(group.file, again, model))

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), by_mapping=st.booleans())
    def close(self, data: st.DataObject, by_mapping: bool) -> None:
        group = self.group(data)
        mapping = group.array.mapping
        if group.views or by_mapping:
            with pytest.raises(mmapio.InUseError):
                mapping.close() if by_mapping else group.array.close()
            assert not group.array.closed
            return
        gc.collect()  # of what hypothesis and tracebacks may still hold
        group.array.close()
        assert mapping.closed
        self.bury(group)

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def close_by_force(self, data: st.DataObject) -> None:
        group = self.group(data)
        group.array.close(force=True)
        self.bury(group)

    def bury(self, group: Group) -> None:
        self.groups.remove(group)
        for array, _ in group.pairs():
            self.zeros.append(array)
            if isinstance(array, mmapio.MappedArray):
                assert array.closed
                with pytest.raises(mmapio.ClosedError):
                    array.flush()

    @rule()
    def forget_the_dead(self) -> None:
        self.zeros.clear()
        gc.collect(0)

    @invariant()
    def arrays_equal_their_models(self) -> None:
        for group in self.groups:
            for array, model in group.pairs():
                assert array.dtype == model.dtype
                np.testing.assert_array_equal(array, model)

    @invariant()
    def closed_arrays_read_zeros(self) -> None:
        for array in self.zeros:
            assert not array.any()

    @invariant()
    def numpy_loads_the_file(self) -> None:
        if self.model is not None:
            found = np.load(self.path)
            assert (found.dtype, found.shape) == (self.model.dtype, self.model.shape)
            np.testing.assert_array_equal(found, self.model)
            assert len(list(self.folder.iterdir())) == 1


MappedArrays.TestCase.settings = settings(
    settings.get_profile("mmapio"), max_examples=30, stateful_step_count=25
)
test_mapped_arrays = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows replaces no file that is mapped"
)(MappedArrays.TestCase)

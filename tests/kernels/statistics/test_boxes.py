"""Boxes: each item of an array is in one of them, and results of each have one place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import small_boxes

from mmapio.kernels.statistics._boxes import Box, Grid, Parts, flat_items, grid_of, layout_of


def rows_of(axes: NDArray[np.int64], first: int, last: int) -> list[int]:
    """Return where rows start that are counted along several axes, the last fastest."""
    extents, steps = axes.tolist()
    places = [np.dot(index, steps) for index in np.ndindex(*extents)] + [extents[-1] * steps[-1]]
    return [int(places[number]) for number in range(first, last)]


def places_in(grid: Grid, box: Box) -> list[tuple[int, int]]:
    """Return each item that a kernel reads, and the result that it belongs to."""
    first, last, top, bottom, left, right, fold, tail, _ = box.ranges.tolist()
    found = []
    for row, start in enumerate(rows_of(grid.kept, first, last)):
        for number, at in enumerate(rows_of(grid.reduced, top, bottom + (tail > 0))):
            stop = right if number < bottom - top else left + tail
            for column in range(left, stop):
                across = right - left
                line = row * min(fold, across) + (column - left) % fold if grid.columns else row
                found.append((start + at + column, box.start + line))
    return found


def axes_of(ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(0, ndim - 1), max_size=ndim).map(lambda some: tuple(sorted(some)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(8, 300), st.data())
def test_every_item_is_read_once_for_its_result(
    shape: list[int], size: int, data: st.DataObject
) -> None:
    a = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    a = a.transpose(data.draw(st.permutations(range(a.ndim))))
    a = a[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in shape)]
    axes = data.draw(axes_of(a.ndim))
    with small_boxes(size):
        layout = layout_of(a.shape, a.strides, a.itemsize, axes, True)
        if layout.grid is None:
            return
        flat, grid = flat_items(layout, a), layout.grid
        boxes = [grid.box(number) for number in range(grid.total)]
        read = [(int(flat[at]), line) for box in boxes for at, line in places_in(grid, box)]
        assert sorted(item for item, _ in read) == sorted(a.reshape(-1).tolist())
        lines = np.array([line for _, line in sorted(read)])
        expected = layout.restored(np.arange(layout.results))
        for item, line in zip(sorted(a.reshape(-1).tolist()), lines.tolist(), strict=True):
            index = tuple(int(i[0]) for i in np.nonzero(a == item))
            kept = tuple(i for axis, i in enumerate(index) if axis not in axes)
            assert expected[kept] == line
        for box in boxes:
            counts = Counter(line for _, line in places_in(grid, box))
            assert set(counts.values()) == {box.items}
            assert {*counts} == {*range(box.start, box.stop)}


def test_boxes_depend_on_the_array_alone() -> None:
    a = np.ones((3000, 100))
    one, other = (layout_of(a.shape, a.strides, 8, (0,), True) for _ in range(2))
    assert one is other
    assert one.only is not None
    assert one.only.alone


def test_what_kernels_cannot_read_is_taken_in_parts() -> None:
    a = np.ones((50, 6), ">f8")
    layout = layout_of(a.shape, a.strides, 8, (0,), False)
    assert layout.grid is None
    with small_boxes(60):
        parts = Parts(layout, a, np.dtype("f8"))
        taken = [parts.take(number, parts.buffer()) for number in range(len(parts))]
        assert sum(part.size for part in taken) == a.size
        for number, part in enumerate(taken):
            grid = grid_of(parts.axes(part), 8, True)
            assert grid is not None
            box = parts.box(number, grid)
            assert (box.start, box.stop, box.alone) == (0, 6, False)
            assert not part.flags.writeable


@pytest.mark.parametrize("axes", [(0,), (1,)])
def test_a_column_of_one_item_for_each_row(axes: Any) -> None:
    """Rows of few items, far from each other, are copied: a line of memory holds one of them."""
    a = np.ones((100, 40))[:, 3:4]
    assert layout_of(a.shape, a.strides, 8, axes, True).grid is None

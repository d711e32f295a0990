"""Cases of the table of kernels: chosen by names, and none twice."""

from __future__ import annotations

import itertools

import pytest
from benchmarks.kernel_table import arrays
from benchmarks.kernel_table.cases import Case, cases


@pytest.mark.parametrize(
    ("only", "works"),
    [
        ("sum", {"sum"}),
        ("find", {"find", "find-bytes"}),
        ("axis0", {"axis0-max", "axis0-mean", "axis0-sum", "axis0-var"}),
        ("arg*", {"argmax", "argmin"}),
        ("nothing", set()),
    ],
)
def test_works_are_chosen_by_name_beginning_or_pattern(only: str, works: set[str]) -> None:
    assert {case.work for case in cases([only])} == works


def test_a_size_that_a_work_cuts_to_that_of_another_is_no_case_of_its_own() -> None:
    sizes = {case.size for case in cases(["describe"], dtypes=["u1"])}
    assert sizes == {"256MiB", "1MiB", "100k"}
    items = [case._replace(size=str(case.items)) for case in cases()]
    assert len(set(items)) == len(items)


def test_cases_that_share_an_array_follow_each_other() -> None:
    keys = [(case.layout, case.dtype, case.items) for case in cases()]
    changes = sum(one != other for one, other in itertools.pairwise(keys))
    assert changes == len(set(keys)) - 1


def test_arrays_have_the_layout_that_they_are_asked_for() -> None:
    flags = {name: arrays.Arrays(name, "i4", 100_000).a for name in arrays.LAYOUTS}
    assert flags["strided"].strides == (8,)
    assert flags["F 1000 wide"].flags.f_contiguous
    assert flags["F 1000 wide"].shape == (100, 1000)
    assert {name: a.shape[1] for name, a in flags.items() if name[0] == "C"} == {
        "C 5000 wide": 5000,
        "C 100 wide": 100,
        "C 3 wide": 3,
    }


def test_items_are_as_many_as_the_size_says() -> None:
    assert Case("sum", "1-d", "i4", "1MiB").items == 1 << 18
    assert Case("sum", "1-d", "i4", "100k").items == 100_000
    assert Case("describe", "1-d", "i4", "256MiB").items == 1 << 22

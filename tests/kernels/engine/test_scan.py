"""Options of scans: checked once, before anything is read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine.scan import Scan


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"threads": 0}, ArgumentError),
        ({"threads": "many"}, ArgumentError),
        ({"progress": "no"}, ArgumentTypeError),
        ({"drop_behind": 1}, ArgumentTypeError),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    name = next(iter(options))
    with pytest.raises(error, match=f"{name} must be"):
        Scan(**options)
    for function in (kernels.sum, kernels.min, kernels.argmax, kernels.checksum):
        with pytest.raises(error, match=f"{name} must be"):
            function(np.ones(3), **options)


def test_options_stay_as_they_are() -> None:
    how = Scan(2, drop_behind=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        how.threads = 3  # type: ignore[misc]

"""Flush policies: checked as soon as they are made."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from mmapio import ArgumentError, ArgumentTypeError, FlushPolicy


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("nonsense",), ArgumentError, "kind must be one of 'manual', .*, got 'nonsense'"),
        ((None,), ArgumentTypeError, "kind must be a str, got 'NoneType'"),
        (("every_bytes",), ArgumentError, "amount must be 1 or more, got 0"),
        (("every_writes", -1), ArgumentError, "amount must be 1 or more, got -1"),
        (("every_millis", "5"), ArgumentTypeError, "amount must be an integer, got 'str'"),
        (("every_millis", 1.5), ArgumentTypeError, "amount must be an integer, got 'float'"),
        (("always", 3), ArgumentError, "amount must be 0 for 'always', got 3"),
        (("manual", None), ArgumentTypeError, "amount must be an integer, got 'NoneType'"),
        (("every_millis", 5, "shout"), ArgumentTypeError, "on_error must be callable, got 'str'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        FlushPolicy(*arguments)


@pytest.mark.parametrize("make", [FlushPolicy.every_writes, FlushPolicy.every_millis])
def test_amounts_are_named_as_their_arguments_are(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"(count|millis) must be 1 or more, got 0"):
        make(0)


def test_policies_are_values() -> None:
    policy = FlushPolicy.every_millis(5, on_error=print)
    assert policy == FlushPolicy("every_millis", 5) == pickle.loads(pickle.dumps(policy))
    assert FlushPolicy("manual") == FlushPolicy.manual() != FlushPolicy.always()
    assert hash(policy) == hash(FlushPolicy("every_millis", 5))
    assert pickle.loads(pickle.dumps(policy)).on_error is print
    assert policy != ("every_millis", 5)


@pytest.mark.parametrize("name", ["kind", "amount", "on_error", "other"])
def test_policies_never_change(name: str) -> None:
    policy = FlushPolicy.manual()
    with pytest.raises(AttributeError, match="never changes"):
        setattr(policy, name, 3)
    with pytest.raises(AttributeError, match="never changes"):
        delattr(policy, name)
    assert policy == FlushPolicy.manual()

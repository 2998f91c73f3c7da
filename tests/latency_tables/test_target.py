from __future__ import annotations

from dataclasses import fields, replace

import pytest

from latency_tables.errors import TableError, TargetMismatch
from latency_tables.target import Target


def test_a_target_is_read_back_from_json(target: Target) -> None:
    assert Target.from_json(target.to_json()) == target
    target.require_same(Target.from_json(target.to_json()))


@pytest.mark.parametrize("name", [field.name for field in fields(Target)])
def test_two_targets_that_differ_in_anything_do_not_mix(target: Target, name: str) -> None:
    before = getattr(target, name)
    other = replace(target, **{name: before + 1 if isinstance(before, int) else before + "x"})
    with pytest.raises(TargetMismatch) as caught:
        target.require_same(other)
    assert f"{name} is {before!r} against {getattr(other, name)!r}" in str(caught.value)
    equal = {field.name for field in fields(Target)} - {name}
    assert not [each for each in equal if f"{each} is " in str(caught.value)]
    assert isinstance(caught.value, TableError)


def test_every_differing_field_is_named(target: Target) -> None:
    with pytest.raises(TargetMismatch, match=r"delegate is 'xnnpack' .*threads is 1 against 4"):
        target.require_same(replace(target, delegate="gpu", threads=4))


def test_a_target_with_a_field_too_many_or_too_few_is_refused(target: Target) -> None:
    whole = target.to_json()
    with pytest.raises(ValueError, match="not a target"):
        Target.from_json({**whole, "mood": "good"})
    with pytest.raises(ValueError, match="abi"):
        Target.from_json({name: value for name, value in whole.items() if name != "abi"})

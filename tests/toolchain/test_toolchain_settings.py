from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import NameUnknown
from toolchain.settings import override, parse_assignments


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    name: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} is out of range")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    title: str = "plain"
    widths: tuple[int, ...] = (1, 2)
    scales: tuple[float, ...] = (1.0,)
    shuffles: bool = True
    optimizer: Optimizer = field(default_factory=Optimizer)


def test_assignments_are_literals_or_text() -> None:
    texts = [
        "a=1",
        "b = 0.5",
        "c=(1, 2)",
        "d=[1]",
        "e=True",
        "f=swish",
        "g='1'",
        "h=a=b",
        "i.j=-2",
    ]
    assert parse_assignments(texts) == {
        "a": 1, "b": 0.5, "c": (1, 2), "d": [1], "e": True, "f": "swish", "g": "1", "h": "a=b",
        "i.j": -2,
    }  # fmt: skip
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["", "nodes", "=3", " =3"])
def test_an_assignment_has_a_name_and_an_equals_sign(text: str) -> None:
    with pytest.raises(ValueError, match="expected name=value"):
        parse_assignments(["a=1", text])


@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.integers() | st.booleans()))
def test_values_are_read_back_as_they_are_written(values: dict[str, object]) -> None:
    assert parse_assignments([f"{name}={value!r}" for name, value in values.items()]) == values


def test_fields_are_replaced_also_nested_ones() -> None:
    changed = override(
        Recipe(),
        {
            "title": "bold",
            "widths": [3, 4, 5],
            "scales": (1, 2.5),
            "shuffles": False,
            "optimizer.learning_rate": 1,
            "optimizer.name": "adam",
        },
    )
    assert changed == Recipe(
        title="bold",
        widths=(3, 4, 5),
        scales=(1, 2.5),
        shuffles=False,
        optimizer=Optimizer(name="adam", learning_rate=1),
    )
    assert override(Recipe(), {}) == Recipe()


def test_what_asdict_gives_is_taken_back() -> None:
    recipe = Recipe(widths=(9,), optimizer=Optimizer(steps=3))
    assert override(Recipe(), asdict(recipe)) == recipe


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"title": 3}, "title must be like 'plain', got 3"),
        ({"shuffles": 1}, "shuffles must be like True, got 1"),
        ({"widths": 3}, r"widths must be like \(1, 2\), got 3"),
        ({"widths": (1, "two")}, "widths must be like 1, got 'two'"),
        ({"widths": (1, 2.5)}, "widths must be like 1, got 2.5"),
        ({"widths": (True,)}, "widths must be like 1, got True"),
        ({"scales": ("x",)}, "scales must be like 1.0, got 'x'"),
        ({"optimizer": "adam"}, "optimizer.field=value"),
        ({"optimizer.steps": 2.5}, "steps must be like 10, got 2.5"),
        ({"optimizer.steps": True}, "steps must be like 10, got True"),
        ({"optimizer.learning_rate": "big"}, "learning_rate must be like 0.1, got 'big'"),
        ({"optimizer.learning_rate": True}, "learning_rate must be like 0.1, got True"),
        ({"optimizer.name": "lion"}, "name is one of sgd, adam, got 'lion'"),
        ({"optimizer.steps": 0}, "steps 0 is out of range"),
        ({"title.size": 3}, "title of Recipe has no fields of its own"),
    ],
)
def test_a_value_of_another_kind_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        override(Recipe(), values)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colour", "setting of Recipe 'colour'.*optimizer, scales, shuffles, title, widths"),
        ("colour.shade", "setting of Recipe 'colour.shade'"),
        ("optimizer.rate", "setting of Optimizer 'rate'.*learning_rate, name, steps"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(NameUnknown, match=message):
        override(Recipe(), {name: 1})

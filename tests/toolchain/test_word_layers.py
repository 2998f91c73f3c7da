from __future__ import annotations

import pytest

from toolchain.layers import (
    AnyLayer,
    Embedding,
    Linear,
    Multiply,
    Pick,
    Scale,
    Shape,
    Stack,
    Subtract,
    Vector,
)

WORD: Shape = (6,)
WORDS: Shape = (6, 3)


@pytest.mark.parametrize(
    ("layer", "inputs", "output"),
    [
        (Embedding(words=9, features=6), (), WORD),
        (Embedding(words=9, features=6, count=3), (), WORDS),
        (Vector(features=6), (), WORD),
        (Pick(index=2), (WORDS,), WORD),
        (Stack(), (WORD, WORD, WORD), WORDS),
        (Subtract(), (WORD, WORD), WORD),
        (Scale(divisor=3), (WORDS,), WORDS),
        (Multiply(), (WORD, WORD), WORD),
        (Linear(features=9, flatten=False), (WORDS,), (9, 3)),
    ],
)
def test_each_layer_has_its_shape_rule(
    layer: AnyLayer, inputs: tuple[Shape, ...], output: Shape
) -> None:
    assert layer.output_shape(*inputs) == output


@pytest.mark.parametrize(
    ("layer", "inputs", "reason"),
    [
        (Embedding(words=9, features=6), (WORD,), "takes 0 input"),
        (Vector(features=6), (WORD,), "takes 0 input"),
        (Pick(index=3), (WORDS,), "word 3 of several"),
        (Pick(index=-1), (WORDS,), "word -1 of several"),
        (Pick(index=0), (WORD,), r"got shape \(6,\)"),
        (Stack(), (WORD,), "two or more equal vectors"),
        (Stack(), (WORD, (5,)), "two or more equal vectors"),
        (Stack(), (WORDS, WORDS), "two or more equal vectors"),
        (Subtract(), (WORD, (5,)), "equal shapes"),
        (Scale(divisor=2), (), "takes 1 input"),
        (Multiply(), (WORDS, WORDS), "feature map"),
        (Linear(features=9), (WORDS,), "flatten=False"),
    ],
)
def test_what_a_layer_cannot_take_is_refused(
    layer: AnyLayer, inputs: tuple[Shape, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        layer.output_shape(*inputs)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Embedding, {"words": 0, "features": 6}),
        (Embedding, {"words": 9, "features": 0}),
        (Embedding, {"words": 9, "features": 6, "count": 0}),
        (Vector, {"features": 0}),
        (Scale, {"divisor": 0}),
    ],
)
def test_impossible_settings_are_refused(kind: type[AnyLayer], settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        kind(**settings)


def test_a_table_counts_its_weights_and_no_products() -> None:
    layer = Embedding(words=9, features=6, count=3)
    assert (layer.macs(), layer.parameters(), layer.norm_parameters()) == (0, 54, 0)


def test_a_dense_layer_counts_products_for_each_word_and_weights_that_are_its_own() -> None:
    own = Linear(features=9, flatten=False)
    assert (own.macs(WORDS), own.parameters(WORDS)) == (3 * 54, 54 + 9)
    shared = Linear(features=9, flatten=False, weights="table")
    assert (shared.macs(WORDS), shared.parameters(WORDS)) == (3 * 54, 9)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.kernel import DTYPES, Kernel, distance, make_kernel, parse_kernel

WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
SHAPES = st.lists(st.integers(1, 4096), min_size=1, max_size=4).map(tuple)
KERNELS = st.builds(
    Kernel,
    kind=WORDS,
    inputs=st.lists(SHAPES, min_size=1, max_size=5).map(tuple),
    output=SHAPES,
    attributes=st.dictionaries(WORDS, st.from_regex(r"[a-z0-9=x_-]{1,8}", fullmatch=True)).map(
        lambda values: tuple(sorted(values.items()))
    ),
    activation=WORDS,
    dtype=st.sampled_from(DTYPES),
)
CONV = make_kernel(
    "conv2d",
    ((1, 32, 32, 16),),
    (1, 16, 16, 24),
    {"stride": "2x2", "kernel": "3x3", "padding": "same"},
    "relu",
)
CONV_KEY = "conv2d 1x32x32x16 -> 1x16x16x24 kernel=3x3 padding=same stride=2x2 act=relu float32"


@settings(max_examples=50)
@given(KERNELS)
def test_a_kernel_is_read_back_from_its_key(kernel: Kernel) -> None:
    parsed = parse_kernel(kernel.key)
    assert parsed == kernel
    assert hash(parsed) == hash(kernel)
    assert parsed.key == kernel.key == str(kernel)


@settings(max_examples=50)
@given(KERNELS, KERNELS)
def test_kernels_are_equal_when_their_keys_are(one: Kernel, other: Kernel) -> None:
    assert (one == other) == (one.key == other.key)


@settings(max_examples=50)
@given(KERNELS, KERNELS)
def test_distance_is_symmetric_and_nothing_between_equals_only(one: Kernel, other: Kernel) -> None:
    assert distance(one, parse_kernel(one.key)) == 0
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert (distance(one, other) == 0) == (one == other)


@settings(max_examples=50)
@given(KERNELS, st.data())
def test_a_change_of_any_part_is_a_distance(kernel: Kernel, data: st.DataObject) -> None:
    changes = {
        "kind": kernel.kind + "x",
        "inputs": (*kernel.inputs, (1, 2)),
        "output": (*kernel.output[:-1], kernel.output[-1] + 1),
        "attributes": (*kernel.attributes, ("zzzzzzzzzzz", "1")),
        "activation": kernel.activation + "x",
        "dtype": "int8" if kernel.dtype == "float32" else "float32",
    }
    parts = {name: getattr(kernel, name) for name in changes}
    part = data.draw(st.sampled_from(sorted(changes)))
    assert distance(kernel, Kernel(**{**parts, part: changes[part]})) > 0


def test_the_key_is_the_documented_text_whatever_the_order_of_attributes() -> None:
    assert CONV.key == CONV_KEY
    assert parse_kernel(CONV_KEY) == CONV
    assert CONV.attribute("padding") == "same"
    assert CONV.pair("stride") == (2, 2)
    with pytest.raises(KeyError):
        CONV.attribute("dilation")


def test_attributes_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted"):
        Kernel(
            kind="pad",
            inputs=((1, 2),),
            output=(1, 2),
            attributes=(("stride", "1x1"), ("kernel", "1x1")),
        )


def test_an_unknown_element_type_is_refused() -> None:
    with pytest.raises(ValueError, match="float8"):
        Kernel(kind="add", inputs=((1, 2),), output=(1, 2), dtype="float8")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv2d",
        "conv2d 1x2 1x2 act=relu float32",
        "conv2d 1x2 -> 1x2 relu float32",
        "conv2d 1x2 -> 1x2 act=relu float8",
        "conv2d 1xtwo -> 1x2 act=relu float32",
        "conv2d 1x2 -> 1x2 kernel act=relu float32",
        "conv2d 1x2 -> 1x2 stride=1 kernel=1 act=relu float32",
        "conv2d 01x2 -> 1x2 act=relu float32",
        "conv2d 1x+2 -> 1x2 act=relu float32",
        " 1x2 -> 1x2 act=relu float32",
        CONV_KEY + " ",
        CONV_KEY.replace("->", "=>"),
    ],
)
def test_text_that_is_no_canonical_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a kernel key"):
        parse_kernel(text)


@given(st.text(alphabet="conv2d 1x3,->=actrelufloat32", max_size=60))
def test_any_text_is_a_key_or_a_value_error(text: str) -> None:
    try:
        kernel = parse_kernel(text)
    except ValueError:
        return
    assert kernel.key == text

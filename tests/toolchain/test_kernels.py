from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.graph import graph_from_text
from toolchain.kernels import MAX_CONCAT_INPUTS, Plan, concat_tree, nhwc, plan
from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

IMAGE = "image = input(channels=4, height=9, width=7)\n"
TESTS = Path(__file__).parent


def plan_of(text: str) -> Plan:
    return plan(graph_from_text(IMAGE + text, "small"))


def kinds(text: str) -> list[str]:
    return [kernel.kind for kernel in plan_of(text).kernels]


@given(st.integers(1, 9), st.integers(2, 60))
def test_a_concat_tree_joins_all_inputs_in_order(width: int, count: int) -> None:
    shapes = [(width + index, 3, 3) for index in range(count)]
    # Channels of each value, as (input, channel): a concat must give those of its inputs in turn.
    values = {
        index: [(index, channel) for channel in range(shape[0])]
        for index, shape in enumerate(shapes)
    }
    made = 0
    for kernel, sources in concat_tree(shapes):
        assert 2 <= len(sources) <= MAX_CONCAT_INPUTS
        made -= 1
        values[made] = [channel for source in sources for channel in values[source]]
        assert kernel.inputs == tuple((1, 3, 3, len(values[source])) for source in sources)
        assert kernel.output == (1, 3, 3, len(values[made]))
    assert values[made] == [pair for index in range(count) for pair in values[index]]


def test_batch_norm_and_relu_are_in_the_convolution() -> None:
    only = plan_of("a = conv2d(image, channels=8, kernel=3, stride=2)").kernels
    assert [kernel.key for kernel in only] == [
        "conv2d 1x9x7x4 -> 1x5x4x8 kernel=3x3 padding=same stride=2x2 act=relu float32"
    ]
    depthwise = plan_of(
        "a = conv2d(image, channels=4, kernel=5, depthwise=True, activation=relu6)"
    )
    assert depthwise.kernels[0].key == (
        "depthwise_conv2d 1x9x7x4 -> 1x9x7x4 kernel=5x5 padding=same stride=1x1 act=relu6 float32"
    )


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_an_activation_after_an_addition_is_a_clamp_of_its_own(activation: str) -> None:
    steps = plan_of(f"a = add(image, image, activation={activation})").steps
    assert [step.kernel.kind for step in steps] == ["add", "clamp"]
    assert steps[0].kernel.activation == "linear"
    assert steps[1].kernel.attribute("range") == activation
    assert [step.inputs for step in steps] == [(0, 0), (1,)]


def test_swish_is_a_sigmoid_and_a_product_with_what_it_read() -> None:
    steps = plan_of("a = conv2d(image, channels=8, activation=swish)").steps
    assert [step.kernel.kind for step in steps] == ["conv2d", "sigmoid", "multiply"]
    assert steps[0].kernel.activation == "linear"
    assert [set(step.inputs) for step in steps] == [{0}, {1}, {1, 2}]


@pytest.mark.parametrize("activation", ["hard_swish", "sigmoid"])
def test_other_activations_are_kernels_of_their_own(activation: str) -> None:
    assert kinds(f"a = conv2d(image, channels=8, activation={activation})") == [
        "conv2d",
        activation,
    ]
    assert kinds(f"a = add(image, image, activation={activation})") == ["add", activation]


def test_hard_sigmoid_is_a_fused_relu6_and_a_product_with_a_sixth() -> None:
    steps = plan_of("a = conv2d(image, channels=8, activation=hard_sigmoid)").steps
    assert [step.kernel.kind for step in steps] == ["conv2d", "scale"]
    assert steps[0].kernel.activation == "relu6"
    assert steps[1].kernel.key == "scale 1x9x7x8 -> 1x9x7x8 by=1/6 act=linear float32"
    assert [step.inputs for step in steps] == [(0,), (1,)]
    assert kinds(
        "pool = global_average_pool(image)\nfc = linear(pool, features=3, activation=hard_sigmoid)"
    ) == ["mean", "flatten", "fully_connected", "scale"]


def test_a_gate_is_a_product_of_a_map_and_its_mean() -> None:
    steps = plan_of(
        "pool = global_average_pool(image, keep_map=True)\ngate = multiply(image, pool)"
    ).steps
    assert [step.kernel.key for step in steps] == [
        "mean 1x9x7x4 -> 1x1x1x4 axes=1x2 act=linear float32",
        "multiply 1x9x7x4,1x1x1x4 -> 1x9x7x4 act=linear float32",
    ]
    assert [step.inputs for step in steps] == [(0,), (0, 1)]


def test_a_dense_layer_flattens_first() -> None:
    steps = plan_of(
        "pool = global_average_pool(image)\nfc = linear(pool, features=3, activation=swish)"
    ).steps
    expected = ["mean", "flatten", "fully_connected", "sigmoid", "multiply"]
    assert [step.kernel.kind for step in steps] == expected
    assert [set(step.inputs) for step in steps] == [{0}, {1}, {2}, {3}, {3, 4}]
    assert steps[-1].kernel.output == (1, 3)


def test_repeated_pixels_are_a_product_with_ones_between_reshapes() -> None:
    # XNNPACK (LiteRT 2.3) does not take RESIZE_NEAREST_NEIGHBOR.
    steps = plan_of("a = upsample(image, factor=3)").steps
    assert [step.kernel.key for step in steps] == [
        "reshape 1x9x7x4 -> 9x1x7x1x4 act=linear float32",
        "repeat 9x1x7x1x4 -> 9x3x7x3x4 act=linear float32",
        "reshape 9x3x7x3x4 -> 1x27x21x4 act=linear float32",
    ]
    assert [step.inputs for step in steps] == [(0,), (1,), (2,)]
    assert kinds("a = upsample(image, interpolation=bilinear)") == ["resize_bilinear"]


def test_relu_is_in_the_transposed_convolution_and_other_activations_are_not() -> None:
    assert [one.key for one in plan_of("a = conv_transpose2d(image, channels=8)").kernels] == [
        "conv_transpose2d 1x9x7x4 -> 1x18x14x8 kernel=4x4 padding=same stride=2x2 act=relu float32"
    ]
    steps = plan_of("a = conv_transpose2d(image, channels=8, activation=swish)").steps
    assert [step.kernel.kind for step in steps] == ["conv_transpose2d", "sigmoid", "multiply"]
    assert [set(step.inputs) for step in steps] == [{0}, {1}, {1, 2}]


def test_what_the_output_does_not_depend_on_is_not_run() -> None:
    text = "a = conv2d(image, channels=4)\n{}b = conv2d(a, channels=8)"
    dead = "dead = conv2d(a, channels=4)\ndeader = upsample(dead)\n"
    assert plan_of(text.format(dead)) == plan_of(text.format(""))


def test_equal_work_without_weights_is_done_once() -> None:
    text = """
    a = conv2d(image, channels=4)
    one = concat(image, a)
    same = concat(image, a)
    turned = concat(a, image)
    b = conv2d(one, channels=4)
    c = conv2d(same, channels=4)
    d = add(b, c)
    e = conv2d(turned, channels=4)
    f = add(d, e)
    """
    steps = plan_of("\n".join(line.strip() for line in text.splitlines())).steps
    # Convolutions have weights of their own, however alike they look.
    assert [step.kernel.kind for step in steps] == [
        "conv2d", "concat", "concat", "conv2d", "conv2d", "add", "conv2d", "add",
    ]  # fmt: skip
    assert [step.inputs for step in steps] == [
        (0,), (0, 1), (1, 0), (2,), (2,), (4, 5), (3,), (6, 7),
    ]  # fmt: skip


def test_every_step_reads_values_made_before_with_their_shapes() -> None:
    rng = np.random.default_rng(0)
    space = ShrinkCnnSpace(nodes=10, activation="swish", head_channels=32)
    for _ in range(100):
        graph = space.decode(space.sample(rng))
        made = plan(graph)
        shapes = [nhwc(graph.input_shape)]
        assert made.inputs[0].shape == shapes[0]
        for step in made.steps:
            assert step.kernel.inputs == tuple(shapes[number] for number in step.inputs)
            assert len(step.inputs) <= MAX_CONCAT_INPUTS
            shapes.append(step.kernel.output)
        assert shapes[-1] == nhwc(graph.output_shape)


PREDICTION = """
    import statistics, sys, time
    import numpy as np
    from made_up import model_of
    from toolchain.kernels import plan
    from toolchain.spaces.shrinkcnn import ShrinkCnnSpace

    space = ShrinkCnnSpace()
    model = model_of(space)
    rng = np.random.default_rng(0)
    taken_ms = []
    for genotype in [space.sample(rng) for _ in range(500)]:
        start_ns = time.thread_time_ns()
        latency = model.predict(plan(space.decode(genotype)).kernels)
        taken_ms.append((time.thread_time_ns() - start_ns) / 1e6)
        assert latency.p95_ms > latency.p50_ms > 0
    assert "torch" not in sys.modules, "torch was imported"
    print(statistics.median(taken_ms))
"""


def test_a_genotypes_latency_takes_under_a_millisecond_and_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREDICTION)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parents[1]}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.0

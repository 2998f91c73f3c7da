"""The kernels of operators with weights, and of products of matrices, before XNNPACK fuses any."""

from __future__ import annotations

import struct

from latency_tables.tflite.draft import Draft, between, make_draft, range_of, shape_text
from latency_tables.tflite.network import Network, Operator
from latency_tables.tflite.window import read_window

NO_PADS = (0, 0, 0, 0)


def conv2d(network: Network, operator: Operator) -> list[Draft]:
    """A convolution, depthwise or not."""
    weights = network.tensors[operator.inputs[1]]
    source = network.tensors[operator.inputs[0]]
    kind = "conv2d" if operator.name == "CONV_2D" else "depthwise_conv2d"
    draft = _weighted(network, operator, kind)
    window = read_window(operator.options, (weights.shape[1], weights.shape[2]))
    draft.window = window
    draft.attributes |= window.attributes(source.shape, draft.output, NO_PADS)
    if kind == "conv2d" and source.shape[-1] != weights.shape[-1]:
        draft.attributes["groups"] = str(source.shape[-1] // weights.shape[-1])
    # A convolution of 1x1 with stride 1 is a matrix product.
    is_product = window.kernel == window.stride == (1, 1) and "groups" not in draft.attributes
    return [draft] if is_product else _quantizing_its_input(draft, operator)


def _weighted(network: Network, operator: Operator, kind: str, place: int = 1) -> Draft:
    """A kernel with constant weights and a range inside of it."""
    weights = network.tensors[operator.inputs[place]]
    draft = make_draft(network, operator, kind)
    draft.activation = range_of(operator)
    if operator.inputs[place] not in network.constants:
        draft.attributes["weights"] = "computed"
    elif weights.dtype not in (draft.dtype, "float16"):
        draft.attributes["weights"] = weights.dtype
    if (
        weights.dtype == "int8"
        and draft.dtype == "int8"
        and len(weights.scales) == 1 != weights.shape[0]
    ):
        draft.attributes["scales"] = "one"
    return draft


def _quantizing_its_input(draft: Draft, operator: Operator) -> list[Draft]:
    """Float activations with integer weights: XNNPACK quantizes the activations first.

    Dense layers and products of matrices do that by themselves.
    """
    if draft.attributes.get("weights") not in ("int8", "int4"):
        return [draft]
    quantize = Draft(
        kind="quantize_dynamically",
        shapes=draft.shapes[:1],
        output=draft.shapes[0],
        reads=draft.reads[:1],
        writes=[between(operator.index, 0)],
        operators=[operator.index],
    )
    draft.reads = [*quantize.writes, *draft.reads[1:]]
    return [quantize, draft]


def conv_transpose2d(network: Network, operator: Operator) -> list[Draft]:
    """A transposed convolution."""
    weights = network.tensors[operator.inputs[1]]
    draft = _weighted(network, operator, "conv_transpose2d")
    window = read_window(operator.options, (weights.shape[1], weights.shape[2]))
    padding = "same" if window.is_same else "valid"
    draft.attributes |= {
        "kernel": shape_text(window.kernel),
        "stride": shape_text(window.stride),
        "padding": padding,
    }
    return _quantizing_its_input(draft, operator)


def media_pipe_conv_transpose2d(network: Network, operator: Operator) -> list[Draft]:
    """Options are the C struct TfLiteTransposeConvParams: padding, stride width, stride height."""
    padding, width, height = struct.unpack_from("<3i", operator.custom_options.ljust(12, b"\0"))
    weights = network.tensors[operator.inputs[1]]
    draft = _weighted(network, operator, "conv_transpose2d")
    draft.attributes |= {
        "kernel": shape_text(weights.shape[1:3]),
        "stride": shape_text((height, width)),
        "padding": "same" if padding == 1 else "valid",
    }
    return [draft]


def fully_connected(network: Network, operator: Operator) -> list[Draft]:
    """A dense layer, which flattens its input first unless it keeps its dimensions."""
    source, weights = (network.tensors[index] for index in operator.inputs[:2])
    dense = _weighted(network, operator, "fully_connected")
    if operator.options.get("keepNumDims"):
        return [dense]
    flat = (source.size // max(weights.shape[1], 1), weights.shape[1])
    flatten = Draft(
        kind="flatten",
        shapes=[source.shape],
        output=flat,
        dtype=dense.dtype,
        reads=dense.reads[:1],
        writes=[between(operator.index, 0)],
        operators=[operator.index],
    )
    dense.reads = [*flatten.writes, *dense.reads[1:]]
    dense.shapes = [flat, *dense.shapes[1:]]
    return [flatten, dense]


def batch_matmul(network: Network, operator: Operator) -> list[Draft]:
    """A product of matrices; XNNPACK transposes the left one in a kernel of its own."""
    draft = make_draft(network, operator, "batch_matmul")
    right = network.tensors[operator.inputs[1]]
    if operator.inputs[1] in network.constants:
        draft.attributes["with"] = shape_text(right.shape)
        if right.dtype != draft.dtype:
            draft.attributes["weights"] = right.dtype
    if operator.options.get("adjY"):
        draft.attributes["transposed"] = "right"
    if not operator.options.get("adjX"):
        return [draft]
    shape = draft.shapes[0]
    axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    turned = tuple(shape[axis] for axis in axes)
    transpose = Draft(
        kind="transpose",
        shapes=[shape],
        output=turned,
        attributes={"axes": shape_text(axes)},
        dtype=draft.dtype,
        reads=draft.reads[:1],
        writes=[between(operator.index, 0)],
        operators=[operator.index],
    )
    draft.reads = [*transpose.writes, *draft.reads[1:]]
    draft.shapes = [turned, *draft.shapes[1:]]
    return [transpose, draft]

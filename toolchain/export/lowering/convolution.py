"""Convolutions: Conv, ConvTranspose."""

from __future__ import annotations

import numpy as np

from latency_tables.kernel import make_kernel
from toolchain.export.flatbuffer import Array, Weights
from toolchain.export.lowering.emitter import Emitter, Value
from toolchain.export.lowering.network import Operation, unsupported
from toolchain.export.lowering.padding import emit_pad
from toolchain.export.lowering.window import ATTRIBUTES, read_window

CONV_ATTRIBUTES = ATTRIBUTES | {"group"}
CONV_TRANSPOSE_ATTRIBUTES = CONV_ATTRIBUTES | {"output_padding"}


def lower_conv(emitter: Emitter, operation: Operation) -> Value:
    """A dense convolution, or a depthwise one with one filter for each channel."""
    source = emitter.read(operation)
    output = emitter.shape(operation)
    filter_OIHW = emitter.constant(operation, 1)
    window = read_window(
        operation,
        emitter.network.shape(operation.inputs[0], operation),
        emitter.network.shape(operation.output, operation),
        filter_OIHW.shape[2:],
    )
    attributes = window.attributes()
    if window.is_padded_by_hand and window.kernel == window.stride == (1, 1):
        # XNNPACK runs a 1x1 convolution as a matrix product, into which it fuses no padding.
        source = emit_pad(emitter, source, window.pads)
        attributes["padding"] = "same"
    is_depthwise = _is_depthwise(operation, source.shape[-1], filter_OIHW)
    kernel = make_kernel(
        "depthwise_conv2d" if is_depthwise else "conv2d",
        (source.shape,),
        output,
        attributes,
        operation.activation,
    )
    bias = _bias(emitter, operation, output[-1])
    axes = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    return emitter.emit(kernel, source, weights=Weights(filter_OIHW.transpose(axes), bias))


def lower_conv_transpose(emitter: Emitter, operation: Operation) -> Value:
    """A transposed convolution whose output is its input's size times the stride."""
    source = emitter.read(operation)
    output = emitter.shape(operation)
    filter_IOHW = emitter.constant(operation, 1)
    attributes = operation.attributes
    strides = tuple(attributes.get("strides", (1, 1)))
    sides = [(size - step) / 2 for size, step in zip(filter_IOHW.shape[2:], strides, strict=True)]
    plain = {"auto_pad": "NOTSET", "group": 1, "dilations": [1, 1], "output_padding": [0, 0]}
    if list(attributes.get("pads", (0,) * 4)) != sides * 2 or any(
        attributes.get(name, usual) != usual for name, usual in plain.items()
    ):
        raise unsupported(
            operation,
            f"its attributes are {dict(attributes)}",
            "pad each side by half of kernel less stride, without groups, dilation or output "
            "padding",
        )
    kernel = make_kernel(
        "conv_transpose2d",
        (source.shape,),
        output,
        {
            "kernel": "x".join(map(str, filter_IOHW.shape[2:])),
            "stride": "x".join(map(str, strides)),
            "padding": "same",
        },
        operation.activation,
    )
    weights = Weights(filter_IOHW.transpose(1, 2, 3, 0), _bias(emitter, operation, output[-1]))
    return emitter.emit(kernel, source, weights=weights)


def _bias(emitter: Emitter, operation: Operation, channels: int) -> Array:
    """The bias of a convolution; zeros where it has none."""
    if not operation.reads(2):
        return np.zeros(channels, np.float32)
    return emitter.constant(operation, 2)


def _is_depthwise(operation: Operation, channels: int, filter_OIHW: Array) -> bool:
    """Whether each channel has its own filter; with a single channel it does not matter."""
    groups = operation.attributes.get("group", 1)
    features, group_channels = filter_OIHW.shape[:2]
    if group_channels * groups == channels:
        if groups == 1:
            return False
        if groups == channels == features:
            return True
    raise unsupported(
        operation,
        f"group={groups} with {channels} channels in and a filter of shape {filter_OIHW.shape}",
        "use one group, or as many groups as channels in and out",
    )

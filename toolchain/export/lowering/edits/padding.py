"""Zeros around a feature map are part of the convolution that reads it."""

from __future__ import annotations

from dataclasses import replace

from toolchain.export.lowering.network import Network, Operation

Pads = tuple[int, int, int, int]
"""Rows above, columns left, rows below, columns right: ONNX's order."""


def fuse_pads(network: Network) -> Network:
    """Let every convolution do the padding that stands before it.

    A Pad that several convolutions read is done by each of them: XNNPACK fuses a Pad into the
    convolution only where nothing else reads it.
    """
    pads = {
        operation.output: (operation.inputs[0], sides)
        for operation in network.operations
        if operation.type == "Pad" and (sides := zeros_around(network, operation)) is not None
    }
    operations = []
    for operation in network.operations:
        states_pads = operation.attributes.get("auto_pad", "NOTSET") == "NOTSET"
        if operation.type == "Conv" and states_pads and operation.inputs[0] in pads:
            source, sides = pads[operation.inputs[0]]
            own = operation.attributes.get("pads", (0, 0, 0, 0))
            total = [outer + inner for outer, inner in zip(sides, own, strict=True)]
            operation = replace(
                operation,
                inputs=(source, *operation.inputs[1:]),
                attributes={**operation.attributes, "pads": total},
            )
        operations.append(operation)
    return network.with_operations(operations)


def zeros_around(network: Network, pad: Operation) -> Pads | None:
    """The zeros that a Pad puts around a feature map; None when it does anything else."""
    widths = network.setting(pad, 1, "pads")
    value = network.setting(pad, 2, "value")
    if pad.attributes.get("mode", "constant") != "constant" or (value is not None and value != 0):
        return None
    # Input 3 names the axes that are padded; without it all eight widths are there.
    if widths is None or pad.reads(3) or widths.shape != (8,) or widths.min() < 0:
        return None
    batch, channels, top, left, end_batch, end_channels, bottom, right = map(int, widths)
    if batch or channels or end_batch or end_channels:
        return None
    return (top, left, bottom, right)

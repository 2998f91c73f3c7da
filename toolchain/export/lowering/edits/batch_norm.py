"""Batch norm with fixed statistics is a scale and a shift: part of the convolution before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latency_tables.kernel import NO_ACTIVATION
from toolchain.export.lowering.edits.merge import Merged, merge_pairs
from toolchain.export.lowering.network import Network, Operation

FILTER_AXES = {"Conv": "o...,o->o...", "ConvTranspose": "io...,o->io..."}
"""How a filter is scaled by a factor for each output channel."""


def fold_batch_norm(network: Network) -> Network:
    """Fold every batch norm into the convolution before it."""
    return merge_pairs(network, _fold)


def _fold(network: Network, conv: Operation, norm: Operation) -> Merged | None:
    if conv.type not in FILTER_AXES or norm.type != "BatchNormalization":
        return None
    if norm.attributes.get("training_mode", 0) or conv.activation != NO_ACTIVATION:
        return None
    names = (conv.inputs[1], *norm.inputs[1:5])
    if any(name not in network.constants for name in names):
        return None
    # In float64, so that the folded weights are the nearest float32 to the true ones.
    weights, scale, shift, mean, variance = (
        network.constants[name].astype(np.float64) for name in names
    )
    bias = network.constants.get(conv.reads(2), np.zeros(len(scale)))
    factor = scale / np.sqrt(variance + norm.attributes.get("epsilon", 1e-5))
    filter_name, bias_name = f"{norm.output}.filter", f"{norm.output}.bias"
    folded = replace(conv, inputs=(conv.inputs[0], filter_name, bias_name), output=norm.output)
    return Merged(
        folded,
        {
            filter_name: np.einsum(FILTER_AXES[conv.type], weights, factor).astype(np.float32),
            bias_name: ((bias - mean) * factor + shift).astype(np.float32),
        },
    )

"""Hard swish, which older exporters write as x * HardSigmoid(x)."""

from __future__ import annotations

from dataclasses import replace

from toolchain.export.lowering.edits.hard_sigmoid import is_hard_sigmoid
from toolchain.export.lowering.edits.merge import Merged, merge_pairs
from toolchain.export.lowering.network import Network, Operation


def name_hard_swish(network: Network) -> Network:
    """Replace x * HardSigmoid(x) with slope 1/6 and offset 1/2 by HardSwish."""
    return merge_pairs(network, _name)


def _name(network: Network, gate: Operation, product: Operation) -> Merged | None:
    if not is_hard_sigmoid(gate) or product.type != "Mul":
        return None
    if sorted(product.inputs) != sorted((gate.inputs[0], gate.output)):
        return None
    return Merged(replace(product, type="HardSwish", inputs=gate.inputs, attributes={}))

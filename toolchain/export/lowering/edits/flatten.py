"""A mean over the image that is flattened afterwards gives the vector at once."""

from __future__ import annotations

from dataclasses import replace

from toolchain.export.lowering.edits.merge import Merged, merge_pairs
from toolchain.export.lowering.network import Network, Operation

MEANS = ("GlobalAveragePool", "ReduceMean")
FLATTENS = ("Flatten", "Reshape", "Squeeze")


def flatten_means(network: Network) -> Network:
    """Drop the Flatten, Reshape or Squeeze that makes a vector of a mean of shape 1x1."""
    return merge_pairs(network, _flatten)


def _flatten(network: Network, mean: Operation, flatten: Operation) -> Merged | None:
    if mean.type not in MEANS or flatten.type not in FLATTENS:
        return None
    if network.shape(flatten.output, flatten) != network.shape(mean.output, mean)[:2]:
        return None
    return Merged(replace(mean, output=flatten.output))

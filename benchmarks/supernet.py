"""One network whose weights all networks of a SwiftNet space share.

Source: single-path one-shot training (Guo et al., arXiv 1904.00420), applied to SwiftNet's space:
each node has weights for every node it could read, and a network uses those of the nodes it does
read. In training every step trains one network, drawn from a pool.

Nodes share weights by their number and their operator. Batch norm takes the batch's own
statistics, in training and out of it: running ones would mix the networks. So images to measure
on must be shuffled, not sorted by class.

Shape suffixes: N batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.module import GraphModule
from toolchain.spaces.dag import OPERATORS, Dag, parse_dags
from toolchain.spaces.swiftnet import SwiftNetSpace


class Supernet(nn.Module):
    """The shared weights; called, it computes one network.

    Attributes:
        pool: genotypes that training draws from.
        genotype: the network that it computes out of training.
    """

    def __init__(self, space: SwiftNetSpace, pool: Sequence[str]) -> None:
        super().__init__()
        self.pool = tuple(pool)
        self.genotype = self.pool[0]
        smallest = GraphModule(space.decode("/".join(["1c0"] * len(space.nodes))))
        self.fixed = nn.ModuleDict(
            {name: layer for name, layer in smallest.layers.items() if _is_fixed(name)}
        )
        for layer in self.fixed.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        live = [space.stem_width or space.stem_channels, *space.outputs[:-1]]
        self.stages = nn.ModuleList(
            _Stage(*sizes)
            for sizes in zip(space.nodes, live, space.widths, space.outputs, strict=True)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Scores NK: in training of a network drawn from the pool, else of ``genotype``."""
        genotype = self.genotype
        if self.training:
            genotype = self.pool[int(torch.randint(len(self.pool), ()))]
        for name in ("stem", "stem_dw", "stem_pw", "stem_pool"):
            x_NCHW = self._pass(name, x_NCHW)
        for number, dag in enumerate(parse_dags(genotype), start=1):
            mapped_NCHW = self.fixed[f"s{number}_mapping"](x_NCHW)
            x_NCHW = F.relu(self.stages[number - 1](x_NCHW, dag) + mapped_NCHW)
            x_NCHW = self._pass(f"s{number}_pool", x_NCHW)
        scores_NK: Tensor = self.fixed["logits"](x_NCHW.mean((2, 3)))
        return scores_NK

    @torch.no_grad()
    def first_weights(self, genotype: str) -> dict[str, Tensor]:
        """Weights of a network of its own, by the names that its ``GraphModule`` has for them."""
        weights = {f"layers.{name}": value for name, value in self.fixed.state_dict().items()}
        for number, dag in enumerate(parse_dags(genotype), start=1):
            stage = self.stages[number - 1]
            assert isinstance(stage, _Stage)
            for name, parts in stage.weights(dag).items():
                for part, value in zip(("0.weight", "1.weight", "1.bias"), parts, strict=True):
                    weights[f"layers.s{number}_{name}.{part}"] = value.clone()
        return weights

    def _pass(self, name: str, x_NCHW: Tensor) -> Tensor:
        return self.fixed[name](x_NCHW) if name in self.fixed else x_NCHW


def _is_fixed(name: str) -> bool:
    """Whether a layer is the same in all networks, and has its own weights or none."""
    return name == "logits" or name.startswith("stem") or name.endswith(("_mapping", "_pool"))


Parts = tuple[Tensor, Tensor, Tensor]
"""Filter, scale and shift of a convolution with its batch norm."""


class _Stage(nn.Module):
    """Weights of all nodes of a stage, for both operators and all inputs."""

    def __init__(self, nodes: int, live: int, width: int, output: int) -> None:
        super().__init__()
        self.live, self.width = live, width
        self.convolutions = nn.ModuleDict({"projection": _Conv((nodes - 1) * width, output)})
        for number in range(1, nodes):
            fan_in = live + (number - 1) * width
            self.convolutions[f"n{number}_dw"] = _Conv(fan_in, fan_in, 3)
            for operator in OPERATORS:
                self.convolutions[f"n{number}{operator}"] = _Conv(fan_in, width)

    def forward(self, x_NCHW: Tensor, dag: Dag) -> Tensor:
        """The projection of what a topology makes of the stage's input."""
        weights = self.weights(dag)
        values = {0: x_NCHW}
        for number, operator, sources in dag.nodes:
            y_NCHW = torch.cat([values[source] for source in sources], dim=1)
            if operator == "s":
                y_NCHW = F.relu(_convolve(y_NCHW, weights[f"n{number}_dw"]))
            values[number] = F.relu(_convolve(y_NCHW, weights[f"n{number}"]))
        leaves_NCHW = torch.cat([values[leaf] for leaf in dag.leaves], dim=1)
        return _convolve(leaves_NCHW, weights["projection"])

    def weights(self, dag: Dag) -> dict[str, Parts]:
        """What a topology uses of the shared weights, by the layers' names."""
        used: dict[str, Parts] = {}
        for number, operator, sources in dag.nodes:
            used_C = self._channels(sources)
            if operator == "s":
                used[f"n{number}_dw"] = self._conv(f"n{number}_dw").outputs(used_C)
            used[f"n{number}"] = self._conv(f"n{number}{operator}").inputs(used_C)
        used["projection"] = self._conv("projection").inputs(
            self._channels(dag.leaves) - self.live
        )
        return used

    def _conv(self, name: str) -> _Conv:
        convolution = self.convolutions[name]
        assert isinstance(convolution, _Conv)
        return convolution

    def _channels(self, sources: Sequence[int]) -> Tensor:
        """Where the channels of nodes stand among all that a later node could read."""
        starts = [self.live + (source - 1) * self.width if source else 0 for source in sources]
        sizes = [self.width if source else self.live for source in sources]
        return torch.cat(
            [torch.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        )


class _Conv(nn.Module):
    """A 1x1, or a depthwise 3x3, convolution and its batch norm, usable in part."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        groups = 1 if kernel == 1 else inputs
        self.convolution = nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, track_running_stats=False)

    def inputs(self, used_C: Tensor) -> Parts:
        """The part that reads these channels."""
        return self.convolution.weight[:, used_C], self.norm.weight, self.norm.bias

    def outputs(self, used_C: Tensor) -> Parts:
        """The part of a depthwise convolution for these channels."""
        return self.convolution.weight[used_C], self.norm.weight[used_C], self.norm.bias[used_C]


def _convolve(x_NCHW: Tensor, parts: Parts) -> Tensor:
    """A 1x1 or a depthwise 3x3 convolution, normalised."""
    weight, scale, shift = parts
    kernel = weight.shape[-1]
    groups = 1 if kernel == 1 else len(weight)
    y_NCHW = F.conv2d(x_NCHW, weight, padding=kernel // 2, groups=groups)
    return F.batch_norm(y_NCHW, None, None, scale, shift, training=True)

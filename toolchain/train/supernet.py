"""One network whose weights all networks of a ScaleNet space share.

Source: ScaleNAS, AutoML-Conf 2022, arXiv 2011.14584, section 3.3: the supernet is the largest
network of the space. A branch of depth d has the first d blocks of the deepest one, as in
Once-for-All (arXiv 1908.09791); every step has fusions of its own. A network's layers are called
as in the largest, so that to share weights is to look them up by name.

Shape suffixes: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from toolchain.graph import Node
from toolchain.layers import Weightless
from toolchain.module import GraphModule, NormSettings, make_module
from toolchain.spaces.scalenet import ScaleNetSpace


class Supernet(nn.Module):
    """The shared weights; called, it computes the network that is chosen.

    Attributes:
        space: whose networks it holds.
        shared: the largest network, whose weights all others use.
        genotype: the network that it computes; at first the largest.
    """

    def __init__(self, space: ScaleNetSpace, norm: NormSettings | None = None) -> None:
        super().__init__()
        self.space = space
        self.shared = GraphModule(space.decode(space.largest()), norm)
        self._norm = norm
        self._layers: list[tuple[Node, nn.Module]] = []
        self.choose(space.largest())

    def choose(self, genotype: str) -> None:
        """Compute this network from now on.

        Raises:
            GenotypeInvalid: the text is no genotype of the space.
        """
        graph = self.space.decode(genotype)
        self.genotype = genotype
        self._layers = []
        for node in graph.nodes[1:]:
            if isinstance(node.layer, Weightless):  # a sum may end in a ReLU here and not there
                shapes = tuple(graph.shapes[name] for name in node.inputs)
                module = make_module(node.layer, shapes, NormSettings())
            else:
                module = self.shared.layers[node.name]
            self._layers.append((node, module))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """What the chosen network's head gives; nothing that only others use is touched."""
        values = {self.shared.graph.nodes[0].name: x_NCHW}
        for node, module in self._layers:
            x_NCHW = module(*(values[name] for name in node.inputs))
            values[node.name] = x_NCHW
        return x_NCHW

    def extract(self, genotype: str) -> GraphModule:
        """A network of its own with a copy of its weights and running statistics.

        It computes the very bits that the supernet computes with this network chosen.

        Raises:
            GenotypeInvalid: the text is no genotype of the space.
        """
        network = GraphModule(self.space.decode(genotype), self._norm)
        shared = self.shared.state_dict()
        own = {name: shared[name].clone() for name in network.state_dict()}
        network.load_state_dict(own, assign=True)  # with their device and memory format
        return network.train(self.training)


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every batch norm the mean statistics of some batches, whatever it had before.

    A network taken from a supernet has running statistics that mix those of all networks that
    were trained. Source: the released code of ScaleNAS, after Once-for-All.

    Args:
        network: changed in place; its mode is left as it was.
        batches: normalised images, each of shape NCHW, at least one.
    """
    was_training = network.training
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # torch then averages over all batches alike
    network.train()
    device = next(network.parameters()).device
    for x_NCHW in batches:
        network(x_NCHW.to(device))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    network.train(was_training)

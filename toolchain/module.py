"""From a graph to a torch module that computes it.

Shape suffixes: N batch, C channels, H rows, W columns, F features. Networks that read words read
those of one text: N is then the number of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.graph import Graph
from toolchain.layers import (
    Add,
    AnyLayer,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Embedding,
    GlobalAveragePool,
    Input,
    Linear,
    MaxPool2d,
    Multiply,
    Pick,
    Scale,
    Shape,
    Stack,
    Subtract,
    Upsample,
    Vector,
    same_padding,
)
from toolchain.word_modules import (
    BorrowingLinear,
    Difference,
    Row,
    Scaled,
    StackedRows,
    matrix_of,
)


@dataclass(frozen=True, kw_only=True)
class NormSettings:
    """Constants of every batch norm.

    Attributes:
        eps: added to the variance.
        momentum: share of the new batch in the running statistics, in (0, 1].
    """

    eps: float = 1e-5
    momentum: float = 0.1


class GraphModule(nn.Module):
    """A graph as a torch module; submodules carry the nodes' names.

    Attributes:
        graph: what it computes.
    """

    def __init__(self, graph: Graph, norm: NormSettings | None = None) -> None:
        super().__init__()
        self.graph = graph
        shapes = graph.shapes
        self.layers = nn.ModuleDict(
            {
                node.name: make_module(
                    node.layer, tuple(shapes[name] for name in node.inputs), norm or NormSettings()
                )
                for node in graph.nodes
                if node.inputs or isinstance(node.layer, Embedding)
            }
        )

    def forward(self, x_NCHW: Tensor, *more: Tensor) -> Any:
        """Scores NF of a batch of images; a tuple where the graph names its outputs.

        Args:
            x_NCHW: the first input: images, or, where it is an embedding, words by their numbers.
            more: the other inputs, in the order of the graph.
        """
        given = zip(self.graph.inputs, (x_NCHW, *more), strict=True)
        values = {node.name: value for node, value in given}
        for name, layer, reads in self.graph.nodes:
            if isinstance(layer, Embedding):
                values[name] = self.layers[name](values[name])
            elif isinstance(layer, Linear) and layer.weights:
                (source,) = reads
                matrix = matrix_of(self.layers[layer.weights])
                values[name] = self.layers[name](values[source], matrix)
            elif reads:
                values[name] = self.layers[name](*(values[read] for read in reads))
        if self.graph.returns:
            return tuple(values[name] for name in self.graph.returns)
        return values[self.graph.nodes[-1].name]


class SamePad(nn.Module):
    """Zeros around a feature map where SAME padding is not the same on all sides."""

    def __init__(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        super().__init__()
        self.pad = (*columns, *rows)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The padded feature map."""
        return F.pad(x_NCHW, self.pad)


class SubsamplingConv2d(nn.Conv2d):
    """A strided 1x1 convolution, trained as a 1x1 convolution of every stride-th pixel.

    In training, oneDNN under torch 2.13 corrupts the heap in the backward pass of a strided 1x1
    convolution of fewer than 8 channels in channels last. Once torch does not, this can go.
    """

    UNSAFE_BELOW = 8

    def forward(self, input: Tensor) -> Tensor:
        """What a strided convolution computes."""
        if not self.training:
            return super().forward(input)
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias)


class Sum(nn.Module):
    """Addition of two feature maps, then an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
        """Their sum."""
        result: Tensor = self.activation(x_NCHW + y_NCHW)
        return result


class ScaledChannels(nn.Module):
    """A feature map times one number for each channel, or a product of two vectors."""

    def forward(self, x_NCHW: Tensor, factors_NC11: Tensor) -> Tensor:
        """Their product."""
        return x_NCHW * factors_NC11


class ConcatChannels(nn.Module):
    """Feature maps joined along their channels."""

    def forward(self, *xs_NCHW: Tensor) -> Tensor:
        """All channels in order."""
        return torch.cat(xs_NCHW, dim=1)


class ImageMean(nn.Module):
    """Mean of each channel over the image."""

    def __init__(self, *, keep_map: bool) -> None:
        super().__init__()
        self.keep_map = keep_map

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """A vector NC, or a map NC11."""
        return x_NCHW.mean((2, 3), keepdim=self.keep_map)


def make_module(layer: AnyLayer, inputs: tuple[Shape, ...], norm: NormSettings) -> nn.Module:
    """The torch module of one layer for inputs of these CHW shapes."""
    match layer:
        case Conv2d():
            return _conv(layer, inputs[0], norm)
        case ConvTranspose2d():
            return _conv_transpose(layer, inputs[0], norm)
        case Upsample():
            return _upsample(layer)
        case Linear() if layer.weights:
            return BorrowingLinear(
                layer.features, make_activation(layer.activation), bias=layer.bias
            )
        case Linear():
            dense = nn.Linear(inputs[0][0], layer.features, bias=layer.bias)
            if layer.activation == "linear":
                return dense
            return nn.Sequential(dense, make_activation(layer.activation))
        case MaxPool2d():
            return _max_pool(layer, inputs[0])
        case GlobalAveragePool():
            return ImageMean(keep_map=layer.keep_map)
        case Add():
            return Sum(make_activation(layer.activation))
        case Multiply():
            return ScaledChannels()
        case Concat():
            return ConcatChannels()
        case Embedding():
            return nn.Embedding(layer.words, layer.features)
        case Pick():
            return Row(layer.index)
        case Stack():
            return StackedRows()
        case Subtract():
            return Difference()
        case Scale():
            return Scaled(1 / layer.divisor)
        case Input() | Vector():
            raise ValueError(f"an input, {layer.kind}, computes nothing")


def make_activation(name: str) -> nn.Module:
    """The torch module of an activation."""
    modules: dict[str, type[nn.Module]] = {
        "linear": nn.Identity,
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "swish": nn.SiLU,
        "hard_swish": nn.Hardswish,
        "sigmoid": nn.Sigmoid,
        "hard_sigmoid": nn.Hardsigmoid,
        "tanh": nn.Tanh,
    }
    return modules[name]()


def _conv(layer: Conv2d, source: Shape, norm: NormSettings) -> nn.Module:
    pad, around = _padding(source, layer.kernel, layer.stride)
    modules: list[nn.Module] = [] if pad is None else [pad]
    is_unsafe = layer.kernel == 1 < layer.stride and source[0] < SubsamplingConv2d.UNSAFE_BELOW
    convolution = SubsamplingConv2d if is_unsafe else nn.Conv2d
    modules.append(
        convolution(
            source[0],
            layer.channels,
            layer.kernel,
            layer.stride,
            padding=around,
            groups=source[0] if layer.depthwise else 1,
            bias=layer.bias,
        )
    )
    return nn.Sequential(*modules, *_norm_and_activation(layer, norm))


def _conv_transpose(layer: ConvTranspose2d, source: Shape, norm: NormSettings) -> nn.Module:
    convolution = nn.ConvTranspose2d(
        source[0],
        layer.channels,
        layer.kernel,
        layer.stride,
        padding=(layer.kernel - layer.stride) // 2,
        bias=layer.bias,
    )
    return nn.Sequential(convolution, *_norm_and_activation(layer, norm))


def _norm_and_activation(layer: Conv2d | ConvTranspose2d, norm: NormSettings) -> list[nn.Module]:
    modules: list[nn.Module] = []
    if layer.norm:
        modules.append(nn.BatchNorm2d(layer.channels, eps=norm.eps, momentum=norm.momentum))
    if layer.activation != "linear":
        modules.append(make_activation(layer.activation))
    return modules


def _upsample(layer: Upsample) -> nn.Module:
    # Corners are not aligned; torch takes the argument for neither mode but bilinear.
    corners = None if layer.interpolation == "nearest" else False
    return nn.Upsample(scale_factor=layer.factor, mode=layer.interpolation, align_corners=corners)


def _padding(source: Shape, kernel: int, stride: int) -> tuple[SamePad | None, tuple[int, int]]:
    """A padding module, or none and the symmetric padding that the convolution does itself."""
    rows = same_padding(source[1], kernel, stride)
    columns = same_padding(source[2], kernel, stride)
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return None, (rows[0], columns[0])
    return SamePad(rows, columns), (0, 0)


def _max_pool(layer: MaxPool2d, source: Shape) -> nn.Module:
    """SAME padding of a maximum never wins: it is minus infinity, as torch's own padding is."""
    rows = same_padding(source[1], layer.kernel, layer.stride)
    columns = same_padding(source[2], layer.kernel, layer.stride)
    # Rounding up adds the odd row or column at the end; where there is none, it changes nothing.
    is_odd = rows[1] > rows[0] or columns[1] > columns[0]
    return nn.MaxPool2d(
        layer.kernel, layer.stride, padding=(rows[0], columns[0]), ceil_mode=is_odd
    )

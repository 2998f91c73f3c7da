"""The layers that a graph is made of: typed values with shape rules and counts.

A layer holds what a person would write down of it; shapes follow from its inputs. Shapes here are
CHW (one image, no batch) or C; layers of texts are in ``word_layers.py``. Padding is always SAME
as TFLite defines it: output size ceil(size / stride), what must be padded split evenly, the odd
row or column at the end.

Each layer has a row in three tables: ``module.py`` (how torch computes it), ``kernels.py`` (what
the runtime runs for it) and ``LAYERS`` below (its name in text and JSON).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, get_args

from toolchain.layer import ACTIVATIONS as ACTIVATIONS
from toolchain.layer import Layer as Layer
from toolchain.layer import Shape as Shape
from toolchain.layer import Weightless as Weightless
from toolchain.layer import require_activation, require_count, require_positive
from toolchain.word_layers import Embedding as Embedding
from toolchain.word_layers import Pick as Pick
from toolchain.word_layers import Scale as Scale
from toolchain.word_layers import Stack as Stack
from toolchain.word_layers import Subtract as Subtract
from toolchain.word_layers import Vector as Vector

INTERPOLATIONS = ("nearest", "bilinear")
"""How a feature map can be enlarged."""


@dataclass(frozen=True, kw_only=True)
class Input(Weightless):
    """The image that the network reads."""

    kind: ClassVar[str] = "input"
    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        require_positive(self, "channels", "height", "width")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The image's shape; an input has no inputs."""
        require_count(self, inputs, 0)
        return (self.channels, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """A convolution with the batch norm and the activation that follow it.

    Attributes:
        channels: output channels.
        kernel: rows and columns of the filter.
        stride: step in both directions.
        depthwise: one filter for each channel; ``channels`` then equals the input's.
        bias: whether the convolution adds one.
        norm: whether batch norm follows.
        activation: the function after that.
    """

    kind: ClassVar[str] = "conv2d"
    channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    bias: bool = False
    norm: bool = True
    activation: str = "relu"

    def __post_init__(self) -> None:
        require_positive(self, "channels", "kernel", "stride")
        require_activation(self.activation)

    def output_shape(self, *inputs: Shape) -> Shape:
        """Channels of the layer, size divided by the stride, rounded up."""
        channels, height, width = _feature_map(self, inputs)
        if self.depthwise and channels != self.channels:
            raise ValueError(
                f"a depthwise convolution keeps its {channels} channels, not {self.channels}"
            )
        return (self.channels, math.ceil(height / self.stride), math.ceil(width / self.stride))

    def macs(self, *inputs: Shape) -> int:
        """Filter size times output size."""
        _, height, width = self.output_shape(*inputs)
        return self._weights(inputs) * height * width

    def parameters(self, *inputs: Shape) -> int:
        """The filter and, if there is one, the bias."""
        return self._weights(inputs) + self.bias * self.channels

    def norm_parameters(self, *inputs: Shape) -> int:
        """A scale and a shift for each channel."""
        return 2 * self.norm * self.channels

    def _weights(self, inputs: tuple[Shape, ...]) -> int:
        fan_in = 1 if self.depthwise else inputs[0][0]
        return self.kernel**2 * fan_in * self.channels


@dataclass(frozen=True, kw_only=True)
class ConvTranspose2d:
    """A transposed convolution, which enlarges, with its batch norm and activation.

    Attributes:
        channels: output channels.
        kernel: rows and columns of the filter; ``stride`` plus an even number, so that SAME
            padding is the same on all sides.
        stride: the size grows by it in both directions.
        bias: whether the convolution adds one.
        norm: whether batch norm follows.
        activation: the function after that.
    """

    kind: ClassVar[str] = "conv_transpose2d"
    channels: int
    kernel: int = 4
    stride: int = 2
    bias: bool = False
    norm: bool = True
    activation: str = "relu"

    def __post_init__(self) -> None:
        require_positive(self, "channels", "kernel", "stride")
        require_activation(self.activation)
        _require_no_shift(self)
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            raise ValueError(
                f"conv_transpose2d: kernel must be stride plus an even number, got {self.kernel} "
                f"with stride {self.stride}; use {self.stride} or {self.stride + 2}"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """Channels of the layer, size times the stride."""
        _, height, width = _feature_map(self, inputs)
        return (self.channels, height * self.stride, width * self.stride)

    def macs(self, *inputs: Shape) -> int:
        """Filter size times output size, as published figures and thop have it.

        This takes the layer for a convolution of a map with zeros put between the pixels. What
        skips the zeros, as runtimes do, needs stride squared times fewer.
        """
        _, height, width = self.output_shape(*inputs)
        return self._weights(inputs) * height * width

    def parameters(self, *inputs: Shape) -> int:
        """The filter and, if there is one, the bias."""
        return self._weights(inputs) + self.bias * self.channels

    def norm_parameters(self, *inputs: Shape) -> int:
        """A scale and a shift for each channel."""
        return 2 * self.norm * self.channels

    def _weights(self, inputs: tuple[Shape, ...]) -> int:
        return self.kernel**2 * inputs[0][0] * self.channels


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Weightless):
    """Largest value of each window."""

    kind: ClassVar[str] = "max_pool2d"
    kernel: int = 2
    stride: int = 2

    def __post_init__(self) -> None:
        require_positive(self, "kernel", "stride")
        if self.stride == 1 and self.kernel % 2 == 0:
            # It would be padded on one side alone, which torch's pooling cannot do.
            raise ValueError(
                f"max_pool2d: stride 1 needs an odd kernel, got {self.kernel}; "
                f"use {self.kernel + 1}, or stride 2"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """Size divided by the stride, rounded up."""
        channels, height, width = _feature_map(self, inputs)
        return (channels, math.ceil(height / self.stride), math.ceil(width / self.stride))


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Weightless):
    """Mean of each channel over the image.

    Attributes:
        keep_map: whether it gives a feature map of 1x1, which convolutions read, or a vector.
    """

    kind: ClassVar[str] = "global_average_pool"
    keep_map: bool = False

    def output_shape(self, *inputs: Shape) -> Shape:
        """One number for each channel."""
        channels, _, _ = _feature_map(self, inputs)
        return (channels, 1, 1) if self.keep_map else (channels,)


@dataclass(frozen=True, kw_only=True)
class Upsample(Weightless):
    """A feature map enlarged by a whole number.

    Attributes:
        factor: rows and columns of the output for each of the input.
        interpolation: ``nearest`` repeats pixels; ``bilinear`` blends them, with pixel centres at
            half coordinates (torch's ``align_corners=False``).
    """

    kind: ClassVar[str] = "upsample"
    factor: int = 2
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(f"upsample: factor must be 2 or more, got {self.factor}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"upsample: unknown interpolation {self.interpolation!r}; known are "
                f"{', '.join(INTERPOLATIONS)}"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """Rows and columns times the factor."""
        channels, height, width = _feature_map(self, inputs)
        return (channels, height * self.factor, width * self.factor)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A dense layer on a vector, or on that of each word.

    Attributes:
        features: numbers that it gives.
        bias: whether it adds one.
        activation: the function after that.
        flatten: whether the runtime flattens its input in a kernel of its own; it need not where
            the input is a vector already.
        weights: name of the layer before it, linear or embedding, whose matrix it uses; its own
            when empty. The bias is always its own.
    """

    kind: ClassVar[str] = "linear"
    features: int
    bias: bool = True
    activation: str = "linear"
    flatten: bool = True
    weights: str = ""

    def __post_init__(self) -> None:
        require_positive(self, "features")
        require_activation(self.activation)

    def output_shape(self, *inputs: Shape) -> Shape:
        """One number for each output feature, for each word."""
        self._fan_in(inputs)
        return (self.features, *inputs[0][1:])

    def macs(self, *inputs: Shape) -> int:
        """One for each weight, for each word."""
        return self._fan_in(inputs) * self.features * math.prod(inputs[0][1:])

    def parameters(self, *inputs: Shape) -> int:
        """The matrix, if it is its own, and, if there is one, the bias."""
        matrix = 0 if self.weights else self._fan_in(inputs) * self.features
        return matrix + self.bias * self.features

    def norm_parameters(self, *inputs: Shape) -> int:
        """No batch norm."""
        return 0

    def _fan_in(self, inputs: tuple[Shape, ...]) -> int:
        require_count(self, inputs, 1)
        if len(inputs[0]) > 2 or (len(inputs[0]) == 2 and self.flatten):
            raise ValueError(
                f"a linear layer takes a vector, got shape {inputs[0]}; pool first, or give "
                "flatten=False where it holds vectors of words"
            )
        return inputs[0][0]


@dataclass(frozen=True, kw_only=True)
class Add(Weightless):
    """Sum of two equal shapes, then an activation."""

    kind: ClassVar[str] = "add"
    activation: str = "linear"

    def __post_init__(self) -> None:
        require_activation(self.activation)
        _require_no_shift(self)

    def output_shape(self, *inputs: Shape) -> Shape:
        """The common shape."""
        require_count(self, inputs, 2)
        if inputs[0] != inputs[1]:
            raise ValueError(f"add takes equal shapes, got {inputs[0]} and {inputs[1]}")
        return inputs[0]


@dataclass(frozen=True, kw_only=True)
class Multiply(Weightless):
    """A feature map, each channel scaled by its number in a second map of 1x1; or two vectors."""

    kind: ClassVar[str] = "multiply"

    def output_shape(self, *inputs: Shape) -> Shape:
        """The first one's shape."""
        require_count(self, inputs, 2)
        if inputs[0] == inputs[1] and len(inputs[0]) == 1:
            return inputs[0]
        channels, _, _ = _feature_map(self, inputs[:1])
        if inputs[1] != (channels, 1, 1):
            raise ValueError(
                f"multiply takes a feature map and then ({channels}, 1, 1), a number for each of "
                f"its channels, got {inputs[1]}; pool with keep_map=True"
            )
        return inputs[0]


@dataclass(frozen=True, kw_only=True)
class Concat(Weightless):
    """The channels of several feature maps, one after the other."""

    kind: ClassVar[str] = "concat"

    def output_shape(self, *inputs: Shape) -> Shape:
        """Sum of channels at the common size."""
        if len(inputs) < 2:
            raise ValueError(f"concat takes two or more inputs, got {len(inputs)}")
        if len({shape[1:] for shape in inputs}) > 1:
            raise ValueError(f"concat takes feature maps of one size, got {inputs}")
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])


AnyLayer = (
    Input
    | Conv2d
    | ConvTranspose2d
    | MaxPool2d
    | GlobalAveragePool
    | Upsample
    | Linear
    | Add
    | Multiply
    | Concat
    | Embedding
    | Vector
    | Pick
    | Stack
    | Subtract
    | Scale
)

Source = Input | Embedding | Vector
"""Layers that a network reads its inputs with."""

LAYERS: dict[str, type[AnyLayer]] = {layer.kind: layer for layer in get_args(AnyLayer)}
"""Every layer by the name it has in text and JSON."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows (or columns) to pad before and after, for SAME padding as TFLite defines it."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _feature_map(layer: AnyLayer, inputs: tuple[Shape, ...]) -> tuple[int, int, int]:
    require_count(layer, inputs, 1)
    if len(inputs[0]) != 3:
        raise ValueError(f"{layer.kind} takes a feature map (C, H, W), got shape {inputs[0]}")
    channels, height, width = inputs[0]
    return channels, height, width


def _require_no_shift(layer: Add | ConvTranspose2d) -> None:
    if layer.activation == "hard_sigmoid":
        # Its shift goes into the bias of the layer before it.
        raise ValueError(
            f"{layer.kind}: hard_sigmoid needs a layer with weights; give it to a conv2d"
        )

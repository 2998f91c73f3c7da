"""Layers that cells are made of, one object for equal ones.

A search makes millions of layers and looks their shapes and kernels up again and again: a lookup
that finds the same object is much faster than one that must compare fields.
"""

from __future__ import annotations

from functools import lru_cache

from toolchain.layers import Add, Concat, Conv2d

CONCAT = Concat()
ADD = Add()
ADD_RELU = Add(activation="relu")


@lru_cache(maxsize=4096)
def conv(
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    depthwise: bool = False,
    activation: str = "relu",
) -> Conv2d:
    """A convolution with batch norm."""
    return Conv2d(
        channels=channels, kernel=kernel, stride=stride, depthwise=depthwise, activation=activation
    )

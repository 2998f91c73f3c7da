"""The names that LiteRT gives to the operators it runs, and the kernels that these can be.

An event name of XNNPACK reads ``Operator (layout, types) variant``, for example
``Convolution (NHWC, F32) IGEMM``; types and variant differ from processor to processor, so that
only the operator is looked at. An operator outside of XNNPACK has the name of TFLite's schema.
Names as LiteRT 2.3 reports them.
"""

from __future__ import annotations

from collections.abc import Sequence

from latency_tables.kernel import Kernel
from profilers.errors import OperatorsDiffer

XNNPACK_KINDS: dict[str, frozenset[str]] = {
    "Add": frozenset({"add"}),
    "Clamp": frozenset({"clamp"}),
    "Constant Pad": frozenset({"pad"}),
    # A depthwise filter of more than 25 taps runs as IGEMM, and a convolution of one channel to
    # one as DWConv: the variant does not tell the two apart.
    "Convolution": frozenset({"conv2d", "depthwise_conv2d"}),
    "Copy": frozenset({"concat"}),
    "Deconvolution": frozenset({"conv_transpose2d"}),
    # A convolution of 1x1 with stride 1 is a matrix product.
    "Fully Connected": frozenset({"fully_connected", "conv2d"}),
    "HardSwish": frozenset({"hard_swish"}),
    "Max Pooling": frozenset({"max_pool2d"}),
    "Mean": frozenset({"mean"}),
    "Multiply": frozenset({"multiply", "repeat", "scale"}),
    "Resize Bilinear": frozenset({"resize_bilinear"}),
    "Sigmoid": frozenset({"sigmoid"}),
    "Static Reshape": frozenset({"flatten", "reshape"}),
}
"""Kinds of kernel by the operator of XNNPACK that can run them."""

BUILTIN_KINDS: dict[str, frozenset[str]] = {
    "ADD": frozenset({"add"}),
    "CONCATENATION": frozenset({"concat"}),
    "CONV_2D": frozenset({"conv2d"}),
    "DEPTHWISE_CONV_2D": frozenset({"depthwise_conv2d"}),
    "FULLY_CONNECTED": frozenset({"fully_connected"}),
    "HARD_SWISH": frozenset({"hard_swish"}),
    "LOGISTIC": frozenset({"sigmoid"}),
    "MAX_POOL_2D": frozenset({"max_pool2d"}),
    "MEAN": frozenset({"mean"}),
    "MUL": frozenset({"multiply", "repeat", "scale"}),
    "PAD": frozenset({"pad"}),
    "RELU": frozenset({"clamp"}),
    "RELU6": frozenset({"clamp"}),
    "RESHAPE": frozenset({"flatten", "reshape"}),
    "RESIZE_BILINEAR": frozenset({"resize_bilinear"}),
    "TRANSPOSE_CONV": frozenset({"conv_transpose2d"}),
}
"""Kinds of kernel by the TFLite operator that runs them where XNNPACK does not."""


def kernel_kinds(event_name: str) -> frozenset[str]:
    """The kinds of kernel that an event can be; empty for a name that is not known."""
    operator, _, _ = event_name.partition(" (")
    return XNNPACK_KINDS.get(operator) or BUILTIN_KINDS.get(event_name, frozenset())


def match_events(names: Sequence[str], kernels: Sequence[Kernel]) -> None:
    """Check that a model ran the kernels that were planned, one by one, in order.

    Args:
        names: events of one run, in order of execution.
        kernels: the plan.

    Raises:
        OperatorsDiffer: an operator ran that cannot be the planned kernel, or there are more or
            fewer of them; the message names the first position where they part.
    """
    for position, (name, kernel) in enumerate(zip(names, kernels, strict=False)):
        if kernel.kind not in kernel_kinds(name):
            raise _differ(position, str(kernel), name)
    if len(names) > len(kernels):
        raise _differ(len(kernels), "no more kernels", names[len(kernels)])
    if len(names) < len(kernels):
        raise _differ(len(names), str(kernels[len(names)]), "nothing more")


def _differ(position: int, expected: str, ran: str) -> OperatorsDiffer:
    return OperatorsDiffer(
        f"operator {position}: planned was {expected}, the runtime ran {ran}; this runtime fuses "
        "operators in another way than the plan assumes, so that times cannot be assigned: use "
        "a version of LiteRT that pocketnas supports"
    )

"""The names that LiteRT gives to the operators it runs, and the kernels that these can be.

An event name of XNNPACK reads ``Operator (layout, types) variant``, for example
``Convolution (NHWC, F32) IGEMM``; types and variant differ from processor to processor, so that
only the operator is looked at. An operator outside of XNNPACK has the name of TFLite's schema.
Names as LiteRT 2.3 reports them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from latency_tables.kernel import Kernel
from profilers.errors import OperatorsDiffer

_BUILTIN = re.compile("[A-Z][A-Z0-9_]*")

XNNPACK_KINDS: dict[str, frozenset[str]] = {
    "Abs": frozenset({"abs"}),
    "Add": frozenset({"add"}),
    "ApproxGELU": frozenset({"gelu"}),
    "Average Pooling": frozenset({"average_pool2d"}),
    "Bankders Rounding": frozenset({"round"}),
    "Batch Matrix Multiply": frozenset({"batch_matmul"}),
    "Ceiling": frozenset({"ceil"}),
    "Clamp": frozenset({"clamp"}),
    "Constant Pad": frozenset({"pad"}),
    "Convert": frozenset({"dequantize", "quantize", "quantize_dynamically"}),
    # A depthwise filter of more than 25 taps runs as IGEMM, and a convolution of one channel to
    # one as DWConv: the variant does not tell the two apart.
    "Convolution": frozenset({"conv2d", "depthwise_conv2d"}),
    "Copy": frozenset({"concat", "copy", "split"}),
    "Cosine": frozenset({"cos"}),
    "Deconvolution": frozenset({"conv_transpose2d"}),
    "Depth To Space": frozenset({"depth_to_space"}),
    "Divide": frozenset({"divide"}),
    "Dynamic Fully Connected": frozenset({"fully_connected"}),
    "ELU": frozenset({"elu"}),
    "Exp": frozenset({"exp"}),
    "Floor": frozenset({"floor"}),
    # A convolution of 1x1 with stride 1 is a matrix product.
    "Fully Connected": frozenset({"fully_connected", "conv2d"}),
    "GELU": frozenset({"gelu"}),
    "HardSwish": frozenset({"hard_swish"}),
    "LeakyReLU": frozenset({"leaky_relu"}),
    "Log": frozenset({"log"}),
    "Max Pooling": frozenset({"max_pool2d"}),
    "Maximum": frozenset({"maximum"}),
    "Mean": frozenset({"mean"}),
    "Mean Squared": frozenset({"mean_squared"}),
    "Minimum": frozenset({"minimum"}),
    "Multiply": frozenset({"multiply", "repeat", "scale"}),
    "Negate": frozenset({"negate"}),
    "PReLU": frozenset({"prelu"}),
    "Reciprocal Square Root": frozenset({"rsqrt"}),
    "Reduce Max": frozenset({"reduce_max"}),
    "Reduce Min": frozenset({"reduce_min"}),
    "Resize Bilinear": frozenset({"resize_bilinear"}),
    "Sigmoid": frozenset({"sigmoid"}),
    "Sine": frozenset({"sin"}),
    "Slice": frozenset({"slice"}),
    "Softmax": frozenset({"softmax"}),
    "Space To Depth": frozenset({"space_to_depth"}),
    "Square": frozenset({"square"}),
    "Square Root": frozenset({"sqrt"}),
    "Squared Difference": frozenset({"squared_difference"}),
    "Static Reshape": frozenset({"flatten", "reshape"}),
    "Subtract": frozenset({"subtract"}),
    "Sum": frozenset({"sum"}),
    "Sum Squared": frozenset({"sum_squared"}),
    "TanH": frozenset({"tanh"}),
    "Transpose": frozenset({"transpose"}),
    # So LiteRT 2.3 calls a look-up in a table.
    "Invalid Unary Op": frozenset({"lookup"}),
    "Unary Elementwise": frozenset({"lookup"}),
}
"""Kinds of kernel by the operator of XNNPACK that can run them."""

BUILTIN_KINDS: dict[str, frozenset[str]] = {
    "AVERAGE_POOL_2D": frozenset({"average_pool2d", "clamp"}),
    "CONCATENATION": frozenset({"concat"}),
    "CONV_2D": frozenset({"conv2d"}),
    "DEPTHWISE_CONV_2D": frozenset({"depthwise_conv2d"}),
    "DIV": frozenset({"divide"}),
    "LOGISTIC": frozenset({"sigmoid"}),
    "MAXIMUM": frozenset({"clamp", "maximum"}),
    "MAX_POOL_2D": frozenset({"clamp", "max_pool2d"}),
    "MINIMUM": frozenset({"clamp", "minimum"}),
    "MUL": frozenset({"multiply", "repeat", "scale", "square"}),
    "NEG": frozenset({"negate"}),
    "RELU": frozenset({"clamp"}),
    "RELU6": frozenset({"clamp"}),
    "RELU_N1_TO_1": frozenset({"clamp"}),
    "RESHAPE": frozenset({"flatten", "reshape"}),
    "STRIDED_SLICE": frozenset({"slice"}),
    "SUB": frozenset({"subtract"}),
    "TRANSPOSE_CONV": frozenset({"conv_transpose2d"}),
}
"""Kinds of kernel by the TFLite operator that runs them where XNNPACK does not; that of any other
has the operator's name in small letters."""


def kernel_kinds(event_name: str) -> frozenset[str]:
    """The kinds of kernel that an event can be; empty for a name that is not known."""
    operator, _, _ = event_name.partition(" (")
    if operator in XNNPACK_KINDS:
        return XNNPACK_KINDS[operator]
    if event_name in BUILTIN_KINDS:
        return BUILTIN_KINDS[event_name]
    if _BUILTIN.fullmatch(event_name):
        return frozenset({event_name.lower()})
    return frozenset()


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

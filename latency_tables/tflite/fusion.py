"""What XNNPACK makes of the kernels of one partition before it runs them.

A value that more than one kernel reads, or that leaves the partition, keeps its kernel.

* A clamp joins the convolution, dense layer, pooling or clamp before it.
* Zeros around images join the convolution after them, unless that pads as SAME says and strides.
* Of two reshapes in a row the second does the work of both, if it leaves no size open.
* A clamp without bounds is left out, or copies what comes from outside and leaves again.
* A chain of element by element kernels on 8-bit numbers becomes one look-up in a table.
* A sum times one over the number of its summands is a mean, a square before either joins it.

Source: google/XNNPACK, src/subgraph.c (November 2025), xnn_subgraph_optimize_common_subgraphs,
xnn_subgraph_fusion and xnn_subgraph_fuse_unary_quantized_into_lut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from latency_tables.kernel import NO_ACTIVATION
from latency_tables.tflite.draft import Draft, Value

_CLAMPING = frozenset(
    {"average_pool2d", "clamp", "conv2d", "conv_transpose2d", "depthwise_conv2d",
     "fully_connected", "max_pool2d"}
)  # fmt: skip
_PADDING = frozenset({"conv2d", "depthwise_conv2d"})
_ELEMENTWISE = frozenset(
    {"abs", "ceil", "clamp", "cos", "dequantize", "elu", "exp", "floor", "gelu", "hard_swish",
     "leaky_relu", "log", "negate", "quantize", "round", "rsqrt", "sigmoid", "sin", "sqrt",
     "square", "tanh"}
)  # fmt: skip
_EIGHT_BITS = frozenset({"int8", "uint8"})


def fuse(drafts: list[Draft], leaving: Set[Value]) -> list[Draft]:
    """The kernels that run, of those that were defined.

    Args:
        drafts: of one partition, in order; changed in place.
        leaving: values that are read outside of the partition, or are the network's outputs.
    """
    changed = True
    while changed:  # ends: each change takes away a kernel
        changed = False
        for draft in drafts:
            source = _only_source(drafts, draft, leaving)
            gone = None if source is None else _join(source, draft)
            if gone is not None:
                drafts = [one for one in drafts if one is not gone]
                changed = True
                break
    return _tabulated(_without_idle_clamps(drafts, leaving), leaving)


def _without_idle_clamps(drafts: list[Draft], leaving: Set[Value]) -> list[Draft]:
    """Let what reads a clamp without bounds read what it reads, or its source write its result."""
    kept: list[Draft] = []
    same: dict[Value, Value] = {}
    for draft in drafts:
        draft.reads = [same.get(value, value) for value in draft.reads]
        if draft.kind != "clamp" or draft.attributes["range"] != NO_ACTIVATION:
            kept.append(draft)
            continue
        (value,), (result,) = draft.reads, draft.writes
        source = next((one for one in kept if value in one.writes), None)
        if result not in leaving:
            same[result] = value
        elif source is not None and value not in leaving:
            source.writes = [result if one == value else one for one in source.writes]
            same[value] = result
            for one in kept:
                one.reads = [result if read == value else read for read in one.reads]
        else:
            draft.kind, draft.attributes = "copy", {}
            kept.append(draft)
    return kept


def _only_source(drafts: list[Draft], draft: Draft, leaving: Set[Value]) -> Draft | None:
    """The kernel whose one output nothing but this kernel's first input reads."""
    if not draft.reads or draft.reads[0] in leaving:
        return None
    value = draft.reads[0]
    if sum(value in one.reads for one in drafts) != 1:
        return None
    return next((one for one in drafts if one.writes == [value]), None)


def _join(source: Draft, draft: Draft) -> Draft | None:
    """Let one of two kernels do the work of both; the one that is gone, or None."""
    if draft.kind == "clamp" and source.kind in _CLAMPING and "to" not in source.attributes:
        _clamp(source, draft.attributes["range"])
        source.writes = draft.writes
        source.operators += draft.operators
        return draft
    if draft.kind in _PADDING and source.kind == "pad" and _take_zeros(source, draft):
        return source
    if draft.kind == source.kind == "reshape" and draft.is_fixed:
        _take_input(source, draft)
        return source
    if draft.kind in ("sum", "mean") and source.kind == "square" and draft.dtype == "float32":
        _take_input(source, draft)
        draft.kind += "_squared"
        return source
    return None


def _clamp(source: Draft, new: str) -> None:
    old = source.attributes["range"] if source.kind == "clamp" else source.activation
    both = {old, new}
    if NO_ACTIVATION in both:
        found = (both - {NO_ACTIVATION} or both).pop()
    elif both <= {"relu", "relu6"}:
        found = "relu6" if "relu6" in both else "relu"
    else:
        found = old if old == new else "other"
    if source.kind == "clamp":
        source.attributes["range"] = found
    else:
        source.activation = found


def _take_input(source: Draft, draft: Draft) -> None:
    draft.reads = [*source.reads[:1], *draft.reads[1:]]
    draft.shapes = [*source.shapes[:1], *draft.shapes[1:]]
    draft.operators = [*source.operators, *draft.operators]


def _take_zeros(source: Draft, draft: Draft) -> bool:
    """Let a convolution pad; not one that pads as SAME says, unless it moves by single steps."""
    zeros = _zeros_around(source)
    if zeros is None or draft.window is None:
        return False
    if draft.window.is_same:
        if draft.window.stride != (1, 1):
            return False
        zeros = draft.window.own_zeros(zeros)
        draft.window = draft.window._replace(is_same=False)
    _take_input(source, draft)
    draft.attributes |= draft.window.attributes(draft.shapes[0], draft.output, zeros)
    return True


def _zeros_around(draft: Draft) -> tuple[int, int, int, int] | None:
    """The zeros that a pad puts around images; None if it does anything else."""
    if draft.kind != "pad" or "pads" not in draft.attributes:
        return None
    top, bottom, left, right = map(int, draft.attributes["pads"].split("x"))
    return top, bottom, left, right


def _tabulated(drafts: list[Draft], leaving: Set[Value]) -> list[Draft]:
    """Chains of 8-bit kernels as one look-up each."""
    readers = Counter(value for draft in drafts for value in set(draft.reads))
    by_source = {draft.reads[0]: draft for draft in drafts if _is_elementwise(draft)}
    result: list[Draft] = []
    gone: set[int] = set()
    for draft in drafts:
        if id(draft) in gone:
            continue
        chain = [draft]
        while _is_elementwise(draft) and draft.dtype in _EIGHT_BITS:
            value = chain[-1].writes[0]
            after = by_source.get(value)
            if after is None or readers[value] != 1 or value in leaving or len(chain) == 10:
                break
            chain.append(after)
        while len(chain) > 1 and _output_type(chain[-1]) not in _EIGHT_BITS:
            chain.pop()
        if len(chain) > 1:
            gone.update(id(one) for one in chain)
            draft.kind, draft.attributes, draft.writes = "lookup", {}, chain[-1].writes
            draft.operators = [index for one in chain for index in one.operators]
        result.append(draft)
    return result


def _is_elementwise(draft: Draft) -> bool:
    return draft.kind in _ELEMENTWISE and len(draft.reads) == 1


def _output_type(draft: Draft) -> str:
    return draft.attributes.get("to", draft.dtype)

"""From a graph to the kernels that the runtime will run: the plan.

What XNNPACK under LiteRT 2.x does with a network, as rules (checked against its own profiler in
the tests):

* batch norm is folded into the convolution; ReLU and ReLU6 are fused into a convolution or a dense
  layer, but after an addition they are a kernel of their own, ``clamp``;
* swish is two kernels, ``sigmoid`` and ``multiply``;
* hard sigmoid, relu6(x + 3) / 6, is a ReLU6 fused into the layer before it, whose bias is 3 more,
  and a product with a constant, ``scale`` (TFLite has no operator for it);
* a dense layer flattens its input first, in a kernel of its own, ``flatten``, unless its file says
  that it keeps the dimensions;
* a concat of more than five inputs is not taken by XNNPACK and would split the network into
  partitions: it becomes a tree of concats;
* RESIZE_NEAREST_NEIGHBOR is not taken by XNNPACK and would split the network: enlarging by
  repeated pixels is a product with ones that broadcasts, ``repeat``, between two reshapes;
* EMBEDDING_LOOKUP is not taken by XNNPACK; it stands at the beginning of a network and splits
  nothing;
* what two layers without weights compute of the same inputs is computed once (the exporter does
  that): cells often join the same nodes twice;
* what the output does not depend on is not computed (the exporter leaves it out).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from latency_tables.kernel import Kernel, make_kernel
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
    Weightless,
)
from toolchain.plan import IMAGE_NAME as IMAGE_NAME
from toolchain.plan import LOGITS_NAME as LOGITS_NAME
from toolchain.plan import Plan as Plan
from toolchain.plan import Port as Port
from toolchain.plan import Result as Result
from toolchain.plan import Step as Step
from toolchain.plan import image_plan as image_plan

MAX_CONCAT_INPUTS = 5
"""XNNPACK takes a concat of up to so many inputs (LiteRT 2.3)."""

FUSED = ("linear", "relu", "relu6")
"""Activations that run inside a convolution or a dense layer."""

FUSED_PARTS = {name: name for name in FUSED} | {"hard_sigmoid": "relu6"}
"""What runs inside a convolution or a dense layer of each activation of which something does."""

HARD_SIGMOID_FACTOR = "1/6"
"""By which hard sigmoid scales what ReLU6 gives."""


def plan(graph: Graph) -> Plan:
    """The kernels that the runtime runs for a graph.

    Raises:
        ValueError: the graph is inconsistent.
    """
    shapes = graph.shapes
    sources = len(graph.inputs)
    values = {node.name: number for number, node in enumerate(graph.inputs)}
    known: dict[tuple[AnyLayer, tuple[int, ...]], int] = {}
    owners: dict[str, int] = {}
    steps: list[Step] = []
    needed = graph.needed
    for name, layer, reads in graph.nodes:
        if name not in needed:
            continue
        if not reads:
            if isinstance(layer, Embedding):
                owners[name] = len(steps)
                lookup = lookup_kernel(layer.words, layer.features, layer.count)
                steps.append(Step(lookup, (values[name],)))
                values[name] = sources + len(steps) - 1
            continue
        numbers = tuple([values[read] for read in reads])
        is_weightless = isinstance(layer, Weightless)
        if is_weightless and (layer, numbers) in known:
            values[name] = known[layer, numbers]
            continue
        local = _steps_of(layer, tuple([shapes[read] for read in reads]))
        if len(local) == 1:  # nearly always; it reads what the layer reads
            steps.append(Step(local[0][0], numbers))
        else:
            before = sources - 1 + len(steps)
            for kernel, local_reads in local:
                inputs = [numbers[s] if s >= 0 else before - s for s in local_reads]
                steps.append(Step(kernel, tuple(inputs)))
        values[name] = sources + len(steps) - 1
        if isinstance(layer, Pick):
            steps[-1] = steps[-1]._replace(row=layer.index)
        if is_weightless:
            known[layer, numbers] = values[name]
        elif isinstance(layer, Linear):
            dense = len(steps) - len(local) + layer.flatten
            owners[name] = dense
            if layer.weights:
                steps[dense] = steps[dense]._replace(shares=owners[layer.weights])
    results = tuple(Result(name, values[name]) for name in graph.outputs)
    if not graph.returns:
        results = (Result(LOGITS_NAME, results[0].value),)
    return Plan(_ports(graph), tuple(steps), results)


def _ports(graph: Graph) -> tuple[Port, ...]:
    ports = []
    for name, layer, _ in graph.inputs:
        if isinstance(layer, Embedding):
            ports.append(Port(name, (layer.count,), "int32"))
        else:
            shape = nhwc(graph.shapes[name])
            ports.append(Port(name if graph.returns else IMAGE_NAME, shape))
    return tuple(ports)


def lookup_kernel(words: int, features: int, count: int) -> Kernel:
    """The kernel that reads rows of a table; named as by ``latency_tables/tflite``.

    Args:
        words: rows of the table.
        features: numbers of a row.
        count: rows that are read.
    """
    attributes = {"with": f"{words}x{features}", "to": "float32", "delegate": "none"}
    return Kernel(
        kind="embedding_lookup",
        inputs=((count,),),
        output=(count, features),
        attributes=tuple(sorted(attributes.items())),
        dtype="int32",
    )


def layer_kernels(layer: AnyLayer, *inputs: Shape) -> tuple[Kernel, ...]:
    """The kernels of one layer that reads these CHW or C shapes."""
    return tuple([kernel for kernel, _ in _steps_of(layer, inputs)])


LocalStep = tuple[Kernel, tuple[int, ...]]
"""A kernel of one layer; its sources are the layer's inputs 0, 1, ... or its own steps -1, -2,
... (the first step is -1)."""


@lru_cache(maxsize=65536)
def _steps_of(layer: AnyLayer, inputs: tuple[Shape, ...]) -> tuple[LocalStep, ...]:
    """The kernels of one layer; cached, because search meets the same few thousand again."""
    output = layer.output_shape(*inputs)
    match layer:
        case Conv2d():
            return _conv_steps(layer, inputs[0], output)
        case ConvTranspose2d():
            return _conv_transpose_steps(layer, inputs[0], output)
        case Upsample(interpolation="bilinear"):
            return ((_kernel("resize_bilinear", inputs, output), (0,)),)
        case Upsample():
            kernels = repeat_kernels(nhwc(inputs[0]), layer.factor)
            return tuple((kernel, (-index,)) for index, kernel in enumerate(kernels))
        case Linear():
            return _linear_steps(layer, inputs[0], output)
        case MaxPool2d():
            attributes = _window(layer.kernel, layer.stride)
            return ((_kernel("max_pool2d", inputs, output, attributes), (0,)),)
        case GlobalAveragePool():
            return ((_kernel("mean", inputs, output, {"axes": "1x2"}), (0,)),)
        case Add():
            return _add_steps(layer, inputs, output)
        case Multiply():
            return ((_kernel("multiply", inputs, output), (0, 1)),)
        case Concat():
            return tuple(concat_tree(inputs))
        case Stack():
            return tuple(stack_tree(len(inputs), inputs[0][0]))
        case Pick():
            return ((_kernel("slice", inputs, output), (0,)),)
        case Subtract():
            return ((_kernel("subtract", inputs, output), (0, 1)),)
        case Scale():
            return ((scale_kernel(nhwc(output), f"1/{layer.divisor}"), (0,)),)
        case Input() | Embedding() | Vector():
            return ()


def stack_tree(rows: int, features: int) -> Iterable[LocalStep]:
    """Concats of at most five inputs that together make rows of as many vectors."""
    for kernel, reads in concat_tree([(1, features)] * rows):
        # Joined along rows, the shapes of which stand in the place of channels here.
        inputs = tuple((shape[-1], shape[-2]) for shape in kernel.inputs)
        output = (kernel.output[-1], kernel.output[-2])
        yield make_kernel("concat", inputs, output, {"axis": "0"}), reads


def concat_tree(inputs: Sequence[Shape]) -> Iterable[LocalStep]:
    """Concats of at most five inputs that together join all of them, in order.

    As few as can be: the first takes what makes all others full. Each joins the neighbors with
    the fewest channels, for what is joined early is copied again later.
    """
    pending = [(index, shape) for index, shape in enumerate(inputs)]
    made = 0
    while len(pending) > 1:
        count = (len(pending) - 2) % (MAX_CONCAT_INPUTS - 1) + 2
        groups = [pending[start : start + count] for start in range(len(pending) - count + 1)]
        channels = [sum(shape[0] for _, shape in group) for group in groups]
        start = channels.index(min(channels))
        shapes = tuple(shape for _, shape in groups[start])
        output = (channels[start], *shapes[0][1:])
        yield _kernel("concat", shapes, output), tuple(source for source, _ in groups[start])
        made += 1
        pending[start : start + count] = [(-made, output)]


def repeat_kernels(source: Shape, factor: int) -> tuple[Kernel, Kernel, Kernel]:
    """The kernels that repeat each pixel of an NHWC map ``factor`` times in both directions."""
    _, rows, columns, channels = source
    apart = (rows, 1, columns, 1, channels)
    repeated = (rows, factor, columns, factor, channels)
    return (
        make_kernel("reshape", (source,), apart),
        make_kernel("repeat", (apart,), repeated),
        make_kernel("reshape", (repeated,), (1, rows * factor, columns * factor, channels)),
    )


def scale_kernel(shape: Shape, factor: str) -> Kernel:
    """The kernel that multiplies all numbers of an NHWC or NC shape by a fraction."""
    return make_kernel("scale", (shape,), shape, {"by": factor})


def nhwc(shape: Shape) -> Shape:
    """A CHW or C shape as the runtime holds it, with a batch of one; TC of a CT shape."""
    return (*shape[1:], shape[0]) if len(shape) == 2 else (1, *shape[1:], shape[0])


def _conv_steps(layer: Conv2d, source: Shape, output: Shape) -> tuple[LocalStep, ...]:
    kind = "depthwise_conv2d" if layer.depthwise else "conv2d"
    fused = FUSED_PARTS.get(layer.activation, "linear")
    attributes = _window(layer.kernel, layer.stride)
    conv = make_kernel(kind, (nhwc(source),), nhwc(output), attributes, fused)
    if layer.activation in FUSED:
        return ((conv, (0,)),)
    return ((conv, (0,)), *_activation_steps(layer.activation, output, after=1))


def _conv_transpose_steps(
    layer: ConvTranspose2d, source: Shape, output: Shape
) -> tuple[LocalStep, ...]:
    is_fused = layer.activation in FUSED
    conv = make_kernel(
        "conv_transpose2d",
        (nhwc(source),),
        nhwc(output),
        _window(layer.kernel, layer.stride),
        layer.activation if is_fused else "linear",
    )
    steps = () if is_fused else _activation_steps(layer.activation, output, after=1)
    return ((conv, (0,)), *steps)


def _linear_steps(layer: Linear, source: Shape, output: Shape) -> tuple[LocalStep, ...]:
    fused = FUSED_PARTS.get(layer.activation, "linear")
    dense = make_kernel("fully_connected", (nhwc(source),), nhwc(output), None, fused)
    steps: list[LocalStep] = [(dense, (0,))]
    if layer.flatten:
        steps = [(_kernel("flatten", (source,), source), (0,)), (dense, (-1,))]
    if layer.activation in FUSED:
        return tuple(steps)
    return (*steps, *_activation_steps(layer.activation, output, after=len(steps)))


def _add_steps(layer: Add, inputs: tuple[Shape, ...], output: Shape) -> tuple[LocalStep, ...]:
    add = (_kernel("add", inputs, output), (0, 1))
    if layer.activation == "linear":
        return (add,)
    return (add, *_activation_steps(layer.activation, output, after=1))


def _activation_steps(name: str, shape: Shape, *, after: int) -> tuple[LocalStep, ...]:
    """Kernels of what is not fused of an activation, reading step number ``after``."""
    if name == "hard_sigmoid":
        return ((scale_kernel(nhwc(shape), HARD_SIGMOID_FACTOR), (-after,)),)
    if name == "swish":
        sigmoid = _kernel("sigmoid", (shape,), shape)
        multiply = _kernel("multiply", (shape, shape), shape)
        return ((sigmoid, (-after,)), (multiply, (-after, -after - 1)))
    kind = "clamp" if name in FUSED else name
    attributes = {"range": name} if name in FUSED else None
    return ((_kernel(kind, (shape,), shape, attributes), (-after,)),)


def _kernel(
    kind: str, inputs: tuple[Shape, ...], output: Shape, attributes: dict[str, str] | None = None
) -> Kernel:
    return make_kernel(kind, tuple(nhwc(shape) for shape in inputs), nhwc(output), attributes)


def _window(kernel: int, stride: int) -> dict[str, str]:
    return {"kernel": f"{kernel}x{kernel}", "stride": f"{stride}x{stride}", "padding": "same"}

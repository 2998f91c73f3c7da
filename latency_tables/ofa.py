"""Latency tables of once-for-all and ProxylessNAS: YAML files of layers.

Source: the files ``tutorial/checkpoints/latency_table@note10/*_lookup_table.yaml`` of
mit-han-lab/once-for-all and the classes that look layers up in them,
``ofa/nas/efficiency_predictor/latency_lookup_table.py``. A layer of once-for-all::

    expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1:
      count: 100
      mean: 0.86918
      std: 0.013281099352086765

Shapes are rows, columns, channels; ``mean`` is in ms over ``count`` runs. ProxylessNAS's file,
``mobile_trim.yaml``, has no ``se`` and ``hs`` (is the activation h-swish?), ``var`` for ``std``,
and its ``expand`` is a factor, once-for-all's the channels of the depthwise convolution
(mit-han-lab/once-for-all, issue 37, quotes a row).

Layers are blocks of several kernels. So they are read as kernels of kinds of their own, such as
``ofa.expanded_conv``, which no network of pocketnas runs.
"""

from __future__ import annotations

import re

from latency_tables.errors import ForeignUnreadable
from latency_tables.kernel import Kernel, Shape, make_kernel
from latency_tables.table import KernelLatency

_LAYER = re.compile(r"(\w+)-input:(\d+(?:x\d+)*)-output:(\d+(?:x\d+)*)((?:-[a-z]+:\d+)*):")
_VALUE = re.compile(r"  (count|mean|std|var): (\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def read_ofa(text: str) -> dict[Kernel, KernelLatency]:
    """The layers of a YAML file; only means are told, so that spread and p95 are not numbers.

    The files are flat, and exactly that is read; any other line is an error.

    Raises:
        ForeignUnreadable: a line is neither a layer nor a value of one, or a layer has no mean.
    """
    tool = "ofa" if re.search(r"-hs:\d", text) else "proxylessnas"
    layers: dict[Kernel, dict[str, float]] = {}
    values: dict[str, float] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if layer := _LAYER.fullmatch(line):
            values = layers[_layer_kernel(tool, layer)] = {}
        elif (value := _VALUE.fullmatch(line)) and values is not None:
            values[value[1]] = float(value[2])
        else:
            raise ForeignUnreadable(
                f"line {number} is neither a layer of once-for-all or ProxylessNAS nor a value of "
                f"one: {line!r}; give one of their lookup tables as they are"
            )
    for kernel, found in layers.items():
        if "mean" not in found:
            raise ForeignUnreadable(f"layer '{kernel}' has no mean; is the file cut off?")
    return {
        kernel: KernelLatency(
            median_ms=found["mean"],
            iqr_ms=float("nan"),
            p95_ms=float("nan"),
            samples=int(found.get("count", 0)),
            contexts=1,
        )
        for kernel, found in layers.items()
    }


def _layer_kernel(tool: str, layer: re.Match[str]) -> Kernel:
    name, source, output, details = layer.groups()
    pairs = (detail.split(":") for detail in details.split("-")[1:])
    return make_kernel(
        f"{tool}.{name}", (_shape(source),), _shape(output), {key: value for key, value in pairs}
    )


def _shape(text: str) -> Shape:
    return (1, *map(int, text.split("x")))

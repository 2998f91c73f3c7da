"""Kernel latencies of nn-Meter: the CSV files that its builder collects, one for each kernel.

Source: microsoft/nn-Meter, ``nn_meter/builder/kernel_predictor_builder/predictor_builder``:
``build_predictor.py`` names the files (``collection/Data_conv-bn-relu_prior.csv``),
``extract_feature.py`` writes them and lists each kernel's columns, ``data_sampler/generator.py``
names the models after their kernel, ``nn_modules/tf_networks/operators.py`` defines the operators.
A file reads::

    model_path,HW,CIN,COUT,KERNEL_SIZE,STRIDES,feature_0,feature_1,latency
    conv-bn-relu_prior_KAXM7J,14,98,120,3,1,20.744192,0.10596,4.1

``latency`` is the mean in ms of a network of this one kernel, batch 1, square maps, padding
``same``; ``feature_*`` are derived. Rows are read as kernels of kinds of their own, such as
``nn-meter.conv-bn-relu``: a network's run is more than its kernel.

Read are convolutions, poolings, dense layers, and what keeps its input's shape. Left out:
``split`` (two outputs), ``concat``, ``add`` and ``addrelu`` (whose columns do not tell the inputs
apart), and the logs of whole networks in ``data/model_latency``, which hold no kernels. The
builder may sample one configuration several times; its mean is then taken.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

from latency_tables.errors import ForeignUnreadable
from latency_tables.kernel import Kernel, Shape, make_kernel
from latency_tables.table import KernelLatency

_WINDOWED = ("conv", "dwconv", "maxpool", "avgpool")
"""First words of the kernels that have a window and a stride."""

_SAME_SHAPE = ("bn", "bnrelu", "relu", "hswish", "se", "channelshuffle")


def read_nn_meter(text: str) -> dict[Kernel, KernelLatency]:
    """The rows of a file; only means are told, so that spread and p95 are not numbers.

    Raises:
        ForeignUnreadable: it is no such file, of a kernel that is left out, or a value is wrong.
    """
    reader = csv.DictReader(io.StringIO(text))
    columns = reader.fieldnames or []
    if "model_path" not in columns or "latency" not in columns:
        raise ForeignUnreadable(
            "the columns model_path and latency are not there; give a file that nn-Meter's "
            f"builder collected, such as Data_conv-bn-relu_prior.csv (columns: {list(columns)})"
        )
    found: dict[Kernel, list[float]] = defaultdict(list)
    for number, row in enumerate(reader, start=2):
        try:
            found[_kernel(row)].append(float(row["latency"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ForeignUnreadable(f"line {number} of the file: {error}") from error
    return {
        kernel: KernelLatency(
            median_ms=fmean(latencies_ms),
            iqr_ms=float("nan"),
            p95_ms=float("nan"),
            samples=0,
            contexts=len(latencies_ms),
        )
        for kernel, latencies_ms in found.items()
    }


def _kernel(row: Mapping[str, str]) -> Kernel:
    name = row["model_path"].split("_")[0]
    kind = f"nn-meter.{name}"
    if name == "fc":
        return make_kernel(kind, ((1, int(row["CIN"])),), (1, int(row["COUT"])))
    if name.split("-")[0] in _WINDOWED:
        stride_column = "POOL_STRIDES" if "pool" in name else "STRIDES"
        size, stride = int(row["KERNEL_SIZE"]), int(row[stride_column])
        side = (int(row["HW"]) - 1) // stride + 1
        return make_kernel(
            kind,
            (_map(row),),
            (1, side, side, int(row["COUT"])),
            {"kernel": f"{size}x{size}", "stride": f"{stride}x{stride}", "padding": "same"},
        )
    if name == "global-avgpool":
        return make_kernel(kind, (_map(row),), (1, int(row["CIN"])))
    if name in _SAME_SHAPE:
        return make_kernel(kind, (_map(row),), _map(row))
    raise ValueError(f"kernels {name!r} of nn-Meter are not read")


def _map(row: Mapping[str, str]) -> Shape:
    return (1, int(row["HW"]), int(row["HW"]), int(row["CIN"]))

"""The kernels that a probe runs as its file tells them, where its genotype does not tell all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from latency_tables.precision import FLOAT32
from latency_tables.target import Target
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network
from profilers.probes import Probe


def as_their_files(probes: Sequence[Probe], target: Target) -> list[Probe]:
    """The probes with the kernels that their files run, in order; built here and not again.

    In float32 a plan says it all. A quantized file may hold conversions that no plan knows of.

    Raises:
        NetworkUnreadable: a probe's file is not one that is understood.
    """
    if target.precision == FLOAT32:
        return list(probes)
    return [_as_its_file(probe) for probe in probes]


def _as_its_file(probe: Probe) -> Probe:
    content = probe.build()
    return replace(probe, kernels=decompose(parse_network(content)).kernels, build=lambda: content)

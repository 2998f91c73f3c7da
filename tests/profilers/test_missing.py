from __future__ import annotations

from dataclasses import replace

import pytest
from operator_zoo import network_of
from small_profile import SETTINGS, CountingRunner
from tflite_builder import NetworkBuilder

from latency_tables.calibrate import Calibration
from latency_tables.errors import TargetMismatch
from latency_tables.evidence import Evidence
from latency_tables.model import LatencyModel
from latency_tables.predict import HANDOVER
from latency_tables.table import KernelLatency, LatencyTable
from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import Network, parse_network
from profilers.missing import measure_file
from profilers.overheads import learn_run_cost, measure_handover
from toolchain.overhead_networks import short_networks

SHAPE = (1, 16, 16, 8)


@pytest.fixture
def runner() -> CountingRunner:
    return CountingRunner()


@pytest.fixture
def empty(runner: CountingRunner) -> LatencyTable:
    return LatencyTable(target=runner.target, rows={})


def chain(count: int, dtype: str = "float32") -> Network:
    builder = NetworkBuilder(dtype)
    value = builder.input(*SHAPE)
    for channels in range(8, 8 + count):
        value = builder.convolution(value, channels, activation=1)
    return parse_network(builder.content(value))


def test_kernels_that_a_table_lacks_are_measured_and_no_others(
    runner: CountingRunner, empty: LatencyTable
) -> None:
    network = chain(12)
    kernels = decompose(network).kernels
    full = measure_file("net.tflite", network, empty, runner, SETTINGS)
    assert set(full) == set(kernels)
    assert all(row.contexts >= 1 for row in full.rows.values())
    known = KernelLatency(median_ms=9.0, iqr_ms=0.0, p95_ms=9.0, samples=1, contexts=1)
    half = replace(empty, rows=dict.fromkeys(kernels[:6], known))
    filled = measure_file("net.tflite", network, half, runner, SETTINGS)
    assert [filled[kernel].median_ms for kernel in kernels[:6]] == [9.0] * 6
    assert all(filled[kernel].median_ms < 9 for kernel in kernels[6:])


def test_a_table_that_lacks_nothing_is_left_and_nothing_is_run(
    runner: CountingRunner, empty: LatencyTable
) -> None:
    network = chain(7)
    full = measure_file("net.tflite", network, empty, runner, SETTINGS)
    before = runner.calls
    assert measure_file("net.tflite", network, full, runner, SETTINGS) is full
    assert runner.calls == before


def test_the_whole_file_is_never_run(runner: CountingRunner, empty: LatencyTable) -> None:
    network = chain(10)
    lengths = []

    class Watching(CountingRunner):
        def operators(self, path, *, runs, warmup):  # type: ignore[no-untyped-def]
            lengths.append(len(decompose(parse_network(path.read_bytes())).kernels))
            return super().operators(path, runs=runs, warmup=warmup)

    measure_file("net.tflite", network, empty, Watching(), SETTINGS)
    assert lengths
    assert max(lengths) < 10


@pytest.mark.parametrize("name", ["CONCATENATION 6", "HARD_SWISH", "out of XNNPACK and back"])
def test_kernels_outside_of_xnnpack_are_measured_too(
    name: str, runner: CountingRunner, empty: LatencyTable
) -> None:
    network = parse_network(network_of(name, "int8" if name == "HARD_SWISH" else "float32"))
    full = measure_file("net.tflite", network, empty, runner, SETTINGS)
    assert set(full) == set(decompose(network).kernels)


def test_a_custom_operator_stays_unknown(runner: CountingRunner, empty: LatencyTable) -> None:
    builder = NetworkBuilder()
    value = builder.convolution(builder.input(*SHAPE), 8)
    value = builder.operator("Warp", [value], SHAPE, custom=b"\1")
    network = parse_network(builder.content(builder.convolution(value, 9)))
    full = measure_file("net.tflite", network, empty, runner, SETTINGS)
    kinds = [kernel.kind for kernel in decompose(network).kernels if kernel not in full]
    assert kinds == ["Warp"]


def test_what_is_sized_by_a_shape_is_measured_with_it(
    runner: CountingRunner, empty: LatencyTable
) -> None:
    builder = NetworkBuilder()
    value = builder.convolution(builder.input(*SHAPE), 8)
    shape = builder.operator("SHAPE", [value], (4,), to="int32", type="ShapeOptions", outType=2)
    value = builder.operator("RESHAPE", [value, shape], SHAPE, type="ReshapeOptions")
    network = parse_network(builder.content(builder.convolution(value, 9)))
    assert decompose(network).delegated_parts == 2
    full = measure_file("net.tflite", network, empty, runner, SETTINGS)
    assert set(full) == set(decompose(network).kernels)


def test_another_target_is_refused(runner: CountingRunner, empty: LatencyTable) -> None:
    other = replace(empty, target=replace(empty.target, soc="Tensor G3"))
    with pytest.raises(TargetMismatch, match="Tensor G3"):
        measure_file("net.tflite", chain(2), other, runner, SETTINGS)
    with pytest.raises(TargetMismatch, match="Tensor G3"):
        measure_handover(other, [], runner, SETTINGS)


class Split:
    """A chain of convolutions with so many operators between that XNNPACK does not take."""

    def __init__(self, casts: int) -> None:
        self.name = f"{casts} casts"
        self.partitions = casts + 1
        builder = NetworkBuilder()
        value = builder.convolution(builder.input(*SHAPE), 8)
        for _ in range(casts):
            value = builder.operator("CAST", [value], SHAPE, to="int32", type="CastOptions")
            value = builder.operator("CAST", [value], SHAPE, type="CastOptions")
            value = builder.convolution(value, 8)
        self._content = builder.content(value)
        self.kernels = decompose(parse_network(self._content)).kernels

    def build(self) -> bytes:
        return self._content


def test_a_further_partition_gets_a_row_of_some_microseconds(
    runner: CountingRunner, empty: LatencyTable
) -> None:
    assert decompose(parse_network(Split(4).build())).delegated_parts == 5
    full = measure_handover(empty, [(Split(4), Split(0))], runner, SETTINGS)
    row = full[HANDOVER]
    assert 0 <= row.median_ms < 0.1
    assert row.contexts == SETTINGS.sessions
    assert measure_handover(full, [], runner, SETTINGS) is full


def test_short_networks_become_evidence_once(runner: CountingRunner, empty: LatencyTable) -> None:
    assert learn_run_cost(empty, [Split(0)], runner, SETTINGS) is empty
    assert runner.calls == 0
    evidence = Evidence(networks=(), row_error=0.05, noise=0.01, quantile=1.6, usual_doubt=0.05)
    full = learn_run_cost(replace(empty, evidence=evidence), [Split(0)], runner, SETTINGS)
    assert full.evidence is not None
    (network,) = full.evidence.networks
    assert network.subject == "0 casts"
    assert 0 < network.measured_ms < 10
    assert set(full) == set(network.kernels)
    assert learn_run_cost(full, [Split(0)], runner, SETTINGS) is full


def test_short_networks_correct_what_a_run_is_taken_to_cost(
    runner: CountingRunner, empty: LatencyTable
) -> None:
    line = Calibration(overhead_ms=0.05, scale=1.0, per_kernel_ms=0.0, p95_ratio=1.1,
                       median_error=0.01, worst_error=0.1, networks=9)  # fmt: skip
    evidence = Evidence(networks=(), row_error=0.05, noise=0.01, quantile=1.6, usual_doubt=0.05)
    table = replace(empty, calibration=line, evidence=evidence)
    networks = short_networks()
    full = learn_run_cost(table, networks, runner, SETTINGS)
    before = LatencyModel(replace(full, evidence=evidence)).predict(networks[0].kernels)
    after = LatencyModel(full).predict(networks[0].kernels)
    assert full.evidence is not None
    measured_ms = full.evidence.networks[0].measured_ms
    assert abs(after.p50_ms - measured_ms) < 0.2 * abs(before.p50_ms - measured_ms)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from latency_tables.errors import KernelMissing
from latency_tables.model import LatencyModel
from latency_tables.population import Latencies, Population
from latency_tables.table import LatencyTable

MakeTable = Callable[..., LatencyTable]


def integers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array(values, dtype=np.intp)


def test_a_network_costs_what_its_parts_cost(make_table: MakeTable) -> None:
    table = make_table()
    model = LatencyModel(table)
    first, second, third, *_ = table
    population = Population(
        parts=[(first,), (second, third, third), ()],
        numbers=integers(0, 0, 1, 2, 1),
        lengths=integers(2, 2, 1),
    )
    networks = [(first, first), (second, third, third), (second, third, third)]
    many = model.predict_many(population)
    assert len(many) == len(population) == 3
    for index, kernels in enumerate(networks):
        one = model.predict(kernels)
        assert many[index].p50_ms == pytest.approx(one.p50_ms, rel=1e-12)
        assert many[index].p95_ms == pytest.approx(one.p95_ms, rel=1e-12)
        assert many.at(0.7)[index] == pytest.approx(one.at(0.7), rel=1e-12)


def test_only_kernels_that_some_network_runs_need_rows(make_table: MakeTable) -> None:
    table = make_table()
    known = next(iter(table))
    unknown = replace(known, activation="linear")
    model = LatencyModel(table)
    parts = [(known,), (unknown,)]
    without = Population(parts=parts, numbers=integers(0, 0), lengths=integers(1, 1))
    assert len(model.predict_many(without)) == 2
    having = Population(parts=parts, numbers=integers(0, 1), lengths=integers(1, 1))
    with pytest.raises(KernelMissing, match="act=linear"):
        model.predict_many(having)


def test_no_networks_have_no_latencies(make_table: MakeTable) -> None:
    model = LatencyModel(make_table())
    nobody = Population(parts=[], numbers=integers(), lengths=integers())
    assert len(model.predict_many(nobody)) == 0


def test_a_network_without_parts_and_numbers_of_nobody_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        Population(parts=[()], numbers=integers(0), lengths=integers(1, 0))
    with pytest.raises(ValueError, match="2 parts together, but there are 1"):
        Population(parts=[()], numbers=integers(0), lengths=integers(2))


def test_a_confidence_between_the_quantiles_lies_between_them() -> None:
    many = Latencies(p50_ms=np.array([1.0, 2.0]), p95_ms=np.array([1.1, 2.0]), doubt=np.zeros(2))
    assert many.at(0.5) == pytest.approx([1.0, 2.0])
    assert many.at(0.95) == pytest.approx([1.1, 2.0])
    assert 1.0 < many.at(0.8)[0] < 1.1

from __future__ import annotations

import pytest

from toolchain.count import count
from toolchain.kernels import plan
from toolchain.spaces.gated_network import GatedNetwork, gated_of_size, gated_step_graph

KINDS = ("lstm", "gru")


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_costs_what_the_network_does_but_for_biases_added_up(kind: str) -> None:
    network = GatedNetwork(kind=kind, hidden=7, vocabulary=40)
    counts = count(gated_step_graph(network))
    assert counts.macs == network.macs_per_token
    # Every gate's two biases are one, but those of a GRU's candidate, which are apart.
    merged = {"lstm": 4, "gru": 2}[kind] * 7
    assert counts.params == network.parameters - merged


@pytest.mark.parametrize(("kind", "products"), [("lstm", 5), ("gru", 5)])
def test_a_step_runs_a_product_for_each_gate_and_the_output(kind: str, products: int) -> None:
    kernels = plan(gated_step_graph(GatedNetwork(kind=kind, hidden=7, vocabulary=40))).kernels
    assert sum(kernel.kind == "fully_connected" for kernel in kernels) == products


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parameters", [500, 12_345, 1_000_000])
def test_a_network_of_a_size_is_the_nearest(kind: str, parameters: int) -> None:
    found = gated_of_size(kind, parameters, vocabulary=100)
    distance = abs(found.parameters - parameters)
    for step in (-1, 1):
        near = GatedNetwork(kind=kind, hidden=found.hidden + step, vocabulary=100)
        assert abs(near.parameters - parameters) >= distance


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="kind is one of lstm, gru, got 'rnn'"):
        GatedNetwork(kind="rnn", hidden=1, vocabulary=1)
    with pytest.raises(ValueError, match="more than 0, got 0 and 1"):
        GatedNetwork(kind="lstm", hidden=0, vocabulary=1)
    with pytest.raises(ValueError, match="about 50 parameters: the smallest has"):
        gated_of_size("gru", 50, vocabulary=100)

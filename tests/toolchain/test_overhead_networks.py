from __future__ import annotations

from latency_tables.tflite.decompose import decompose
from latency_tables.tflite.network import parse_network
from toolchain.overhead_networks import short_networks, split_networks


def test_a_network_and_its_twin_differ_in_their_partitions_alone() -> None:
    for split, whole in split_networks():
        kinds = [kernel.kind for kernel in split.kernels]
        assert kinds == [kernel.kind for kernel in whole.kernels]
        for network in (split, whole):
            found = decompose(parse_network(network.build()))
            assert found.delegated_parts == network.partitions
            assert [kernel.kind for kernel in found.kernels] == kinds
        assert whole.partitions == 1 < split.partitions


def test_short_networks_are_of_one_to_a_few_kernels() -> None:
    networks = short_networks()
    assert len({network.name for network in networks}) == len(networks)
    assert min(len(network.kernels) for network in networks) == 1
    for network in networks:
        assert len(network.kernels) <= 8
        assert decompose(parse_network(network.build())).kernels == network.kernels

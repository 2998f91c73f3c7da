from __future__ import annotations

from toolchain.train.recurrent import RecurrentModule
from toolchain.zoo import RECURRENT_ZOO, ZOO

SHRINKRNN = RECURRENT_ZOO["shrinkrnn"]()


def test_shrinkrnn_counts_23_million_parameters() -> None:
    assert SHRINKRNN.parameters == 23_000_700
    module = RecurrentModule(SHRINKRNN)
    assert sum(weight.numel() for weight in module.parameters()) == 23_000_700
    # All matrices but the biases are multiplied once for each token.
    assert SHRINKRNN.macs_per_token == 23_000_700 - 10_000


def test_an_edge_more_gives_what_its_authors_state() -> None:
    assert round((SHRINKRNN.parameters + 2 * 745**2) / 1e6) == 24


def test_shrinkrnn_has_the_cell_of_the_released_code() -> None:
    assert len(SHRINKRNN.cell.edges) == 12
    assert SHRINKRNN.cell.leaves == (4, 5)
    assert SHRINKRNN.cell.operators == "issti"


def test_no_name_stands_for_two_networks() -> None:
    assert not set(RECURRENT_ZOO) & set(ZOO)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import GenotypeInvalid
from toolchain.spaces.cell import (
    Cell,
    complete_cell,
    neighbor,
    parse_cell,
    random_cell,
    reachable,
)

LETTERS = ("a", "b", "c")
CELLS = st.builds(
    lambda operators, seed: random_cell(operators, np.random.default_rng(seed)),
    st.text(alphabet="abc", min_size=1, max_size=9),
    st.integers(0, 2**32),
)


@given(CELLS)
def test_a_cell_is_read_back_from_its_text(cell: Cell) -> None:
    assert parse_cell(cell.genotype, LETTERS) == cell


def test_the_message_names_the_letters_that_there_are() -> None:
    with pytest.raises(GenotypeInvalid, match="'x0' is not a, b or c followed by digits"):
        parse_cell("a0.x0", LETTERS)
    with pytest.raises(GenotypeInvalid, match="'c0' is not a or b followed by digits"):
        parse_cell("c0", ("a", "b"))


def test_a_cell_with_more_nodes_than_asked_for_is_refused() -> None:
    assert parse_cell("a0.b1", LETTERS, 3).leaves == (2,)
    with pytest.raises(GenotypeInvalid, match="the space has 3 nodes, the genotype 4"):
        parse_cell("a0.b1.c2", LETTERS, 3)


def test_a_complete_cell_has_every_edge() -> None:
    cell = complete_cell("abc")
    assert cell.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert cell.operators == "abc"


def test_random_cells_of_one_node_read_the_input() -> None:
    for seed in range(20):
        assert random_cell("a", np.random.default_rng(seed)).genotype == "a0"


def test_random_cells_have_every_number_of_edges() -> None:
    rng = np.random.default_rng(0)
    counts = {len(random_cell("abca", rng).edges) for _ in range(400)}
    assert counts == set(range(1, 11))


@given(CELLS, st.integers(0, 2**32))
def test_a_neighbor_differs_and_is_a_cell(cell: Cell, seed: int) -> None:
    found = neighbor(cell, LETTERS, 10, np.random.default_rng(seed))
    assert parse_cell(found.genotype, LETTERS) == found
    assert found.live != cell.live
    assert len(found.sources) == 9


def test_of_two_letters_the_other_is_taken_without_a_draw() -> None:
    """So that adding letters to a space is all that changes what a seed gives."""
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    changed = neighbor(parse_cell("a0", ("a", "b")), ("a", "b"), 2, rng)
    while (same.integers(1, 2), same.integers(2)) != (1, 1):
        pass
    assert changed.genotype == "b0"
    assert rng.integers(1000) == same.integers(1000)


def test_what_reads_a_dead_node_dies() -> None:
    assert reachable(((), (1,), (0, 2))) == ((), (), (0,))

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from toolchain.count import count
from toolchain.export.recurrent import graph_module
from toolchain.graph import graph_from_json, graph_from_text
from toolchain.kernels import plan
from toolchain.spaces.cell import Cell
from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.spaces.shrinkrnn_step import sequence_graph, step_graph, step_kernels
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

RELEASED = "i0.s0.s01.t0123.i0123"
SPACE = ShrinkRnnSpace(hidden=8, vocabulary=30)


def random_genotypes(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [SPACE.sample(rng) for _ in range(count)]


GENOTYPES = [RELEASED, "r0", "r0.t.s0", *random_genotypes(6)]


def module_of(genotype: str) -> RecurrentModule:
    module = RecurrentModule(SPACE.decode(genotype))
    initialize_recurrent(module, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(0, 0.5, generator=generator)
    return module


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_a_step_computes_what_the_model_computes_word_by_word(genotype: str) -> None:
    module = module_of(genotype)
    step = graph_module(module, step_graph(module.network))
    state = other = module.initial_state(1)
    for word in torch.tensor([3, 29, 0, 3, 7]):
        with torch.no_grad():
            logits, state = module.step(word[None], state)
            found, other = step(word[None], other)
        torch.testing.assert_close(found, logits)
        torch.testing.assert_close(other, state)


@pytest.mark.parametrize("genotype", GENOTYPES)
@pytest.mark.parametrize("tokens", [2, 7])
def test_a_sequence_computes_what_the_steps_compute(genotype: str, tokens: int) -> None:
    module = module_of(genotype)
    words = torch.arange(tokens)
    state = torch.randn(1, 8, generator=torch.Generator().manual_seed(1))
    sequence = graph_module(module, sequence_graph(module.network, tokens))
    with torch.no_grad():
        expected = module(words[:, None], state)
        logits, after = sequence(words, state)
    torch.testing.assert_close(logits, expected.logits[:, 0])
    torch.testing.assert_close(after, expected.state)


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_step_and_sequence_have_the_weights_of_the_model_and_the_products_of_its_words(
    genotype: str,
) -> None:
    network = SPACE.decode(genotype)
    one, five = count(step_graph(network)), count(sequence_graph(network, 5))
    assert one.params == five.params == network.parameters
    assert (one.macs, five.macs) == (network.macs_per_token, 5 * network.macs_per_token)


def test_graphs_are_read_back_from_text_and_json() -> None:
    network = SPACE.decode(RELEASED)
    for graph in (step_graph(network), sequence_graph(network, 3)):
        assert graph_from_text(graph.to_text(), graph.name) == graph
        assert graph_from_json(graph.to_json()) == graph


def test_a_step_runs_these_kernels() -> None:
    kinds = [kernel.kind for kernel in step_kernels(SPACE.decode("r0.t01"))]
    highway = ["subtract", "multiply", "add"]
    gate = ["fully_connected", "sigmoid", "fully_connected"]
    assert kinds == [
        "embedding_lookup", "concat", *gate, "tanh", *highway,
        *gate, *highway,  # relu is part of the dense layer
        *gate, "tanh", *highway, *gate, "tanh", *highway, "add", "scale", "fully_connected",
    ]  # fmt: skip


def test_the_output_reads_the_table_and_every_word_the_first_one_s_weights() -> None:
    steps = plan(sequence_graph(SPACE.decode("t0"), 3)).steps
    dense = [(i, step) for i, step in enumerate(steps) if step.kernel.kind == "fully_connected"]
    first = [index for index, _ in dense[:4]]
    assert [step.shares for _, step in dense] == [None] * 4 + first * 2 + [0]
    assert [step.row for step in steps if step.kernel.kind == "slice"] == [0, 1, 2]


def test_a_sequence_of_one_word_is_refused() -> None:
    with pytest.raises(ValueError, match="two words or more, got 1; take the step"):
        sequence_graph(SPACE.decode("t0"), 1)


def test_the_witnesses_of_the_space_run_every_kernel_of_its_steps() -> None:
    covered = {
        kernel for genotype in SPACE.witnesses() for kernel in step_kernels(SPACE.decode(genotype))
    }
    rng = np.random.default_rng(1)
    for genotype in islice(iter(lambda: SPACE.sample(rng), None), 1000):
        assert covered.issuperset(step_kernels(SPACE.decode(genotype)))


def test_a_dead_node_is_in_no_graph() -> None:
    dead = Cell("rt", ((0,), ())).genotype
    assert step_graph(SPACE.decode(dead)).nodes == step_graph(SPACE.decode("r0")).nodes

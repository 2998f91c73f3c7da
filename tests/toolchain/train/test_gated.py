"""LSTM and GRU against torch's own, and in the recipe of language models."""

from __future__ import annotations

import pytest
import torch

from toolchain.module import GraphModule
from toolchain.spaces.gated_network import GatedNetwork, gated_step_graph
from toolchain.train.gated import GatedCell
from toolchain.train.locked_dropout import LockedDropout, Masks
from toolchain.train.recurrent import RecurrentModule, initialize_recurrent

HIDDEN = 5
KINDS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def torch_twin(cell: GatedCell) -> torch.nn.LSTM | torch.nn.GRU:
    twin = KINDS[cell.kind](HIDDEN, HIDDEN)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(cell.input_weight)
        twin.weight_hh_l0.copy_(cell.hidden_weight)
        twin.bias_ih_l0.copy_(cell.input_bias)
        twin.bias_hh_l0.copy_(cell.hidden_bias)
    return twin


def module_of(kind: str, seed: int = 0) -> RecurrentModule:
    module = RecurrentModule(GatedNetwork(kind=kind, hidden=HIDDEN, vocabulary=11))
    initialize_recurrent(module, seed=seed)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_gives_what_torch_s_own_module_gives(kind: str) -> None:
    module = module_of(kind)
    twin = torch_twin(module.cell)
    tokens = torch.randint(11, (7, 3), generator=torch.Generator().manual_seed(0))
    expected, last = twin(torch.nn.functional.embedding(tokens, module.embedding))
    unrolled = module(tokens, module.initial_state(3))
    torch.testing.assert_close(unrolled.states, expected)
    carried = torch.cat(last, dim=2)[0] if kind == "lstm" else last[0]
    torch.testing.assert_close(unrolled.state, carried)
    state = module.initial_state(3)
    for row, logits in zip(tokens, unrolled.logits, strict=True):
        stepped, state = module.step(row, state)
        torch.testing.assert_close(stepped, logits)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cell_s_dropout_is_of_what_its_matrices_read_alone(kind: str) -> None:
    module = module_of(kind)
    state = torch.randn(3, module.cell.carried)
    x = torch.randn(3, HIDDEN)
    masks = Masks(input=torch.zeros(3, HIDDEN), hidden=torch.zeros(3, HIDDEN))
    dropped = module.cell(x, state, masks)
    # As if the input and the matrix of states were zero; the state itself is carried on.
    with torch.no_grad():
        module.cell.hidden_weight.zero_()
    torch.testing.assert_close(dropped, module.cell(torch.zeros_like(x), state))
    with torch.no_grad():
        state[:, :HIDDEN] += 1
    is_carried = not torch.equal(dropped, module.cell(torch.zeros_like(x), state))
    assert is_carried == (kind == "gru")


@pytest.mark.parametrize("kind", KINDS)
def test_the_counts_are_those_of_the_module(kind: str) -> None:
    module = module_of(kind)
    weights = sum(one.numel() for one in module.parameters())
    assert weights == module.network.parameters
    products = sum(one.numel() for one in torch_twin(module.cell).parameters() if one.dim() == 2)
    assert module.network.macs_per_token == products + 11 * HIDDEN


@pytest.mark.parametrize("kind", KINDS)
def test_first_weights_follow_the_seed_in_torch_s_range(kind: str) -> None:
    one, again, other = (module_of(kind, seed) for seed in (0, 0, 1))
    for name, weight in one.named_parameters():
        assert torch.equal(weight, again.state_dict()[name])
        if name == "bias":
            assert not weight.any()
            continue
        assert not torch.equal(weight, other.state_dict()[name])
        limit = 0.04 if name == "embedding" else HIDDEN**-0.5
        assert weight.abs().max() <= limit
        assert weight.abs().max() > 0.7 * limit


def linear(layer: torch.nn.Module) -> torch.nn.Linear:
    """The product of a layer that may have an activation after it."""
    return next(one for one in layer.modules() if isinstance(one, torch.nn.Linear))


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_step_computes_what_the_module_does(kind: str) -> None:
    module = module_of(kind)
    cell = module.cell
    graph = GraphModule(gated_step_graph(module.network)).eval()
    layers = graph.layers
    names = {"lstm": ("enter", "keep", "candidate", "leave"), "gru": ("reset", "keep")}[kind]
    both = torch.cat([cell.input_weight, cell.hidden_weight], dim=1).split(HIDDEN)
    bias = (cell.input_bias + cell.hidden_bias).split(HIDDEN)
    with torch.no_grad():
        for name, weight, offset in zip(names, both, bias, strict=False):
            linear(layers[name]).weight.copy_(weight)
            linear(layers[name]).bias.copy_(offset)
        if kind == "gru":
            for name, weight, offset in (
                ("of_word", cell.input_weight, cell.input_bias),
                ("of_state", cell.hidden_weight, cell.hidden_bias),
            ):
                linear(layers[name]).weight.copy_(weight[-HIDDEN:])
                linear(layers[name]).bias.copy_(offset[-HIDDEN:])
        layers["token"].weight.copy_(module.embedding)
        layers["logits"].bias.copy_(module.bias)
        carried = torch.randn(1, cell.carried)
        expected, expected_carried = module.step(torch.tensor([3]), carried)
        logits, *found = graph(torch.tensor([3]), *carried.split(HIDDEN, dim=1))
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(torch.cat(found, dim=1), expected_carried)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_under_locked_dropout(kind: str) -> None:
    module = module_of(kind)
    masks = LockedDropout(word=0.1, embedding=0.1, input=0.1, hidden=0.1, output=0.1).draw(
        batch=3, hidden=HIDDEN, vocabulary=11, generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )  # fmt: skip
    tokens = torch.arange(12).view(4, 3) % 11
    module(tokens, module.initial_state(3), masks).logits.square().mean().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name

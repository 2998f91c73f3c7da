"""The cell against a plain implementation of the paper's equations, and its gradients too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from toolchain.spaces.shrinkrnn import ShrinkRnnSpace
from toolchain.train.locked_dropout import LockedDropout, Masks
from toolchain.train.recurrent import (
    INITIAL_RANGE,
    CellModule,
    RecurrentModule,
    initialize_recurrent,
)

Array = npt.NDArray[np.float64]

RELEASED = "i0.s0.s01.t0123.i0123"
CELLS = (RELEASED, "r0.s1.t12.i0.r024", "t0", "s0.r.t0.i.i13")
HIDDEN = 3
parse_rnn_cell = ShrinkRnnSpace().parse
SEQUENCES = 2
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "r": lambda a: np.maximum(a, 0.0),
    "s": lambda a: 1 / (1 + np.exp(-a)),
    "t": np.tanh,
    "i": lambda a: a,
}


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def next_state(
    genotype: str, x: Array, h: Array, weights: dict[str, Array], xmask: Array, hmask: Array
) -> Array:
    """AutoShrink's step, written down from the equations, an edge at a time."""
    cell = parse_rnn_cell(genotype)
    width = h.shape[1]
    product = np.concatenate([x * xmask, h * hmask], axis=1) @ weights["input"]
    c, a = product[:, :width], product[:, width:]
    s = {0: h + sigmoid(c) * (np.tanh(a) - h)}
    for j in range(1, len(cell.operators) + 1):
        incoming = [i for i, target in cell.edges if target == j]
        if not incoming:
            continue
        total = np.zeros_like(h)
        for i in incoming:
            product = (s[i] * hmask) @ weights[f"{i}_{j}"]
            c, a = product[:, :width], product[:, width:]
            total += s[i] + sigmoid(c) * (FUNCTIONS[cell.operators[j - 1]](a) - s[i])
        s[j] = total / len(incoming)
    leaves = [j for j in s if j and not any(source == j for source, _ in cell.edges)]
    return np.stack([s[j] for j in leaves]).mean(axis=0)


class Case:
    """A cell with weights large enough that gates and activations bend."""

    def __init__(self, genotype: str) -> None:
        rng = np.random.default_rng(7)
        cell = parse_rnn_cell(genotype)
        self.genotype = genotype
        self.x, self.h = rng.normal(size=(2, SEQUENCES, HIDDEN))
        self.xmask, self.hmask = 2.0 * (rng.uniform(size=(2, SEQUENCES, HIDDEN)) < 0.5)
        self.weights = {"input": rng.normal(size=(2 * HIDDEN, 2 * HIDDEN))}
        for i, j in cell.edges:
            self.weights[f"{i}_{j}"] = rng.normal(size=(HIDDEN, 2 * HIDDEN))
        self.direction = rng.normal(size=(SEQUENCES, HIDDEN))
        self.module = CellModule(cell, HIDDEN).double()
        with torch.no_grad():
            self.module.input_weight.copy_(torch.from_numpy(self.weights["input"]))
            for name, weight in self.module.edge_weights.items():
                weight.copy_(torch.from_numpy(self.weights[name]))

    def expected(self) -> Array:
        return next_state(self.genotype, self.x, self.h, self.weights, self.xmask, self.hmask)

    def computed(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        masks = Masks(input=torch.from_numpy(self.xmask), hidden=torch.from_numpy(self.hmask))
        state: torch.Tensor = self.module(x, h, masks)
        return state

    def arrays(self) -> Iterator[tuple[str, Array]]:
        yield "x", self.x
        yield "h", self.h
        yield from self.weights.items()

    def slope(self, array: Array, index: tuple[int, ...]) -> float:
        """By central differences of the plain implementation."""
        value, sides = array[index], []
        for side in (1e-6, -1e-6):
            array[index] = value + side
            sides.append(float((self.expected() * self.direction).sum()))
        array[index] = value
        return (sides[0] - sides[1]) / 2e-6


@pytest.mark.parametrize("genotype", CELLS)
def test_the_cell_computes_the_equations_with_locked_dropout(genotype: str) -> None:
    case = Case(genotype)
    found = case.computed(torch.from_numpy(case.x), torch.from_numpy(case.h))
    np.testing.assert_allclose(found.detach().numpy(), case.expected(), rtol=1e-12)


@pytest.mark.parametrize("genotype", CELLS)
def test_gradients_are_those_of_finite_differences(genotype: str) -> None:
    case = Case(genotype)
    x = torch.from_numpy(case.x.copy()).requires_grad_()
    h = torch.from_numpy(case.h.copy()).requires_grad_()
    (case.computed(x, h) * torch.from_numpy(case.direction)).sum().backward()
    gradients = {
        "x": x.grad,
        "h": h.grad,
        "input": case.module.input_weight.grad,
        **{name: weight.grad for name, weight in case.module.edge_weights.items()},
    }
    for name, array in case.arrays():
        gradient = gradients[name]
        assert gradient is not None
        slopes = np.array([case.slope(array, index) for index in np.ndindex(array.shape)])
        assert np.abs(slopes).max() > 1e-3
        np.testing.assert_allclose(gradient.numpy().ravel(), slopes, rtol=1e-5, atol=1e-8)


def language_model(genotype: str = RELEASED, seed: int = 0) -> RecurrentModule:
    network = ShrinkRnnSpace(hidden=16, vocabulary=40).decode(genotype)
    module = RecurrentModule(network)
    initialize_recurrent(module, seed=seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(10)  # So that the states differ from token to token.
    return module


TOKENS_TN = torch.randint(40, (30, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("genotype", CELLS)
def test_step_by_step_gives_what_the_sequence_gives(genotype: str) -> None:
    module = language_model(genotype)
    unrolled = module(TOKENS_TN, module.initial_state(4))
    assert unrolled.logits.std(dim=0).min() > 1e-3
    state = module.initial_state(4)
    for token, (tokens_N, logits_NV) in enumerate(zip(TOKENS_TN, unrolled.logits, strict=True)):
        found_NV, state = module.step(tokens_N, state)
        torch.testing.assert_close(found_NV, logits_NV, rtol=0, atol=1e-6)
        torch.testing.assert_close(state, unrolled.states[token], rtol=0, atol=1e-6)
    torch.testing.assert_close(state, unrolled.state, rtol=0, atol=1e-6)


def test_a_sequence_in_pieces_gives_what_the_whole_gives() -> None:
    module = language_model()
    whole = module(TOKENS_TN, module.initial_state(4))
    first = module(TOKENS_TN[:11], module.initial_state(4))
    second = module(TOKENS_TN[11:], first.state.detach())
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits)


def test_sequences_side_by_side_do_not_mix() -> None:
    module = language_model()
    together = module(TOKENS_TN, module.initial_state(4)).logits
    alone = module(TOKENS_TN[:, 2:3], module.initial_state(1)).logits
    torch.testing.assert_close(together[:, 2:3], alone)


def test_back_propagation_ends_where_the_state_is_detached() -> None:
    module = language_model()
    first = module(TOKENS_TN[:5], module.initial_state(4))
    first.states.retain_grad()
    module(TOKENS_TN[5:], first.state.detach()).logits.sum().backward()
    assert first.states.grad is None


def test_dropout_holds_for_the_whole_sequence() -> None:
    module = language_model()
    masks = LockedDropout(word=0.3, embedding=0.3, input=0.3, hidden=0.3, output=0.3).draw(
        batch=4, hidden=16, vocabulary=40,
        generator=torch.Generator().manual_seed(0), device=torch.device("cpu"),
    )  # fmt: skip
    assert masks.word is not None
    assert masks.embedding is not None
    assert masks.output is not None
    unrolled = module(TOKENS_TN, module.initial_state(4), masks)
    h_NH = module.initial_state(4)
    for token, tokens_N in enumerate(TOKENS_TN):
        # A word that is left out is so in every column, and wherever it comes again.
        x_NH = (module.embedding * masks.word)[tokens_N] * masks.embedding
        h_NH = module.cell(x_NH, h_NH, masks)
        torch.testing.assert_close(unrolled.states[token], h_NH)
        torch.testing.assert_close(unrolled.outputs[token], h_NH * masks.output)
    logits = unrolled.outputs @ module.embedding.T + module.bias
    torch.testing.assert_close(unrolled.logits, logits)
    assert set(masks.word[:, 0].eq(0).tolist()) == {True, False}


def test_the_output_is_tied_to_the_embedding() -> None:
    module = language_model()
    before = module(TOKENS_TN, module.initial_state(4)).logits
    unread = next(word for word in range(40) if word not in TOKENS_TN)
    with torch.no_grad():
        module.embedding[unread].neg_()
    after = module(TOKENS_TN, module.initial_state(4)).logits
    bias = module.bias[unread]
    torch.testing.assert_close(after[..., unread] - bias, bias - before[..., unread])
    others = [word for word in range(40) if word != unread]
    assert torch.equal(after[..., others], before[..., others])


@pytest.mark.parametrize("genotype", CELLS)
def test_the_module_has_the_parameters_that_are_counted(genotype: str) -> None:
    module = language_model(genotype)
    assert sum(weight.numel() for weight in module.parameters()) == module.network.parameters


def test_first_weights_are_uniform_and_follow_the_seed() -> None:
    module = RecurrentModule(ShrinkRnnSpace(hidden=64, vocabulary=500).decode(RELEASED))
    initialize_recurrent(module, seed=3)
    for weight in (module.embedding, module.cell.input_weight, *module.cell.edge_weights.values()):
        assert weight.abs().max().item() == pytest.approx(INITIAL_RANGE, rel=0.01)
        assert weight.std().item() == pytest.approx(INITIAL_RANGE / 3**0.5, rel=0.05)
    assert torch.all(module.bias == 0)
    same, other = language_model(seed=3), language_model(seed=4)
    assert torch.equal(language_model(seed=3).embedding, same.embedding)
    assert not torch.equal(same.embedding, other.embedding)


def test_cells_that_share_an_edge_start_with_the_same_weights_on_it() -> None:
    full = language_model("t0.i01.s012")
    shrunk = language_model("t0.i01.s12")
    assert torch.equal(full.embedding, shrunk.embedding)
    assert torch.equal(full.cell.input_weight, shrunk.cell.input_weight)
    assert set(full.cell.edge_weights) - set(shrunk.cell.edge_weights) == {"0_3"}
    for name, weight in shrunk.cell.edge_weights.items():
        assert torch.equal(weight, full.cell.edge_weights[name])
    drawn = list(full.cell.edge_weights.values())
    assert not any(torch.equal(one, drawn[0]) for one in drawn[1:])

"""From a recurrent network to a torch module that computes it, one token or a sequence at a time.

Source: AutoShrink, arXiv 1911.09251, and the authors' released code; the equations are in
`toolchain/spaces/shrinkrnn.py`. Their search starts from GloVe embeddings, ours from the uniform
ones of their final training.

Shape suffixes: T tokens of a sequence, N sequences, H values of a state, S values that a cell
carries from token to token (its state, and the memory of an LSTM), V words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolchain.spaces.cell import Cell
from toolchain.spaces.gated_network import GatedNetwork
from toolchain.spaces.recurrent_network import RecurrentNetwork
from toolchain.train.gated import GatedCell
from toolchain.train.locked_dropout import NO_MASKS, Masks, masked
from toolchain.train.recipe import derived_seed

INITIAL_RANGE = 0.04

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "r": torch.relu,
    "s": torch.sigmoid,
    "t": torch.tanh,
    "i": lambda values: values,
}
"""What each letter of a cell computes."""


class CellModule(nn.Module):
    """A cell: from an embedding and a state to the next state.

    Attributes:
        cell: What it computes.
        carried: S, values carried: the state, H.
        initial_range: First weights are uniform in plus and minus this.
        input_weight: W, 2H x 2H: the upper half multiplies the embedding, the lower the state;
            the left half gives gates, the right candidates.
        edge_weights: W_ij, H x 2H, by the name of the edge: "0_1" from node 0 to node 1.
    """

    initial_range = INITIAL_RANGE

    def __init__(self, cell: Cell, hidden: int) -> None:
        super().__init__()
        self.cell = cell
        self.carried = hidden
        self.input_weight = nn.Parameter(torch.zeros(2 * hidden, 2 * hidden))
        self.edge_weights = nn.ParameterDict(
            {
                edge_name(source, target): nn.Parameter(torch.zeros(hidden, 2 * hidden))
                for source, target in cell.edges
            }
        )

    def weights(self) -> dict[tuple[int, ...], Tensor]:
        """Return every weight by its place: W, and W_ij at (i, j)."""
        drawn: dict[tuple[int, ...], Tensor] = {(1,): self.input_weight}
        for edge in self.cell.edges:
            drawn[edge] = self.edge_weights[edge_name(*edge)]
        return drawn

    def output(self, carried_NS: Tensor) -> Tensor:
        """Return what the output reads of what is carried: the state, NH."""
        return carried_NS

    def forward(self, x_NH: Tensor, h_NH: Tensor, masks: Masks = NO_MASKS) -> Tensor:
        """Return the next state.

        Args:
            x_NH: Embedding of the token.
            h_NH: State after the token before.
            masks: Dropout; its masks of input and hidden values are the cell's.
        """
        read = torch.cat([masked(x_NH, masks.input), masked(h_NH, masks.hidden)], dim=1)
        states = {0: _highway(h_NH, read @ self.input_weight, torch.tanh)}
        for node, letter, sources in self.cell.live:
            messages = [
                _highway(
                    states[source],
                    masked(states[source], masks.hidden)
                    @ self.edge_weights[edge_name(source, node)],
                    FUNCTIONS[letter],
                )
                for source in sources
            ]
            states[node] = _mean(messages)
        return _mean([states[leaf] for leaf in self.cell.leaves])


class Unrolled(NamedTuple):
    """What a sequence gives.

    Attributes:
        logits: Scores of the next word after each token, of shape TNV.
        state: What is carried on after the last token, of shape NS.
        states: State after each token, of shape TNH.
        outputs: The same with the output's dropout.
    """

    logits: Tensor
    state: Tensor
    states: Tensor
    outputs: Tensor


class RecurrentModule(nn.Module):
    """A language model; its weights are zero until `initialize_recurrent`.

    It has no training mode: dropout is in the masks that a caller hands in.

    Attributes:
        network: What it computes: a ShrinkRNN, or an LSTM or GRU.
        embedding: Of each word, of shape VH; the output's weights as well.
        bias: Of the output, of shape V.
        cell: The recurrent part.
    """

    def __init__(self, network: RecurrentNetwork | GatedNetwork) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Parameter(torch.zeros(network.vocabulary, network.hidden))
        self.bias = nn.Parameter(torch.zeros(network.vocabulary))
        self.cell: CellModule | GatedCell
        if isinstance(network, GatedNetwork):
            self.cell = GatedCell(network.kind, network.hidden)
        else:
            self.cell = CellModule(network.cell, network.hidden)

    def initial_state(self, batch: int) -> Tensor:
        """Return what is carried to the first token: zeros, NS."""
        return self.embedding.new_zeros(batch, self.cell.carried)

    def step(self, tokens_N: Tensor, state_NS: Tensor) -> tuple[Tensor, Tensor]:
        """Read one token of each sequence.

        Returns:
            Scores of the next word, NV, and what is carried on, NS.
        """
        state_NS = self.cell(F.embedding(tokens_N, self.embedding), state_NS)
        return F.linear(self.cell.output(state_NS), self.embedding, self.bias), state_NS

    def forward(self, tokens_TN: Tensor, state_NS: Tensor, masks: Masks = NO_MASKS) -> Unrolled:
        """Read sequences of at least one token.

        Args:
            tokens_TN: Words by their numbers, int64.
            state_NS: What is carried to the first of them; detach what came out of a sequence
                before, for truncated back-propagation.
            masks: Dropout.
        """
        x_TNH = F.embedding(tokens_TN, self.embedding)
        if masks.word is not None:
            x_TNH = x_TNH * masks.word[tokens_TN]
        states = []
        for x_NH in masked(x_TNH, masks.embedding):
            state_NS = self.cell(x_NH, state_NS, masks)
            states.append(self.cell.output(state_NS))
        states_TNH = torch.stack(states)
        outputs_TNH = masked(states_TNH, masks.output)
        return Unrolled(
            logits=F.linear(outputs_TNH, self.embedding, self.bias),
            state=state_NS,
            states=states_TNH,
            outputs=outputs_TNH,
        )


def initialize_recurrent(module: RecurrentModule, *, seed: int) -> None:
    """Give `module` first weights, uniform in [-0.04, 0.04], and 0 as the output's biases.

    An LSTM or GRU has its own range, torch's. Every matrix is drawn by itself, from `seed` and its
    place: networks that share an edge start with the same weights on it, so that comparing them
    is less noisy.
    """
    with torch.no_grad():
        module.bias.zero_()
        _draw(module.embedding, INITIAL_RANGE, seed, 0)
        for place, weight in module.cell.weights().items():
            _draw(weight, module.cell.initial_range, seed, *place)


def edge_name(source: int, target: int) -> str:
    """Return the name of an edge's weights."""
    return f"{source}_{target}"


def _draw(weight: Tensor, limit: float, *seed: int) -> None:
    generator = torch.Generator().manual_seed(derived_seed(*seed))
    drawn = torch.rand(weight.shape, generator=generator)
    weight.copy_((2 * drawn - 1) * limit)


def _highway(
    state_NH: Tensor, gates_and_candidates: Tensor, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Move a state towards a candidate as far as the gate is open."""
    gate_NH, candidate_NH = gates_and_candidates.chunk(2, dim=1)
    return state_NH + torch.sigmoid(gate_NH) * (function(candidate_NH) - state_NH)


def _mean(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors).mean(dim=0) if len(tensors) > 1 else tensors[0]
